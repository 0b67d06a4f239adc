"""Manifests and indexes as registries send them: decoded beside the event loop, with no more of them than is kept.

Source: https://github.com/opencontainers/image-spec (manifest.md, image-index.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from gitops_core.adapters.oci.registry import FetchedManifest, OciRegistry
from gitops_core.decoding import decode_json
from gitops_core.errors import ImageUnreadable
from gitops_core.oci.credentials import RegistryAccess
from gitops_core.oci.references import DIGEST, Repository

MOST_LABELS = 64
MOST_ENTRIES = 500
"""What is kept of an index at each of its ends: images stand at its begin, new referrers at its end."""
LONGEST_LABEL = 1024

INDEXES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_Body = TypeVar("_Body", bound=msgspec.Struct)


class Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""

    @property
    def name(self) -> str:
        """`linux/arm/v7`, or "" for none: attestations are of platform unknown/unknown."""
        parts = [self.os, self.architecture, *([self.variant] if self.variant else [])]
        if "unknown" in parts or not all(map(_WORD.fullmatch, parts)):
            return ""
        return "/".join(parts)


class Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    size: int = 0
    media_type: str = ""
    artifact_type: str = ""
    platform: Platform | None = None
    annotations: dict[str, str] | None = None

    def get_annotation(self, name: str) -> str:
        return (self.annotations or {}).get(name, "")


class OciManifest(msgspec.Struct, rename="camel"):
    """A manifest or an index: which one, its media type says, or else what it holds."""

    schema_version: int = 0
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    annotations: dict[str, str] | None = None

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES or (not self.media_type and self.manifests is not None)


async def fetch_by_digest(
    registry: OciRegistry, repository: Repository, digest: str, access: RegistryAccess
) -> OciManifest:
    """Fetch the manifest of that digest. Raises RegistryError; ImageUnknown, ImageUnreadable."""
    where = f"{repository}@{digest}"
    if not DIGEST.fullmatch(digest):  # an index may say anything: no tag is looked up in its place
        raise ImageUnreadable(f"{where[:200]!r} is not named by a digest")
    return await read_manifest(registry, await registry.fetch_manifest(repository, digest, access), where)


async def read_manifest(registry: OciRegistry, fetched: FetchedManifest, where: str) -> OciManifest:
    """Decode a manifest beside the loop. Raises ImageUnreadable."""
    return await registry.compute.run(len(fetched.body), _decode_manifest, fetched, where)


def limit_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Keep the labels of a size that somebody wrote; the standard ones first when there are too many."""
    names = sorted(labels, key=lambda name: (not name.startswith("org.opencontainers."), name))
    short = (name for name in names if len(name) <= LONGEST_LABEL and len(labels[name]) <= LONGEST_LABEL)
    return {name: labels[name] for _, name in zip(range(MOST_LABELS), short, strict=False)}


def decode_body(body: bytes, type_: type[_Body], where: str) -> _Body:
    """Decode what the image specification says. Raises ImageUnreadable."""
    try:
        return decode_json(body, type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ImageUnreadable(f"{where} is not what the image specification says") from None


def _decode_manifest(fetched: FetchedManifest, where: str) -> OciManifest:
    """Decode a manifest with no more annotations and entries than are kept. Raises ImageUnreadable."""
    manifest = decode_body(fetched.body, OciManifest, where)
    if manifest.schema_version == 1:
        raise ImageUnreadable(f"{where} is an image of the obsolete format schema 1; push it again with a current tool")
    if not manifest.media_type:
        manifest.media_type = fetched.media_type
    if manifest.manifests is None and manifest.config is None and manifest.layers is None:
        raise ImageUnreadable(f"{where} is neither an image manifest nor an index")
    manifest.annotations = limit_labels(manifest.annotations or {})
    if manifest.manifests is not None and len(manifest.manifests) > 2 * MOST_ENTRIES:
        manifest.manifests = manifest.manifests[:MOST_ENTRIES] + manifest.manifests[-MOST_ENTRIES:]
    return manifest
