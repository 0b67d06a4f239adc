"""SecretStore: where secrets live and how to get in.

Source: github.com/external-secrets/external-secrets, apis/externalsecrets/v1/secretstore_types.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from gitops_core.api.fields import LabelSelector
from gitops_core.meta import Kind, PrinterColumn, Resource, Status, Wire
from gitops_core.schema import UNSUPPORTED
from secrets_sync.api.aws import AwsProvider
from secrets_sync.api.selectors import NamespaceName
from secrets_sync.api.vault import VaultProvider

GROUP = "external-secrets.io"

Opaque = Annotated[dict[str, Any] | None, UNSUPPORTED]
"""A provider that we only know the name of: its settings are kept as they are and not acted on."""


class FakeEntry(Wire):
    """One value, found under its key and version."""

    key: str
    value: str
    version: str = ""


class FakeProvider(Wire):
    """Secrets written down in the store itself, for examples and tests."""

    data: tuple[FakeEntry, ...]
    validation_result: Annotated[int | None, UNSUPPORTED] = None


class SecretStoreProvider(Wire):
    """Where the secrets live: exactly one provider."""

    SCHEMA: ClassVar[Mapping[str, Any]] = {"minProperties": 1, "maxProperties": 1}

    fake: FakeProvider | None = None
    vault: VaultProvider | None = None
    aws: Annotated[AwsProvider | None, UNSUPPORTED] = None
    gcpsm: Opaque = None
    kubernetes: Opaque = None
    webhook: Opaque = None
    akeyless: Opaque = None
    azurekv: Opaque = None
    barbican: Opaque = None
    beyondtrust: Opaque = None
    beyondtrustworkloadcredentials: Opaque = None
    bitwardensecretsmanager: Opaque = None
    chef: Opaque = None
    cloudrusm: Opaque = None
    conjur: Opaque = None
    delinea: Opaque = None
    doppler: Opaque = None
    dvls: Opaque = None
    fortanix: Opaque = None
    github: Opaque = None
    gitlab: Opaque = None
    ibm: Opaque = None
    infisical: Opaque = None
    keepersecurity: Opaque = None
    nebiusmysterybox: Opaque = None
    ngrok: Opaque = None
    onboardbase: Opaque = None
    onepassword: Opaque = None
    onepassword_sdk: Opaque = msgspec.field(default=None, name="onepasswordSDK")
    oracle: Opaque = None
    ovh: Opaque = None
    passbolt: Opaque = None
    passworddepot: Opaque = None
    previder: Opaque = None
    pulumi: Opaque = None
    scaleway: Opaque = None
    secretserver: Opaque = None
    senhasegura: Opaque = None
    volcengine: Opaque = None
    yandexcertificatemanager: Opaque = None
    yandexlockbox: Opaque = None


class RetrySettings(Wire):
    """How often and after what pause a failed call to the provider is tried again."""

    max_retries: Annotated[int | None, msgspec.Meta(extra_json_schema={"format": "int32"})] = None
    retry_interval: str | None = None


class StoreCondition(Wire):
    """Namespaces that may use a ClusterSecretStore: any of the labels, names or regular expressions."""

    namespace_selector: LabelSelector | None = None
    namespaces: tuple[NamespaceName, ...] = ()
    namespace_regexes: tuple[str, ...] = ()


class SecretStoreSpec(Wire):
    """Where the secrets live, and how to treat that place. `controller` is the class of controller that is meant."""

    provider: SecretStoreProvider
    controller: Annotated[str, UNSUPPORTED] = ""
    retry_settings: Annotated[RetrySettings | None, UNSUPPORTED] = None
    refresh_interval: Annotated[int | str, UNSUPPORTED] = 0
    conditions: Annotated[tuple[StoreCondition, ...], UNSUPPORTED] = ()


class SecretStoreStatus(Status):
    """Whether the store can be reached, and what it can do."""

    capabilities: str = ""


class SecretStore(Resource):
    """A place where secrets live. ExternalSecrets of the same namespace read from it."""

    KIND: ClassVar[Kind] = Kind(GROUP, "v1", "SecretStore")
    PLURAL: ClassVar[str] = "secretstores"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("ss",)
    CATEGORIES: ClassVar[tuple[str, ...]] = ("external-secrets",)
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn("AGE", ".metadata.creationTimestamp", "date"),
        PrinterColumn("Status", '.status.conditions[?(@.type=="Ready")].reason'),
        PrinterColumn("Capabilities", ".status.capabilities"),
        PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    )
    CRD_LABELS: ClassVar = {"external-secrets.io/component": "controller"}
    CONTROLLER: ClassVar[str] = "secret-store"
    MANAGER: ClassVar[str] = "external-secrets"

    spec: SecretStoreSpec
    status: SecretStoreStatus = SecretStoreStatus()
