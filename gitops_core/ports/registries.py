"""Registries: artifacts, and the logins of the clouds' own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, NamedTuple, Protocol

from gitops_core.errors import CredentialsInvalid, RegistryUnavailable
from gitops_core.oci.cosign import SignedClaim
from gitops_core.oci.credentials import OPEN, Credentials, RegistryAccess
from gitops_core.oci.references import Repository
from gitops_core.ports.clouds import CloudIdentity


class ArtifactLayer(NamedTuple):
    """One layer of an artifact. `size` is what the manifest says, in bytes."""

    media_type: str
    digest: str
    size: int


class OciArtifact(NamedTuple):
    """What the manifest of an artifact says.

    Attributes:
        annotations: of a size that somebody wrote.
    """

    annotations: Mapping[str, str]
    layers: tuple[ArtifactLayer, ...]


class Artifacts(Protocol):
    """Artifacts in OCI registries, whatever they hold.

    Every method raises RegistryUnavailable (network, time-out, 429, 5xx, an answer that is none) and RegistryDenied.
    The credentials go to the repository's own registry and to the token server that it names, nowhere else.
    """

    async def list_tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        """List every tag. Raises RepositoryUnknown."""
        ...

    async def resolve_digest(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> str:
        """Resolve a tag to the digest of the manifest or index that it names now: one request. Raises ImageUnknown."""
        ...

    async def read_artifact(self, repository: Repository, digest: str, access: RegistryAccess = OPEN) -> OciArtifact:
        """Read the manifest of that digest; of an index, the one for linux/amd64, or the first without a platform.

        Raises:
            ImageUnknown, ImageUnreadable.
        """
        ...

    async def stream_layer(
        self,
        repository: Repository,
        layer: ArtifactLayer,
        take: Callable[[bytes], Awaitable[object]],
        access: RegistryAccess = OPEN,
        *,
        limit: int,
        seconds: float,
    ) -> None:
        """Give the bytes of a layer to `take`, part by part, as they come. Only when this returns are they the layer's:
        what its digest says.

        Args:
            limit: bytes.
            seconds: that it may take.

        Raises:
            ImageUnknown, ImageUnreadable; what `take` raises.
        """
        ...

    async def list_claims(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN
    ) -> tuple[SignedClaim, ...]:
        """List the cosign signatures of `digest`; () for none. Nobody checked them."""
        ...


class NoArtifacts:
    """Implements Artifacts where no registry is asked."""

    async def list_tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        raise _make_unasked(repository)

    async def resolve_digest(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> str:
        raise _make_unasked(repository)

    async def read_artifact(self, repository: Repository, digest: str, access: RegistryAccess = OPEN) -> OciArtifact:
        raise _make_unasked(repository)

    async def stream_layer(
        self,
        repository: Repository,
        layer: ArtifactLayer,
        take: Callable[[bytes], Awaitable[object]],
        access: RegistryAccess = OPEN,
        *,
        limit: int,
        seconds: float,
    ) -> None:
        raise _make_unasked(repository)

    async def list_claims(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN
    ) -> tuple[SignedClaim, ...]:
        raise _make_unasked(repository)


def _make_unasked(repository: Repository) -> RegistryUnavailable:
    return RegistryUnavailable(f"registry {repository.registry} is not asked: this process has no registries")


class CloudLogins(Protocol):
    """The registries of the big clouds, whose passwords are short-lived and made by the cloud's own API."""

    async def login(
        self,
        provider: Literal["aws", "azure", "gcp"],
        repository: Repository,
        identity: CloudIdentity | None = None,
    ) -> Credentials:
        """Return the credentials of a cloud identity (None: this process's own) for the repository's registry, kept
        while they last.

        Raises:
            CredentialsInvalid: the cloud gave none.
            StalledError: the registry is none of this provider's, or the provider's SDK is not installed.
        """
        ...


class NoCloudLogins:
    """Implements CloudLogins where there are none."""

    async def login(
        self,
        provider: Literal["aws", "azure", "gcp"],
        repository: Repository,
        identity: CloudIdentity | None = None,
    ) -> Credentials:
        raise CredentialsInvalid(f"no login of provider {provider!r} is set up for registry {repository.registry}")
