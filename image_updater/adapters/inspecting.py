"""Implements ImageReader: manifests, configurations and signatures, read through the registry client.

    tag ──HEAD──> digest ──GET──> index ──GET──> first platform's manifest ──GET──> its config
                               └> manifest ──GET──> config

What has a digest never changes: an image is read once and remembered, also that it cannot be read. Every body is hashed
and must be what its digest says; a long one is read beside the event loop, and little of it kept. Signatures are looked
for anew after some seconds: they come after their image.

    GET manifests/sha256-<hex>.sig                        cosign 2, by tag
    GET referrers/<digest>, or manifests/sha256-<hex>     cosign 3 and OCI 1.1

Source: https://github.com/opencontainers/image-spec (manifest.md, image-index.md, config.md),
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers,
https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TypeVar

import msgspec

from gitops_core.adapters.oci import FetchedManifest, OciRegistry
from gitops_core.decoding import decode_json
from gitops_core.errors import ImageUnknown, ImageUnreadable, RegistryDenied, RegistryUnavailable, RepositoryUnknown
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.oci.references import DIGEST, Repository
from gitops_core.runtime.sharing.remembered import Kept, Remembered
from image_updater.domain.registry.cosign import SignedClaim, read_bundle
from image_updater.ports import Image

LARGEST_CONFIG = 1 << 20
LARGEST_BUNDLE = 64 << 10
LARGEST_CLAIM = 8 << 10
MOST_CLAIMS = 30
MOST_REFERRERS = 20
MOST_PLATFORMS = 64
MOST_LABELS = 64
MOST_ENTRIES = 500
"""What is kept of an index at each of its ends: images stand at its begin, new referrers at its end."""
LONGEST_LABEL = 1024
MOST_REMEMBERED = 16 << 20
"""Bytes of all remembered images, and as many of all remembered signatures."""
SIGNATURES_LAST = 30.0

INDEXES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
BUNDLE = "application/vnd.dev.sigstore.bundle"
PREDICATE = "dev.sigstore.bundle.predicateType"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
SIGNATURE_ARTIFACTS = frozenset(
    # some registries say the config's type in the place of the artifact's
    {"", "application/vnd.dev.cosign.artifact.sig.v1+json", "application/vnd.oci.empty.v1+json"}
)

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_Body = TypeVar("_Body", bound=msgspec.Struct)
_Asked = tuple[Repository, RegistryAccess, str]  # of whom, as who, and the digest
_OVERHEAD = 1000
"""Bytes that something remembered takes beside its texts, roughly."""


class _Platform(msgspec.Struct):
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


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    size: int = 0
    media_type: str = ""
    artifact_type: str = ""
    platform: _Platform | None = None
    annotations: dict[str, str] | None = None

    def get_annotation(self, name: str) -> str:
        return (self.annotations or {}).get(name, "")


class _Manifest(msgspec.Struct, rename="camel"):
    """A manifest or an index: which one, its media type says, or else what it holds."""

    schema_version: int = 0
    media_type: str = ""
    artifact_type: str = ""
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    annotations: dict[str, str] | None = None

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES or (not self.media_type and self.manifests is not None)


class _Process(msgspec.Struct):
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)


class _Config(_Platform):
    config: _Process | None = None
    created: str | None = None


class RegistryReader:
    """Implements ImageReader. To be closed."""

    def __init__(self, registry: OciRegistry) -> None:
        self._registry, self._compute = registry, registry.compute
        self._images: Remembered[_Asked, Image | str] = Remembered(MOST_REMEMBERED, _weigh_image)
        self._claims: Remembered[_Asked, tuple[SignedClaim, ...]] = Remembered(MOST_REMEMBERED, _weigh_claims)

    async def close(self) -> None:
        await self._images.close()
        await self._claims.close()

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
        async def ask() -> Kept[tuple[SignedClaim, ...]]:
            found = await self._fetch_claims_by_tag(repository, digest, access)
            try:
                found += await self._fetch_claims_referring(repository, digest, access)
            except RegistryDenied:
                if not found:  # else: to pull images is one right, to list what refers to them another one
                    raise
            return Kept(tuple(dict.fromkeys(found)), SIGNATURES_LAST)

        return await self._claims.get((repository, access, digest), ask)

    # images

    async def _read(self, repository: Repository, digest: str, access: RegistryAccess) -> Image:
        top = await self._fetch_manifest(repository, digest, access)
        if not top.is_index:
            config = await self._fetch_config(repository, digest, top, access)
            platforms = [config.name] if config is not None and config.name else []
            return _build_image(digest, platforms, config, top)
        entries = [entry for entry in top.manifests or () if _is_image(entry)]
        if not entries:
            return _build_image(digest, (), None, top)
        first = await self._fetch_manifest(repository, entries[0].digest, access)
        config = None if first.is_index else await self._fetch_config(repository, entries[0].digest, first, access)
        platforms = [entry.platform.name for entry in entries if entry.platform is not None]
        if entries[0].platform is None and config is not None:
            platforms.insert(0, config.name)
        return _build_image(digest, platforms, config, first, top)

    async def _fetch_manifest(self, repository: Repository, digest: str, access: RegistryAccess) -> _Manifest:
        """Fetch a manifest by its digest. Raises ImageUnknown, ImageUnreadable."""
        where = f"{repository}@{digest}"
        if not DIGEST.fullmatch(digest):  # an index may say anything: no tag is looked up in its place
            raise ImageUnreadable(f"{where[:200]!r} is not named by a digest")
        return await self._read_manifest(await self._registry.fetch_manifest(repository, digest, access), where)

    async def _read_manifest(self, fetched: FetchedManifest, where: str) -> _Manifest:
        """Decode a manifest beside the loop. Raises ImageUnreadable."""
        return await self._compute.run(len(fetched.body), _decode_manifest, fetched, where)

    async def _fetch_config(
        self, repository: Repository, digest: str, manifest: _Manifest, access: RegistryAccess
    ) -> _Config | None:
        """Fetch the configuration; None for what is not a container image: a Helm chart, a signature."""
        described = manifest.config
        if described is None or described.media_type not in CONFIGS:
            return None
        body = await self._registry.fetch_blob(repository, described.digest, access, limit=LARGEST_CONFIG)
        return await self._compute.run(len(body), _decode_config, body, f"the config of {repository}@{digest}")

    # signatures

    async def _fetch_claims_by_tag(
        self, repository: Repository, digest: str, access: RegistryAccess
    ) -> list[SignedClaim]:
        tag = f"{digest.replace(':', '-')}.sig"
        try:
            fetched = await self._registry.fetch_manifest(repository, tag, access)
            manifest = await self._read_manifest(fetched, f"{repository}:{tag}")
            return await self._fetch_claims(manifest, repository, access)
        except (ImageUnknown, ImageUnreadable):
            return []

    async def _fetch_claims_referring(
        self, repository: Repository, digest: str, access: RegistryAccess
    ) -> list[SignedClaim]:
        found: list[SignedClaim] = []
        referrers = [entry for entry in await self._list_referrers(repository, digest, access) if _may_sign(entry)]
        for entry in referrers[-MOST_REFERRERS:]:  # the newest: registries append
            try:
                manifest = await self._fetch_manifest(repository, entry.digest, access)
                found += await self._fetch_claims(manifest, repository, access)
            except (ImageUnknown, ImageUnreadable):
                continue
            if len(found) >= MOST_CLAIMS:
                break
        return found[:MOST_CLAIMS]

    async def _list_referrers(self, repository: Repository, digest: str, access: RegistryAccess) -> list[_Descriptor]:
        """Return the referrers of `digest`, from the registry's own list or from the tag that stands for it."""
        try:
            fetched = await self._registry.fetch_referrers(repository, digest, access)
            return (await self._read_manifest(fetched, f"{repository}/referrers/{digest}")).manifests or []
        except (RepositoryUnknown, ImageUnreadable):
            pass
        tag = digest.replace(":", "-")
        try:
            fetched = await self._registry.fetch_manifest(repository, tag, access)
            return (await self._read_manifest(fetched, f"{repository}/manifests/{tag}")).manifests or []
        except (ImageUnknown, ImageUnreadable):
            return []

    async def _fetch_claims(
        self, manifest: _Manifest, repository: Repository, access: RegistryAccess
    ) -> list[SignedClaim]:
        """Return the claims of a size that a signature has: a bundle may also hold a list of all packages."""
        found: list[SignedClaim] = []
        for layer in (manifest.layers or ())[-MOST_CLAIMS:]:  # the newest: cosign appends
            if layer.media_type == SIMPLE_SIGNING and layer.get_annotation(SIGNATURE) and layer.size <= LARGEST_CLAIM:
                payload = await self._registry.fetch_blob(repository, layer.digest, access, limit=LARGEST_CLAIM)
                found += _make_claims(payload, layer.get_annotation(SIGNATURE))
            elif layer.media_type.startswith(BUNDLE) and layer.size <= LARGEST_BUNDLE:
                body = await self._registry.fetch_blob(repository, layer.digest, access, limit=LARGEST_BUNDLE)
                found += read_bundle(body)
        return [claim for claim in found if len(claim.payload) + len(claim.signature) <= 2 * LARGEST_CLAIM]


