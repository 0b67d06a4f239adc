"""The loop of one kind: from a change to a reconciliation to a status.

    informer ──► significant? ──► queue ──► worker: finalizer · suspended? · reconcile ──► status · events · next look
    watches  ──► who names it? ──┘                                  │
                 not if the reconciliation wrote it itself ◄────────┘

A reconciler's bug is one object's failure: it is logged with its traceback, the object is retried, all others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import msgspec

from gitops_core.errors import (
    BadRequest,
    ClusterError,
    ClusterUnavailable,
    Conflict,
    GitOpsError,
    Invalid,
    NotFound,
    NotLeader,
    Postponed,
    StalledError,
    TransientError,
    Yielded,
)
from gitops_core.meta import Kind, ObjectKey, ObjectRef, Resource, Wire
from gitops_core.ports import Chance, Clock, Cluster, Events, PartialObject, Query
from gitops_core.runtime.authority.fencing import WRITTEN
from gitops_core.runtime.authority.leave import FENCE, Fence
from gitops_core.runtime.loop.conditions import REQUESTED_AT, UNSUPPORTED, make_status_refusal, name_unsupported
from gitops_core.runtime.loop.queue import Priority, WorkQueue
from gitops_core.runtime.loop.statuses import StatusWriter
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.reconciling import Controller, Outcome, Watch
from gitops_core.runtime.repetition import Repetition
from gitops_core.runtime.retry import choose_delay
from gitops_core.runtime.sharing.computing import on_account_of
from gitops_core.runtime.timers import Timers
from gitops_core.runtime.watching.informers import PAGE, Informer, Informers, Listener
from gitops_core.runtime.watching.observing import Observer, wake_referrers
from gitops_core.runtime.watching.references import ReferenceIndex
from gitops_core.schema import list_unsupported, read_manifest

R = TypeVar("R", bound=Resource)
T = TypeVar("T")

log = logging.getLogger(__name__)

OWN = ""
"""The target whose objects are mirrored: our own cluster, as ourselves."""

KindState = Literal["ready", "not installed", "not read yet"]


@dataclass(frozen=True)
class Surroundings:
    """What every loop is given.

    Attributes:
        fence: what every write of a reconciliation passes, also those that go to no cluster.
        namespace: only its objects are reconciled; "" for all.
        labels: label selector of the objects to reconcile; "" for all.
        reconcile_timeout: seconds after which a reconciliation that hangs gives its worker back.
    """

    cluster: Cluster
    fence: Fence
    clock: Clock
    chance: Chance
    events: Events
    statuses: StatusWriter
    informers: Informers
    timers: Timers
    metrics: Metrics
    namespace: str = ""
    labels: str = ""
    reconcile_timeout: float = 1800.0


@dataclass
class _Run:
    """One reconciliation under way.

    Attributes:
        written: what it wrote, on which target: the resourceVersion that came back.
        causes: what changed meanwhile among the objects it names, -1 for a deletion.
    """

    since: dict[Kind, int]
    written: dict[tuple[str, ObjectRef], int] = field(default_factory=dict)
    causes: dict[ObjectRef, int] = field(default_factory=dict)


class ControllerLoop(Generic[R]):
    def __init__(self, controller: Controller[R], around: Surroundings) -> None:
        self.controller, self._around = controller, around
        self.kind = controller.kind
        self.queue: WorkQueue[ObjectKey] = WorkQueue(around.timers, controller.concurrency, lambda key: key.namespace)
        self._index = ReferenceIndex()
        self._observer = Observer(around.informers, around.timers, controller.observed_labels, self.wake)
        self._running: dict[ObjectKey, _Run] = {}
        self._written: dict[ObjectKey, dict[ObjectRef, int]] = {}
        self._failures: dict[ObjectKey, int] = {}
        self._troubles: dict[ObjectKey, Repetition] = {}
        self._unstored: dict[ObjectKey, Repetition] = {}
        self._states: dict[ObjectKey, str] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._stopping = False
        mirrored, *sources = list_queries(controller, around.namespace, around.labels)
        self._informer: Informer[R] = around.informers.acquire(*mirrored)
        self._sources: list[tuple[Informer[Any], Listener]] = []
        for watch, (query, type_) in zip(controller.watches, sources, strict=True):
            self._subscribe(watch, around.informers.acquire(query, type_))
        self._informer.subscribe(self._note_change)

    # life

    def start(self, group: asyncio.TaskGroup) -> None:
        for number in range(self.controller.concurrency):
            name = f"{self.kind.KIND.kind} worker {number}"
            self._workers.append(group.create_task(self._work(), name=name))

    async def wait_until_synced(self) -> None:
        """Wait until the objects are known, and those of the kinds they name as far as the cluster serves them."""
        await self._informer.synced.wait()
        for source, _ in self._sources:
            await source.settled.wait()

    async def queue_all(self) -> None:
        """Put what was mirrored before this loop into its queue; others have their turn meanwhile."""
        for number, key in enumerate(tuple(self._informer.objects), 1):
            if key not in self._states and (present := self._informer.objects.get(key)) is not None:
                self._note_change(None, present)
            if number % PAGE == 0:
                await asyncio.sleep(0)

    @property
    def state(self) -> KindState:
        if self._informer.is_missing:
            return "not installed"
        is_known = self._informer.synced.is_set() and all(source.settled.is_set() for source, _ in self._sources)
        return "ready" if is_known else "not read yet"

    async def finish(self) -> None:
        """Begin nothing new, and return when what is under way has ended."""
        self.queue.close()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def abandon(self) -> None:
        """Cancel what is under way."""
        self.queue.close()
        for worker in self._workers:
            worker.cancel()

    def close(self) -> None:
        """Leave the mirrors to the next term; nothing may be under way any more."""
        self._observer.close()
        for informer, listener in ((self._informer, self._note_change), *self._sources):
            informer.unsubscribe(listener)
            self._around.informers.release(informer)

    # what wakes

    def wake(self, key: ObjectKey, changed: ObjectRef, version: int) -> None:
        """Wake `key`, which names `changed`, now that this has become `version` (-1: it is gone)."""
        if (run := self._running.get(key)) is not None:
            before = run.causes.get(changed, version)
            run.causes[changed] = -1 if version < 0 else max(before, version)
        elif not _is_explained(version, self._written.get(key, {}).get(changed)):
            self._add(key)

    def _subscribe(self, watch: Watch, source: Informer[Any]) -> None:
        def listen(old: Any, new: Any) -> None:
            if watch.changed(old, new):
                wake_referrers(self._index, watch.query.kind, old, new, self.wake)

        source.subscribe(listen)
        self._sources.append((source, listen))

    def _note_change(self, old: R | None, new: R | None) -> None:
        if new is None:
            if old is not None:
                self._forget(old.key)
            return
        is_known = new.key in self._states  # what a mirror had before this loop is not
        self._index.update(new.key, self.controller.references(new))
        self._count_state(new)
        if old is None or not is_known or old.metadata.uid != new.metadata.uid:
            self._add(new.key, Priority.PERIODIC if self._is_settled(new) else Priority.CHANGED)
        elif (self.controller.significant or is_significant)(old, new):
            self._failures.pop(new.key, None)
            self._add(new.key)

    def _is_settled(self, resource: R) -> bool:
        return resource.metadata.deletion_timestamp is None and self.controller.teller.is_settled(resource)

    def _forget(self, key: ObjectKey) -> None:
        self.queue.forget(key)
        self._index.update(key, ())
        self._observer.forget(key)
        self._written.pop(key, None)
        self._failures.pop(key, None)
        self._troubles.pop(key, None)
        self._unstored.pop(key, None)
        if (state := self._states.pop(key, None)) is not None:
            self._around.metrics.objects.labels(self.kind.KIND.kind, state).dec()

    def _add(self, key: ObjectKey, priority: Priority = Priority.CHANGED) -> None:
        self.queue.add(key, priority)
        self._measure_queue()

    # what happens then

    async def _work(self) -> None:
        FENCE.set(self._around.fence)
        while (key := await self.queue.get()) is not None:
            self._measure_queue()
            run = self._running[key] = _Run(self._observer.mark())
            await asyncio.sleep(0)  # a look that never waits must not keep the lease from being renewed
            token = WRITTEN.set(run.written)
            try:
                await self._look(key, run)
            except Exception:
                # Nothing below may raise; if it does, the worker and all other objects survive it.
                log.exception("the runtime failed", extra={"kind": self.kind.KIND.kind, "key": str(key)})
                self._retry(key)
            finally:
                WRITTEN.reset(token)
                self._end(key, run)

    def _end(self, key: ObjectKey, run: _Run) -> None:
        del self._running[key]
        named = self._index.list_references(key)
        everywhere = ObjectKey("*", "*")

        def is_named(ref: ObjectRef) -> bool:
            wider = (ref, _widen(ref), ObjectRef(ref.kind, everywhere))
            return any(one in named for one in wider) or self._observer.names(key, ref)

        written = {ref: version for (target, ref), version in run.written.items() if target == OWN}
        self._written[key] = {ref: version for ref, version in written.items() if is_named(ref)}
        if key not in self._informer.objects:
            self._forget(key)  # it went while it was looked at
        elif any(not _is_explained(version, written.get(ref)) for ref, version in run.causes.items() if is_named(ref)):
            self._add(key)  # what it names no more concerns it no more
        self.queue.give_back(key)

    async def _look(self, key: ObjectKey, run: _Run) -> None:
        wanted = self._informer.objects.get(key)
        if wanted is None:
            self._forget(key)
            return
        began = self._around.clock.monotonic()
        try:
            result = await self._reconcile(wanted)
        except Conflict as conflict:  # the object changed while we wrote its finalizers
            self._schedule(key, conflict)
            return
        except GitOpsError as error:
            result = error
        if result is None:
            self.queue.unschedule(key)
            return
        if isinstance(result, Yielded):
            self._add(key, Priority.YIELDED)
            return
        if isinstance(result, Postponed):
            self._schedule(key, result)
            return
        self._tell(wanted, result, self._around.clock.monotonic() - began)
        stored = await self._store(wanted, result)
        if stored is None:
            return
        if isinstance(stored, Outcome):
            self._observer.update(key, stored.watch, run.since, stored.seen)
        else:
            self._observer.update(key, (), run.since)
        self._schedule(key, stored)

    async def _reconcile(self, wanted: R) -> Outcome | Exception | None:
        """Reconcile `wanted` and return what came of it; None when there is nothing to tell."""
        mine = wanted.FINALIZER
        if wanted.metadata.deletion_timestamp is not None:
            if not mine or mine not in wanted.metadata.finalizers:
                return None
            return await self._finalize(wanted)
        if mine and mine not in wanted.metadata.finalizers:
            wanted = await self._write_finalizers(wanted, (*wanted.metadata.finalizers, mine))
        if getattr(wanted.spec, "suspend", False):
            return None
        return await self._guard(wanted, self.controller.reconciler.reconcile(wanted))

    async def _finalize(self, wanted: R) -> Exception | None:
        failure = await self._guard(wanted, self.controller.reconciler.finalize(wanted))
        if isinstance(failure, Exception):
            return failure
        rest = tuple(f for f in wanted.metadata.finalizers if f != wanted.FINALIZER)
        with contextlib.suppress(NotFound):
            await self._write_finalizers(wanted, rest)
        return None

    async def _write_finalizers(self, wanted: R, finalizers: tuple[str, ...]) -> R:
        """Store these finalizers and return `wanted` with them. Raises Conflict: someone else wrote it meanwhile."""
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": wanted.metadata.resource_version}}
        stored = await self._around.cluster.patch(wanted.ref, patch, field_manager=wanted.get_field_manager())
        fresh = read_manifest(type(wanted), stored)
        self._around.informers.show_written(fresh)
        return fresh

    async def _guard(self, wanted: R, work: Awaitable[T]) -> T | Exception:
        """Guard a reconciler's work: return its result, or how it failed; only being cancelled goes through."""
        limit = asyncio.timeout(self._around.reconcile_timeout)
        try:
            async with limit:
                with on_account_of(wanted.ref):
                    return await work
        except GitOpsError as error:
            return error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled us: it leaked out of the reconciler, and must not end the worker.
            log.exception("a reconciler cancelled itself", extra={"kind": self.kind.KIND.kind, "key": str(wanted.key)})
            return RuntimeError("cancelled")
        except Exception as error:
            if limit.expired():
                seconds = self._around.reconcile_timeout
                return TransientError(f"{wanted.ref} was given up after {seconds:g} s", reason="TimedOut")
            return error

    # what is told

    def _tell(self, wanted: R, result: Outcome | Exception, took: float) -> None:
        kind, metrics = self.kind.KIND.kind, self._around.metrics
        about = {"kind": kind, "key": str(wanted.key), "seconds": round(took, 3)}
        metrics.duration.labels(kind).observe(took)
        if isinstance(result, Outcome):  # it came to a result
            metrics.results.labels(kind, "Progressing" if result.ready == "Unknown" else "Succeeded").inc()
            if trouble := self._troubles.pop(wanted.key, None):
                log.info("recovered", extra=about | {"failures": trouble.failures})
            log.log(logging.INFO if result.changed else logging.DEBUG, "reconciled", extra=about)
            for notice in result.notices:
                self._around.events.emit(wanted, notice.type, notice.reason, notice.message, notice.metadata)
            return
        reason = result.reason if isinstance(result, GitOpsError) else "InternalError"
        message = str(result) if isinstance(result, GitOpsError) else type(result).__name__
        metrics.results.labels(kind, reason).inc()
        trouble = self._troubles.setdefault(wanted.key, Repetition())
        level = logging.WARNING if trouble.note((reason, message), self._around.clock.monotonic()) else logging.DEBUG
        log.log(level, "failed", extra=about | {"reason": reason, "cause": message, "times": trouble.times})
        if not isinstance(result, GitOpsError) and level == logging.WARNING:
            log.error("a reconciler broke", extra=about, exc_info=result)
        told = result if isinstance(result, GitOpsError) else GitOpsError(message)
        if told.event != "None" and not isinstance(result, NotLeader):  # who lost the lease tells nothing
            event = self.controller.teller.name_failure_event(reason)
            self._around.events.emit(wanted, told.event, event, message, told.event_metadata)

    async def _store(self, wanted: R, result: Outcome | Exception) -> Outcome | Exception | None:
        """Write the status that follows from `result`, and return what decides when to look again.

        None when there is nothing to look at again, or that is decided.
        """
        if isinstance(result, NotLeader):
            return result
        current = self._informer.objects.get(wanted.key)
        if current is None or current.metadata.uid != wanted.metadata.uid:
            return None  # gone, or another object of that name, which its arrival has put into the queue
        seen = msgspec.structs.replace(wanted, status=current.status)
        paths = list_unsupported(wanted.spec, self.controller.acts_on)
        self._tell_unsupported(seen, paths)
        teller, clock = self.controller.teller, self._around.clock
        failure = await self._write(current, teller.make_status(result, seen, clock.now(), paths))
        if isinstance(failure, Invalid | BadRequest):
            # What failed and was not stored would look like the success before it.
            refused = make_status_refusal(result, failure)
            await self._write(current, teller.make_status(refused, seen, clock.now(), ()))
            return refused
        if failure is None or isinstance(failure, NotLeader | ClusterUnavailable):
            return failure or result
        return ClusterUnavailable(str(failure))  # the work is done and will be due again: no reason for a long wait

    async def _write(self, current: R, status: Wire) -> ClusterError | None:
        """Write `status`; return why it is not stored now, or None."""
        try:
            await self._around.statuses.write_whole(current, status)
        except ClusterError as error:
            self._around.metrics.api_errors.labels(self.kind.KIND.kind, error.reason).inc()
            trouble = self._unstored.setdefault(current.key, Repetition())
            level = logging.WARNING if trouble.note(str(error), self._around.clock.monotonic()) else logging.DEBUG
            extra = {"object": str(current.ref), "cause": str(error), "times": trouble.times}
            log.log(level, "cannot write a status", extra=extra)
            return error
        if self._unstored.pop(current.key, None):
            log.info("a status is written again", extra={"object": str(current.ref)})
        return None

    def _tell_unsupported(self, wanted: R, paths: Sequence[str]) -> None:
        """Warn about fields that are not acted on, once for each generation."""
        if not paths:
            return
        message = name_unsupported(paths)
        conditions = getattr(wanted.status, "conditions", ())
        if not any(_says(condition, message, wanted) for condition in conditions):
            self._around.events.emit(wanted, "Warning", "FieldsNotSupported", message, {})

    # when next

    def _schedule(self, key: ObjectKey, result: Outcome | Exception) -> None:
        if isinstance(result, Exception) and not isinstance(result, StalledError | Postponed):
            self._failures[key] = self._failures.get(key, 0) + 1
        elif not isinstance(result, Postponed):
            self._failures.pop(key, None)
        present = self._informer.objects.get(key)
        interval = self.controller.find_interval(present) if present is not None else None
        delay = choose_delay(result, self._failures.get(key, 0), self._around.chance.random(), interval)
        if delay is None:
            self.queue.unschedule(key)
        else:
            self.queue.add_after(key, delay)

    def _retry(self, key: ObjectKey) -> None:
        self._schedule(key, ClusterUnavailable("again"))

    # what is measured

    def _measure_queue(self) -> None:
        self._around.metrics.depth.labels(self.kind.KIND.kind).set(len(self.queue))

    def _count_state(self, resource: R) -> None:
        state = self.controller.teller.tell_state(resource)
        before = self._states.get(resource.key)
        if before != state:
            kind, objects = self.kind.KIND.kind, self._around.metrics.objects
            self._states[resource.key] = state
            objects.labels(kind, state).inc()
            if before is not None:
                objects.labels(kind, before).dec()


