"""ExternalSecret: which secrets to read from a store, and the Kubernetes Secret to make of them.

The API server stores few defaults here: since External Secrets 2.9 a missing kind, strategy or policy means its
documented default, so that a stored object equals the one that was written.

Source: github.com/external-secrets/external-secrets, apis/externalsecrets/v1/externalsecret_types.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from gitops_core.meta import Kind, PrinterColumn, Resource, Status, Wire
from gitops_core.schema import SERVER_DEFAULT, UNSUPPORTED, only
from secrets_sync.api.secretstore import GROUP
from secrets_sync.api.selectors import DataKey, ObjectName

ConversionStrategy = Literal["Default", "Unicode"]
DecodingStrategy = Literal["Auto", "Base64", "Base64URL", "None"]
NullBytePolicy = Literal["Ignore", "Fail"]

CONTESTED = "Contested"
"""The condition that says: another ExternalSecret writes the same Secret, and each takes the other's keys away."""
TOOK_OVER = "TookOver"
"""The condition that says: the Secret was there before, and lost what others had put there. Until the next edit."""

ONE_PROPERTY: Mapping[str, Any] = {"minProperties": 1, "maxProperties": 1}


class StoreRef(Wire):
    """The store to read from."""

    name: ObjectName = ""
    kind: Annotated[Literal["SecretStore", "ClusterSecretStore"], only("SecretStore")] = "SecretStore"


class GeneratorRef(Wire):
    """A generator to take values from."""

    kind: Literal[
        "ACRAccessToken",
        "BeyondtrustWorkloadCredentialsDynamicSecret",
        "ClusterGenerator",
        "CloudsmithAccessToken",
        "ECRAuthorizationToken",
        "Fake",
        "GCRAccessToken",
        "GithubAccessToken",
        "GitlabDeployToken",
        "QuayAccessToken",
        "Password",
        "SSHKey",
        "STSSessionToken",
        "UUID",
        "VaultDynamicSecret",
        "Webhook",
        "Grafana",
        "MFA",
    ]
    name: ObjectName
    api_version: Annotated[str, SERVER_DEFAULT] = "generators.external-secrets.io/v1alpha1"


class SourceRef(Wire):
    """Another store than the spec's, or a generator: exactly one."""

    SCHEMA: ClassVar[Mapping[str, Any]] = ONE_PROPERTY

    store_ref: StoreRef | None = None
    generator_ref: GeneratorRef | None = None


class RemoteRef(Wire):
    """A secret of the store. `property` is a path into its JSON, `version` one of its versions."""

    key: str
    property: str = ""
    version: str = ""
    conversion_strategy: ConversionStrategy = "Default"
    decoding_strategy: DecodingStrategy = "None"
    metadata_policy: Annotated[Literal["None", "Fetch"], only("None")] = "None"
    null_byte_policy: Annotated[NullBytePolicy, only("Ignore")] = "Ignore"


class DataEntry(Wire):
    """One key of the Secret, and the remote secret that is its value."""

    secret_key: DataKey
    remote_ref: RemoteRef
    source_ref: Annotated[SourceRef | None, UNSUPPORTED] = None


class FindName(Wire):
    """A regular expression of Go's, found anywhere in the name."""

    regexp: str = ""


class Find(Wire):
    """Remote secrets below `path` by name, tags or both: each is a key that is called as the secret is."""

    path: str | None = None
    name: FindName | None = None
    tags: dict[str, str] = {}
    conversion_strategy: ConversionStrategy = "Default"
    decoding_strategy: DecodingStrategy = "None"
    null_byte_policy: Annotated[NullBytePolicy, only("Ignore")] = "Ignore"


class RewriteRegexp(Wire):
    """Replaces what matches `source` in a key by `target`, which may refer to groups as $1."""

    source: str
    target: str


class RewriteTransform(Wire):
    """Makes a key of a template over `.value`, the old key."""

    template: str


class RewriteMerge(Wire):
    """Joins JSON objects into one, or into the key `into`; keys in `priority` win."""

    into: Annotated[str, SERVER_DEFAULT] = ""
    priority: tuple[str, ...] = ()
    priority_policy: Annotated[Literal["IgnoreNotFound", "Strict"], SERVER_DEFAULT] = "Strict"
    conflict_policy: Annotated[Literal["Ignore", "Error"], SERVER_DEFAULT] = "Error"
    strategy: Annotated[Literal["Extract", "JSON"], SERVER_DEFAULT] = "Extract"


class Rewrite(Wire):
    """One change of the keys: exactly one kind."""

    SCHEMA: ClassVar[Mapping[str, Any]] = ONE_PROPERTY

    merge: RewriteMerge | None = None
    regexp: RewriteRegexp | None = None
    transform: RewriteTransform | None = None


class DataFromEntry(Wire):
    """Many keys of the Secret: all of one remote secret (`extract`) or of several (`find`)."""

    extract: RemoteRef | None = None
    find: Find | None = None
    rewrite: Annotated[tuple[Rewrite, ...], UNSUPPORTED] = ()
    source_ref: Annotated[SourceRef | None, UNSUPPORTED] = None


class TemplateMetadata(Wire):
    """Labels, annotations (values are templates) and finalizers of the Secret."""

    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()


class TemplateItem(Wire):
    """A key that holds a template: of one value, or of YAML with keys and values."""

    key: DataKey
    template_as: Annotated[Literal["Values", "KeysAndValues"], SERVER_DEFAULT] = "Values"


