"""Carrying a SyncPlan out: what would become of everything is asked first, then it is applied, then pruned.

Nothing is written before the API server has accepted everything of a new rendering in a dry-run. What cannot be tried
(its definition or namespace comes with the same plan) is read before it is applied, and so is everything of a rendering
that was applied before: an object that is still as our apply left it costs one read and no write.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

from gitops_core.domain.sync import inventory, stages
from gitops_core.domain.sync.creators import CREATOR, NAMESPACE, holds_others, is_adopted, make_blank, may_be_deleted
from gitops_core.domain.sync.ignoring import add_version, leave_alone
from gitops_core.domain.sync.imprints import Imprint, get_version, make_imprint
from gitops_core.domain.sync.ownership import Ownership
from gitops_core.domain.sync.plan import Action, SyncPlan
from gitops_core.domain.sync.predictions import (
    Applied,
    Prediction,
    judge_change,
    predict_from_reading,
    predict_from_trial,
)
from gitops_core.domain.sync.progress import Lives, is_there
from gitops_core.domain.sync.replacing import (
    add_hint,
    explain_stay,
    is_immutable,
    is_welcome,
    make_copy,
    refuse_replacement,
    runs_once,
    tell_loss,
    tell_return,
)
from gitops_core.domain.sync.takeover import make_takeover_patch
from gitops_core.errors import (
    AlreadyExists,
    BadRequest,
    ClusterError,
    ClusterUnavailable,
    Conflict,
    Forbidden,
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
Deletion = Literal["deleted", "gone", "kept", "spared"]


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


class Replaced(NamedTuple):
    """What was made anew, and what is there still, because something else has to let it go."""

    made: tuple[Applied, ...]
    left: Mapping[ObjectRef, Manifest]


class Pruned(NamedTuple):
    """What was deleted, and what others' objects would go with and somebody else made; in order."""

    deleted: tuple[ObjectRef, ...]
    spared: tuple[ObjectRef, ...]


