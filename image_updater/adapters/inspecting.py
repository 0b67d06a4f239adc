"""Implements ImageReader: manifests, configurations and signatures, read through the registry client.

    tag ──HEAD──> digest ──GET──> index ──GET──> first platform's manifest ──GET──> its config
                               └> manifest ──GET──> config

What has a digest never changes: an image is read once and remembered, also that it cannot be read. Every body is hashed
and must be what its digest says; a long one is read beside the event loop, and little of it kept.

Source: https://github.com/opencontainers/image-spec (manifest.md, image-index.md, config.md).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime

import msgspec

from gitops_core.adapters.oci import (
    Descriptor,
    OciManifest,
    OciRegistry,
    Platform,
    Signatures,
    decode_body,
    fetch_by_digest,
    limit_labels,
)
from gitops_core.errors import ImageUnreadable, RegistryUnavailable
from gitops_core.oci.cosign import SignedClaim
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.oci.references import DIGEST, Repository
from gitops_core.runtime.sharing.remembered import Kept, Remembered
from image_updater.ports import Image

LARGEST_CONFIG = 1 << 20
MOST_PLATFORMS = 64
MOST_REMEMBERED = 16 << 20
"""Bytes of all remembered images."""

CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)

_Asked = tuple[Repository, RegistryAccess, str]  # of whom, as who, and the digest
_OVERHEAD = 1000
"""Bytes that something remembered takes beside its texts, roughly."""


class _Process(msgspec.Struct):
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)


class _Config(Platform):
    config: _Process | None = None
    created: str | None = None


class RegistryReader:
    """Implements ImageReader. To be closed."""

    def __init__(self, registry: OciRegistry) -> None:
        self._registry, self._compute = registry, registry.compute
        self._images: Remembered[_Asked, Image | str] = Remembered(MOST_REMEMBERED, _weigh_image)
        self._signatures = Signatures(registry)

    async def close(self) -> None:
        await self._images.close()
        await self._signatures.close()

    async def read_image(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> Image:
        digest = reference if ":" in reference else await self._registry.resolve_digest(repository, reference, access)
        if not DIGEST.fullmatch(digest):
            raise RegistryUnavailable(f"{repository} has no usable digest for {reference!r}")

        async def ask() -> Kept[Image | str]:
            try:
                return Kept(await self._read(repository, digest, access))
            except ImageUnreadable as error:
                return Kept(str(error))

        # who asks is part of the key: what one account may read, another one is not told
        found = await self._images.get((repository, access, digest), ask)
        if isinstance(found, str):
            raise ImageUnreadable(found)
        return found

    async def list_claims(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN
    ) -> tuple[SignedClaim, ...]:
        return await self._signatures.list_claims(repository, digest, access)

    async def _read(self, repository: Repository, digest: str, access: RegistryAccess) -> Image:
        top = await fetch_by_digest(self._registry, repository, digest, access)
        if not top.is_index:
            config = await self._fetch_config(repository, digest, top, access)
            platforms = [config.name] if config is not None and config.name else []
            return _build_image(digest, platforms, config, top)
        entries = [entry for entry in top.manifests or () if _is_image(entry)]
        if not entries:
            return _build_image(digest, (), None, top)
        first = await fetch_by_digest(self._registry, repository, entries[0].digest, access)
        config = None if first.is_index else await self._fetch_config(repository, entries[0].digest, first, access)
        platforms = [entry.platform.name for entry in entries if entry.platform is not None]
        if entries[0].platform is None and config is not None:
            platforms.insert(0, config.name)
        return _build_image(digest, platforms, config, first, top)

    async def _fetch_config(
        self, repository: Repository, digest: str, manifest: OciManifest, access: RegistryAccess
    ) -> _Config | None:
        """Fetch the configuration; None for what is not a container image: a Helm chart, a signature."""
        described = manifest.config
        if described is None or described.media_type not in CONFIGS:
            return None
        body = await self._registry.fetch_blob(repository, described.digest, access, limit=LARGEST_CONFIG)
        return await self._compute.run(len(body), _decode_config, body, f"the config of {repository}@{digest}")


def _is_image(entry: Descriptor) -> bool:
    """Tell whether an index's entry is a platform's image: build attestations are entries, too."""
    if entry.get_annotation("vnd.docker.reference.type"):
        return False
    return entry.platform is None or bool(entry.platform.name)


def _build_image(digest: str, platforms: Iterable[str], config: _Config | None, *manifests: OciManifest) -> Image:
    """Build the image from its parts. Of `manifests` a later one's annotations win."""
    process = config.config if config is not None else None
    labels = dict((process.labels if process is not None else None) or {})
    for manifest in manifests:
        labels |= manifest.annotations or {}
    return Image(
        digest=digest,
        platforms=tuple(dict.fromkeys(filter(None, platforms)))[:MOST_PLATFORMS],
        labels=limit_labels(labels),
        created=_parse_moment(config.created if config is not None else None),
    )


def _parse_moment(text: str | None) -> datetime | None:
    """Parse a moment; None for a text that is not one, or the year 1 that reproducible builds write."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and moment.year > 1 else None


def _decode_config(body: bytes, where: str) -> _Config:
    """Decode a configuration with no more labels than are kept. Raises ImageUnreadable."""
    config = decode_body(body, _Config, where)
    if config.config is not None:
        config.config.labels = limit_labels(config.config.labels or {})
    return config


def _weigh_image(image: Image | str) -> int:
    """Return about how many bytes it takes in memory, be it an image or why it cannot be read."""
    if isinstance(image, str):
        return _OVERHEAD + sys.getsizeof(image)
    texts = (image.digest, *image.platforms, *image.labels, *image.labels.values())
    return _OVERHEAD + sum(map(sys.getsizeof, texts))