class TemplateObject(Wire):
    """A ConfigMap or Secret that holds templates."""

    name: ObjectName
    items: tuple[TemplateItem, ...]


class TemplateFrom(Wire):
    """Templates from a ConfigMap, a Secret or the text here; `target` is Data, Labels, Annotations or a path."""

    config_map: TemplateObject | None = None
    secret: TemplateObject | None = None
    literal: str | None = None
    target: Annotated[str, SERVER_DEFAULT] = "Data"
    values_decoding_strategy: DecodingStrategy = "None"


class Template(Wire):
    """A blueprint of the Secret. With `mergePolicy` Merge the read values stay beside the templated ones."""

    type: str = ""
    engine_version: Annotated[Literal["v2"], SERVER_DEFAULT] = "v2"
    metadata: TemplateMetadata | None = None
    merge_policy: Annotated[Literal["Replace", "Merge"], SERVER_DEFAULT] = "Replace"
    data: dict[str, str] = {}
    template_from: tuple[TemplateFrom, ...] = ()


class TargetManifest(Wire):
    """Another kind of object to make in the place of a Secret."""

    api_version: Annotated[str, msgspec.Meta(min_length=1)]
    kind: Annotated[str, msgspec.Meta(min_length=1)]


class Target(Wire):
    """The Secret to make; its name is the ExternalSecret's when empty.

    Owner makes it and deletes it with the ExternalSecret, Orphan leaves it, Merge adds keys to one that exists,
    CreateOrMerge does either, None makes nothing. `deletionPolicy` says what becomes of it when the provider no longer
    has the secrets.
    """

    name: ObjectName = ""
    creation_policy: Annotated[Literal["Owner", "Orphan", "Merge", "None", "CreateOrMerge"], SERVER_DEFAULT] = "Owner"
    deletion_policy: Annotated[Literal["Delete", "Merge", "Retain"], SERVER_DEFAULT] = "Retain"
    immutable: bool = False
    template: Annotated[Template | None, UNSUPPORTED] = None
    manifest: Annotated[TargetManifest | None, UNSUPPORTED] = None


class SyncWindow(Wire):
    """A stretch of time that begins at each firing of a cron schedule, in UTC."""

    schedule: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            pattern=r"^(@(annually|yearly|monthly|weekly|daily|midnight|hourly)|@every [^\s]+.*|[^\s]+( [^\s]+){4})$",
        ),
    ]
    duration: str


class SyncWindows(Wire):
    """When periodic refreshes may happen (allow) or may not (deny)."""

    kind: Literal["allow", "deny"]
    windows: Annotated[tuple[SyncWindow, ...], msgspec.Meta(min_length=1)]


class ExternalSecretSpec(Wire):
    """Which secrets to read, how often, and what to make of them.

    Periodic reads again after every `refreshInterval` (never, when that is 0), OnChange only when the ExternalSecret
    changes, CreatedOnce only until the Secret exists; a new value of the annotation `force-sync` always reads once.
    """

    secret_store_ref: StoreRef | None = None
    target: Annotated[Target, SERVER_DEFAULT] = Target()
    refresh_policy: Literal["CreatedOnce", "Periodic", "OnChange"] = "Periodic"
    refresh_interval: Annotated[str, SERVER_DEFAULT] = "1h0m0s"
    sync_windows: Annotated[SyncWindows | None, UNSUPPORTED] = None
    data: tuple[DataEntry, ...] = ()
    data_from: tuple[DataFromEntry, ...] = ()


class Binding(Wire):
    """The Secret that was made, as servicebinding.io's Provisioned Service names it."""

    SCHEMA: ClassVar[Mapping[str, Any]] = {"x-kubernetes-map-type": "atomic"}

    name: Annotated[str, SERVER_DEFAULT] = ""


class ExternalSecretStatus(Status):
    """The last successful refresh: when it began, of which generation and metadata, and the Secret it made."""

    refresh_time: Annotated[datetime | None, msgspec.Meta(extra_json_schema={"nullable": True})] = None
    synced_resource_version: str = ""
    binding: Binding | None = None


class ExternalSecret(Resource):
    """Secrets of a store to keep as a Kubernetes Secret."""

    KIND: ClassVar[Kind] = Kind(GROUP, "v1", "ExternalSecret")
    PLURAL: ClassVar[str] = "externalsecrets"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("es",)
    CATEGORIES: ClassVar[tuple[str, ...]] = ("external-secrets",)
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn("StoreType", ".spec.secretStoreRef.kind"),
        PrinterColumn("Store", ".spec.secretStoreRef.name"),
        PrinterColumn("Refresh Interval", ".spec.refreshInterval"),
        PrinterColumn("Status", '.status.conditions[?(@.type=="Ready")].reason'),
        PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn("Last Sync", ".status.refreshTime", "date"),
    )
    SELECTABLE_FIELDS: ClassVar[tuple[str, ...]] = (
        ".spec.secretStoreRef.name",
        ".spec.secretStoreRef.kind",
        ".spec.target.name",
        ".spec.refreshInterval",
    )
    CRD_LABELS: ClassVar = {"external-secrets.io/component": "controller"}
    FINALIZER: ClassVar[str] = "externalsecrets.external-secrets.io/externalsecret-cleanup"
    OWN_CONDITIONS: ClassVar[tuple[str, ...]] = (CONTESTED, TOOK_OVER)
    CONTROLLER: ClassVar[str] = "external-secrets"

    spec: ExternalSecretSpec = ExternalSecretSpec()
    status: ExternalSecretStatus = ExternalSecretStatus()
