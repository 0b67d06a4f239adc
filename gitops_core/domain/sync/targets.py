"""Where a Kustomization is applied, and with whose rights.

    spec.kubeConfig             spec.serviceAccountName, or the operator's default
    none: our own cluster       none: as we are, or as the kubeconfig or the token is
    secretRef: a kubeconfig     a service account of that cluster, in a namespace of the Kustomization's name for it
    configMapRef: see remotes   likewise

Source: Flux, pkg/runtime/client, Impersonator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gitops_core.api import Kustomization
from gitops_core.domain.objects.objectmeta import find_subdomain_faults
from gitops_core.domain.objects.texts import shorten
from gitops_core.errors import StalledError
from gitops_core.meta import ObjectKey

KEYS = ("value", "value.yaml")
"""Of a Secret that holds a kubeconfig, where none is named."""


class KubeConfig(NamedTuple):
    """A kubeconfig that a Kustomization names: the Secret, and the key in it ("" for one of KEYS)."""

    secret: ObjectKey
    key: str

    def choose_key(self, data: Mapping[str, object]) -> str | None:
        """Return the key that holds the kubeconfig, None for none."""
        return next((key for key in ((self.key,) if self.key else KEYS) if data.get(key)), None)


def find_kubeconfig(wanted: Kustomization) -> KubeConfig | None:
    """Return the kubeconfig of the cluster that a Kustomization is applied to; None for our own."""
    reference = wanted.spec.kube_config.secret_ref if wanted.spec.kube_config is not None else None
    if reference is None:
        return None
    return KubeConfig(ObjectKey(wanted.metadata.namespace, reference.name), reference.key)


def find_description(wanted: Kustomization) -> ObjectKey | None:
    """Return the ConfigMap that describes the cluster that a Kustomization is applied to (remotes); None for none."""
    reference = wanted.spec.kube_config.config_map_ref if wanted.spec.kube_config is not None else None
    return ObjectKey(wanted.metadata.namespace, reference.name) if reference is not None else None


class AccountInvalid(StalledError):
    """No service account can be called what a Kustomization names."""

    reason = "InvalidServiceAccount"


def find_account(wanted: Kustomization, default: str) -> ObjectKey | None:
    """Return the service account whose rights a Kustomization has, in its own namespace; None for ours.

    Args:
        default: the name for those that name none; "" for none.

    Raises:
        AccountInvalid: to the API server it would be some user, whom only an administrator may let us be.
    """
    name = wanted.spec.service_account_name or default
    if not name:
        return None
    if not is_account_name(name):
        named = repr(shorten(name, 100))
        raise AccountInvalid(f"spec.serviceAccountName is {named}, as which no ServiceAccount can be called")
    return ObjectKey(wanted.metadata.namespace, name)


def is_account_name(name: str) -> bool:
    """Tell whether a service account may be called that.

    >>> [is_account_name(name) for name in ("deployer", "", "a:b", "deployer ")]
    [True, False, False, False]
    """
    return bool(name) and not any(find_subdomain_faults(name, ""))
