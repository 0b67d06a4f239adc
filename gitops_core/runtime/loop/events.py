"""Kubernetes Events about reconciled objects: counted rather than repeated, and never in anybody's way.

emit() puts a note into a bounded outbox; one task writes. The same note about the same object within an hour is the
same Event with a higher count, which is written at most every three minutes. When there is no room for its namespace or
the API server will not have an event, it is dropped and counted: events are for people, nothing depends on them.

Source: client-go, tools/record (names, dedup by object, type, reason and message); core/v1 Event.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from gitops_core.domain.objects.texts import shorten
from gitops_core.errors import ClusterUnavailable, NotFound
from gitops_core.meta import Kind, ObjectKey, ObjectRef, Resource, write_timestamp
from gitops_core.ports import Chance, Clock, Cluster
from gitops_core.recent import Recent
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.retry import compute_backoff
from gitops_core.runtime.sharing.shares import Shares

EVENT = Kind("", "v1", "Event")
ATTEMPTS = 3
MOST_MESSAGE = 1024
QUEUED = 1000
REMEMBERED = 4 << 20
"""Bytes of all notes that are remembered."""
OVERHEAD = 1000
"""Bytes that a note takes beside its message, roughly."""
SAME_FOR = 3600.0
"""Seconds that an Event lives in the API server by default: after that a repetition is a new one."""
COUNTED_EVERY = 180.0

log = logging.getLogger(__name__)


class _Note(NamedTuple):
    """What makes two emissions the same."""

    uid: str
    ref: ObjectRef
    type: str
    reason: str
    message: str
    metadata: tuple[tuple[str, str], ...]  # which revision it is about, say


@dataclass
class _Record:
    """An Event that we wrote, or will."""

    ref: ObjectRef
    first: float
    written_at: float
    count: int = 1
    queued: bool = True
    created: bool = False


class _Item(NamedTuple):
    note: _Note
    record: _Record
    manifest: dict[str, Any]


class _Outbox:
    """What is to be written, at most QUEUED. Namespaces take turns, none has all the room (see sharing/shares.py)."""

    def __init__(self) -> None:
        self._room = Shares(QUEUED)
        self._lines: OrderedDict[str, deque[_Item]] = OrderedDict()
        self._added, self._done = asyncio.Event(), asyncio.Event()
        self._done.set()
        self._unfinished = 0

    def __len__(self) -> int:
        """Return how many Events are not written yet."""
        return self._unfinished

    def put(self, item: _Item) -> bool:
        """Put an item in line, and tell whether there was room for it."""
        namespace = item.record.ref.key.namespace
        if not self._room.may_take(namespace):
            return False
        self._room.take(namespace)
        self._lines.setdefault(namespace, deque()).append(item)
        self._unfinished += 1
        self._done.clear()
        self._added.set()
        return True

    async def get(self) -> _Item:
        """Take the next item, of the namespace that had its turn longest ago. finish() says that it is written."""
        while not self._lines:
            self._added.clear()
            await self._added.wait()
        namespace, line = self._lines.popitem(last=False)
        item = line.popleft()
        if line:
            self._lines[namespace] = line
        self._room.give_back(namespace)
        return item

    def finish(self) -> None:
        self._unfinished -= 1
        if not self._unfinished:
            self._done.set()

    async def wait_until_empty(self) -> None:
        """Wait until everything is written."""
        await self._done.wait()


class EventRecorder:
    """Implements gitops_core.ports.Events."""

    def __init__(self, cluster: Cluster, clock: Clock, chance: Chance, metrics: Metrics, instance: str) -> None:
        self._cluster, self._clock, self._chance, self._metrics = cluster, clock, chance, metrics
        self._instance = instance
        self._records: Recent[_Note, _Record] = Recent(REMEMBERED)
        self._outbox = _Outbox()
        self._last_name = 0

    def emit(
        self,
        about: Resource,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        metadata: Mapping[str, str],
    ) -> None:
        try:
            self._emit(about, type_, reason, shorten(message, MOST_MESSAGE), metadata)
        except Exception:
            log.exception("cannot record an event", extra={"object": str(about.ref), "reason": reason})

    async def run(self) -> None:
        """Write what was emitted, until cancelled."""
        while True:
            item = await self._outbox.get()
            try:
                await self._write(item)
            finally:
                self._outbox.finish()

    async def flush(self, patience: float) -> None:
        """Wait until all is written, but no longer than `patience` seconds. run() must be running."""
        try:
            async with asyncio.timeout(patience):
                await self._outbox.wait_until_empty()
        except TimeoutError:
            log.warning("gave up on events", extra={"left": len(self._outbox)})

    def _emit(self, about: Resource, type_: str, reason: str, message: str, metadata: Mapping[str, str]) -> None:
        now = self._clock.monotonic()
        said = tuple(sorted(metadata.items()))
        note = _Note(about.metadata.uid, about.ref, type_, reason, message, said)
        record = self._records.get(note)
        if record is not None and now - record.first < SAME_FOR:
            record.count += 1
            if record.queued or now - record.written_at < COUNTED_EVERY:
                return
        else:
            record = _Record(self._make_ref(about), now, now)
            self._records.put(note, record, OVERHEAD + sys.getsizeof(message))
        record.queued, record.written_at = True, now
        item = _Item(note, record, self._make_manifest(note, record, about, metadata))
        if not self._outbox.put(item):
            self._drop(item, "QueueFull")

    def _drop(self, item: _Item, why: str) -> None:
        self._metrics.events_dropped.labels(why).inc()
        if self._records.get(item.note) is item.record:
            self._records.drop(item.note)

    def _make_ref(self, about: Resource) -> ObjectRef:
        """Make a name of its own: the object's with the time in nanoseconds, as client-go makes it."""
        self._last_name = max(self._last_name + 1, int(self._clock.now().timestamp() * 1_000_000) * 1000)
        name = f"{about.key.name[:230].rstrip('-.')}.{self._last_name:x}"
        return ObjectRef(EVENT, ObjectKey(about.key.namespace or "default", name))

    def _make_manifest(
        self, note: _Note, record: _Record, about: Resource, metadata: Mapping[str, str]
    ) -> dict[str, Any]:
        now = write_timestamp(self._clock.now())
        key = record.ref.key
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": key.name, "namespace": key.namespace}
            | ({"annotations": dict(metadata)} if metadata else {}),
            "involvedObject": {
                "apiVersion": about.KIND.api_version,
                "kind": about.KIND.kind,
                "name": about.key.name,
                "uid": about.metadata.uid,
                "resourceVersion": about.metadata.resource_version,
            }
            | ({"namespace": about.key.namespace} if about.key.namespace else {}),
            "type": note.type,
            "reason": note.reason,
            "message": note.message,
            "source": {"component": about.CONTROLLER},
            "reportingComponent": about.CONTROLLER,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": record.count,
        }

    async def _write(self, item: _Item) -> None:
        item.record.queued = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._send(item)
            except ClusterUnavailable as error:
                if attempt == ATTEMPTS:
                    self._drop_refused(item, error)
                else:
                    await self._clock.sleep(error.retry_after or compute_backoff(attempt, self._chance.random()))
                    continue
            except Exception as error:  # a leader that was deposed, or a bug: no event is worth a crash
                self._drop_refused(item, error)
            return

    async def _send(self, item: _Item) -> None:
        manager = item.manifest["source"]["component"]
        if item.record.created:
            seen = {"count": item.record.count, "lastTimestamp": item.manifest["lastTimestamp"]}
            try:
                await self._cluster.patch(item.record.ref, seen, field_manager=manager)
            except NotFound:  # the API server forgot it
                item.record.created = False
        if not item.record.created:
            await self._cluster.create(item.manifest | {"count": item.record.count}, field_manager=manager)
            item.record.created = True

    def _drop_refused(self, item: _Item, error: Exception) -> None:
        reason = getattr(error, "reason", type(error).__name__)
        log.warning(
            "dropped an event", extra={"object": str(item.note.ref), "reason": item.note.reason, "cause": reason}
        )
        self._drop(item, reason)
