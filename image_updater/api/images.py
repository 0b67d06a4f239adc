"""What users write to have new image tags committed to Git: ImageRepository, ImagePolicy, ImageUpdateAutomation.

Source: github.com/fluxcd/image-reflector-controller and image-automation-controller, api/v1.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec

from gitops_core.api.fields import (
    FLUX_FINALIZER,
    Duration,
    FluxStatus,
    GitReference,
    LabelSelector,
    LocalReference,
    NamespacedReference,
    Provider,
    ShortDuration,
)
from gitops_core.meta import Kind, PrinterColumn, Resource, Wire
from gitops_core.schema import NOT_SEEN, SERVER_DEFAULT

GROUP = "image.toolkit.fluxcd.io"
CATEGORIES = ("all", "fluxcd", "fluxcd-images")
READY = PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status')
MESSAGE = PrinterColumn("Status", '.status.conditions[?(@.type=="Ready")].message')
AGE = PrinterColumn("Age", ".metadata.creationTimestamp", "date")


class NamespaceSelector(Wire):
    """Namespaces by their labels; no labels at all means every namespace."""

    match_labels: dict[str, str] = {}


class AccessFrom(Wire):
    """Namespaces whose ImagePolicies may use this repository beside its own: those that any selector matches."""

    namespace_selectors: tuple[NamespaceSelector, ...]


class ImageRepositorySpec(Wire):
    """Which repository to list the tags of, and how often.

    `image` has neither scheme nor tag. `timeout` is the interval when missing. Tags that match a regular expression of
    `exclusionList` are not kept. `secretRef` names a Secret of type kubernetes.io/dockerconfigjson;
    `serviceAccountName` a ServiceAccount whose imagePullSecrets count, too; `certSecretRef` a Secret with `ca.crt`,
    which is trusted beside the system's authorities, with `tls.crt` and `tls.key`, or with all three; `proxySecretRef`
    one with the `address` of a proxy (http, https, socks5), and its `username` and `password`. `insecure` speaks plain
    HTTP.
    """

    image: str
    interval: Duration
    timeout: ShortDuration | None = None
    secret_ref: LocalReference | None = None
    exclusion_list: Annotated[tuple[str, ...], msgspec.Meta(max_length=25), SERVER_DEFAULT] = (r"^.*\.sig$",)
    insecure: bool = False
    access_from: AccessFrom | None = None
    suspend: bool = False
    provider: Annotated[Provider, SERVER_DEFAULT] = "generic"
    service_account_name: Annotated[str, msgspec.Meta(max_length=253)] = ""
    cert_secret_ref: LocalReference | None = None
    proxy_secret_ref: LocalReference | None = None


class ScanResult(Wire):
    """The last listing: how many tags, a checksum of them, and the ten that sort highest."""

    tag_count: int
    revision: str = ""
    scan_time: datetime | None = None
    latest_tags: tuple[str, ...] = ()


class ImageRepositoryStatus(FluxStatus):
    """What the registry has."""

    canonical_image_name: str = ""
    last_scan_result: ScanResult | None = None
    observed_exclusion_list: tuple[str, ...] = ()


class ImageRepository(Resource):
    """A repository of container images whose tags are listed again and again."""

    KIND: ClassVar[Kind] = Kind(GROUP, "v1", "ImageRepository")
    PLURAL: ClassVar[str] = "imagerepositories"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("imgrepo", "imagerepo")
    CATEGORIES: ClassVar[tuple[str, ...]] = CATEGORIES
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn("Image", ".spec.image"),
        PrinterColumn("Tags", ".status.lastScanResult.tagCount"),
        READY,
        MESSAGE,
        PrinterColumn("Last scan", ".status.lastScanResult.scanTime", priority=1),
        AGE,
    )
    FINALIZER: ClassVar[str] = FLUX_FINALIZER
    CONTROLLER: ClassVar[str] = "image-reflector-controller"
    OWN_CONDITIONS: ClassVar[tuple[str, ...]] = ("AgesKept",)

    spec: ImageRepositorySpec
    status: Annotated[ImageRepositoryStatus, NOT_SEEN] = ImageRepositoryStatus()


class SemVerPolicy(Wire):
    """The highest version in `range`, a constraint as Masterminds' semver reads it."""

    range: str


class OrderPolicy(Wire):
    """The last tag of the order: `asc` takes the highest, `desc` the lowest."""

    order: Annotated[Literal["asc", "desc"], SERVER_DEFAULT] = "asc"


class PolicyChoice(Wire):
    """How to choose among the tags. Exactly one is set; of several, the first counts."""

    semver: SemVerPolicy | None = None
    alphabetical: OrderPolicy | None = None
    numerical: OrderPolicy | None = None


class TagFilter(Wire):
    """Tags that match `pattern` are candidates; they are compared by what `extract` (`$name`) expands to."""

    pattern: str = ""
    extract: str = ""


class ImagePolicySpec(Wire):
    """Which tag of which repository is the latest.

    `digestReflectionPolicy` says whether the tag's digest is looked up, too; with Always it is again after every
    `interval`.
    """

    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "!has(self.interval) || (has(self.digestReflectionPolicy) && self.digestReflectionPolicy == 'Always')",
            "spec.interval is only accepted when spec.digestReflectionPolicy is set to 'Always'",
        ),
        (
            "has(self.interval) || !has(self.digestReflectionPolicy) || self.digestReflectionPolicy != 'Always'",
            "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'",
        ),
    )

    image_repository_ref: NamespacedReference
    policy: PolicyChoice
    filter_tags: TagFilter | None = None
    digest_reflection_policy: Annotated[Literal["Always", "IfNotPresent", "Never"], SERVER_DEFAULT] = "Never"
    interval: Duration | None = None
    suspend: bool = False


