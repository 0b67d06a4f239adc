"""The cosign signatures of an artifact, as far as they can be checked: by tag, and by what refers to it.

    GET manifests/sha256-<hex>.sig                        cosign 2, by tag
    GET referrers/<digest>, or manifests/sha256-<hex>     cosign 3 and OCI 1.1

They are looked for anew after some seconds: they come after what they sign.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers,
https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md.
"""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Iterator

from gitops_core.adapters.oci.manifests import Descriptor, OciManifest, fetch_by_digest, read_manifest
from gitops_core.adapters.oci.registry import OciRegistry
from gitops_core.errors import ImageUnknown, ImageUnreadable, RegistryDenied, RepositoryUnknown
from gitops_core.oci.cosign import SIGN_PREDICATE, SignedClaim, read_bundle
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.oci.references import Repository
from gitops_core.runtime.sharing.remembered import Kept, Remembered

LARGEST_BUNDLE = 64 << 10
LARGEST_CLAIM = 8 << 10
MOST_CLAIMS = 30
MOST_REFERRERS = 20
MOST_REMEMBERED = 16 << 20
"""Bytes of all remembered signatures."""
SIGNATURES_LAST = 30.0

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
BUNDLE = "application/vnd.dev.sigstore.bundle"
PREDICATE = "dev.sigstore.bundle.predicateType"
SIGNATURE_ARTIFACTS = frozenset(
    # some registries say the config's type in the place of the artifact's
    {"", "application/vnd.dev.cosign.artifact.sig.v1+json", "application/vnd.oci.empty.v1+json"}
)

_Asked = tuple[Repository, RegistryAccess, str]  # of whom, as who, and the digest
_OVERHEAD = 1000
"""Bytes that something remembered takes beside its texts, roughly."""


class Signatures:
    """Reads signatures through the registry client. To be closed."""

    def __init__(self, registry: OciRegistry) -> None:
        self._registry = registry
        self._claims: Remembered[_Asked, tuple[SignedClaim, ...]] = Remembered(MOST_REMEMBERED, _weigh_claims)

    async def close(self) -> None:
        await self._claims.close()

    async def list_claims(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN
    ) -> tuple[SignedClaim, ...]:
        """List the cosign signatures of `digest`; () for none. Nobody checked them."""

        async def ask() -> Kept[tuple[SignedClaim, ...]]:
            found = await self._fetch_claims_by_tag(repository, digest, access)
            try:
                found += await self._fetch_claims_referring(repository, digest, access)
            except RegistryDenied:
                if not found:  # else: to pull images is one right, to list what refers to them another one
                    raise
            return Kept(tuple(dict.fromkeys(found)), SIGNATURES_LAST)

        return await self._claims.get((repository, access, digest), ask)

    async def _fetch_claims_by_tag(
        self, repository: Repository, digest: str, access: RegistryAccess
    ) -> list[SignedClaim]:
        tag = f"{digest.replace(':', '-')}.sig"
        try:
            fetched = await self._registry.fetch_manifest(repository, tag, access)
            manifest = await read_manifest(self._registry, fetched, f"{repository}:{tag}")
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
                manifest = await fetch_by_digest(self._registry, repository, entry.digest, access)
                found += await self._fetch_claims(manifest, repository, access)
            except (ImageUnknown, ImageUnreadable):
                continue
            if len(found) >= MOST_CLAIMS:
                break
        return found[:MOST_CLAIMS]

    async def _list_referrers(self, repository: Repository, digest: str, access: RegistryAccess) -> list[Descriptor]:
        """Return the referrers of `digest`, from the registry's own list or from the tag that stands for it."""
        try:
            fetched = await self._registry.fetch_referrers(repository, digest, access)
            return (await read_manifest(self._registry, fetched, f"{repository}/referrers/{digest}")).manifests or []
        except (RepositoryUnknown, ImageUnreadable):
            pass
        tag = digest.replace(":", "-")
        try:
            fetched = await self._registry.fetch_manifest(repository, tag, access)
            return (await read_manifest(self._registry, fetched, f"{repository}/manifests/{tag}")).manifests or []
        except (ImageUnknown, ImageUnreadable):
            return []

    async def _fetch_claims(
        self, manifest: OciManifest, repository: Repository, access: RegistryAccess
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


def _may_sign(entry: Descriptor) -> bool:
    if entry.get_annotation(PREDICATE) not in ("", SIGN_PREDICATE):
        return False
    return entry.artifact_type in SIGNATURE_ARTIFACTS or entry.artifact_type.startswith(BUNDLE)


def _weigh_claims(claims: tuple[SignedClaim, ...]) -> int:
    return _OVERHEAD + sum(sys.getsizeof(part) for claim in claims for part in claim)
