"""The SQLite file of an embedded cluster: objects, the log of changes, and one number that counts them all.

    objects   the last state of every object, as JSON, by (group/kind, namespace, name)
    changes   what happened, by resourceVersion: the newest 10,000 and more; watches read it
    counter   the last resourceVersion, and the newest one that `changes` has forgotten

A write is one transaction: object, change and counter are there together or not at all, so a process that is killed
leaves the state before or after a write, never between. Several processes may have the file open.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from gitops_core.errors import ClusterUnavailable
from gitops_core.meta import ObjectKey

REMEMBERED = 10_000
"""Changes that watches can go back to, at least; forgotten in batches of a tenth."""

BUSY_SECONDS = 10.0
"""How long a write waits for another process's write, which takes milliseconds."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_namespace ON objects (namespace, kind);
CREATE UNIQUE INDEX IF NOT EXISTS objects_by_uid ON objects (uid);
CREATE TABLE IF NOT EXISTS owners (
  owner TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  PRIMARY KEY (owner, kind, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
  version INTEGER PRIMARY KEY, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  type TEXT NOT NULL, body BLOB NOT NULL, before BLOB
);
CREATE INDEX IF NOT EXISTS changes_by_kind ON changes (kind, version);
CREATE TABLE IF NOT EXISTS counter (version INTEGER NOT NULL, forgotten INTEGER NOT NULL);
INSERT INTO counter SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
"""

GroupKind = str
"""`Deployment.apps`, `ConfigMap`: under this objects are stored, whatever version they are served in."""


class Row(NamedTuple):
    """One stored object."""

    kind: GroupKind
    key: ObjectKey
    body: bytes


class Change(NamedTuple):
    """One entry of the log.

    Attributes:
        body: the object after the change, or what it was last when it is deleted.
        before: the object before it; None when it was created.
    """

    version: int
    key: ObjectKey
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    body: bytes
    before: bytes | None


class Store:
    """All methods but `transaction` read; `put` and `drop` belong inside one."""

    def __init__(self, path: Path | None) -> None:
        """Opens the file, or makes it; None keeps everything in memory. Raises ClusterUnavailable."""
        self._path = path
        with _translate_errors():
            self._db = sqlite3.connect(path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None)
            _use_wal(self._db)
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA cache_size = -16000")
            with self.transaction():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all that is written inside at once, or, when an exception leaves it, not at all."""
        if self._db.in_transaction:
            yield
            return
        with _translate_errors():
            self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        with _translate_errors():
            self._db.execute("COMMIT")

    def read_data_version(self) -> int:
        """Return a number that changes when another connection has written; one in memory has no other."""
        return 0 if self._path is None else int(self._read_one("PRAGMA data_version")[0])

    def read_version(self) -> int:
        return int(self._read_one("SELECT version FROM counter")[0])

    def read_forgotten(self) -> int:
        """Return the newest resourceVersion whose change is no longer in the log."""
        return int(self._read_one("SELECT forgotten FROM counter")[0])

    def get(self, kind: GroupKind, key: ObjectKey) -> bytes | None:
        row = self._read_one("SELECT body FROM objects WHERE kind = ? AND namespace = ? AND name = ?", kind, *key)
        return None if row is None else row[0]

    def find_by_uid(self, uid: str) -> Row | None:
        row = self._read_one("SELECT kind, namespace, name, body FROM objects WHERE uid = ?", uid)
        return None if row is None else Row(row[0], ObjectKey(row[1], row[2]), row[3])

    def list_page(self, kind: GroupKind, namespace: str, name: str, after: ObjectKey, limit: int) -> list[Row]:
        """Return at most `limit` objects beyond `after`, by namespace and name. "" stands for all."""
        where, values = "", []
        if namespace:
            where, values = " AND namespace = ?", [namespace]
        if name:
            where, values = where + " AND name = ?", [*values, name]
        rows = self._read_all(
            f"SELECT kind, namespace, name, body FROM objects WHERE kind = ? AND (namespace, name) > (?, ?){where}"  # noqa: S608 - no value is in it
            " ORDER BY namespace, name LIMIT ?",
            *(kind, *after, *values, limit),
        )
        return [Row(kind, ObjectKey(namespace, name), body) for kind, namespace, name, body in rows]

    def list_in_namespace(self, namespace: str) -> list[Row]:
        rows = self._read_all(
            "SELECT kind, namespace, name, body FROM objects WHERE namespace = ? ORDER BY kind, name", namespace
        )
        return [Row(kind, ObjectKey(namespace, name), body) for kind, namespace, name, body in rows]

    def list_owned_by(self, uid: str) -> list[Row]:
        """Return the objects that name `uid` among their owners."""
        rows = self._read_all(
            "SELECT o.kind, o.namespace, o.name, o.body FROM owners w JOIN objects o"
            " ON o.kind = w.kind AND o.namespace = w.namespace AND o.name = w.name WHERE w.owner = ?",
            uid,
        )
        return [Row(kind, ObjectKey(namespace, name), body) for kind, namespace, name, body in rows]

    def list_changes(self, kind: GroupKind, after: int, limit: int) -> list[Change]:
        """Return changes of one kind after a resourceVersion, oldest first."""
        rows = self._read_all(
            "SELECT version, namespace, name, type, body, before FROM changes WHERE kind = ? AND version > ?"
            " ORDER BY version LIMIT ?",
            *(kind, after, limit),
        )
        return [Change(v, ObjectKey(namespace, name), t, body, before) for v, namespace, name, t, body, before in rows]

    def list_changed_kinds(self, after: int) -> set[GroupKind]:
        """Return the kinds that have changes after a resourceVersion."""
        return {row[0] for row in self._read_all("SELECT DISTINCT kind FROM changes WHERE version > ?", after)}

    # writing

    def put(self, kind: GroupKind, manifest: dict[str, Any], before: bytes | None) -> bytes:
        """Store `manifest` under the next resourceVersion, which is set in it. Returns it as stored.

        Args:
            before: the body that it replaces; None when it is new.
        """
        metadata = manifest["metadata"]
        key = ObjectKey(metadata.get("namespace", ""), metadata["name"])
        version = self._count()
        metadata["resourceVersion"] = str(version)
        body = msgspec.json.encode(manifest)
        with _translate_errors():
            self._db.execute(
                "INSERT INTO objects VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (kind, namespace, name) DO UPDATE SET body = excluded.body",
                (kind, *key, metadata["uid"], body),
            )
            owners = {reference["uid"] for reference in metadata.get("ownerReferences") or ()}
            if before is not None:
                self._db.execute("DELETE FROM owners WHERE kind = ? AND namespace = ? AND name = ?", (kind, *key))
            for owner in owners:
                self._db.execute("INSERT INTO owners VALUES (?, ?, ?, ?)", (owner, kind, *key))
        self._log(version, kind, key, "ADDED" if before is None else "MODIFIED", body, before)
        return body

    def drop(self, kind: GroupKind, manifest: dict[str, Any], before: bytes) -> None:
        """Delete an object; `manifest` is its last state, which gets the deletion's resourceVersion."""
        metadata = manifest["metadata"]
        key = ObjectKey(metadata.get("namespace", ""), metadata["name"])
        version = self._count()
        metadata["resourceVersion"] = str(version)
        with _translate_errors():
            for table in ("objects", "owners"):
                self._db.execute(
                    f"DELETE FROM {table} WHERE kind = ? AND namespace = ? AND name = ?",  # noqa: S608 - a literal
                    (kind, *key),
                )
        self._log(version, kind, key, "DELETED", msgspec.json.encode(manifest), before)

    def _count(self) -> int:
        with _translate_errors():
            return int(self._db.execute("UPDATE counter SET version = version + 1 RETURNING version").fetchone()[0])

    def _log(
        self, version: int, kind: GroupKind, key: ObjectKey, type_: str, body: bytes, before: bytes | None
    ) -> None:
        with _translate_errors():
            self._db.execute(
                "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?)", (version, kind, *key, type_, body, before)
            )
            if version % (REMEMBERED // 10) == 0 and version > REMEMBERED:
                self._db.execute("DELETE FROM changes WHERE version <= ?", (version - REMEMBERED,))
                self._db.execute("UPDATE counter SET forgotten = ?", (version - REMEMBERED,))

    def _read_one(self, statement: str, *values: Any) -> Any:
        try:  # not a context manager: this is asked several times a request
            return self._db.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise _make_unavailable(error) from error

    def _read_all(self, statement: str, *values: Any) -> Sequence[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _make_unavailable(error) from error


def _use_wal(database: sqlite3.Connection) -> None:
    """Switch to WAL. Raises sqlite3.Error. Of two who make a file at the same time, SQLite refuses one without
    patience.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _make_unavailable(error) from error


def _make_unavailable(error: sqlite3.Error) -> ClusterUnavailable:
    """Make the error of a full disk, a damaged file, or a lock that is held for too long."""
    return ClusterUnavailable(f"the embedded cluster's database does not answer: {error}")
