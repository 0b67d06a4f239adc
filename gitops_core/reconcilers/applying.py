"""Carrying a SyncPlan out: dry-runs first, then stage by stage, then what is to be pruned.

Nothing is written before the API server has accepted everything of a new rendering in a dry-run. Two kinds of objects
cannot be tried: those whose definition or namespace the same plan brings. One need not be: the very first object of a
Kustomization that has nothing yet, because its real apply comes first, alone, and is its own trial.

An apply that changes nothing leaves the object's resourceVersion as it was, or at least the time of our entry in its
managedFields; that is how `changed` is told without reading anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, TypeVar

from gitops_core.domain import labels, stages
from gitops_core.domain.health import health
from gitops_core.domain.plan import Action, SyncPlan
from gitops_core.domain.takeover import MANAGER, takeover_patch
from gitops_core.errors import ClusterError, ClusterUnavailable, KindUnknown, NotFound, NotLeader, TransientError
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Clock, Cluster

T = TypeVar("T")
U = TypeVar("U")

AT_ONCE = 4
STAGE_TIMEOUT = 60.0
Change = Literal["created", "configured", "unchanged", "skipped"]


class SyncFailed(TransientError):
    """Some objects could not be applied or pruned: the message names each.

    Attributes:
        applied: what was applied before and beside them.
        left: what could not be deleted.
    """

    reason = "ReconciliationFailed"

    def __init__(self, causes: Iterable[str], applied: Iterable[Applied] = (), left: Iterable[ObjectRef] = ()) -> None:
        super().__init__("\n".join(causes))
        self.applied, self.left = tuple(applied), tuple(left)


class PruneFailed(SyncFailed):
    reason = "PruneFailed"


class Applied(NamedTuple):
    """One object after its apply: as the API server returned it, and what that changed."""

    ref: ObjectRef
    live: Manifest
    change: Change

    def __str__(self) -> str:
        return f"{self.ref} {self.change}"


class Mark(NamedTuple):
    """What tells one state of an object's applied fields from another."""

    uid: str
    resource_version: str
    applied_at: str


@dataclass(frozen=True)
class Before:
    """What is known of the objects before they are applied.

    Attributes:
        marks: of objects that this process applied, or tried, before.
        missing: objects that did not exist when they were tried.
    """

    marks: Mapping[ObjectRef, Mark] = field(default_factory=dict)
    missing: frozenset[ObjectRef] = frozenset()


def mark_of(live: Manifest) -> Mark:
    metadata = live.get("metadata") or {}
    entries = metadata.get("managedFields") or ()
    times = [e.get("time", "") for e in entries if e.get("manager") == MANAGER and e.get("operation") == "Apply"]
    return Mark(metadata.get("uid", ""), metadata.get("resourceVersion", ""), times[0] if times else "")


