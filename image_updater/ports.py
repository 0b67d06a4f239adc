"""What image_updater needs from the world beside the platform's ports.

A contract test in tests/contracts/ states what every implementation does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from gitops_core.meta import Manifest
from gitops_core.oci.cosign import SignedClaim as SignedClaim  # of ImageReader
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.oci.references import Repository
from gitops_core.ports import GitAccess
from image_updater.domain.forges.pullrequests import PullRequest as PullRequest
from image_updater.domain.tags.history import SeenTag as SeenTag  # of TagCatalog
from image_updater.domain.tags.history import TagEvent as TagEvent


class Image(NamedTuple):
    """What a registry says of one image.

    Attributes:
        digest: of the manifest; of a multi-platform image: of its index.
        platforms: `linux/amd64`, `linux/arm/v7`, in the index's order; of a single manifest: its config's.
        labels: of the (first platform's) config, and the manifest's annotations, which win.
        created: what the config says, which its maker chose.
    """

    digest: str
    platforms: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    created: datetime | None = None


class Registry(Protocol):
    """Image registries, by their name.

    Every method raises RegistryUnavailable (network, time-out, 429, 5xx, an answer that is none) and RegistryDenied.
    The credentials go to the repository's own registry and to the token server that it names, nowhere else.
    """

    async def list_tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        """List every tag, from all pages, in the registry's order, each once. May be cancelled.

        Who asks while the same listing is under way gets its result.

        Raises:
            RepositoryUnknown.
        """
        ...

    async def resolve_digest(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> str:
        """Resolve a tag or digest to that of the manifest (of a multi-platform image: of its index) that it names now.

        Raises:
            ImageUnknown: the repository has no such tag, or there is no such repository.
        """
        ...


class ImageReader(Protocol):
    """What is known of one image beyond its name. Every method raises RegistryUnavailable and RegistryDenied."""

    async def read_image(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> Image:
        """Read the image that a tag or digest names.

        Raises:
            ImageUnknown.
            ImageUnreadable: it is of an obsolete kind, larger than anything real, or no image at all.
        """
        ...

    async def list_claims(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN
    ) -> tuple[SignedClaim, ...]:
        """List the cosign signatures of `digest` (by referrers, or the tag `sha256-<hex>.sig`); () for none."""
        ...


class TagCatalog(Protocol):
    """The tags of every repository by its canonical name, as the last listing had them, and their history.

    It may be lost: then repositories are listed again, and `restore` brings the times back from the cluster.
    """

    async def list_repositories(self) -> tuple[str, ...]:
        """List the names of all repositories that something is remembered of, sorted."""
        ...

    async def list_tags(self, repository: str) -> tuple[str, ...] | None:
        """List the tags in descending byte order; None when the repository was never listed."""
        ...

    async def list_seen(self, repository: str) -> tuple[SeenTag, ...]:
        """List the tags with their times, in the same order."""
        ...

    async def find_listing_begin(self, repository: str, identity: str) -> datetime | None:
        """Find when the last listing began that was made with this identity (`identify_access`)."""
        ...

    async def find_newest_listing(self, repository: str) -> datetime | None:
        """Find when the newest listing of the repository was answered; None when it was never listed."""
        ...

    async def store(
        self, repository: str, tags: Iterable[str], now: datetime, identity: str = "", began: datetime | None = None
    ) -> bool:
        """Record that the repository has exactly these tags; return whether that is news. A known tag keeps its time.

        Also one that was away for at most `AWAY`: a registry that leaves tags out of one listing resets no age.

        Args:
            began: when they were asked for (None: now): what was pushed later may be missing.

        Raises:
            CatalogUnavailable: it cannot be written, or was lost just now: look whether the repository is known still.
        """
        ...

    async def observe(self, repository: str, tag: str, digest: str, now: datetime) -> str:
        """Record that the tag, which may be new, names `digest`; return the other digest that it named before, or "".

        Of a repository that was never listed it is only remembered. Raises CatalogUnavailable.

        Args:
            digest: "" when it is not known: the tag is there.
        """
        ...

    async def list_events(self, repository: str) -> tuple[TagEvent, ...]:
        """List the events, oldest first: of very many the newest."""
        ...

    async def restore(self, repository: str, seen: Iterable[SeenTag]) -> None:
        """Add times from before the catalog was lost: the older of two times stays; no tag is listed by this.

        Raises CatalogUnavailable.
        """
        ...

    async def forget(self, repository: str) -> None: ...


# Workloads


class HealthRule(Protocol):
    """Whether an object has become what its spec says, as the kernel judges it (gitops_core.domain.health.kstatus)."""

    def __call__(self, live: Manifest | None, now: datetime) -> tuple[str, str]:
        """Return Current, InProgress, Failed, Terminating or NotFound, and why."""
        ...


# Forges


class Forge(Protocol):
    """The pull requests of one repository. Every method raises ForgeUnavailable and ForgeDenied."""

    async def find(self, head: str, base: str) -> tuple[PullRequest, ...]:
        """Return pull requests from the repository's own branch `head` into `base` ("": any): the 100 newest, newest
        first.

        Also closed ones. How far back closed ones are looked for is the forge's matter.
        """
        ...

    async def open(self, head: str, base: str, title: str, body: str, labels: Iterable[str] = ()) -> PullRequest:
        """Open a pull request, or return the one that is open already, as it is. A label that the repository does not
        have is no reason to fail.
        """
        ...

    async def update(self, number: int, title: str, body: str) -> None: ...

    async def close(self, number: int, comment: str) -> None:
        """Say why, and close it without merging."""
        ...


@dataclass(frozen=True)
class ForgeAddress:
    """Which forge, and which repository of it.

    Attributes:
        kind: gitea serves Forgejo, too.
        url: the repository's clone URL.
        api: the API's base URL where it does not follow from `url`.
    """

    kind: Literal["gitea", "github", "gitlab"]
    url: str
    api: str = ""
    access: GitAccess = field(default=GitAccess())


class Forges(Protocol):
    def make_forge(self, address: ForgeAddress) -> Forge:
        """Make a handle; nothing is sent yet. Raises StalledError: the URL names no repository of such a forge."""
        ...
