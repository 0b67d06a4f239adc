"""OCIRepository: an artifact in a registry to watch, and what it holds.

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
    LocalReference,
    Provider,
    ShortDuration,
)
from gitops_core.meta import Kind, PrinterColumn, Resource, Wire
from gitops_core.schema import NOT_SEEN, SERVER_DEFAULT, UNSUPPORTED, only


class OciReference(Wire):
    """Which artifact of a repository. Precedence: digest, semver, tag; none is the tag latest.

    Of the tags in the range `semver` the newest is taken; `semverFilter` is a regular expression that they must match.
    """

    digest: str = ""
    semver: str = ""
    semver_filter: str = ""
    tag: str = ""


class LayerSelector(Wire):
    """Which layer holds the files: the first of that media type, or the first of all.

    `extract` leaves out what is ignored, `copy` nothing.
    """

    media_type: str = ""
    operation: Literal["extract", "copy"] | None = None


class IdentityMatch(Wire):
    """Regular expressions for who a keyless signature's certificate is issued by and to."""

    issuer: str
    subject: str


class OciVerification(Wire):
    """Whose signature an artifact must bear: `secretRef` holds public keys of cosign in entries `*.pub`."""

    provider: Annotated[Literal["cosign", "notation"], SERVER_DEFAULT, only("cosign")] = "cosign"
    secret_ref: LocalReference | None = None
    match_oidc_identity: Annotated[tuple[IdentityMatch, ...], UNSUPPORTED] = msgspec.field(
        name="matchOIDCIdentity", default=()
    )
    trusted_root_secret_ref: Annotated[LocalReference | None, UNSUPPORTED] = None


class OCIRepositorySpec(Wire):
    """Which artifact to watch, how often, and how its registry is reached.

    `url` has neither tag nor digest. `secretRef` names a Secret of type kubernetes.io/dockerconfigjson;
    `serviceAccountName` a ServiceAccount whose imagePullSecrets count, too; `certSecretRef` a Secret with `ca.crt`,
    which is trusted beside the system's authorities, with `tls.crt` and `tls.key`, or with all three; `proxySecretRef`
    one with the `address` of a proxy (http, https, socks5), and its `username` and `password`. `insecure` takes any
    certificate, and plain HTTP. `ignore` has the form of .gitignore and replaces the defaults.
    """

    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "!has(self.audiences) || size(self.audiences) == 0 || "
            "(has(self.credential) && self.credential == 'ServiceAccountToken')",
            "spec.audiences can be set only when spec.credential is set to 'ServiceAccountToken'",
        ),
        (
            "!has(self.credential) || self.credential != 'ServiceAccountToken' || "
            "(has(self.audiences) && size(self.audiences) > 0)",
            "spec.audiences must be set when spec.credential is set to 'ServiceAccountToken'",
        ),
        (
            "!has(self.credential) || self.credential != 'ServiceAccountToken' || "
            "!has(self.provider) || self.provider == 'generic'",
            "spec.credential 'ServiceAccountToken' can only be used with spec.provider 'generic'",
        ),
    )

    url: Annotated[str, msgspec.Meta(pattern="^oci://.*$")]
    interval: Duration
    timeout: Annotated[ShortDuration, SERVER_DEFAULT] = "60s"
    ref: OciReference | None = None
    layer_selector: LayerSelector | None = None
    secret_ref: LocalReference | None = None
    service_account_name: str = ""
    cert_secret_ref: LocalReference | None = None
    proxy_secret_ref: LocalReference | None = None
    provider: Annotated[Provider, SERVER_DEFAULT] = "generic"
    credential: Annotated[Literal["ServiceAccountToken"] | None, UNSUPPORTED] = None
    audiences: Annotated[tuple[str, ...], UNSUPPORTED] = ()
    verify: OciVerification | None = None
    ignore: str | None = None
    insecure: bool = False
    suspend: bool = False


class OCIRepositoryStatus(FluxStatus):
    """What was found: tag and digest are in `artifact.revision`, the manifest's annotations in `artifact.metadata`."""

    url: str = ""
    artifact: Artifact | None = None
    observed_ignore: str | None = None
    observed_layer_selector: LayerSelector | None = None


class OCIRepository(Resource):
    """An artifact in a registry to watch: files that were pushed there. Kustomizations apply what it holds."""

    KIND: ClassVar[Kind] = Kind("source.toolkit.fluxcd.io", "v1", "OCIRepository")
    PLURAL: ClassVar[str] = "ocirepositories"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("ocirepo",)
    CATEGORIES: ClassVar[tuple[str, ...]] = ("all", "fluxcd", "fluxcd-sources")
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn("URL", ".spec.url"),
        PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn("Status", '.status.conditions[?(@.type=="Ready")].message'),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
    )
    CRD_ANNOTATIONS: ClassVar = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    FINALIZER: ClassVar[str] = FLUX_FINALIZER
    CONTROLLER: ClassVar[str] = "source-controller"
    OWN_CONDITIONS: ClassVar[tuple[str, ...]] = (
        "ArtifactInStorage",
        "ArtifactOutdated",
        "FetchFailed",
        "SourceVerified",
        "StorageOperationFailed",
    )

    spec: OCIRepositorySpec
    status: Annotated[OCIRepositoryStatus, NOT_SEEN] = OCIRepositoryStatus()