@dataclass(frozen=True)
class Applier:
    cluster: Cluster
    clock: Clock

    async def scoped(self, objects: Iterable[Manifest]) -> tuple[Manifest, ...]:
        """`objects` with a namespace exactly where their kind has one.

        Raises:
            SyncFailed: names the objects of unknown kinds and those without a namespace.
        """
        objects = tuple(objects)
        scopes = _defined_scopes(objects)
        causes: list[str] = []
        scoped: list[Manifest] = []
        for manifest in objects:
            try:
                scoped.append(_with_scope(manifest, await self._is_namespaced(Kind.of_manifest(manifest), scopes)))
            except KindUnknown as error:
                causes.append(f"{ObjectRef.of(manifest)} dry-run failed: {error}")
            except ValueError as error:
                causes.append(str(error))
        if causes:
            raise SyncFailed(causes)
        return tuple(scoped)

    async def _is_namespaced(self, kind: Kind, scopes: Mapping[tuple[str, str], bool]) -> bool:
        try:
            return (await self.cluster.resource(kind)).namespaced
        except KindUnknown:
            if (defined := scopes.get((kind.group, kind.kind))) is None:
                raise
            return defined

    async def try_out(self, plan: SyncPlan, *, first_is_its_own_trial: bool) -> Before:
        """Ask the API server whether it would take everything. Raises SyncFailed, which names every refused object."""
        actions = plan.actions[1:] if first_is_its_own_trial else plan.actions
        refs = {action.ref for action in plan.actions}
        missing: set[ObjectRef] = set()
        marks: dict[ObjectRef, Mark] = {}

        async def one(action: Action) -> None:
            if action.create_only or _waits_for_definition(action.ref, plan):
                return
            try:
                answer = await self.cluster.apply(action.manifest, field_manager=MANAGER, force=True, dry_run=True)
            except NotFound:
                if ObjectRef(Kind("", "v1", "Namespace"), ObjectKey("", action.ref.key.namespace)) in refs:
                    return
                raise
            if (mark := mark_of(answer)).resource_version:
                marks[action.ref] = mark._replace(applied_at="")  # the trial's own time, not that of the last apply
            else:
                missing.add(action.ref)

        failures = await _each(actions, one)
        if failures:
            raise SyncFailed(_told(action.ref, "dry-run", error) for action, error in failures)
        return Before(marks, frozenset(missing))

    async def apply(self, plan: SyncPlan, before: Before, *, first_alone: bool) -> tuple[Applied, ...]:
        """Apply the stages one after the other, the objects of one at the same time.

        Raises:
            SyncFailed: names every object that could not be applied, and carries those that were.
        """
        done: dict[ObjectRef, Applied] = {}

        async def one(action: Action) -> None:
            await self._apply(action, before, done)

        for number, stage in enumerate(plan.stages):
            parts: Sequence[Sequence[Action]] = (stage,)
            if number == 0 and first_alone:
                parts = (stage[:1], stage[1:])
            for part in parts:
                failures = await _each(part, one)
                if failures:
                    raise SyncFailed((_told(a.ref, "apply", e) for a, e in failures), _in_order(done, plan))
            if number + 1 < len(plan.stages):
                await self._settled(stage, done, plan)
        return _in_order(done, plan)

    async def _apply(self, action: Action, before: Before, done: dict[ObjectRef, Applied]) -> None:
        ref = action.ref
        if action.create_only and (live := await self.cluster.get(ref)) is not None:
            done[ref] = Applied(ref, live, "skipped")
            return
        live = await self.cluster.apply(action.manifest, field_manager=MANAGER, force=True)
        done[ref] = Applied(ref, live, _change(ref, live, before))
        if action.take_over and (patch := takeover_patch(live)):
            await self.cluster.patch(ref, patch, field_manager=MANAGER)
            live = await self.cluster.apply(action.manifest, field_manager=MANAGER, force=True)
            done[ref] = Applied(ref, live, _change(ref, live, before))

    async def _settled(self, stage: Sequence[Action], done: Mapping[ObjectRef, Applied], plan: SyncPlan) -> None:
        """Wait until the definitions of a stage are served. Raises SyncFailed after a minute."""
        deadline = self.clock.monotonic() + STAGE_TIMEOUT
        for action in stage:
            live: Manifest | None = done[action.ref].live
            while (state := health(live, self.clock.now())).status not in ("Current", "Failed"):
                if self.clock.monotonic() > deadline:
                    cause = f"{action.ref} is not ready after {STAGE_TIMEOUT:g}s: {state.message}"
                    raise SyncFailed((cause,), _in_order(done, plan))
                await self.clock.sleep(0.1)
                live = await self.cluster.get(action.ref)
            await self._served(live, deadline)

    async def _served(self, live: Manifest | None, deadline: float) -> None:
        """Wait until discovery knows the kind that a CustomResourceDefinition defines."""
        if live is None or live.get("kind") != "CustomResourceDefinition":
            return
        for version in live["spec"].get("versions") or ():
            kind = Kind(live["spec"]["group"], version["name"], live["spec"]["names"]["kind"])
            while version.get("served") and not await self._knows(kind):
                if self.clock.monotonic() > deadline:
                    raise SyncFailed((f"{kind} is not served after {STAGE_TIMEOUT:g}s",))
                await self.clock.sleep(0.1)

    async def _knows(self, kind: Kind) -> bool:
        try:
            await self.cluster.resource(kind)
        except KindUnknown:
            return False
        return True

    async def prune(self, refs: Sequence[ObjectRef], owner: ObjectKey) -> tuple[ObjectRef, ...]:
        """Delete those of `refs` that are still the owner's; the deleted ones, in the order given.

        Raises:
            PruneFailed: names every object that could not be deleted, and carries these.
        """
        deleted: set[ObjectRef] = set()

        async def one(ref: ObjectRef) -> None:
            if await self._delete(ref, owner):
                deleted.add(ref)

        failures: list[tuple[ObjectRef, ClusterError]] = []
        for number in (2, 1, 0):
            failures += await _each([ref for ref in refs if stages.stage_of(ref.kind) == number], one)
        if failures:
            causes = (_told(ref, "delete", error) for ref, error in failures)
            raise PruneFailed(causes, left=(ref for ref, _ in failures))
        return tuple(ref for ref in refs if ref in deleted)

    async def _delete(self, ref: ObjectRef, owner: ObjectKey) -> bool:
        try:
            live = await self.cluster.get(ref)
            if live is None or not labels.may_be_pruned(live, owner) or live["metadata"].get("deletionTimestamp"):
                return False
            await self.cluster.delete(ref, uid=live["metadata"]["uid"])
        except (NotFound, KindUnknown):
            return False
        return True

    async def lives(self, refs: Iterable[ObjectRef]) -> dict[ObjectRef, Manifest | None]:
        """The objects as they are now; None for those that are not there, or whose kind is not served."""
        found: dict[ObjectRef, Manifest | None] = {}

        async def one(ref: ObjectRef) -> None:
            try:
                found[ref] = await self.cluster.get(ref)
            except KindUnknown:
                found[ref] = None

        for _, error in await _each(tuple(refs), one):
            raise error
        return found


