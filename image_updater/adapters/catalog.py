"""Implements TagCatalog in one SQLite file, which may be lost without harm.

The file's work is done in one thread, one thing after the other, and to its end also when nobody waits for it any
more. The last listings stay in memory (BUDGET in all): a hundred policies on one list read no row.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar

from gitops_core.recent import Recent
from image_updater.adapters.catalogfile import CatalogFile, OtherVersion, connect, connect_read_only
from image_updater.domain.tags.history import SeenTag, TagEvent
from image_updater.errors import CatalogUnavailable

T = TypeVar("T")

BUDGET = 64 << 20
IDENTITIES = 100
IDENTITY = 300
"""Bytes that it takes to remember when one identity listed a repository, roughly."""
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True)
class _Copy:
    """A listing in memory: in descending order, as a set, and with times when somebody asked for these.

    `size` is about how many bytes it takes: 140 a tag, and 150 for its times. The last one stays, however long it is.
    """

    tags: tuple[str, ...]
    members: frozenset[str]
    seen: tuple[SeenTag, ...] | None = None

    @property
    def size(self) -> int:
        return min(500 + len(self.tags) * (140 if self.seen is None else 290), BUDGET)


class SqliteCatalog:
    """Implements TagCatalog."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "catalog") if path is not None else None
        self._file = self._get_file()
        self._copies: Recent[str, _Copy] = Recent(BUDGET)
        self._listed: dict[str, Recent[str, datetime]] = {}
        self._newest: dict[str, datetime | None] = {}

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """Open the catalog in the file `path`, made when missing and made anew when damaged; None: in memory."""
        return cls(path)

    async def list_repositories(self) -> tuple[str, ...]:
        return await self._read(lambda: self._file.list_repositories())

    async def list_tags(self, repository: str) -> tuple[str, ...] | None:
        copy = self._copies.get(repository) or await self._read(lambda: self._read_copy(repository))
        return None if copy is None else copy.tags

    async def list_seen(self, repository: str) -> tuple[SeenTag, ...]:
        copy = self._copies.get(repository)
        if copy is not None and copy.seen is not None:
            return copy.seen
        return await self._read(lambda: self._read_seen(repository))

    async def find_listing_begin(self, repository: str, identity: str) -> datetime | None:
        identities = self._listed.get(repository)
        return None if identities is None else identities.get(identity)

    async def find_newest_listing(self, repository: str) -> datetime | None:
        if repository in self._newest:
            return self._newest[repository]
        return await self._read(lambda: self._newest.setdefault(repository, self._file.find_newest_listing(repository)))

    async def store(
        self, repository: str, tags: Iterable[str], now: datetime, identity: str = "", began: datetime | None = None
    ) -> bool:
        wanted = frozenset(tags)
        news = await self._write(lambda: self._store(repository, wanted, now))
        identities = self._listed.setdefault(repository, Recent(IDENTITIES * IDENTITY))
        identities.put(identity, began or now, IDENTITY)
        return news

    async def observe(self, repository: str, tag: str, digest: str, now: datetime) -> str:
        return await self._write(lambda: self._observe(repository, tag, digest, now))

    async def list_events(self, repository: str) -> tuple[TagEvent, ...]:
        return await self._read(lambda: self._file.list_events(repository))

    async def restore(self, repository: str, seen: Iterable[SeenTag]) -> None:
        theirs = tuple(seen)
        await self._write(lambda: self._restore(repository, theirs))

    async def forget(self, repository: str) -> None:
        self._listed.pop(repository, None)
        await self._write(lambda: self._forget(repository))

    def close(self) -> None:
        """Finish what is under way, and close the file."""
        if self._thread is not None:
            self._thread.shutdown()
        self._file.close()

    @property
    def remembered(self) -> int:
        """About how many bytes the listings in memory take."""
        return self._copies.weight

    # in the thread

    async def _read(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread; once more on a new file when this one is damaged."""
        try:
            return await self._run(work)
        except CatalogUnavailable:
            return await self._run(work)

    async def _write(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread. Not again on a new file: times that it was to keep are not there."""
        return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread. Raises CatalogUnavailable."""
        if self._thread is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guard, work)

    def _guard(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise CatalogUnavailable(f"the tag catalog {self._path} cannot be used: {error}") from None
            self._file.close()
            self._copies, self._listed, self._newest = Recent(BUDGET), {}, {}
            self._file = self._make_anew()
            raise CatalogUnavailable(f"the tag catalog {self._path} was damaged and has been made anew") from None

    def _read_copy(self, repository: str) -> _Copy | None:
        copy = self._copies.get(repository)
        if copy is not None:
            return copy
        tags = self._file.list_tags(repository)
        return None if tags is None else self._keep(repository, _Copy(tags, frozenset(tags)))

    def _read_seen(self, repository: str) -> tuple[SeenTag, ...]:
        copy = self._read_copy(repository)
        if copy is None:
            return ()
        if copy.seen is None:
            copy = self._keep(repository, _Copy(copy.tags, copy.members, self._file.list_seen(repository)))
        return copy.seen or ()

    def _store(self, repository: str, wanted: frozenset[str], now: datetime) -> bool:
        copy = self._read_copy(repository)
        members: frozenset[str] = copy.members if copy is not None else frozenset()
        new, gone = sorted(wanted - members), sorted(members - wanted)
        self._file.store(repository, new, gone, now)
        self._newest[repository] = now
        if copy is None or new or gone:
            self._keep(repository, _make_listing(copy.tags if copy is not None else (), wanted, new, gone))
            return True
        return False

    def _observe(self, repository: str, tag: str, digest: str, now: datetime) -> str:
        before, after = self._file.observe(repository, tag, digest, now)
        copy = self._copies.get(repository)
        if copy is not None and tag not in copy.members:
            self._keep(repository, _make_listing(copy.tags, copy.members | {tag}, (tag,), ()))
        elif copy is not None and copy.seen is not None:
            place = copy.tags.index(tag)
            if copy.seen[place] != after:
                seen = (*copy.seen[:place], after, *copy.seen[place + 1 :])
                self._keep(repository, _Copy(copy.tags, copy.members, seen))
        return before

    def _restore(self, repository: str, seen: tuple[SeenTag, ...]) -> None:
        self._file.restore(repository, seen)
        self._copies.drop(repository)

    def _forget(self, repository: str) -> None:
        self._file.forget(repository)
        self._newest.pop(repository, None)
        self._copies.drop(repository)

    # what is in memory

    def _keep(self, repository: str, copy: _Copy) -> _Copy:
        self._copies.put(repository, copy, copy.size)
        return copy

    # the file

    def _get_file(self) -> CatalogFile:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return CatalogFile(connect(self._path))
        except OtherVersion:
            return self._make_anew()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise CatalogUnavailable(f"the tag catalog {self._path} cannot be opened: {error}") from None
            return self._make_anew()

    def _make_anew(self) -> CatalogFile:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").unlink()
        return CatalogFile(connect(self._path))


def read_history(path: Path, repository: str) -> tuple[TagEvent, ...]:
    """Return the history of a repository in the file `path`, which a service may have open; write nothing.

    Raises CatalogUnavailable: there is none, or none of this version.
    """
    try:
        with contextlib.closing(connect_read_only(path)) as connection:
            return CatalogFile(connection).list_events(repository)
    except OtherVersion:
        raise CatalogUnavailable(f"the tag catalog {path} is of another version of Sealoop: left as it is") from None
    except sqlite3.DatabaseError as error:
        raise CatalogUnavailable(f"the tag catalog {path} cannot be read: {error}") from None


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Tell whether the file is damaged: a full disk or a lock leaves what was stored as it is."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in DAMAGED


def _make_listing(before: tuple[str, ...], members: frozenset[str], new: Sequence[str], gone: Sequence[str]) -> _Copy:
    """Make a listing of the one before it: a few new tags are put into their places, many are sorted in."""
    if len(new) + len(gone) > 100:
        return _Copy(tuple(sorted(members, reverse=True)), members)
    ascending = list(before[::-1])
    for tag in gone:
        del ascending[bisect_left(ascending, tag)]
    for tag in new:
        ascending.insert(bisect_left(ascending, tag), tag)
    return _Copy(tuple(ascending[::-1]), members)
