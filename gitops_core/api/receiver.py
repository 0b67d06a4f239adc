"""Receiver: an address that a registry or a forge calls when something was pushed.

Source: github.com/fluxcd/notification-controller, api/v1.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from gitops_core.api.fields import FLUX_FINALIZER, Duration, FluxStatus, LocalReference
from gitops_core.meta import Kind, PrinterColumn, Resource, Wire
from gitops_core.schema import NOT_SEEN, SERVER_DEFAULT, UNSUPPORTED, only

ReceiverType = Literal[
    "generic",
    "generic-hmac",
    "generic-oidc",
    "github",
    "gitlab",
    "bitbucket",
    "harbor",
    "dockerhub",
    "quay",
    "gcr",
    "nexus",
    "acr",
    "cdevents",
]
ReceiverKind = Literal[
    "Bucket",
    "GitRepository",
    "Kustomization",
    "HelmRelease",
    "HelmChart",
    "HelmRepository",
    "ImageRepository",
    "ImagePolicy",
    "ImageUpdateAutomation",
    "OCIRepository",
    "ArtifactGenerator",
    "ExternalArtifact",
]
ObjectName = Annotated[str, msgspec.Meta(min_length=1, max_length=53)]


class ReceiverResource(Wire):
    """An object to wake; `*` with `matchLabels` stands for all of the kind that have these labels."""

    kind: ReceiverKind
    name: ObjectName
    api_version: str = ""
    namespace: Annotated[str, msgspec.Meta(max_length=53)] = ""
    match_labels: dict[str, str] = {}
    filter: Annotated[str, UNSUPPORTED] = ""


class OidcVariable(Wire):
    """A named CEL expression over a token's claims."""

    name: str
    expression: str


class OidcValidation(Wire):
    """A CEL expression that must hold of a token's claims, and what is answered when it does not."""

    expression: str
    message: str


class OidcProvider(Wire):
    """Who may issue tokens that requests are let in by, and what must hold of them."""

    issuer_url: Annotated[str, msgspec.Meta(pattern="^https?://")] = msgspec.field(name="issuerURL")
    validations: Annotated[tuple[OidcValidation, ...], msgspec.Meta(min_length=1)]
    audience: str = ""
    variables: tuple[OidcVariable, ...] = ()


class ReceiverSpec(Wire):
    """Who calls, how that is proven, and which objects are woken.

    `secretRef` names a Secret with `token`: the address is made of it, and signatures are checked with it. Of `events`
    only those named are acted on; none means all. An ImageRepository is told the tag that was pushed, when the caller
    says it; everything else is asked to look again.
    """

    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "self.type != 'generic-oidc' || (has(self.oidcProviders) && size(self.oidcProviders) > 0)",
            "generic-oidc receivers must define at least one oidcProvider",
        ),
        (
            "self.type == 'generic-oidc' || !has(self.oidcProviders) || size(self.oidcProviders) == 0",
            "oidcProviders can only be set when type is generic-oidc",
        ),
        (
            "self.type == 'generic-oidc' || has(self.secretRef)",
            "secretRef is required when type is not generic-oidc",
        ),
    )

    type: Annotated[ReceiverType, only("generic", "generic-hmac", "github", "harbor", "dockerhub", "quay", "acr")]
    resources: tuple[ReceiverResource, ...]
    interval: Annotated[Duration, SERVER_DEFAULT] = "10m"
    events: tuple[str, ...] = ()
    resource_filter: Annotated[str, UNSUPPORTED] = ""
    secret_ref: LocalReference | None = None
    oidc_providers: Annotated[tuple[OidcProvider, ...], UNSUPPORTED] = ()
    suspend: bool = False


class ReceiverStatus(FluxStatus):
    """The path to call: `/hook/` and the SHA-256 of token, name and namespace."""

    webhook_path: str = ""


class Receiver(Resource):
    """An address for webhooks: what is pushed there wakes the objects that it names."""

    KIND: ClassVar[Kind] = Kind("notification.toolkit.fluxcd.io", "v1", "Receiver")
    PLURAL: ClassVar[str] = "receivers"
    CATEGORIES: ClassVar[tuple[str, ...]] = ("all", "fluxcd", "fluxcd-notifications")
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn("Status", '.status.conditions[?(@.type=="Ready")].message'),
    )
    FINALIZER: ClassVar[str] = FLUX_FINALIZER
    CONTROLLER: ClassVar[str] = "notification-controller"

    spec: ReceiverSpec
    status: Annotated[ReceiverStatus, NOT_SEEN] = ReceiverStatus()
