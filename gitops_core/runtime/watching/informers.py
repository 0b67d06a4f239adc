"""Mirrors of the cluster's objects: listed once, then kept up to date by a watch, for as long as the process lives.

    list (pages of 500) ── watch ── connection ends ── watch from the last version seen
         └───────────────── Expired ◄──┘
    doubt ── which version is the latest? ── a short watch from the last version seen ── that version is reached: synced
         └──────── not reached by two of them ──► list

One informer serves everybody who asks the same query. Listeners are told (old, new) of every change, once, after the
mirror holds it; None stands for absent. An object that we wrote ourselves is told through absorb() at once, and the
watch's echo of it is recognised by its resourceVersion.

Who begins to lead doubts every mirror: its watch may be behind what the last leader wrote. Why the **version barrier**
that lifts the doubt is right:

- A list without a resourceVersion is consistent ("Most Recent"). So the version of a list that was asked for after the
  lease became ours, if only for one object, is not older than any write that was answered before.
- A watch tells all changes of its kind in order, and a bookmark says that all before its version were told. So a mirror
  that has seen that version, or a newer one, lacks no such write.
- Only versions of one kind are compared. That of our own write of the Lease would cost no request, but an API server
  may keep Leases, or any kind, in another etcd (--etcd-servers-overrides), which counts for itself.
- Nobody promises a bookmark. Servers send one before an end of the watch that they know, which is why it is short, but
  none of a version that it came to by an object that its selector leaves out; if none comes, the list is read.

Source: Kubernetes API concepts, "Efficient detection of changes", "Resource versions" and "Watch bookmarks";
resourceVersions of one kind compare as integers (KEP-5504).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast

from gitops_core.errors import ClusterError, Expired, KindUnknown
from gitops_core.meta import Manifest, ObjectKey, ObjectRef, Resource
from gitops_core.ports import Chance, Clock, Cluster, PartialObject, Query, Unreadable, WatchEvent
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.repetition import Repetition
from gitops_core.runtime.retry import compute_backoff

T = TypeVar("T", bound=Resource | PartialObject)
R = TypeVar("R", bound=Resource)
V = TypeVar("V")
Listener = Callable[[Any, Any], None]

log = logging.getLogger(__name__)

PAGE = 500
LAST_RETRY = 30.0
SILENCE = 900.0
"""Seconds without event or bookmark after which a watch is taken for dead; API servers end them sooner themselves."""
SHORT, SHORT_SILENCE, SHORT_WATCHES = 3, 10.0, 2
"""Of the watches that catch up: seconds that one lasts, that one which is silent is waited for, and how many may end
without having got there."""


def parse_resource_version(resource_version: str) -> int:
    """Parse the version as a number; -1 for one that is none."""
    return int(resource_version) if resource_version.isdecimal() else -1


class Informer(Generic[T]):
    """The objects of one query. Read `objects`; never change it."""

    def __init__(
        self, query: Query, type_: type[T], cluster: Cluster, clock: Clock, chance: Chance, metrics: Metrics
    ) -> None:
        self.query, self.type = query, type_
        self.objects: dict[ObjectKey, T] = {}
        self.synced = asyncio.Event()
        """Set while the mirror is known to hold all that was written before it was last doubted."""
        self.settled = asyncio.Event()
        """Set once it is synced, or cannot be: nobody waits for a kind that is not installed."""
        self._cluster, self._clock, self._chance, self._metrics = cluster, clock, chance, metrics
        self._listeners: list[Listener] = []
        self._unreadable: dict[ObjectRef, str] = {}
        self._measured = (0, 0)
        self._highest = -1
        self._position = ""  # where the next watch goes on; "" to list first
        self._doubts = self._answered = 0  # how often it was doubted, and which doubt the goal is the answer to
        self._goal = -1  # the version to reach
        self._fell_short = 0  # short watches that ended before it was reached
        self._patience: asyncio.Timeout | None = None  # of the watch under way
        self._heard = 0  # events and bookmarks
        self._trouble = Repetition()
        self.is_missing = False
        """Whether the API server says that it serves no such kind."""

    @property
    def version(self) -> int:
        """The highest resourceVersion seen."""
        return self._highest

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        self._listeners.remove(listener)

    def doubt(self) -> None:
        """Doubt the mirror: count as synced only when all is mirrored that was written before this call."""
        self._doubts += 1
        self.synced.clear()
        self.settled.clear()
        self._metrics.informer_synced.labels(self.query.kind.kind).set(0)
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time())  # a long watch may be quiet for a minute

    def absorb(self, written: T) -> None:
        """Take over an object as the API server answered our own write, if it is newer than what we have."""
        metadata = written.metadata
        present = self.objects.get(ObjectKey(metadata.namespace, metadata.name))
        if present is not None and present.metadata.uid == metadata.uid:
            self._put(written)

    async def run(self) -> None:
        """Mirror until cancelled. What goes wrong is logged and tried again."""
        failures = 0
        while True:
            asked = 0.0
            began, heard = self._clock.monotonic(), self._heard
            try:
                if not self._position:
                    await self._list()
                await self._ask()
                await self._watch()
                self._note_success()
                # A server that ends watches at once must not make us spin.
                is_well = self._is_doubted or self._clock.monotonic() - began >= 1.0
            except Expired:
                self._position, is_well = "", False
            except ClusterError as error:
                is_well, asked = False, min(error.retry_after or 0.0, LAST_RETRY)
                self._note_failure(error)
            except Exception:
                is_well = False
                log.exception("a watch broke", extra={"kind": self.query.kind.kind})
            if self._heard > heard:  # it worked for a while: what follows is a new trouble
                failures = 0
            failures = 0 if is_well else failures + 1
            if failures:
                await self._clock.sleep(max(asked, compute_backoff(failures, self._chance.random(), last=LAST_RETRY)))

    def _note_failure(self, error: ClusterError) -> None:
        kind = self.query.kind.kind
        self.is_missing = isinstance(error, KindUnknown)
        self._metrics.api_errors.labels(kind, error.reason).inc()
        level = logging.WARNING if self._trouble.note(str(error), self._clock.monotonic()) else logging.DEBUG
        extra = {"kind": kind, "cause": str(error), "times": self._trouble.times}
        log.log(level, "cannot watch", extra=extra)
        self.settled.set()

    def _note_success(self) -> None:
        self.is_missing = False
        if failures := self._trouble.end():
            log.info("watching again", extra={"kind": self.query.kind.kind, "failures": failures})

    @property
    def _is_doubted(self) -> bool:
        """Tell whether nobody knows yet which version has to be reached."""
        return self._answered < self._doubts

    async def _ask(self) -> None:
        """Learn which version is to be reached, if it is doubted. Raises Expired: only a list tells what there is."""
        while self._is_doubted:
            doubt, seen = self._doubts, self._highest
            page = await self._cluster.list(replace(self.query, metadata_only=True), PartialObject, limit=1)
            latest = parse_resource_version(page.resource_version)
            if latest < max(seen, 0):
                raise Expired(f"the API server is at version {page.resource_version!r}, and was at {seen} before")
            self._answered, self._goal, self._fell_short = doubt, latest, 0
            self._confirm()

    def _confirm(self) -> None:
        """Count as synced if the version is reached."""
        if self._is_doubted or self._highest < self._goal or self.synced.is_set():
            return
        self.synced.set()
        self.settled.set()
        self._metrics.informer_synced.labels(self.query.kind.kind).set(1)

    async def _list(self) -> None:
        """Read every page."""
        doubt = self._doubts
        seen: set[ObjectKey] = set()
        token = version = ""
        while True:
            page = await self._cluster.list(self.query, self.type, limit=PAGE, continue_token=token)
            version = page.resource_version
            # A lower version than we have seen: the API server was restored from a backup.
            restored = -1 < parse_resource_version(version) < self._highest
            for item in page.items:
                seen.add(self._take(item, restored=restored))
            token = page.continue_token
            if not token:
                break
            await asyncio.sleep(0)  # let others run between the pages
        for key in sorted(self.objects.keys() - seen):
            self._remove(key)
        self._highest = (
            parse_resource_version(version) if restored else max(self._highest, parse_resource_version(version))
        )
        self._position = version
        self._answered, self._goal = doubt, parse_resource_version(version)
        self._confirm()
        self._measure()
        self._note_success()

    async def _watch(self) -> None:
        """Follow the watch until it ends, breaks or the mirror is doubted; the next one goes on from the last event."""
        loop, is_synced = asyncio.get_running_loop(), self.synced.is_set()
        seconds, silence = (None, SILENCE) if is_synced else (SHORT, SHORT_SILENCE)
        events = self._cluster.watch(self.query, self.type, self._position, seconds=seconds)
        try:
            with suppress(TimeoutError):
                async with _closing(events), asyncio.timeout(silence) as self._patience:
                    async for event in events:
                        self._heard += 1
                        self._note_success()
                        self._observe(event)
                        self._position = event.resource_version or self._position
                        self._highest = max(self._highest, parse_resource_version(self._position))
                        self._confirm()
                        if self._is_doubted:
                            return
                        self._patience.reschedule(loop.time() + silence)
        finally:
            self._patience = None
        if not self.synced.is_set() and not self._is_doubted:
            self._fell_short += 1
            if self._fell_short == SHORT_WATCHES:
                self._position = ""

    def _observe(self, event: WatchEvent[T]) -> None:
        if event.type == "BOOKMARK" or event.object is None:
            return
        if event.type == "DELETED":
            ref = event.object.ref if isinstance(event.object, Unreadable) else None
            self._unreadable.pop(ref, None) if ref else None
            self._remove(ref.key if ref else _make_key(cast(T, event.object)))
        else:
            self._take(event.object)
        self._measure()

    def _take(self, item: T | Unreadable, *, restored: bool = False) -> ObjectKey:
        if not isinstance(item, Unreadable):
            self._put(item, restored=restored)
            return _make_key(item)
        if self._unreadable.get(item.ref) != item.cause:
            self._unreadable[item.ref] = item.cause
            log.warning("cannot read an object; it is left alone", extra={"object": str(item.ref), "cause": item.cause})
        self._remove(item.ref.key)
        return item.ref.key

    def _put(self, new: T, *, restored: bool = False) -> None:
        key = _make_key(new)
        old = self.objects.get(key)
        if old is not None and old.metadata.uid == new.metadata.uid:
            before, after = old.metadata.resource_version, new.metadata.resource_version
            stale = -1 < parse_resource_version(after) < parse_resource_version(before) and not restored
            if before == after or stale:
                return
        self.objects[key] = new
        if self._unreadable:
            self._unreadable.pop(ObjectRef(self.query.kind, key), None)
        self._tell(old, new)

    def _remove(self, key: ObjectKey) -> None:
        if (old := self.objects.pop(key, None)) is not None:
            self._tell(old, None)

    def _tell(self, old: T | None, new: T | None) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(old, new)
            except Exception:
                log.exception("a watch's listener broke", extra={"kind": self.query.kind.kind})

    def _measure(self) -> None:
        kind = self.query.kind.kind
        # by what changed: a kind may have several mirrors
        measured, self._measured = self._measured, (len(self.objects), len(self._unreadable))
        self._metrics.informer_objects.labels(kind).inc(self._measured[0] - measured[0])
        self._metrics.informer_unreadable.labels(kind).inc(self._measured[1] - measured[1])

    def clear(self) -> None:
        """Hold nothing any more, and be counted so."""
        self.objects, self._unreadable = {}, {}
        self._measure()


@asynccontextmanager
async def _closing(events: AsyncIterator[Any]) -> AsyncIterator[None]:
    """Close `events` at the end if it is a generator: its connection must not wait for the garbage collector."""
    try:
        yield
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def _make_key(item: Resource | PartialObject) -> ObjectKey:
    return ObjectKey(item.metadata.namespace, item.metadata.name)


class Informers:
    """One informer for each query and type that somebody uses, for as long as somebody does; those kept, to the end."""

    def __init__(self, cluster: Cluster, clock: Clock, chance: Chance, metrics: Metrics) -> None:
        self._cluster, self._clock, self._chance, self._metrics = cluster, clock, chance, metrics
        self._users: dict[tuple[Query, type], int] = {}
        self._kept: set[tuple[Query, type]] = set()
        self._informers: dict[tuple[Query, type], Informer[Any]] = {}
        self._tasks: dict[tuple[Query, type], asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Run informers as tasks of `group` from now on, those asked for before and those to come; once is enough."""
        if self._group is not None:
            return
        self._group = group
        for place in self._informers:
            self._run(place)

    def stop(self) -> None:
        """Forget everything; the next start() begins empty."""
        self._metrics.informer_synced.clear()
        for task in self._tasks.values():
            task.cancel()
        for informer in self._informers.values():
            informer.clear()
        self._users.clear()
        self._kept.clear()
        self._informers.clear()
        self._tasks.clear()
        self._group = None

    def keep(self, query: Query, type_: type[Any]) -> None:
        """Mirror a query until stop(), whoever else uses it."""
        if (query, type_) not in self._kept:
            self._kept.add((query, type_))
            self.acquire(query, type_)

    def doubt(self) -> None:
        """Trust no mirror before it holds all that was written until now; meanwhile reads go to the API server."""
        for informer in self._informers.values():
            informer.doubt()

    def acquire(self, query: Query, type_: type[T]) -> Informer[T]:
        """Return the informer of a query, to be given back to release()."""
        place = (query, type_)
        self._users[place] = self._users.get(place, 0) + 1
        if place not in self._informers:
            self._informers[place] = Informer(query, type_, self._cluster, self._clock, self._chance, self._metrics)
            if self._group is not None:
                self._run(place)
        return self._informers[place]

    def release(self, informer: Informer[Any]) -> None:
        place = (informer.query, informer.type)
        if place not in self._users:
            return
        self._users[place] -= 1
        if not self._users[place]:
            del self._users[place], self._informers[place]
            if (task := self._tasks.pop(place, None)) is not None:
                task.cancel()
            informer.clear()

    def show_written(self, resource: Resource) -> None:
        """Show an object as our own write left it to every informer that holds it."""
        for (_, type_), informer in tuple(self._informers.items()):
            if type_ is type(resource):
                informer.absorb(resource)

    def list_holding(self, type_: type[R], namespace: str) -> list[Informer[R]]:
        """List the informers that have every object of a namespace ("" for all) as soon as they are synced.

        Those of all namespaces come first: they wake who names an object (see reconciling.Watch), and whoever is woken
        must find what changed. Another mirror may learn of it later, and would wake nobody.
        """
        held = (
            informer
            for (query, its_type), informer in self._informers.items()
            if its_type is type_ and not query.labels and not query.name and query.namespace in ("", namespace)
        )
        return sorted(held, key=lambda informer: informer.query.namespace)

    def find_synced(self, type_: type[R], namespace: str) -> Informer[R] | None:
        """Find an informer that has every object of a namespace now, or None."""
        return next((each for each in self.list_holding(type_, namespace) if each.synced.is_set()), None)

    def _run(self, place: tuple[Query, type]) -> None:
        if self._group is None:
            raise RuntimeError("informers run between start() and stop()")
        informer = self._informers[place]
        self._tasks[place] = self._group.create_task(informer.run(), name=f"informer {place[0].kind.kind}")


async def list_objects(cluster: Cluster, type_: type[R], namespace: str = "") -> list[R]:
    """List every readable object of a kind, from all pages, as the API server has them now."""
    return await read_every_page(cluster, Query(type_.KIND, namespace=namespace), type_)


async def list_live_manifests(cluster: Cluster, query: Query) -> list[Manifest]:
    """List the objects of a query as decoded JSON, each with the apiVersion and kind that a list's items do not say."""
    header = {"apiVersion": query.kind.api_version, "kind": query.kind.kind}
    return [{**header, **item} for item in await read_every_page(cluster, query, dict)]


async def read_every_page(cluster: Cluster, query: Query, type_: type[V]) -> list[V]:
    """Read every page of a query: its readable objects, decoded to `type_`."""
    found: list[V] = []
    token = ""
    while True:
        page = await cluster.list(query, type_, limit=PAGE, continue_token=token)
        found += [item for item in page.items if not isinstance(item, Unreadable)]
        token = page.continue_token
        if not token:
            return found
