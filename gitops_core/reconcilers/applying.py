"""Carrying a SyncPlan out: everything is looked at first, then applied stage by stage, then what is stale is pruned.

Nothing is written before the API server has accepted everything of a new rendering in a dry-run. What cannot be tried
(its definition or namespace comes with the same plan) is read before it is applied, and so is everything of a rendering
that was applied before: an object that is still as our apply left it costs one read and no write.

An apply that changes nothing leaves the object's resourceVersion as it was, or at least the time of our entry in its
managedFields; that is how `changed` is told.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

import msgspec

from gitops_core.domain.health.kstatus import Health, health
from gitops_core.domain.objects.fieldmanagers import entries_of, is_by
from gitops_core.domain.sync import inventory, stages
from gitops_core.domain.sync.creators import CREATOR, NAMESPACE, blank, holds_others, is_adopted, may_be_deleted
from gitops_core.domain.sync.ownership import Ownership
from gitops_core.domain.sync.plan import Action, SyncPlan
from gitops_core.domain.sync.takeover import takeover_patch
from gitops_core.errors import (
    AlreadyExists,
    BadRequest,
    ClusterError,
    ClusterUnavailable,
    Conflict,
    Invalid,
    KindUnknown,
    NotFound,
    NotLeader,
    TransientError,
)
from gitops_core.meta import Kind, Manifest, ObjectRef
from gitops_core.ports import Clock, Cluster

T = TypeVar("T")

CRD = "CustomResourceDefinition"
AT_ONCE = 4
TRIES = 5  # of taking an object's fields over while its controllers write it
Change = Literal["created", "configured", "unchanged", "skipped"]
Verdict = Literal["deleted", "gone", "kept", "spared"]
Lives = Mapping[ObjectRef, Manifest | None]


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


class Mark(NamedTuple):
    """An object as our apply left it; `state` covers all but its status and what every write changes."""

    uid: str
    resource_version: str
    state: bytes


def mark_of(live: Manifest) -> Mark:
    metadata = live["metadata"]
    entries = [
        {name: value for name, value in entry.items() if name != "time"}
        for entry in entries_of(live)
        if not entry.get("subresource")
    ]
    rest = {name: value for name, value in metadata.items() if name not in ("resourceVersion", "managedFields")}
    state = {**live, "metadata": rest, "status": None, "managedFields": entries}
    digest = hashlib.sha256(msgspec.json.encode(state, order="deterministic")).digest()
    return Mark(metadata.get("uid", ""), metadata.get("resourceVersion", ""), digest)


class Pruned(NamedTuple):
    """What was deleted, and what others' objects would go with and somebody else made; in order."""

    deleted: tuple[ObjectRef, ...]
    spared: tuple[ObjectRef, ...]


class Applied(NamedTuple):
    """One object after its apply: as the API server returned it, and what that changed.

    `is_adopted` says that it is a Namespace or definition of somebody else, which we apply from now on.
    """

    ref: ObjectRef
    live: Manifest
    change: Change
    mark: Mark
    is_adopted: bool = False

    def __str__(self) -> str:
        return f"{self.ref} {self.change}"


@dataclass(frozen=True)
class Before:
    """What is known of the objects before they are applied.

    Attributes:
        lives: as they are, or as the dry-run of our apply answered; None for those that are not there.
        settled: those that are as our last apply left them.
    """

    lives: Lives = field(default_factory=dict)
    settled: Mapping[ObjectRef, Mark] = field(default_factory=dict)