@dataclass(frozen=True)
class Applier:
    """Made anew for each piece of work: it remembers how kinds are served by now.

    Attributes:
        ownership: of the one on whose behalf it applies and prunes.
        target: the cluster, as gitops_core.ports.Target has it.
        force: whether every object that cannot be changed is made anew, and not only those that ask for it.
    """

    cluster: Cluster
    clock: Clock
    ownership: Ownership
    target: str = ""
    force: bool = False
    _served: dict[tuple[str, str], Kind] = field(default_factory=dict)

    async def scope(self, objects: Iterable[Manifest]) -> tuple[Manifest, ...]:
        """Scope `objects`: give them a namespace exactly where their kind has one.

        Raises:
            SyncFailed: names the objects of unknown kinds, those without a namespace, and those that are there twice.
        """
        objects = tuple(objects)
        scopes = _list_defined_scopes(objects)
        causes: list[str] = []
        scoped: list[Manifest] = []
        for manifest in objects:
            try:
                scoped.append(_scope(manifest, await self._is_namespaced(Kind.of_manifest(manifest), scopes)))
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
            return (await self.cluster.find_api_resource(kind)).namespaced
        except KindUnknown:
            if (defined := scopes.get((kind.group, kind.kind))) is None:
                raise
            return defined

    # before anything is written

    async def try_out(self, plan: SyncPlan, lives: Lives | None = None) -> dict[ObjectRef, Prediction]:
        """Ask the API server what it would make of everything, and write nothing.

        Args:
            lives: what was read already. The others are not read for this; of those that exist only the answer is
                known then, and not whether it is a change.

        Raises:
            SyncFailed: names every refused object.
        """
        known = dict(lives or {})
        holders = [ref for ref in (action.ref for action in plan.actions) if holds_others(ref.kind)]
        known |= await self.read_lives(ref for ref in holders if ref not in known)  # who made it, no answer tells
        untried = {ref.key.name for ref in holders if ref.kind == NAMESPACE and is_coming(known[ref])}
        defined = _list_defined_scopes(action.manifest for action in plan.actions if action.ref.kind.kind == CRD)
        found: dict[ObjectRef, Prediction] = {}

        async def predict(action: Action) -> None:
            ref = action.ref
            if ref.key.namespace not in untried and (ref.kind.group, ref.kind.kind) not in defined:
                found[ref] = await self._predict(action, known.get(ref))
            elif ref in known:
                found[ref] = predict_from_reading(action, known[ref], None, self.ownership)
            else:
                found[ref] = Prediction(action)

        if failures := await _try_each(plan.actions, predict):
            raise SyncFailed(_explain_failure(action.ref, "dry-run", error) for action, error in failures)
        return found

    async def _predict(self, action: Action, live: Manifest | None) -> Prediction:
        """Predict what an apply would make of the object: nothing, where it is left alone."""
        found = live
        if found is None and (action.ignored or self.ownership.may_hide_directives(action.manifest)):
            # a trial's answer would not show them
            found = await self.cluster.get(action.ref)
        manifest = self._fit(action, found)
        if found is not None and self.ownership.is_left_alone(manifest, found):
            return Prediction(action, "skipped", found, found)
        try:
            answer = await self.cluster.apply(manifest, field_manager=self.ownership.manager, force=True, dry_run=True)
        except (Invalid, Conflict) as error:
            found = await self.cluster.get(action.ref)
            if found is None:
                raise
            if self.ownership.is_left_alone(manifest, found):  # and may be refused
                return Prediction(action, "skipped", found, found)
            return await self._predict_replacement(action, found, error)
        return predict_from_trial(action, answer, live, self.ownership)

    async def _predict_replacement(self, action: Action, live: Manifest, error: Invalid | Conflict) -> Prediction:
        """Predict that an object is made anew, if that is asked for and the API server would do it; else raise."""
        ref, wanted = action.ref, action.manifest
        if not isinstance(error, Invalid) or not is_immutable(error) or not may_be_deleted(live, self.ownership):
            raise error
        if not (self.force or self.ownership.is_forced(wanted, live)):
            raise add_hint(ref, error)
        if why := explain_stay(ref, wanted, live, self.ownership):
            raise Invalid(ref, f"{error}; {why}")
        try:
            await self.cluster.create(wanted, field_manager=self.ownership.manager, dry_run=True)
        except (ClusterUnavailable, NotLeader):
            raise
        except ClusterError as answer:
            if not is_welcome(answer, wanted, live):
                raise refuse_replacement(ref, error, answer) from None
        try:
            await self.cluster.delete(ref, uid=live["metadata"]["uid"], dry_run=True)
        except (ClusterUnavailable, NotLeader, Conflict, NotFound):
            raise
        except ClusterError as answer:
            raise Invalid(ref, f"{error}; it could not be deleted to be made anew: {answer}") from None
        return Prediction(action, "replaced", live)

    async def read(self, plan: SyncPlan, known: Mapping[ObjectRef, Imprint]) -> dict[ObjectRef, Prediction]:
        """Read the objects of a rendering that was applied before. Raises ClusterError."""
        found: dict[ObjectRef, Prediction] = {}
        actions = {action.ref: action for action in plan.actions}

        def predict(ref: ObjectRef, live: Manifest | None) -> None:
            found[ref] = predict_from_reading(actions[ref], live, known.get(ref), self.ownership)

        await self.read_lives(actions, predict)
        return found

    # stage by stage

    async def replace(self, predictions: Iterable[Prediction]) -> Replaced:
        """Delete what is to be made anew, each of it right before it is made, and nobody waits for another one.

        Raises:
            SyncFailed: names every object that could not be, and carries those that were made.
        """
        made: dict[ObjectRef, Applied] = {}
        left: dict[ObjectRef, Manifest] = {}

        async def replace(prediction: Prediction) -> None:
            holder = await self._delete_for(prediction)
            if holder is None:
                made[prediction.ref] = await self._make_anew(prediction)
            elif is_terminating(holder):
                left[prediction.ref] = holder
            else:  # it can be changed by now
                made[prediction.ref] = await self._apply(Prediction(prediction.action, None, holder))

        doomed = [prediction for prediction in predictions if prediction.change == "replaced"]
        failures = await _try_each(doomed, replace)
        done = tuple(made[prediction.ref] for prediction in doomed if prediction.ref in made)
        if failures:
            raise SyncFailed(
                (_explain_failure(prediction.ref, "replacement", error) for prediction, error in failures), done
            )
        return Replaced(done, left)

    async def _make_anew(self, prediction: Prediction) -> Applied:
        """Make what was deleted; what is refused against its trial costs nothing: what was there is put back."""
        try:
            return await self._apply(Prediction(prediction.action, "created"))
        except (Invalid, Forbidden, BadRequest) as refusal:
            if (old := prediction.live) is None or runs_once(old):
                raise
            try:
                await self.cluster.create(make_copy(old), field_manager=self.ownership.manager)
            except AlreadyExists:
                raise refusal from None
            except ClusterError as error:
                raise tell_loss(prediction.ref, refusal, error) from None
            raise tell_return(prediction.ref, refusal) from None

    async def _delete_for(self, prediction: Prediction) -> Manifest | None:
        """Delete the object that has to go, and return what is there still: it ends, or need not go any more.

        What was changed since it was judged is judged again.
        """
        ref, old = prediction.ref, prediction.live
        for _ in range(TRIES):
            live = await self.cluster.get(ref)
            if old is None or live is None or live["metadata"]["uid"] != old["metadata"]["uid"]:
                return live
            if is_terminating(live):
                return live
            if make_imprint(live).state != make_imprint(old).state:
                again = await self._predict(prediction.action, None)
                if again.change != "replaced" or again.live is None:
                    return live
                live = old = again.live
            try:
                await self.cluster.delete(ref, uid=live["metadata"]["uid"], resource_version=get_version(live))
            except NotFound:
                return None
            except Conflict:  # somebody wrote it meanwhile
                continue
            return await self.cluster.get(ref)
        raise Conflict(f"{ref} is changed by others faster than it can be judged whether to make it anew")

    async def apply(self, predictions: Iterable[Prediction]) -> tuple[Applied, ...]:
        """Apply the objects of one stage, a few at the same time.

        Raises:
            SyncFailed: names every object that could not be applied, and carries those that were.
        """
        stage = tuple(predictions)
        done: dict[ObjectRef, Applied] = {}

        async def apply_one(prediction: Prediction) -> None:
            done[prediction.ref] = await self._apply(prediction)

        failures = await _try_each(stage, apply_one)
        applied = tuple(done[prediction.ref] for prediction in stage if prediction.ref in done)
        if failures:
            raise SyncFailed(
                (_explain_failure(prediction.ref, "apply", error) for prediction, error in failures), applied
            )
        return applied

    async def _apply(self, prediction: Prediction) -> Applied:
        action, ref = prediction.action, prediction.ref
        if prediction.is_open:  # nothing is known of it yet
            prediction = predict_from_reading(action, await self.cluster.get(ref), prediction.imprint, self.ownership)
        if prediction.live is not None and prediction.change in ("unchanged", "skipped"):
            imprint = prediction.imprint or make_imprint(prediction.live)
            return Applied(ref, prediction.live, prediction.change, imprint)
        old = prediction.base
        if old is not None and self.ownership.is_left_alone(action.manifest, old):  # it is there, to be left alone
            live = await self.cluster.get(ref) or old  # it may be the answer of a dry-run
            return Applied(ref, live, "skipped", make_imprint(live))
        if old is None and holds_others(ref.kind):  # others would go with it: it keeps a mark of who made it
            old = await self._make(action)
        manifest, live = await self._apply_fitted(action)
        if action.take_over:
            live = await self._take_over(manifest, live)
        change = judge_change(old, live, self.ownership.manager)
        return Applied(ref, live, change, make_imprint(live), is_adopted(old, self.ownership))

    async def _make(self, action: Action) -> Manifest | None:
        """Create it in a way that proves that we did; what is there if somebody else was faster."""
        try:
            await self.cluster.create(make_blank(action.manifest, self.ownership), field_manager=CREATOR)
        except AlreadyExists:
            return await self.cluster.get(action.ref)
        return None

    async def _apply_fitted(self, action: Action) -> tuple[Manifest, Manifest]:
        """Apply what fits what is there, and only to that: who writes an ignored field meanwhile keeps it."""
        for attempt in range(1, TRIES + 1):
            found = await self.cluster.get(action.ref) if action.ignored else None
            manifest = self._fit(action, found)
            is_copied = found is not None and manifest != action.manifest
            sent = add_version(manifest, get_version(found)) if found is not None and is_copied else manifest
            try:
                return manifest, await self.cluster.apply(sent, field_manager=self.ownership.manager, force=True)
            except Conflict:
                if not is_copied or attempt == TRIES:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _fit(self, action: Action, live: Manifest | None) -> Manifest:
        """Return what to apply to what is there."""
        return leave_alone(action.manifest, live, action.ignored, self.ownership.manager)

    async def _take_over(self, manifest: Manifest, live: Manifest) -> Manifest:
        """Make kubectl's fields ours, and return the object; it is read again whenever its controllers wrote it."""
        ref = ObjectRef.of(manifest)
        for attempt in range(1, TRIES + 1):
            if self.ownership.is_shared(live) or not (patch := make_takeover_patch(live, self.ownership)):
                return live
            try:
                await self.cluster.patch(ref, patch, field_manager=self.ownership.manager)
            except (Conflict, Invalid, BadRequest):
                fresh = await self.cluster.get(ref)
                if fresh is None or attempt == TRIES or get_version(fresh) == get_version(live):
                    raise
                live = fresh
            else:
                live = await self.cluster.apply(manifest, field_manager=self.ownership.manager, force=True)
        return live

    async def find_unserved(self, lives: Lives) -> dict[ObjectRef, Kind]:
        """Find a kind of each CustomResourceDefinition that is there, of those that discovery does not know yet."""
        there = {ref: live for ref, live in lives.items() if live is not None and is_there(live, self.clock.now())}
        found = {ref: await self._find_first_unserved(live) for ref, live in there.items()}
        return {ref: kind for ref, kind in found.items() if kind is not None}

    async def _find_first_unserved(self, live: Manifest) -> Kind | None:
        if live.get("kind") != CRD:
            return None
        for version in live["spec"].get("versions") or ():
            kind = Kind(live["spec"]["group"], version["name"], live["spec"]["names"]["kind"])
            if version.get("served") and not await self._knows(kind):
                return kind
        return None

    async def _knows(self, kind: Kind) -> bool:
        try:
            await self.cluster.find_api_resource(kind)
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
        order = stages.sort_for_pruning(refs)
        deletions: dict[ObjectRef, Deletion] = {}
        failures: list[tuple[ObjectRef, ClusterError]] = []

        async def delete_one(ref: ObjectRef) -> None:
            deletions[ref] = await self._delete(ref)

        for part in stages.plan_prune_stages(order):
            if failures and stages.get_stage_number(part[0].kind) == 0:
                break
            failures += await _try_each(part, delete_one)
        if failures:
            causes = (_explain_failure(ref, "delete", error) for ref, error in failures)
            raise PruneFailed(causes, left=(ref for ref in order if ref not in deletions))
        deleted, spared = (tuple(r for r in order if deletions[r] == fate) for fate in ("deleted", "spared"))
        return Pruned(deleted, spared)

    async def _delete(self, ref: ObjectRef, tries: int = TRIES) -> Deletion:
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
        """Return an object that was applied once, under the version that is served by now; None if it is gone."""
        try:
            live = await self.cluster.get(ref)
        except KindUnknown:
            if not self._served:
                kinds = [resource.kind for resource in await self.cluster.list_api_resources()]
                self._served.update({(kind.group, kind.kind): kind for kind in kinds})
            kind = self._served.get((ref.kind.group, ref.kind.kind))
            if kind is None or kind == ref.kind:
                return None
            ref = ref._replace(kind=kind)
            live = await self.cluster.get(ref)
        if live is None and (other := inventory.spell_literally(ref)) != ref:
            ref, live = other, await self.cluster.get(other)
        return None if live is None else (ref, live)

    async def read_lives(
        self, refs: Iterable[ObjectRef], notice: Callable[[ObjectRef, Manifest | None], None] = lambda ref, live: None
    ) -> dict[ObjectRef, Manifest | None]:
        """Read the objects as they are now; None for those that are not there, or whose kind is not served.

        Args:
            notice: called with each of them as soon as it is read.
        """
        found: dict[ObjectRef, Manifest | None] = {}

        async def read_one(ref: ObjectRef) -> None:
            try:
                found[ref] = await self.cluster.get(ref)
            except KindUnknown:
                found[ref] = None
            notice(ref, found[ref])

        for _, error in await _try_each(tuple(refs), read_one):
            raise error
        return found


