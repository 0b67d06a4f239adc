"""Registries in memory: pure asyncio, with faults on demand. Passes the contract of the real client."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from gitops_core.errors import ImageUnknown, RegistryDenied, RepositoryUnknown
from gitops_core.oci.credentials import OPEN, Credentials, RegistryAccess
from gitops_core.oci.references import Repository
from image_updater.adapters.images import RegistryImages
from image_updater.domain.registry.references import parse_repository
from image_updater.ports import Image, SignedClaim

Fault = Callable[[str], Awaitable[None]]
"""(deed) -> may sleep or raise."""


async def no_fault(deed: str) -> None:
    """Do nothing: everything works, at once."""


class FakeRegistry:
    """Implements image_updater.ports.Registry and ImageReader, for every registry there is.

    Attributes:
        account: user name and password that are needed, or None.
        fault: awaited at the beginning of every request.
        requests: how many there were.
    """

    def __init__(self) -> None:
        self._tags: dict[str, dict[str, str]] = {}
        self._images: dict[tuple[str, str], Image] = {}
        self._claims: dict[tuple[str, str], list[SignedClaim]] = {}
        self.account: tuple[str, str] | None = None
        self.fault: Fault = no_fault
        self.requests = 0

    def push(self, image: str, tag: str, content: str = "", digest: str = "") -> str:
        """Push a new image (with other `content`: another one), or one with this digest; return its digest."""
        canonical = str(parse_repository(image))
        tags = self._tags.setdefault(canonical, {})
        tags[tag] = digest or _digest(f"{canonical}:{tag}:{content or len(tags)}")
        return tags[tag]

    def describe(
        self,
        image: str,
        digest: str,
        *,
        platforms: tuple[str, ...] = ("linux/amd64",),
        labels: Mapping[str, str] | None = None,
        created: datetime | None = None,
    ) -> None:
        """Say what the image that was pushed as `digest` is."""
        key = str(parse_repository(image)), digest
        self._images[key] = Image(digest, platforms, dict(labels or {}), created)

    def sign(self, image: str, digest: str, claim: SignedClaim) -> None:
        """Attach a signature, good or bad."""
        self._claims.setdefault((str(parse_repository(image)), digest), []).append(claim)

    def remove(self, image: str, tag: str) -> None:
        """Remove a tag. Raises KeyError."""
        del self._tags[str(parse_repository(image))][tag]

    def images(self) -> RegistryImages:
        """Return what the embedded cluster's workloads ask."""
        return RegistryImages(self)

    async def list_tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        await self._begin("tags", repository, access.credentials)
        found = self._tags.get(str(repository))
        if found is None:
            raise RepositoryUnknown(f"GET {repository}: NAME_UNKNOWN: repository name not known to registry")
        return tuple(sorted(found))

    async def resolve_digest(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> str:
        await self._begin("digest", repository, access.credentials)
        tags = self._tags.get(str(repository), {})
        digest = tags.get(reference, reference)
        if digest not in tags.values():
            raise ImageUnknown(f"HEAD {repository}:{reference}: MANIFEST_UNKNOWN: manifest unknown")
        return digest

    async def read_image(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> Image:
        digest = await self.resolve_digest(repository, reference, access)
        return self._images.get((str(repository), digest), Image(digest, ("linux/amd64",)))

    async def list_claims(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN
    ) -> tuple[SignedClaim, ...]:
        await self._begin("claims", repository, access.credentials)
        return tuple(self._claims.get((str(repository), digest), ()))

    async def _begin(self, deed: str, repository: Repository, credentials: Credentials) -> None:
        self.requests += 1
        await asyncio.sleep(0)
        await self.fault(deed)
        if self.account is not None:
            given = credentials.password.reveal_text() if credentials.password is not None else ""
            if (credentials.username, given) != self.account:
                raise RegistryDenied(f"{deed} {repository}: UNAUTHORIZED: authentication required")


def _digest(content: str) -> str:
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