@dataclass(frozen=True)
class Applier:
    """Made anew for each piece of work: it remembers how kinds are served by now.

    Attributes:
        ownership: of the one on whose behalf it applies and prunes.
    """

    cluster: Cluster
    clock: Clock
    ownership: Ownership
    _served: dict[tuple[str, str], Kind] = field(default_factory=dict)

    async def scoped(self, objects: Iterable[Manifest]) -> tuple[Manifest, ...]:
        """`objects` with a namespace exactly where their kind has one.

        Raises:
            SyncFailed: names the objects of unknown kinds, those without a namespace, and those that are there twice.
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
        counted = Counter(map(ObjectRef.of, scoped))
        why = "its kind has no namespaces, whatever metadata.namespace says"
        causes += (f"{ref} is there more than once: {why}" for ref, number in counted.items() if number > 1)
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

    # before anything is written

    async def try_out(self, plan: SyncPlan) -> Before:
        """Ask the API server whether it would take everything. Raises SyncFailed, which names every refused object."""
        lives = dict(await self.lives(action.ref for action in plan.actions if holds_others(action.ref.kind)))
        coming = (ref for ref, live in lives.items() if live is None or is_terminating(live))
        untried = {ref.key.name for ref in coming if ref.kind == NAMESPACE}
        defined = _defined_scopes(action.manifest for action in plan.actions if action.ref.kind.kind == CRD)

        async def one(action: Action) -> None:
            ref = action.ref
            if ref.key.namespace in untried or (ref.kind.group, ref.kind.kind) in defined:
                return
            if self.ownership.may_hide_directives(
                action.manifest
            ):  # the answer of a trial would not show what stands there now
                live = await self.cluster.get(ref)
                if live is not None and self.ownership.is_left_alone(action.manifest, live):
                    lives[ref] = live
                    return
            answer = await self._tried(action)
            if not holds_others(ref.kind):  # of those we know more: who owned it before
                lives[ref] = _timeless(answer) if _version(answer) else None

        failures = await _each(plan.actions, one)
        if failures:
            raise SyncFailed(_told(action.ref, "dry-run", error) for action, error in failures)
        return Before(lives)

    async def _tried(self, action: Action) -> Manifest:
        """What an apply would make of the object; the object itself where it is left alone and would be refused."""
        try:
            return await self.cluster.apply(
                action.manifest, field_manager=self.ownership.manager, force=True, dry_run=True
            )
        except (Invalid, Conflict):
            live = await self.cluster.get(action.ref)
            if live is None or not self.ownership.is_left_alone(action.manifest, live):
                raise
            return live

    async def read(self, plan: SyncPlan, known: Mapping[ObjectRef, Mark]) -> Before:
        """Read the objects of a rendering that was applied before. Raises ClusterError."""
        settled: dict[ObjectRef, Mark] = {}

        def notice(ref: ObjectRef, live: Manifest | None) -> None:
            if live is not None and (mark := _mark_if_settled(live, known.get(ref))) is not None:
                settled[ref] = mark

        lives = await self.lives((action.ref for action in plan.actions), notice)
        return Before(lives, settled)

    # stage by stage

    async def apply(self, stage: Sequence[Action], before: Before) -> tuple[Applied, ...]:
        """Apply the objects of one stage, a few at the same time.

        Raises:
            SyncFailed: names every object that could not be applied, and carries those that were.
        """
        done: dict[ObjectRef, Applied] = {}

        async def one(action: Action) -> None:
            done[action.ref] = await self._apply(action, before)

        failures = await _each(stage, one)
        applied = tuple(done[action.ref] for action in stage if action.ref in done)
        if failures:
            raise SyncFailed((_told(action.ref, "apply", error) for action, error in failures), applied)
        return applied

    async def _apply(self, action: Action, before: Before) -> Applied:
        ref = action.ref
        old = before.lives[ref] if ref in before.lives else await self.cluster.get(ref)
        if old is not None and ref in before.settled:
            return Applied(ref, old, "unchanged", before.settled[ref])
        if old is not None and self.ownership.is_left_alone(action.manifest, old):
            live = await self.cluster.get(ref) or old  # it may be the answer of a dry-run
            return Applied(ref, live, "skipped", mark_of(live))
        if old is None and holds_others(ref.kind):
            old = await self._make(action)
        live = await self.cluster.apply(action.manifest, field_manager=self.ownership.manager, force=True)
        if action.take_over:
            live = await self._take_over(action, live)
        change = _change(old, live, self.ownership.manager)
        return Applied(ref, live, change, mark_of(live), is_adopted(old, self.ownership))

    async def _make(self, action: Action) -> Manifest | None:
        """Create it in a way that proves that we did; what is there if somebody else was faster."""
        try:
            await self.cluster.create(blank(action.manifest, self.ownership), field_manager=CREATOR)
        except AlreadyExists:
            return await self.cluster.get(action.ref)
        return None

    async def _take_over(self, action: Action, live: Manifest) -> Manifest:
        """The object after kubectl's fields became ours, read again whenever its controllers wrote it meanwhile."""
        for attempt in range(1, TRIES + 1):
            if self.ownership.is_shared(live) or not (patch := takeover_patch(live, self.ownership)):
                return live
            try:
                await self.cluster.patch(action.ref, patch, field_manager=self.ownership.manager)
            except (Conflict, Invalid, BadRequest):
                fresh = await self.cluster.get(action.ref)
                if fresh is None or attempt == TRIES or _version(fresh) == _version(live):
                    raise
                live = fresh
            else:
                live = await self.cluster.apply(action.manifest, field_manager=self.ownership.manager, force=True)
        return live

    async def unsettled(self, lives: Lives) -> dict[ObjectRef, Health]:
        """Which objects of a stage the next one still has to wait for, in the order given."""
        found: dict[ObjectRef, Health] = {}
        for ref, live in lives.items():
            state = health(live, self.clock.now())
            if state.status not in ("Current", "Failed"):
                found[ref] = state
            elif live is not None and (kind := await self._first_unserved(live)) is not None:
                found[ref] = Health("InProgress", f"{kind} is not served yet")
        return found

    async def _first_unserved(self, live: Manifest) -> Kind | None:
        """A kind that a CustomResourceDefinition defines and discovery does not know yet."""
        if live.get("kind") != CRD:
            return None
        for version in live["spec"].get("versions") or ():
            kind = Kind(live["spec"]["group"], version["name"], live["spec"]["names"]["kind"])
            if version.get("served") and not await self._knows(kind):
                return kind
        return None

    async def _knows(self, kind: Kind) -> bool:
        try:
            await self.cluster.resource(kind)
        except KindUnknown:
            return False
        return True

    # what is stale

    async def prune(self, refs: Iterable[ObjectRef]) -> Pruned:
        """Delete those of `refs` that are still the owner's, what others need last.

        Definitions are deleted only when everything before them was: with them goes what may be meant to stay.

        Raises:
            PruneFailed: names every object that could not be deleted, and carries these and what was not tried.
        """
        order = stages.prune_order(refs)
        verdicts: dict[ObjectRef, Verdict] = {}
        failures: list[tuple[ObjectRef, ClusterError]] = []

        async def one(ref: ObjectRef) -> None:
            verdicts[ref] = await self._delete(ref)

        for part in stages.prune_stages(order):
            if failures and stages.stage_of(part[0].kind) == 0:
                break
            failures += await _each(part, one)
        if failures:
            causes = (_told(ref, "delete", error) for ref, error in failures)
            raise PruneFailed(causes, left=(ref for ref in order if ref not in verdicts))
        deleted, spared = (tuple(r for r in order if verdicts[r] == verdict) for verdict in ("deleted", "spared"))
        return Pruned(deleted, spared)

    async def _delete(self, ref: ObjectRef, tries: int = TRIES) -> Verdict:
        if (found := await self.find(ref)) is None:
            return "gone"
        present, live = found
        if not self.ownership.may_prune(live):
            return "kept"
        if not may_be_deleted(live, self.ownership):
            return "spared"
        if is_terminating(live):
            return "gone"
        try:
            await self.cluster.delete(present, uid=live["metadata"]["uid"])
        except (NotFound, KindUnknown):
            return "gone"
        except Conflict:  # another object has that name by now: judge that one
            if tries == 1:
                raise
            return await self._delete(ref, tries - 1)
        return "deleted"

    async def find(self, ref: ObjectRef) -> tuple[ObjectRef, Manifest] | None:
        """An object that was applied once, under the version that is served by now; None when it is not there."""
        try:
            live = await self.cluster.get(ref)
        except KindUnknown:
            if not self._served:
                kinds = [resource.kind for resource in await self.cluster.resources()]
                self._served.update({(kind.group, kind.kind): kind for kind in kinds})
            kind = self._served.get((ref.kind.group, ref.kind.kind))
            if kind is None or kind == ref.kind:
                return None
            ref = ref._replace(kind=kind)
            live = await self.cluster.get(ref)
        if live is None and (other := inventory.literal(ref)) != ref:
            ref, live = other, await self.cluster.get(other)
        return None if live is None else (ref, live)

    async def lives(
        self, refs: Iterable[ObjectRef], notice: Callable[[ObjectRef, Manifest | None], None] = lambda ref, live: None
    ) -> dict[ObjectRef, Manifest | None]:
        """The objects as they are now; None for those that are not there, or whose kind is not served.

        Args:
            notice: called with each of them as soon as it is read.
        """
        found: dict[ObjectRef, Manifest | None] = {}

        async def one(ref: ObjectRef) -> None:
            try:
                found[ref] = await self.cluster.get(ref)
            except KindUnknown:
                found[ref] = None
            notice(ref, found[ref])

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