async def _try_each(items: Sequence[T], work: Callable[[T], Awaitable[None]]) -> list[tuple[T, ClusterError]]:
    """Try `work` for all items, a few at a time; return the refused ones, in the order of the items.

    An API server that cannot be reached, and a lease that is lost, end the whole attempt instead.
    """
    slots = asyncio.Semaphore(AT_ONCE)
    failures: dict[int, ClusterError] = {}

    async def guard(index: int, item: T) -> None:
        async with slots:
            try:
                await work(item)
            except (ClusterUnavailable, NotLeader):
                raise
            except ClusterError as error:
                failures[index] = error

    if len(items) == 1:
        await guard(0, items[0])
    else:
        await _run_together([guard(index, item) for index, item in enumerate(items)])
    return [(items[index], failures[index]) for index in sorted(failures)]


async def _run_together(work: Iterable[Awaitable[None]]) -> None:
    """Run all of it; the first exception cancels the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _explain_failure(ref: ObjectRef, deed: str, error: ClusterError) -> str:
    if isinstance(error, KindUnknown):
        return f"{ref} {deed} failed: {error}"
    return f"{ref} {deed} failed ({error.reason}): {error}"


def is_terminating(live: Manifest) -> bool:
    return bool(live["metadata"].get("deletionTimestamp"))


def is_coming(live: Manifest | None) -> bool:
    return live is None or is_terminating(live)


def _list_defined_scopes(objects: Iterable[Manifest]) -> dict[tuple[str, str], bool]:
    """List the kinds that CustomResourceDefinitions among `objects` define, and whether they are namespaced."""
    scopes = {}
    for manifest in objects:
        spec = manifest.get("spec")
        if manifest["kind"] == CRD and isinstance(spec, dict):
            kind = (spec.get("names") or {}).get("kind", "")
            scopes[(spec.get("group", ""), kind)] = spec.get("scope") == "Namespaced"
    return scopes


def _scope(manifest: Manifest, namespaced: bool) -> Manifest:
    """Drop the namespace where the kind has none. Raises ValueError: the kind needs one and there is none."""
    metadata = manifest["metadata"]
    if namespaced and not metadata.get("namespace"):
        ref = ObjectRef.of(manifest)
        raise ValueError(f"{ref} namespace not specified: set metadata.namespace or spec.targetNamespace")
    if not namespaced and "namespace" in metadata:
        return {**manifest, "metadata": {k: v for k, v in metadata.items() if k != "namespace"}}
    return manifest