def _make_claims(payload: bytes, signature: str) -> Iterator[SignedClaim]:
    try:
        yield SignedClaim(payload, base64.b64decode(signature, validate=True))
    except (binascii.Error, ValueError):
        return


def _is_image(entry: _Descriptor) -> bool:
    """Tell whether an index's entry is a platform's image: build attestations are entries, too."""
    if entry.get_annotation("vnd.docker.reference.type"):
        return False
    return entry.platform is None or bool(entry.platform.name)


def _may_sign(entry: _Descriptor) -> bool:
    if entry.get_annotation(PREDICATE) not in ("", SIGN_PREDICATE):
        return False
    return entry.artifact_type in SIGNATURE_ARTIFACTS or entry.artifact_type.startswith(BUNDLE)


def _build_image(digest: str, platforms: Iterable[str], config: _Config | None, *manifests: _Manifest) -> Image:
    """Build the image from its parts. Of `manifests` a later one's annotations win."""
    process = config.config if config is not None else None
    labels = dict((process.labels if process is not None else None) or {})
    for manifest in manifests:
        labels |= manifest.annotations or {}
    return Image(
        digest=digest,
        platforms=tuple(dict.fromkeys(filter(None, platforms)))[:MOST_PLATFORMS],
        labels=_limit_labels(labels),
        created=_parse_moment(config.created if config is not None else None),
    )