def _change(old: Manifest | None, live: Manifest, manager: str) -> Change:
    if old is None or old["metadata"].get("uid") != live["metadata"].get("uid"):
        return "created"
    same_time = _applied_at(old, manager) == _applied_at(live, manager) != ""
    return "unchanged" if _version(old) == _version(live) or same_time else "configured"


def _version(live: Manifest) -> str:
    return str(live["metadata"].get("resourceVersion", ""))


def _applied_at(live: Manifest, manager: str) -> str:
    return next((entry.get("time", "") for entry in entries_of(live) if is_by(entry, manager, "Apply")), "")


def _timeless(answer: Manifest) -> Manifest:
    """A dry-run's answer without the times of its managedFields: ours is the trial's, not that of the last apply."""
    entries = [{name: value for name, value in entry.items() if name != "time"} for entry in entries_of(answer)]
    return {**answer, "metadata": {**answer["metadata"], "managedFields": entries}}


def _mark_if_settled(live: Manifest, known: Mark | None) -> Mark | None:
    """The mark of `live` if it is as our apply left it: its version first, because the rest takes longer to compare."""
    if known is None or live["metadata"].get("uid") != known.uid:
        return None
    mark = known if _version(live) == known.resource_version else mark_of(live)
    return mark if mark.state == known.state else None


def is_terminating(live: Manifest) -> bool:
    return bool(live["metadata"].get("deletionTimestamp"))


def _defined_scopes(objects: Iterable[Manifest]) -> dict[tuple[str, str], bool]:
    """Whether the kinds that CustomResourceDefinitions among `objects` define are namespaced."""
    scopes = {}
    for manifest in objects:
        spec = manifest.get("spec")
        if manifest["kind"] == CRD and isinstance(spec, dict):
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
