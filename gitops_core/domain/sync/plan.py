"""The decision of a sync: what is applied in which order, what is forgotten, what is deleted.

`plan_sync` is all there is to decide. The reconciler carries it out; the command line prints it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gitops_core.domain.sync import inventory, stages
from gitops_core.domain.sync.ignoring import IgnoreRules, Pointer
from gitops_core.domain.sync.ownership import Ownership
from gitops_core.domain.sync.prunelimit import DEFAULT_LIMIT, PruneGuarded, PruneLimit
from gitops_core.meta import Manifest, ObjectRef

NAMED = 5  # objects that a refusal names


NOTHING_IGNORED = IgnoreRules()


@dataclass(frozen=True)
class Action:
    """What is to be done with one wanted object.

    Attributes:
        create_only: leave the object alone when it exists.
        take_over: fields that kubectl owns become ours, so that what the manifest does not say goes away.
        ignored: fields of the manifest that are left as they are where the object is there.
    """

    ref: ObjectRef
    manifest: Manifest
    create_only: bool = False
    take_over: bool = True
    ignored: tuple[Pointer, ...] = ()


Awaited = Literal["served", "healthy"]
"""What has to come before the next stage: that its objects are there and what they define is served; the health that
the spec asks for."""


@dataclass(frozen=True)
class Stage:
    """Attributes:
    actions: what is applied.
    awaits: what the stage is not done without.
    """

    actions: tuple[Action, ...]
    awaits: Awaited = "served"


@dataclass(frozen=True)
class SyncPlan:
    """Attributes:
    stages: what to apply, one after the other; never none. The last one awaits health.
    excluded: wanted objects that are not touched, but stay in the inventory.
    prune: what was ours and is wanted no more, in the order of deletion, after the last apply. Each is deleted only if
        it still carries the owner's mark.
    tracked: the inventory to store before the first write: everything that exists or may come to exist.
    inventory: the inventory to store when all is done.
    """

    stages: tuple[Stage, ...]
    excluded: tuple[ObjectRef, ...]
    prune: tuple[ObjectRef, ...]
    tracked: tuple[ObjectRef, ...]
    inventory: tuple[ObjectRef, ...]

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(action for stage in self.stages for action in stage.actions)


def plan_sync(
    wanted: Iterable[Manifest],
    known: Iterable[ObjectRef],
    ownership: Ownership,
    *,
    prune: bool,
    limit: PruneLimit = DEFAULT_LIMIT,
    confirmed: bool = False,
    ignore: IgnoreRules = NOTHING_IGNORED,
) -> SyncPlan:
    """Decide how the cluster becomes what `wanted` says.

    Args:
        wanted: complete manifests, one for each object.
        known: the inventory of the last sync.
        ownership: of the one whose objects they are.
        prune: whether objects that are wanted no more are deleted; else they are only forgotten.
        limit: how many may be deleted.
        confirmed: a person has said that whatever is deleted is meant to be.
        ignore: which fields are left alone.

    Raises:
        PruneGuarded: nothing is wanted and something is known, or more would be deleted than `limit` allows.
    """
    manifests = {ObjectRef.of(manifest): manifest for manifest in wanted}
    known = tuple(known)
    excluded = tuple(ref for ref in stages.sort_for_applying(manifests) if ownership.is_excluded(manifests[ref]))
    left_alone = set(excluded)
    applied = [ref for ref in manifests if ref not in left_alone]
    final = tuple(ref for stage in stages.plan_stages(manifests) for ref in stage)
    stale = inventory.subtract(known, final)
    if prune and not confirmed:
        _check_prune(stale, len(inventory.merge(known, ())), limit, is_empty=not manifests)
    *first, last = stages.plan_stages(applied) or ((),)

    def plan_actions(refs: Iterable[ObjectRef]) -> tuple[Action, ...]:
        return tuple(_plan_action(ref, manifests[ref], ownership, ignore) for ref in refs)

    return SyncPlan(
        stages=(*(Stage(plan_actions(refs)) for refs in first), Stage(plan_actions(last), "healthy")),
        excluded=excluded,
        prune=stages.sort_for_pruning(stale) if prune else (),
        tracked=inventory.merge(final, known),
        inventory=final,
    )


def _check_prune(stale: Sequence[ObjectRef], known: int, limit: PruneLimit, *, is_empty: bool) -> None:
    """Raise PruneGuarded when more would be deleted than a sync may delete."""
    if not stale:
        return
    named = ", ".join(map(str, stale[:NAMED])) + (f" and {len(stale) - NAMED} more" if len(stale) > NAMED else "")
    if is_empty:
        raise PruneGuarded(f"the build holds no objects, and would delete all {known} that were applied: {named}")
    if limit.is_exceeded(len(stale), known):
        raise PruneGuarded(f"{len(stale)} of {known} applied objects would be deleted, {limit}: {named}")


def _plan_action(ref: ObjectRef, manifest: Manifest, ownership: Ownership, ignore: IgnoreRules) -> Action:
    return Action(
        ref,
        manifest,
        create_only=ownership.is_create_only(manifest),
        take_over=not ownership.is_shared(manifest),
        ignored=ignore.list_pointers(manifest),
    )