class ImageRef(Wire):
    """An image: its name, tag and, where it was looked up, digest."""

    name: str
    tag: str
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}" + (f"@{self.digest}" if self.digest else "")


class ImagePolicyStatus(FluxStatus):
    """The tag that was chosen, and the one before it."""

    latest_ref: ImageRef | None = None
    observed_previous_ref: ImageRef | None = None


class ImagePolicy(Resource):
    """A rule that chooses the latest of an ImageRepository's tags."""

    KIND: ClassVar[Kind] = Kind(GROUP, "v1", "ImagePolicy")
    PLURAL: ClassVar[str] = "imagepolicies"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("imgpol", "imagepol")
    CATEGORIES: ClassVar[tuple[str, ...]] = CATEGORIES
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn("Image", ".status.latestRef.name"),
        PrinterColumn("Tag", ".status.latestRef.tag"),
        READY,
        MESSAGE,
        AGE,
    )
    FINALIZER: ClassVar[str] = FLUX_FINALIZER
    CONTROLLER: ClassVar[str] = "image-reflector-controller"

    spec: ImagePolicySpec
    status: Annotated[ImagePolicyStatus, NOT_SEEN] = ImagePolicyStatus()


class GitRepositoryReference(Wire):
    """The GitRepository to commit to; its namespace is the automation's when empty."""

    name: str
    kind: Annotated[Literal["GitRepository"], SERVER_DEFAULT] = "GitRepository"
    namespace: str = ""
    api_version: str = ""


class GitCheckout(Wire):
    """What to start from, in the place of the GitRepository's own ref."""

    ref: GitReference


class CommitUser(Wire):
    """Author and committer of the commits."""

    email: str
    name: str = ""


class SigningKey(Wire):
    """A Secret with a key to sign commits: git.asc and passphrase, or identity and password for ssh."""

    secret_ref: LocalReference
    type: Literal["gpg", "ssh"] = "gpg"


class GitCommit(Wire):
    """How to commit. `messageTemplate` is a Go template over `.AutomationObject`, `.Changed` and `.Values`."""

    author: CommitUser
    message_template: str = ""
    message_template_values: dict[str, str] = {}
    signing_key: SigningKey | None = None


class GitPush(Wire):
    """Where to push. `branch` is the checked-out one when empty, and is created when it does not exist."""

    branch: str = ""
    refspec: Annotated[str, msgspec.Meta(pattern="^$|^[^+:]")] = ""
    options: dict[str, str] = {}


class GitSpec(Wire):
    """What to check out, how to commit, where to push."""

    commit: GitCommit
    checkout: GitCheckout | None = None
    push: GitPush | None = None


class UpdateStrategy(Wire):
    """Which folder's files to update: the values marked with `# {"$imagepolicy": "namespace:name"}`."""

    strategy: Annotated[Literal["Setters"], SERVER_DEFAULT] = "Setters"
    path: str = ""


class ImageUpdateAutomationSpec(Wire):
    """Which repository to update, how often, and by which of the namespace's ImagePolicies (all, when not said)."""

    source_ref: GitRepositoryReference
    interval: Duration
    git: GitSpec | None = None
    policy_selector: LabelSelector | None = None
    update: Annotated[UpdateStrategy, SERVER_DEFAULT] = UpdateStrategy()
    suspend: bool = False


class MarkerCounts(Wire):
    """How many marked places are in which state."""

    applied: int = 0
    pending: int = 0
    held: int = 0
    unmatched: int = 0
    ambiguous: int = 0
    unparsable: int = 0


class MarkerReport(Wire):
    """One marked place that does not say what its policy chose, and why; `line` 0 stands for the whole file."""

    file: str
    state: str
    line: int = 0
    setter: str = ""
    current: str = ""
    desired: str = ""
    cause: str = ""


class Reverted(Wire):
    """A value that a person set back from `refused`: it is left until the policy chooses another one."""

    file: str
    setter: str
    refused: str


class Pushing(Wire):
    """A commit that is about to be pushed, before it has an id: its parent, and the id of its root folder."""

    parent: str
    tree: str


class ImageUpdateAutomationStatus(FluxStatus):
    """The last run and the last push; of the marked places how many there are, and the first that are not applied.

    `pushing` is written before a push that gives up a commit of ours, so that a process that dies knows its own again.
    """

    last_automation_run_time: datetime | None = None
    last_push_commit: str = ""
    last_push_time: datetime | None = None
    observed_policies: dict[str, ImageRef] = {}
    observed_source_revision: str = ""
    markers: MarkerCounts | None = None
    unsettled: tuple[MarkerReport, ...] = ()
    reverted: tuple[Reverted, ...] = ()
    pull_request: str = ""
    pushing: Pushing | None = None


class ImageUpdateAutomation(Resource):
    """Commits the images that ImagePolicies choose to a Git repository, wherever a file is marked for them."""

    KIND: ClassVar[Kind] = Kind(GROUP, "v1", "ImageUpdateAutomation")
    PLURAL: ClassVar[str] = "imageupdateautomations"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("iua", "imgupd", "imgauto")
    CATEGORIES: ClassVar[tuple[str, ...]] = CATEGORIES
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        READY,
        MESSAGE,
        PrinterColumn("Last run", ".status.lastAutomationRunTime", priority=1),
        AGE,
    )
    CRD_ANNOTATIONS: ClassVar = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    FINALIZER: ClassVar[str] = FLUX_FINALIZER
    CONTROLLER: ClassVar[str] = "image-automation-controller"

    spec: ImageUpdateAutomationSpec
    status: Annotated[ImageUpdateAutomationStatus, NOT_SEEN] = ImageUpdateAutomationStatus()
