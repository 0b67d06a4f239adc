"""The provider aws: Secrets Manager, Parameter Store, Certificate Manager.

Source: github.com/external-secrets/external-secrets, apis/externalsecrets/v1/secretstore_aws_types.go.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gitops_core.meta import Wire
from gitops_core.schema import INT64, SERVER_DEFAULT, rules
from secrets_sync.api.vault import AwsCredentials, AwsServiceAccount


class AwsAuth(Wire):
    """Access keys, or a ServiceAccount's role; the environment's credentials when neither is set."""

    secret_ref: AwsCredentials | None = None
    jwt: AwsServiceAccount | None = None


class SecretsManager(Wire):
    """How Secrets Manager deletes what was pushed to it."""

    force_delete_without_recovery: bool = False
    recovery_window_in_days: Annotated[int, INT64] = 0


class Tag(Wire):
    key: str
    value: str


class AwsProvider(Wire):
    """A service of one AWS region; `role` is assumed after `additionalRoles`."""

    service: Literal["SecretsManager", "ParameterStore", "CertificateManager"]
    region: str
    auth: AwsAuth | None = None
    role: str = ""
    additional_roles: tuple[str, ...] = ()
    external_id: str = msgspec.field(default="", name="externalID")
    session_tags: tuple[Tag, ...] = ()
    session_tags_policy: Annotated[Literal["None", "Simple", "Custom"], SERVER_DEFAULT] = "None"
    custom_session_tags: Annotated[
        dict[str, str],
        rules(
            (
                "!('esoNamespace' in self) && !('esoStoreName' in self) && !('esoStoreKind' in self)",
                "customSessionTags cannot contain automatically injected reserved keys: "
                "esoNamespace, esoStoreName, esoStoreKind",
            )
        ),
    ] = {}
    transitive_tag_keys: tuple[str, ...] = ()
    prefix: str = ""
    secrets_manager: SecretsManager | None = None
