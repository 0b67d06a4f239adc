"""Implements TagCatalog in one SQLite file, which may be lost without harm.

listings   a repository and when it was listed         tags   its tags and when each was first seen
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

from image_updater.ports import SeenTag

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS listings (repository TEXT PRIMARY KEY, listed_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (
  repository TEXT NOT NULL, tag TEXT NOT NULL, first_seen REAL NOT NULL, PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
"""


class SqliteCatalog:
    """Implements TagCatalog."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._connection = self._opened()

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """The catalog in the file `path`, made when it is missing and made anew when it is damaged; None: in memory."""
        return cls(path)

    async def tags(self, repository: str) -> tuple[str, ...] | None:
        seen = await self._run(lambda: self._seen(repository))
        return None if seen is None else tuple(found.tag for found in seen)

    async def seen(self, repository: str) -> tuple[SeenTag, ...]:
        return await self._run(lambda: self._seen(repository)) or ()

    async def store(self, repository: str, tags: Iterable[str], now: datetime) -> None:
        wanted = set(tags)
        await self._run(lambda: self._store(repository, wanted, now.timestamp()))

    async def forget(self, repository: str) -> None:
        await self._run(lambda: self._forget(repository))

    def close(self) -> None:
        self._connection.close()

    async def _run(self, work: Callable[[], T]) -> T:
        """`work` in a thread, one at a time; once more on a new file when this one is damaged."""
        async with self._lock:
            if self._path is None:
                return work()
            try:
                return await asyncio.to_thread(work)
            except sqlite3.DatabaseError:
                self._connection.close()
                self._connection = await asyncio.to_thread(self._made_anew)
                return await asyncio.to_thread(work)

    def _opened(self) -> sqlite3.Connection:
        if self._path is None:
            return self._connect()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except sqlite3.DatabaseError:
            return self._made_anew()

    def _made_anew(self) -> sqlite3.Connection:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").unlink()
        return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path or ":memory:", check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def _seen(self, repository: str) -> tuple[SeenTag, ...] | None:
        known = self._connection.execute("SELECT 1 FROM listings WHERE repository = ?", (repository,)).fetchone()
        if known is None:
            return None
        query = "SELECT tag, first_seen FROM tags WHERE repository = ? ORDER BY tag DESC"
        rows = self._connection.execute(query, (repository,)).fetchall()
        return tuple(SeenTag(tag, datetime.fromtimestamp(moment, UTC)) for tag, moment in rows)

    def _store(self, repository: str, wanted: set[str], now: float) -> None:
        query = "SELECT tag FROM tags WHERE repository = ?"
        known = {tag for (tag,) in self._connection.execute(query, (repository,))}
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO listings VALUES (?, ?)", (repository, now))
            gone = [(repository, tag) for tag in known - wanted]
            connection.executemany("DELETE FROM tags WHERE repository = ? AND tag = ?", gone)
            new = [(repository, tag, now) for tag in sorted(wanted - known)]
            connection.executemany("INSERT INTO tags VALUES (?, ?, ?)", new)

    def _forget(self, repository: str) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM listings WHERE repository = ?", (repository,))
            connection.execute("DELETE FROM tags WHERE repository = ?", (repository,))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