def _limit_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Keep the labels of a size that somebody wrote; the standard ones first when there are too many."""
    names = sorted(labels, key=lambda name: (not name.startswith("org.opencontainers."), name))
    short = (name for name in names if len(name) <= LONGEST_LABEL and len(labels[name]) <= LONGEST_LABEL)
    return {name: labels[name] for _, name in zip(range(MOST_LABELS), short, strict=False)}


def _parse_moment(text: str | None) -> datetime | None:
    """Parse a moment; None for a text that is not one, or the year 1 that reproducible builds write."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and moment.year > 1 else None


def _decode_config(body: bytes, where: str) -> _Config:
    """Decode a configuration with no more labels than are kept. Raises ImageUnreadable."""
    config = _decode(body, _Config, where)
    if config.config is not None:
        config.config.labels = _limit_labels(config.config.labels or {})
    return config


def _decode_manifest(fetched: FetchedManifest, where: str) -> _Manifest:
    """Decode a manifest with no more annotations and entries than are kept. Raises ImageUnreadable."""
    manifest = _decode(fetched.body, _Manifest, where)
    if manifest.schema_version == 1:
        raise ImageUnreadable(f"{where} is an image of the obsolete format schema 1; push it again with a current tool")
    if not manifest.media_type:
        manifest.media_type = fetched.media_type
    if manifest.manifests is None and manifest.config is None and manifest.layers is None:
        raise ImageUnreadable(f"{where} is neither an image manifest nor an index")
    manifest.annotations = _limit_labels(manifest.annotations or {})
    if manifest.manifests is not None and len(manifest.manifests) > 2 * MOST_ENTRIES:
        manifest.manifests = manifest.manifests[:MOST_ENTRIES] + manifest.manifests[-MOST_ENTRIES:]
    return manifest


def _decode(body: bytes, type_: type[_Body], where: str) -> _Body:
    try:
        return decode_json(body, type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ImageUnreadable(f"{where} is not what the image specification says") from None


def _weigh_image(image: Image | str) -> int:
    """Return about how many bytes it takes in memory, be it an image or why it cannot be read."""
    if isinstance(image, str):
        return _OVERHEAD + sys.getsizeof(image)
    texts = (image.digest, *image.platforms, *image.labels, *image.labels.values())
    return _OVERHEAD + sum(map(sys.getsizeof, texts))


def _weigh_claims(claims: tuple[SignedClaim, ...]) -> int:
    return _OVERHEAD + sum(sys.getsizeof(part) for claim in claims for part in claim)