def list_queries(controller: Controller[Any], namespace: str, labels: str) -> tuple[tuple[Query, type[Any]], ...]:
    """List what is mirrored for a controller: its own objects, then each of its watches, in their order."""
    own = Query(controller.kind.KIND, namespace=namespace, labels=labels)
    watches = (
        (dataclasses.replace(watch.query, metadata_only=watch.type_ is PartialObject), watch.type_)
        for watch in controller.watches
    )
    return ((own, controller.kind), *watches)


def is_significant(old: Resource, new: Resource) -> bool:
    """Tell whether a change is one of what people want of an object: never that of a status or of a label."""
    before, after = old.metadata, new.metadata
    is_another = before.generation != after.generation if new.STATUS_SUBRESOURCE else old.spec != new.spec
    return (
        is_another
        or before.deletion_timestamp != after.deletion_timestamp
        or before.annotations.get(REQUESTED_AT) != after.annotations.get(REQUESTED_AT)
    )


def _is_explained(version: int, written: int | None) -> bool:
    """Tell whether a change is nothing newer than what the reconciliation wrote itself."""
    return written is not None and 0 <= version <= written


def _widen(ref: ObjectRef) -> ObjectRef:
    return ObjectRef(ref.kind, ObjectKey(ref.key.namespace, "*"))


def _says(condition: Any, message: str, wanted: Resource) -> bool:
    same_generation = getattr(condition, "observed_generation", None) in (None, wanted.metadata.generation)
    return condition.type == UNSUPPORTED and condition.message == message and same_generation
