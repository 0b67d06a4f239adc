"""The SQL of the tag catalog: what SqliteCatalog does in its thread.

    repositories   every name, and when it was listed; NULL: never
    tags           what the last listing had
    away           remembered without being listed: restored, observed before the first listing, or gone (since when)
    events         what happened, bounded per repository

A file of another schema is one of another version: it is made anew, as everything here may be.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from image_updater.domain.tags.history import SeenTag, TagEvent, merge, record_digest

VERSION = 3
AWAY = timedelta(days=7)
"""A tag that is listed again after more than this is a new one."""
REMEMBERED = 100_000
EVENTS = 200_000

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS repositories (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, listed_at REAL, events INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS tags (
  repository INTEGER NOT NULL, tag TEXT NOT NULL, first_seen REAL NOT NULL, digest TEXT NOT NULL, digest_seen REAL,
  PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS away (
  repository INTEGER NOT NULL, tag TEXT NOT NULL, first_seen REAL NOT NULL, digest TEXT NOT NULL, digest_seen REAL,
  gone REAL, PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY, repository INTEGER NOT NULL, at REAL NOT NULL, tag TEXT NOT NULL, what TEXT NOT NULL,
  digest TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of ON events (repository);
PRAGMA user_version = {VERSION};
"""

Row = tuple[Any, ...]


class OtherVersion(Exception):
    """The file is of another schema."""


