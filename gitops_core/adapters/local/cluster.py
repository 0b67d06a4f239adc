"""A Kubernetes API in one SQLite file: the embedded default, and the cluster of every test.

    cluster = LocalCluster.open(Path("state/cluster"), clock, chance)

It behaves as the real API server does, managedFields and conflicts included; tests/contracts/ holds both to it. What it
leaves out on purpose: built-in objects are not defaulted (a Deployment has the fields that were written), nothing but
metadata is validated of them, and rights are not checked.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import msgspec

from gitops_core.adapters.local.objects import Objects
from gitops_core.adapters.local.store import Change, GroupKind, Row, Store
from gitops_core.decoding import decode_json, make_decoder
from gitops_core.domain.objects.selectors import Selector, parse_selector, selects
from gitops_core.domain.objects.writing import Serving
from gitops_core.errors import BadRequest, ClusterUnavailable, Expired, KindUnknown
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import AccountToken, ApiResource, Chance, Clock, Cluster, Page, Query, Unreadable, WatchEvent

T = TypeVar("T")

DEFINITIONS: GroupKind = "CustomResourceDefinition.apiextensions.k8s.io"
BOOKMARK_SECONDS = 60.0
"""A watch that has nothing to say says at least how far it is."""

LOOK_SECONDS = 0.2
"""How often a shared file is looked at for the writes of other processes; one timer for all watches."""

FILE = "cluster.sqlite"

_BATCH = 500


class _Labelled(msgspec.Struct):
    labels: dict[str, str] | None = None


class _LabelledObject(msgspec.Struct):
    metadata: _Labelled


_labels_of = make_decoder(_LabelledObject)


class LocalCluster:
    """Implements gitops_core.ports.Cluster."""

    def __init__(self, store: Store, clock: Clock, chance: Chance, *, shared: bool) -> None:
        self._store = store
        self._clock = clock
        self._shared = shared
        self._signals: dict[GroupKind, asyncio.Event] = {}
        self._told = store.read_version()
        self._watches = 0
        self._looking: asyncio.Task[None] | None = None
        self._closed = False
        self._objects = Objects(store, clock, chance, self._wake)

    @classmethod
    def open(cls, directory: Path | None, clock: Clock, chance: Chance, *, shared: bool = False) -> Self:
        """Open the cluster that lives in `directory`, or make it.

        Args:
            directory: None for a cluster in memory, which ends with its last reference.
            shared: other processes may write too; then watches look for what they wrote.

        Raises:
            ClusterUnavailable: the directory cannot be written, or what is in it is not a cluster.
        """
        if directory is None:
            return cls(Store(None), clock, chance, shared=False)
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)  # it will hold Secrets
        except OSError as error:
            raise ClusterUnavailable(f"no embedded cluster in {directory}: {error.strerror}") from error
        return cls(Store(directory / FILE), clock, chance, shared=shared)

    @staticmethod
    def lives_in(directory: Path) -> bool:
        """Tell whether there is a cluster in `directory`; open() would begin one."""
        return (directory / FILE).is_file()

    def close(self) -> None:
        """End all watches; no method may be called any more."""
        if self._closed:
            return
        self._closed = True
        self._wake_all()
        if self._looking is not None:
            self._looking.cancel()
        self._store.close()

    async def request_token(self, account: ObjectKey, audiences: Sequence[str] = ()) -> AccountToken:
        raise BadRequest(f"the embedded cluster gives no tokens, also not of ServiceAccount/{account}")

    def impersonate(self, user: str, groups: Iterable[str] = ()) -> Cluster:
        return self

    def connect_apart(self) -> Cluster:
        return self

    async def find_api_resource(self, kind: Kind) -> ApiResource:
        return self._objects.find_resource(kind)

    async def list_api_resources(self) -> Sequence[ApiResource]:
        return tuple(self._objects.list_resources())

    # reading

    async def get(self, ref: ObjectRef) -> Manifest | None:
        await asyncio.sleep(0)  # as a network would: others have their turn
        return self._objects.get(ref)

    async def list(self, query: Query, type_: type[T], *, limit: int = 500, continue_token: str = "") -> Page[T]:
        await asyncio.sleep(0)
        serving, selector = self._objects.find_serving(query.kind), _parse_selector(query)
        version, after = self._store.read_version(), ObjectKey("", "")
        if continue_token:
            version, after = _parse_token(continue_token)
            if version < self._store.read_forgotten():
                raise Expired(f"the list of {serving.plural} took too long: begin again")
        rows: list[Row] = []
        while True:
            found = self._store.list_page(serving.group_kind, query.namespace, query.name, after, limit + 1)
            rows += [row for row in found if selects(selector, _read_labels(row.body, selector))]
            if len(found) <= limit or len(rows) > limit:
                break
            after = found[-1].key
        token = _write_token(version, rows[limit - 1].key) if len(rows) > limit else ""
        items = [_decode(serving, query, type_, row.key, row.body) for row in rows[:limit]]
        return Page(items, str(version), token)

    async def watch(
        self, query: Query, type_: type[T], resource_version: str, *, seconds: int | None = None
    ) -> AsyncIterator[WatchEvent[T]]:
        await asyncio.sleep(0)
        ending = None if seconds is None else asyncio.get_running_loop().time() + seconds
        quiet = BOOKMARK_SECONDS if seconds is None else 0.0  # a short one is asked for to learn how far it is
        serving, selector = self._objects.find_serving(query.kind), _parse_selector(query)
        after = _parse_version(resource_version)
        self._begin_watch()
        try:
            while not self._closed:
                signal = self._signals.setdefault(serving.group_kind, asyncio.Event())
                if after < self._store.read_forgotten():
                    raise Expired(f"the watch of {serving.plural} is at {after}, which is forgotten: list again")
                reached = self._store.read_version()
                changes = self._store.list_changes(serving.group_kind, after, _BATCH)
                for change in changes:
                    after = change.version
                    event = _make_event(serving, query, selector, type_, change)
                    if event is not None:
                        yield event
                        if self._closed:
                            return
                if len(changes) < _BATCH:
                    after = max(after, reached)
                    if not self._serves(query.kind):
                        return
                    if not await _wait(signal, quiet):
                        yield WatchEvent("BOOKMARK", None, str(after))
                    if ending is not None and (quiet := ending - asyncio.get_running_loop().time()) <= 0:
                        return
        finally:
            self._end_watch()

    def _serves(self, kind: Kind) -> bool:
        try:
            self._objects.find_serving(kind)
        except KindUnknown:
            return False
        return True

    def _begin_watch(self) -> None:
        self._watches += 1
        if self._shared and self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="watch the embedded cluster's file")

    def _end_watch(self) -> None:
        self._watches -= 1
        if not self._watches and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        seen = self._store.read_data_version()
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            if seen != (seen := self._store.read_data_version()):
                self._wake()

    def _wake(self) -> None:
        """Let the watches of what was written since the last time look at the log again."""
        if self._told < self._store.read_forgotten():
            self._told = self._store.read_version()
            self._wake_all()
            return
        kinds = self._store.list_changed_kinds(self._told)
        self._told = self._store.read_version()
        if DEFINITIONS in kinds:  # what one watches may not be served any more
            self._wake_all()
        for kind in kinds & self._signals.keys():
            self._signals.pop(kind).set()

    def _wake_all(self) -> None:
        signals, self._signals = self._signals, {}
        for signal in signals.values():
            signal.set()

    # writing

    async def create(self, manifest: Manifest, *, field_manager: str, dry_run: bool = False) -> Manifest:
        await asyncio.sleep(0)
        return self._objects.create(manifest, field_manager, dry_run=dry_run)

    async def replace(
        self, manifest: Manifest, *, field_manager: str, subresource: str = "", dry_run: bool = False
    ) -> Manifest:
        await asyncio.sleep(0)
        return self._objects.replace(manifest, field_manager, subresource, dry_run=dry_run)

    async def apply(
        self, manifest: Manifest, *, field_manager: str, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        await asyncio.sleep(0)
        return self._objects.apply(manifest, field_manager, force=force, dry_run=dry_run)

    async def patch(
        self,
        ref: ObjectRef,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        field_manager: str,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Manifest:
        await asyncio.sleep(0)
        return self._objects.patch(ref, patch, field_manager, subresource, dry_run=dry_run)

    async def delete(
        self,
        ref: ObjectRef,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        dry_run: bool = False,
    ) -> None:
        await asyncio.sleep(0)
        self._objects.delete(ref, uid, resource_version, propagation, dry_run=dry_run)


async def _wait(signal: asyncio.Event, seconds: float) -> bool:
    """Wait for the signal; tell whether it came in time."""
    try:
        async with asyncio.timeout(seconds):
            await signal.wait()
    except TimeoutError:
        return False
    return True


def _parse_selector(query: Query) -> Selector:
    try:
        return parse_selector(query.labels)
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _read_labels(body: bytes, selector: Selector) -> Mapping[str, str]:
    return (_labels_of.decode(body).metadata.labels or {}) if selector else {}


def _make_event(
    serving: Serving, query: Query, selector: Selector, type_: type[T], change: Change
) -> WatchEvent[T] | None:
    """Return the event that a change is to one watch; None when it is none."""
    if query.namespace not in ("", change.key.namespace) or query.name not in ("", change.key.name):
        return None
    was = change.before is not None and selects(selector, _read_labels(change.before, selector))
    is_ = change.type != "DELETED" and selects(selector, _read_labels(change.body, selector))
    if not was and not is_:
        return None
    body = change.body
    if change.before is not None and not is_:
        last = decode_json(change.before)
        last["metadata"]["resourceVersion"] = str(change.version)
        body = msgspec.json.encode(last)
    kind: Literal["ADDED", "MODIFIED", "DELETED"] = "DELETED" if not is_ else "MODIFIED" if was else "ADDED"
    return WatchEvent(kind, _decode(serving, query, type_, change.key, body), str(change.version))


def _decode(serving: Serving, query: Query, type_: type[T], key: ObjectKey, body: bytes) -> T | Unreadable:
    if type_ is dict:
        whole: Any = serving.show(decode_json(body))
        if query.metadata_only:
            whole = {name: whole[name] for name in ("apiVersion", "kind", "metadata")}
        return whole  # type: ignore[no-any-return]
    try:
        return decode_json(body, type_)
    except msgspec.ValidationError as error:
        version = decode_json(body)["metadata"]["resourceVersion"]
        return Unreadable(ObjectRef(serving.kind, key), version, str(error))


def _parse_version(text: str) -> int:
    if not text.isdigit():
        raise BadRequest(f"not a resourceVersion: {text!r}")
    return int(text)


def _write_token(version: int, after: ObjectKey) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((version, *after))).decode()


def _parse_token(token: str) -> tuple[int, ObjectKey]:
    try:
        version, namespace, name = decode_json(base64.urlsafe_b64decode(token), tuple[int, str, str])
    except (ValueError, msgspec.MsgspecError) as error:
        raise BadRequest("the continue token is not one of this cluster") from error
    return version, ObjectKey(namespace, name)
