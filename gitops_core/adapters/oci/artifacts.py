"""Implements Artifacts through the registry client: what a manifest says, and its layers as they come.

    digest ──GET──> index ──GET──> the manifest for linux/amd64 ──> layers, annotations
                └> manifest ──> layers, annotations

Source: https://github.com/opencontainers/image-spec; go-containerregistry, pkg/v1/remote/index.go (which entry of an
index is taken: without a platform it is for any).
"""

from __future__ import annotations

from gitops_core.adapters.oci.manifests import Descriptor, OciManifest, fetch_by_digest
from gitops_core.adapters.oci.registry import OciRegistry
from gitops_core.adapters.oci.signatures import Signatures
from gitops_core.adapters.oci.transport import Take
from gitops_core.errors import ImageUnreadable
from gitops_core.oci.cosign import SignedClaim
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.oci.references import Repository
from gitops_core.ports import ArtifactLayer, OciArtifact

MOST_LAYERS = 500
DEEPEST = 3
"""Indexes within indexes."""
PLATFORM = ("linux", "amd64")


class RegistryArtifacts:
    """Implements Artifacts. To be closed."""

    def __init__(self, registry: OciRegistry) -> None:
        self._registry, self._signatures = registry, Signatures(registry)

    async def close(self) -> None:
        await self._signatures.close()

    async def list_tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        return await self._registry.list_tags(repository, access)

    async def resolve_digest(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> str:
        return await self._registry.resolve_digest(repository, reference, access)

    async def read_artifact(self, repository: Repository, digest: str, access: RegistryAccess = OPEN) -> OciArtifact:
        where, found = f"{repository}@{digest}", await fetch_by_digest(self._registry, repository, digest, access)
        for _ in range(DEEPEST):
            if not found.is_index:
                return _make_artifact(found)
            chosen = _choose_entry(found)
            if chosen is None:
                raise ImageUnreadable(f"no child with platform {'/'.join(PLATFORM)} in index {where}")
            found = await fetch_by_digest(self._registry, repository, chosen.digest, access)
        raise ImageUnreadable(f"{where} is an index of indexes, more than {DEEPEST} deep")

    async def stream_layer(
        self,
        repository: Repository,
        layer: ArtifactLayer,
        take: Take,
        access: RegistryAccess = OPEN,
        *,
        limit: int,
        seconds: float,
    ) -> None:
        await self._registry.stream_blob(repository, layer.digest, take, access, limit=limit, seconds=seconds)

    async def list_claims(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN
    ) -> tuple[SignedClaim, ...]:
        return await self._signatures.list_claims(repository, digest, access)


def _choose_entry(index: OciManifest) -> Descriptor | None:
    for entry in index.manifests or ():
        if entry.platform is None or (entry.platform.os, entry.platform.architecture) == PLATFORM:
            return entry
    return None


def _make_artifact(manifest: OciManifest) -> OciArtifact:
    layers = (ArtifactLayer(each.media_type, each.digest, each.size) for each in (manifest.layers or ())[:MOST_LAYERS])
    return OciArtifact(manifest.annotations or {}, tuple(layers))