def connect(path: Path | None) -> sqlite3.Connection:
    """Open the file, made when it is missing. Raises sqlite3.DatabaseError, OtherVersion."""
    connection = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
    try:
        _check_version(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open the file without changing a byte. Raises sqlite3.DatabaseError, also when there is none; OtherVersion."""
    # without a journal nobody has it open: then not even the journal's files are made
    flags = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{flags}", uri=True)
    try:
        _check_version(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(connection: sqlite3.Connection) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        raise OtherVersion


class CatalogFile:
    """One open catalog; every method raises sqlite3.DatabaseError, and has then changed nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        self._connection.close()

    def list_repositories(self) -> tuple[str, ...]:
        return tuple(name for (name,) in self._connection.execute("SELECT name FROM repositories ORDER BY name"))

    def list_tags(self, repository: str) -> tuple[str, ...] | None:
        number = self._find_listed(repository)
        if number is None:
            return None
        rows = self._connection.execute("SELECT tag FROM tags WHERE repository = ? ORDER BY tag DESC", (number,))
        return tuple(tag for (tag,) in rows)

    def find_newest_listing(self, repository: str) -> datetime | None:
        query = "SELECT listed_at FROM repositories WHERE name = ?"
        row = self._connection.execute(query, (repository,)).fetchone()
        return None if row is None else _decode_moment(row[0])

    def list_seen(self, repository: str) -> tuple[SeenTag, ...]:
        number = self._find_listed(repository)
        if number is None:
            return ()
        query = "SELECT tag, first_seen, digest, digest_seen FROM tags WHERE repository = ? ORDER BY tag DESC"
        rows = self._connection.execute(query, (number,)).fetchall()
        times = _index_moments(row[1] for row in rows)  # 50,000 tags have a handful of times
        return tuple(SeenTag(tag, times(first), digest, _decode_moment(at)) for tag, first, digest, at in rows)

    def list_events(self, repository: str) -> tuple[TagEvent, ...]:
        query = """SELECT at, tag, what, events.digest FROM events
            JOIN repositories ON repositories.id = events.repository WHERE name = ? ORDER BY at, events.id"""
        rows = self._connection.execute(query, (repository,)).fetchall()
        times = _index_moments(row[0] for row in rows)
        return tuple(TagEvent(times(at), tag, what, digest) for at, tag, what, digest in rows)

    def store(self, repository: str, new: Sequence[str], gone: Sequence[str], now: datetime) -> None:
        """Record that the repository is listed now, with `new` tags and without those that are `gone`."""
        with self._transact() as connection:
            number = self._get_number(repository)
            connection.execute("UPDATE repositories SET listed_at = ? WHERE id = ?", (now.timestamp(), number))
            self._arrive(number, new, now)
            self._leave(number, gone, now)
            self._trim(number)

    def observe(self, repository: str, tag: str, digest: str, now: datetime) -> tuple[str, SeenTag]:
        """Record a tag's digest; return the other one that it named before or "", and the tag as it is known now."""
        listed = self._find_listed(repository)
        known = None if listed is None else self._read_one("tags", listed, tag)
        if known is not None and digest in ("", known.digest):
            return "", known
        with self._transact():
            number = self._get_number(repository)
            if listed is not None and known is None:
                self._arrive(number, (tag,), now)
            table = "away" if listed is None else "tags"
            before = self._read_one(table, number, tag)
            if before is None:
                self._add_events(number, [(now.timestamp(), tag, "appeared", digest)])
            other = before.digest if before is not None and digest not in ("", before.digest) else ""
            if other:
                self._add_events(number, [(now.timestamp(), tag, "moved", digest)])
            after = record_digest(before or SeenTag(tag, now), digest, now)
            self._put(table, number, [after])
            self._trim(number)
        return other, after

    def restore(self, repository: str, seen: Iterable[SeenTag]) -> None:
        with self._transact():
            number = self._get_number(repository)
            listed, away = self._read_all("tags", number), self._read_all("away", number)
            kept: dict[str, list[SeenTag]] = {"tags": [], "away": []}
            events = []
            for theirs in seen:
                ours = listed.get(theirs.tag) or away.get(theirs.tag)
                if ours is None or theirs.first_seen < ours.first_seen:
                    events.append((theirs.first_seen.timestamp(), theirs.tag, "appeared", ""))
                both = theirs if ours is None else merge(ours, theirs)
                kept["tags" if theirs.tag in listed else "away"].append(both)
            for table, tags in kept.items():
                self._put(table, number, tags)
            self._add_events(number, events)
            self._trim(number)

    def forget(self, repository: str) -> None:
        with self._transact() as connection:
            number = self._get_number(repository)
            for table in ("tags", "away", "events"):
                connection.execute(f"DELETE FROM {table} WHERE repository = ?", (number,))  # noqa: S608  # our names
            connection.execute("DELETE FROM repositories WHERE id = ?", (number,))

    # the parts of a change

    def _arrive(self, number: int, tags: Sequence[str], now: datetime) -> None:
        """Record tags as listed, with the times of those that were remembered."""
        query = "SELECT tag, first_seen, digest, digest_seen, gone FROM away WHERE repository = ?"
        away = {row[0]: row for row in self._connection.execute(query, (number,))} if tags else {}
        arrived, events = [], []
        for tag in tags:
            row = away.get(tag)
            gone = None if row is None else row[4]
            if row is None or gone is not None:
                events.append((now.timestamp(), tag, "appeared", ""))
            is_known = row is not None and (gone is None or now.timestamp() - gone <= AWAY.total_seconds())
            arrived.append(_make_seen(row[:4]) if row is not None and is_known else SeenTag(tag, now))
        self._put("tags", number, arrived)
        self._add_events(number, events)
        back = [(number, tag) for tag in tags if tag in away]
        self._connection.executemany("DELETE FROM away WHERE repository = ? AND tag = ?", back)

    def _leave(self, number: int, tags: Iterable[str], now: datetime) -> None:
        """Record tags as listed no more; those that were restored and are not listed have gone, too."""
        connection, moment = self._connection, now.timestamp()
        unseen = connection.execute("SELECT tag FROM away WHERE repository = ? AND gone IS NULL", (number,)).fetchall()
        connection.execute("UPDATE away SET gone = ? WHERE repository = ? AND gone IS NULL", (moment, number))
        leaving = [(moment, number, tag) for tag in tags]
        connection.executemany(
            "INSERT OR REPLACE INTO away (repository, tag, first_seen, digest, digest_seen, gone)"
            " SELECT repository, tag, first_seen, digest, digest_seen, ? FROM tags WHERE repository = ? AND tag = ?",
            leaving,
        )
        connection.executemany("DELETE FROM tags WHERE repository = ? AND tag = ?", [row[1:] for row in leaving])
        vanished = [*(tag for _, _, tag in leaving), *(tag for (tag,) in unseen)]
        self._add_events(number, [(moment, tag, "vanished", "") for tag in vanished])
        expired = moment - AWAY.total_seconds()
        connection.execute("DELETE FROM away WHERE repository = ? AND gone < ?", (number, expired))

    def _put(self, table: str, number: int, tags: Iterable[SeenTag]) -> None:
        rows = [
            (number, tag, first.timestamp(), digest, None if at is None else at.timestamp())
            for tag, first, digest, at in tags
        ]
        self._connection.executemany(
            f"INSERT INTO {table} (repository, tag, first_seen, digest, digest_seen) VALUES (?, ?, ?, ?, ?)"  # noqa: S608
            " ON CONFLICT DO UPDATE SET first_seen = excluded.first_seen, digest = excluded.digest,"
            " digest_seen = excluded.digest_seen",
            rows,
        )

    def _add_events(self, number: int, events: Sequence[Row]) -> None:
        query = "INSERT INTO events (repository, at, tag, what, digest) VALUES (?, ?, ?, ?, ?)"
        self._connection.executemany(query, [(number, *event) for event in events])
        query = "UPDATE repositories SET events = events + ? WHERE id = ?"
        self._connection.execute(query, (len(events), number))

    def _trim(self, number: int) -> None:
        """Drop the oldest of what is only remembered, so that nobody's registry fills our disk."""
        connection = self._connection
        count = connection.execute("SELECT events FROM repositories WHERE id = ?", (number,)).fetchone()[0]
        if count > EVENTS * 1.1:
            query = "SELECT id FROM events WHERE repository = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
            last = connection.execute(query, (number, EVENTS)).fetchone()
            if last is not None:
                connection.execute("DELETE FROM events WHERE repository = ? AND id <= ?", (number, last[0]))
            connection.execute("UPDATE repositories SET events = ? WHERE id = ?", (EVENTS, number))
        count = connection.execute("SELECT count(*) FROM away WHERE repository = ?", (number,)).fetchone()[0]
        if count > REMEMBERED * 1.1:
            query = """DELETE FROM away WHERE repository = :number AND tag IN (SELECT tag FROM away
                WHERE repository = :number ORDER BY gone IS NULL, gone LIMIT :many)"""
            connection.execute(query, {"number": number, "many": count - REMEMBERED})

    # the smallest parts

    def _find_listed(self, repository: str) -> int | None:
        """Return the repository's number if it was listed."""
        query = "SELECT id FROM repositories WHERE name = ? AND listed_at IS NOT NULL"
        row = self._connection.execute(query, (repository,)).fetchone()
        return None if row is None else int(row[0])

    def _get_number(self, repository: str) -> int:
        self._connection.execute("INSERT OR IGNORE INTO repositories (name) VALUES (?)", (repository,))
        query = "SELECT id FROM repositories WHERE name = ?"
        return int(self._connection.execute(query, (repository,)).fetchone()[0])

    def _read_one(self, table: str, number: int, tag: str) -> SeenTag | None:
        query = f"SELECT tag, first_seen, digest, digest_seen FROM {table} WHERE repository = ? AND tag = ?"  # noqa: S608
        row = self._connection.execute(query, (number, tag)).fetchone()
        return None if row is None else _make_seen(row)

    def _read_all(self, table: str, number: int) -> dict[str, SeenTag]:
        query = f"SELECT tag, first_seen, digest, digest_seen FROM {table} WHERE repository = ?"  # noqa: S608
        return {row[0]: _make_seen(row) for row in self._connection.execute(query, (number,))}

    @contextlib.contextmanager
    def _transact(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            with contextlib.suppress(sqlite3.DatabaseError):  # the first error is the one to tell
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _make_seen(row: Row) -> SeenTag:
    tag, first, digest, at = row
    return SeenTag(tag, datetime.fromtimestamp(first, UTC), digest, _decode_moment(at))


def _decode_moment(moment: float | None) -> datetime | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC)


def _index_moments(numbers: Iterable[float]) -> Callable[[float], datetime]:
    return {number: datetime.fromtimestamp(number, UTC) for number in set(numbers)}.__getitem__
