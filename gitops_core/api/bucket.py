"""Bucket: a bucket of an object store to watch, and the files in it.

Source: github.com/fluxcd/source-controller, api/v1.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from gitops_core.api.fields import FLUX_FINALIZER, Artifact, Duration, FluxStatus, LocalReference, ShortDuration
from gitops_core.meta import Kind, PrinterColumn, Resource, Wire
from gitops_core.schema import NOT_SEEN, SERVER_DEFAULT, only


class BucketSts(Wire):
    """A token service that gives keys for the bucket.

    aws: one of AWS's, in the place of the region's own. ldap: the object store's, which is logged in to with the
    `username` and the `password` in the Secret that `secretRef` names; `certSecretRef` is to this service as
    spec.certSecretRef to the bucket.
    """

    provider: Literal["aws", "ldap"]
    endpoint: Annotated[str, msgspec.Meta(pattern="^(http|https)://.*$")]
    secret_ref: LocalReference | None = None
    cert_secret_ref: LocalReference | None = None


class BucketSpec(Wire):
    """Which bucket to watch, how often, and how it is reached.

    `endpoint` is a host, with a port if it has one; `insecure` speaks plain HTTP to it. `secretRef` names a Secret with
    `accesskey` and `secretkey`, of provider gcp with `serviceaccount`. Without one, aws and gcp are asked as the
    ServiceAccount that `serviceAccountName` names, by the role in its annotations, or else as the service itself.
    `certSecretRef` one with `ca.crt`, which is trusted beside the system's authorities, with `tls.crt` and `tls.key`,
    or with all three; `proxySecretRef` one with the `address` of a proxy (http, https, socks5), and its `username` and
    `password`. `prefix` is what keys begin with. `ignore` has the form of .gitignore.
    """

    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "self.provider == 'aws' || self.provider == 'generic' || !has(self.sts)",
            "STS configuration is only supported for the 'aws' and 'generic' Bucket providers",
        ),
        (
            "self.provider != 'aws' || !has(self.sts) || self.sts.provider == 'aws'",
            "'aws' is the only supported STS provider for the 'aws' Bucket provider",
        ),
        (
            "self.provider != 'generic' || !has(self.sts) || self.sts.provider == 'ldap'",
            "'ldap' is the only supported STS provider for the 'generic' Bucket provider",
        ),
        (
            "!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.secretRef)",
            "spec.sts.secretRef is not required for the 'aws' STS provider",
        ),
        (
            "!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.certSecretRef)",
            "spec.sts.certSecretRef is not required for the 'aws' STS provider",
        ),
        (
            "self.provider != 'generic' || !has(self.serviceAccountName)",
            "ServiceAccountName is not supported for the 'generic' Bucket provider",
        ),
        (
            "!has(self.secretRef) || !has(self.serviceAccountName)",
            "cannot set both .spec.secretRef and .spec.serviceAccountName",
        ),
    )

    bucket_name: str
    endpoint: str
    interval: Duration
    timeout: Annotated[ShortDuration, SERVER_DEFAULT] = "60s"
    provider: Annotated[Literal["generic", "aws", "gcp", "azure"], SERVER_DEFAULT, only("generic", "aws", "gcp")] = (
        "generic"
    )
    region: str = ""
    prefix: str = ""
    secret_ref: LocalReference | None = None
    cert_secret_ref: LocalReference | None = None
    proxy_secret_ref: LocalReference | None = None
    service_account_name: str = ""
    sts: BucketSts | None = None
    insecure: bool = False
    ignore: str | None = None
    suspend: bool = False


class BucketStatus(FluxStatus):
    """What was found: `artifact.revision` is a digest of all keys and their ETags."""

    url: str = ""
    artifact: Artifact | None = None
    observed_ignore: str | None = None


class Bucket(Resource):
    """A bucket of an object store (S3's API) to watch. Kustomizations apply what it holds."""

    KIND: ClassVar[Kind] = Kind("source.toolkit.fluxcd.io", "v1", "Bucket")
    PLURAL: ClassVar[str] = "buckets"
    CATEGORIES: ClassVar[tuple[str, ...]] = ("all", "fluxcd", "fluxcd-sources")
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn("Endpoint", ".spec.endpoint"),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn("Status", '.status.conditions[?(@.type=="Ready")].message'),
    )
    CRD_ANNOTATIONS: ClassVar = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    FINALIZER: ClassVar[str] = FLUX_FINALIZER
    CONTROLLER: ClassVar[str] = "source-controller"
    OWN_CONDITIONS: ClassVar[tuple[str, ...]] = (
        "ArtifactInStorage",
        "ArtifactOutdated",
        "FetchFailed",
        "StorageOperationFailed",
    )

    spec: BucketSpec
    status: Annotated[BucketStatus, NOT_SEEN] = BucketStatus()
