"""Kustomization: a folder of a source to build, apply, watch over and prune.

Source: github.com/fluxcd/kustomize-controller, api/v1; github.com/fluxcd/pkg, apis/kustomize.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec

from gitops_core.api.fields import FLUX_FINALIZER, Duration, FluxStatus, KindReference, LocalReference
from gitops_core.meta import Kind, PrinterColumn, Resource, Wire
from gitops_core.schema import INT64, NOT_SEEN, SERVER_DEFAULT, only

Affix = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class SourceReference(Wire):
    """The source that holds the folder; its namespace is the Kustomization's when empty."""

    kind: Annotated[
        Literal["OCIRepository", "GitRepository", "Bucket", "ExternalArtifact"],
        only("GitRepository", "OCIRepository", "Bucket"),
    ]
    name: str
    namespace: str = ""
    api_version: str = ""


class Dependency(Wire):
    """Another Kustomization that must be Ready first. `readyExpr` is a CEL expression over `self` and `dep`."""

    name: str
    namespace: str = ""
    ready_expr: str = ""


class CommonMetadata(Wire):
    """Labels and annotations to set on every object; they win over what the object has."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Selector(Wire):
    """Which objects of the build: every part that is set must match (names and kinds as regular expressions)."""

    group: str = ""
    version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    annotation_selector: str = ""
    label_selector: str = ""


class Patch(Wire):
    """A strategic merge patch or a list of JSON 6902 operations, as YAML text, and the objects it is for."""

    patch: str
    target: Selector | None = None


class ImageOverride(Wire):
    """Replaces the name, tag or digest of an image wherever the build uses it. A digest wins over `newTag`."""

    name: str
    new_name: str = ""
    new_tag: str = ""
    digest: str = ""


class HealthExpression(Wire):
    """How to read the health of a kind: CEL expressions over an object of it."""

    api_version: str
    current: str
    kind: str = ""
    in_progress: str = ""
    failed: str = ""


class Decryption(Wire):
    """How to decrypt files: `secretRef` holds age or PGP keys or the credentials of a key service."""

    provider: Literal["sops"]
    secret_ref: LocalReference | None = None
    service_account_name: str = ""


class SecretKeyReference(Wire):
    """A key of a Secret in the same namespace; `value` or `value.yaml` when empty."""

    name: str
    key: str = ""


class KubeConfigReference(Wire):
    """Another cluster to apply to: a kubeconfig in a Secret, or a ConfigMap that says where it is and whose tokens it
    takes.

    Keys of the ConfigMap: `provider` (generic, aws, azure, gcp), `address`, `ca.crt`, `serviceAccountName`, `audiences`
    (a YAML list) and, of a cloud, `cluster`: its name there.
    """

    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "has(self.configMapRef) || has(self.secretRef)",
            "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified",
        ),
        (
            "!has(self.configMapRef) || !has(self.secretRef)",
            "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified",
        ),
    )

    config_map_ref: LocalReference | None = None
    secret_ref: SecretKeyReference | None = None


class SubstituteReference(Wire):
    """A ConfigMap or Secret whose keys are variables. One that is `optional` may be missing."""

    kind: Literal["Secret", "ConfigMap"]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    optional: Annotated[bool, SERVER_DEFAULT] = False


class PostBuild(Wire):
    """Variables to substitute in the built objects: `${name}`, with bash's defaults and replacements."""

    substitute: dict[str, str] = {}
    substitute_from: tuple[SubstituteReference, ...] = ()
    substitute_strategy: Literal["WithVariables", "Always"] | None = None


class IgnoreRule(Wire):
    """Fields (JSON pointers) to leave as they are in the cluster, on the objects that `target` selects."""

    paths: tuple[str, ...]
    target: Selector | None = None


class KustomizationSpec(Wire):
    """Which folder to apply and how.

    `path` without a kustomization.yaml stands for all manifests below it. `wait` checks the health of everything that
    was applied and takes the place of `healthChecks`. `timeout` is the interval less 30s when missing, and never under
    30s. `deletionPolicy` says what becomes of the objects when the Kustomization is deleted: MirrorPrune does as
    `prune` says.
    """

    interval: Duration
    prune: bool
    source_ref: SourceReference
    path: str = ""
    retry_interval: Duration | None = None
    timeout: Duration | None = None
    suspend: bool = False
    wait: bool = False
    health_checks: tuple[KindReference, ...] = ()
    depends_on: tuple[Dependency, ...] = ()
    deletion_policy: Literal["MirrorPrune", "Delete", "WaitForTermination", "Orphan"] = "MirrorPrune"
    target_namespace: Annotated[str, msgspec.Meta(min_length=1, max_length=63)] = ""
    name_prefix: Affix = ""
    name_suffix: Affix = ""
    common_metadata: CommonMetadata | None = None
    images: tuple[ImageOverride, ...] = ()
    patches: tuple[Patch, ...] = ()
    components: tuple[str, ...] = ()
    ignore_missing_components: bool = False
    build_metadata: tuple[Literal["originAnnotations", "transformerAnnotations"], ...] = ()
    force: Annotated[bool, SERVER_DEFAULT] = False
    health_check_exprs: tuple[HealthExpression, ...] = ()
    decryption: Decryption | None = None
    post_build: PostBuild | None = None
    ignore: tuple[IgnoreRule, ...] = ()
    kube_config: KubeConfigReference | None = None
    service_account_name: str = ""


class InventoryEntry(Wire):
    """One applied object: `id` is NAMESPACE_NAME_GROUP_KIND, `v` the version."""

    id: str
    v: str


class Inventory(Wire):
    """Every object that was applied and not yet pruned."""

    entries: tuple[InventoryEntry, ...]


class Snapshot(Wire, omit_defaults=False):
    """Attempts that came to the same end with the same objects, counted."""

    digest: str
    first_reconciled: datetime
    last_reconciled: datetime
    last_reconciled_duration: str
    last_reconciled_status: str
    total_reconciliations: Annotated[int, INT64]
    metadata: dict[str, str] = {}


class KustomizationStatus(FluxStatus):
    """What was applied last: the revision, the objects, and the last five different outcomes."""

    last_applied_revision: str = ""
    last_applied_origin_revision: str = ""
    last_attempted_revision: str = ""
    inventory: Inventory | None = None
    history: tuple[Snapshot, ...] = ()


class Kustomization(Resource):
    """A folder of a source whose objects the cluster shall have: built, applied, watched over, pruned."""

    KIND: ClassVar[Kind] = Kind("kustomize.toolkit.fluxcd.io", "v1", "Kustomization")
    PLURAL: ClassVar[str] = "kustomizations"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("ks",)
    CATEGORIES: ClassVar[tuple[str, ...]] = ("all", "fluxcd", "fluxcd-appliers")
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn("Status", '.status.conditions[?(@.type=="Ready")].message'),
    )
    CRD_ANNOTATIONS: ClassVar = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    FINALIZER: ClassVar[str] = FLUX_FINALIZER
    CONTROLLER: ClassVar[str] = "kustomize-controller"
    # an applied Kustomization would lose its finalizer to the field manager that applies objects
    MANAGER: ClassVar[str] = "gotk-kustomize-controller"
    OWN_CONDITIONS: ClassVar[tuple[str, ...]] = ("Healthy", "Contested", "InsecureSecrets")

    spec: KustomizationSpec
    status: Annotated[KustomizationStatus, NOT_SEEN] = KustomizationStatus()
