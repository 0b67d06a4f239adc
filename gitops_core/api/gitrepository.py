"""GitRepository: a Git repository to watch, and the commit found there.

Source: github.com/fluxcd/source-controller, api/v1.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from gitops_core.api.fields import (
    FLUX_FINALIZER,
    Artifact,
    Duration,
    FluxStatus,
    GitReference,
    LocalReference,
    ShortDuration,
)
from gitops_core.meta import Kind, PrinterColumn, Resource, Wire
from gitops_core.schema import NOT_SEEN, SERVER_DEFAULT

VerificationMode = Literal["head", "HEAD", "Tag", "TagAndHEAD"]


class GitVerification(Wire):
    """Whose signatures a commit or tag must bear: `secretRef` holds PGP (*.asc) and SSH (*.sshpub) public keys."""

    secret_ref: LocalReference
    mode: Annotated[VerificationMode, SERVER_DEFAULT] = "HEAD"


class GitInclude(Wire):
    """Files of another GitRepository to copy into this one's: from `fromPath` (its root) to `toPath` (its name)."""

    repository: LocalReference
    from_path: str = ""
    to_path: str = ""


class GitRepositorySpec(Wire):
    """Which repository and commit to watch, how often, and with which credentials.

    `secretRef` names a Secret with username and password, bearerToken, or identity and known_hosts; ca.crt is added to
    the trusted certificates. With provider azure (Azure DevOps) or aws (CodeCommit) the ServiceAccount that
    `serviceAccountName` names logs in, by the role in its annotations, or else the service itself. `ignore` has the
    form of .gitignore and replaces the defaults.
    """

    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "!has(self.serviceAccountName) || (has(self.provider) && "
            "(self.provider == 'azure' || self.provider == 'aws'))",
            "serviceAccountName can only be set when provider is 'azure' or 'aws'",
        ),
    )

    url: Annotated[str, msgspec.Meta(pattern="^(http|https|ssh)://.*$")]
    interval: Duration
    timeout: Annotated[ShortDuration, SERVER_DEFAULT] = "60s"
    ref: GitReference | None = None
    secret_ref: LocalReference | None = None
    ignore: str | None = None
    suspend: bool = False
    provider: Literal["generic", "aws", "azure", "github"] = "generic"
    service_account_name: str = ""
    verify: GitVerification | None = None
    proxy_secret_ref: LocalReference | None = None
    recurse_submodules: bool = False
    include: tuple[GitInclude, ...] = ()
    sparse_checkout: tuple[str, ...] = ()


class GitRepositoryStatus(FluxStatus):
    """What was found: the commit is in `artifact.revision`."""

    artifact: Artifact | None = None
    included_artifacts: tuple[Artifact, ...] = ()
    observed_ignore: str | None = None
    observed_recurse_submodules: bool = False
    observed_include: tuple[GitInclude, ...] = ()
    observed_sparse_checkout: tuple[str, ...] = ()
    source_verification_mode: VerificationMode | None = None


class GitRepository(Resource):
    """A Git repository to watch. Kustomizations apply what its commit holds, ImageUpdateAutomations push to it."""

    KIND: ClassVar[Kind] = Kind("source.toolkit.fluxcd.io", "v1", "GitRepository")
    PLURAL: ClassVar[str] = "gitrepositories"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("gitrepo",)
    CATEGORIES: ClassVar[tuple[str, ...]] = ("all", "fluxcd", "fluxcd-sources")
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn("URL", ".spec.url"),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn("Status", '.status.conditions[?(@.type=="Ready")].message'),
    )
    CRD_ANNOTATIONS: ClassVar = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    FINALIZER: ClassVar[str] = FLUX_FINALIZER
    CONTROLLER: ClassVar[str] = "source-controller"
    OWN_CONDITIONS: ClassVar[tuple[str, ...]] = (
        "ArtifactInStorage",
        "FetchFailed",
        "IncludeUnavailable",
        "SourceVerified",
        "StorageOperationFailed",
    )

    spec: GitRepositorySpec
    status: Annotated[GitRepositoryStatus, NOT_SEEN] = GitRepositoryStatus()