async def _each(items: Sequence[T], work: Callable[[T], Awaitable[None]]) -> list[tuple[T, ClusterError]]:
    """Do `work` for all items, a few at a time; those for which the API server refused, in the order of the items.

    An API server that cannot be reached, and a lease that is lost, end the whole attempt instead.
    """
    slots = asyncio.Semaphore(AT_ONCE)
    failures: dict[int, ClusterError] = {}

    async def guarded(index: int, item: T) -> None:
        async with slots:
            try:
                await work(item)
            except (ClusterUnavailable, NotLeader):
                raise
            except ClusterError as error:
                failures[index] = error

    if len(items) == 1:
        await guarded(0, items[0])
    else:
        await _together([guarded(index, item) for index, item in enumerate(items)])
    return [(items[index], failures[index]) for index in sorted(failures)]


async def _together(work: Iterable[Awaitable[None]]) -> None:
    """All of it; the first exception cancels the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _told(ref: ObjectRef, deed: str, error: ClusterError) -> str:
    if isinstance(error, KindUnknown):
        return f"{ref} {deed} failed: {error}"
    return f"{ref} {deed} failed ({error.reason}): {error}"


def _change(ref: ObjectRef, live: Manifest, before: Before) -> Change:
    old, new = before.marks.get(ref), mark_of(live)
    if old is None:
        if ref in before.missing or _is_moment(live["metadata"].get("creationTimestamp", ""), new.applied_at):
            return "created"
        return "configured"
    if old.uid != new.uid:
        return "created"
    same = old.resource_version == new.resource_version or (old.applied_at and old.applied_at == new.applied_at)
    return "unchanged" if same else "configured"


def _is_moment(one: str, other: str) -> bool:
    """Whether two times may be of one request: a second may have begun between them.

    >>> _is_moment("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"), _is_moment("2026-01-01T00:00:00Z", "")
    (True, False)
    """
    if not (one and other):
        return False
    return abs(datetime.fromisoformat(one) - datetime.fromisoformat(other)) <= timedelta(seconds=1)


def _in_order(done: Mapping[ObjectRef, Applied], plan: SyncPlan) -> tuple[Applied, ...]:
    return tuple(done[action.ref] for action in plan.actions if action.ref in done)


def _defined_scopes(objects: Iterable[Manifest]) -> dict[tuple[str, str], bool]:
    """Whether the kinds that CustomResourceDefinitions among `objects` define are namespaced."""
    scopes = {}
    for manifest in objects:
        spec = manifest.get("spec")
        if manifest["kind"] == "CustomResourceDefinition" and isinstance(spec, dict):
            kind = (spec.get("names") or {}).get("kind", "")
            scopes[(spec.get("group", ""), kind)] = spec.get("scope") == "Namespaced"
    return scopes


def _with_scope(manifest: Manifest, namespaced: bool) -> Manifest:
    """Raises ValueError: the kind needs a namespace and there is none."""
    metadata = manifest["metadata"]
    if namespaced and not metadata.get("namespace"):
        ref = ObjectRef.of(manifest)
        raise ValueError(f"{ref} namespace not specified: set metadata.namespace or spec.targetNamespace")
    if not namespaced and "namespace" in metadata:
        return {**manifest, "metadata": {k: v for k, v in metadata.items() if k != "namespace"}}
    return manifest


def _waits_for_definition(ref: ObjectRef, plan: SyncPlan) -> bool:
    """Whether the plan itself brings the definition of `ref`'s kind."""
    definitions = (a.manifest for a in plan.actions if a.ref.kind.kind == "CustomResourceDefinition")
    return (ref.kind.group, ref.kind.kind) in _defined_scopes(definitions)
