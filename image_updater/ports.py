"""What image_updater needs from the world beside the platform's ports.

A contract test in tests/contracts/test_registry.py states what every implementation does.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, Protocol

from image_updater.domain.credentials import ANONYMOUS, Credentials
from image_updater.domain.references import Repository


class Registry(Protocol):
    """Image registries, by their name.

    Every method raises RegistryUnavailable (network, time-out, 429, 5xx, an answer that is none) and RegistryDenied.
    The credentials go to the repository's own registry and to the token server that it names, nowhere else.
    """

    async def tags(self, repository: Repository, credentials: Credentials = ANONYMOUS) -> tuple[str, ...]:
        """Every tag, from all pages, in the registry's order, each once. May be cancelled.

        Raises:
            RepositoryUnknown.
        """
        ...

    async def digest(self, repository: Repository, reference: str, credentials: Credentials = ANONYMOUS) -> str:
        """The digest of the manifest (of a multi-platform image: of its index) that a tag or digest names now.

        Raises:
            ImageUnknown: the repository has no such tag, or there is no such repository.
        """
        ...


class SeenTag(NamedTuple):
    """A tag and when a listing had it for the first time."""

    tag: str
    first_seen: datetime


class TagCatalog(Protocol):
    """The tags of every repository by its canonical name, as the last listing had them.

    It may be lost: then repositories are listed again.
    """

    async def tags(self, repository: str) -> tuple[str, ...] | None:
        """In descending byte order; None when the repository was never listed."""
        ...

    async def seen(self, repository: str) -> tuple[SeenTag, ...]:
        """The same with times, in the same order."""
        ...

    async def store(self, repository: str, tags: Iterable[str], now: datetime) -> None:
        """The repository has exactly these tags now. A tag that it had before keeps its time."""
        ...

    async def forget(self, repository: str) -> None: ...
