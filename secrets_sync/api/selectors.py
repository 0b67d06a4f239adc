"""How stores name Secrets, ConfigMaps and ServiceAccounts.

Source: github.com/external-secrets/external-secrets, apis/meta/v1 and apis/externalsecrets/v1.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gitops_core.meta import Wire

ObjectName = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
    ),
]
"""The name of a Kubernetes object: a DNS-1123 subdomain."""

NamespaceName = Annotated[str, msgspec.Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""The name of a namespace: a DNS-1123 label."""

DataKey = Annotated[str, msgspec.Meta(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
"""A key of a Secret or ConfigMap."""


class SecretKeySelector(Wire):
    """A key of a Secret. The namespace is the store's own when empty; a SecretStore may name no other."""

    name: ObjectName = ""
    key: DataKey = ""
    namespace: NamespaceName = ""


class ServiceAccountSelector(Wire):
    """A ServiceAccount, and the audiences of the token to ask for."""

    name: ObjectName
    namespace: NamespaceName = ""
    audiences: tuple[str, ...] = ()


class CaProvider(Wire):
    """Where certificates to trust are stored as PEM: a key of a Secret or ConfigMap."""

    type: Literal["Secret", "ConfigMap"]
    name: ObjectName
    key: DataKey = ""
    namespace: NamespaceName = ""
