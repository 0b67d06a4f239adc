"""Kustomization: render a folder of a source, apply it in stages, prune what it no longer holds, watch it get healthy.

    source · dependencies · render ──► plan ──► dry-runs ──► inventory (old and new) ──► stages ──► prune ──► health
                                                                                            └── wait ──┘       └ wait

The inventory is stored before the first write, so that an object that was made is never forgotten, whenever the process
dies. A rendering that this process applied before is not tried again, only read: that is how drift is found and healed.
Nobody waits inside a reconciliation: it returns, and the next one goes on from where it was (waiting.py).

Source: Flux, kustomize-controller; differences on purpose are listed in docs/compatibility.md.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

import msgspec

from gitops_core.api import Artifact, Inventory, InventoryEntry, Kustomization, KustomizationStatus
from gitops_core.domain.health.kstatus import health
from gitops_core.domain.sync import contests, dependencies, inventory, labels, stages
from gitops_core.domain.sync.normalization import normalized
from gitops_core.domain.sync.plan import SyncPlan, plan_sync
from gitops_core.domain.sync.progress import applied_revisions, go_duration, retry_interval_of, timeout_of, with_attempt
from gitops_core.domain.sync.prunelimit import CONFIRM, PruneGuarded, PruneLimit, confirmations
from gitops_core.errors import GitBusy, GitError, GitOpsError, NotLeader, Postponed, StalledError, TransientError
from gitops_core.meta import Condition, Manifest, ObjectKey, ObjectRef, Resource, seconds
from gitops_core.ports import Overlay, Renderer
from gitops_core.reconcilers.applying import Applier, Before, Lives, Mark, PruneFailed, SyncFailed, is_terminating
from gitops_core.reconcilers.folders import Folders
from gitops_core.reconcilers.sources import NAMED_BY
from gitops_core.reconcilers.waiting import (
    SERVED_POLL,
    Identity,
    Syncing,
    Wait,
    next_look,
    targets,
    told,
    verdict,
)
from gitops_core.runtime.computing import weight_of
from gitops_core.runtime.conditions import REQUESTED_AT
from gitops_core.runtime.reconciling import Notice, Outcome, Platform
from gitops_core.runtime.refusing import refuse_unsupported

HARMLESS = frozenset({"spec.ignoreMissingComponents", "spec.buildMetadata", "spec.force"})
GROUP = Kustomization.KIND.group
CONTESTED = "Contested"
NOT_DELETED = "is not deleted: it was not made by us, and what belongs to others would go with it"
CHANGES = ("created", "configured")


@dataclass(frozen=True)
class _Memory:
    """What this process applied last for a Kustomization."""

    uid: str
    digest: str
    marks: Mapping[ObjectRef, Mark]


@dataclass
class _Attempt:
    """One reconciliation: what it is for, how far it came, what there is to store and to tell.

    Attributes:
        began: on the monotonic clock.
        phase: what it is doing, for the condition Reconciling.
        changes: what was created or configured and is not told yet.
        contested: that others apply some of the objects too; as it was told last, until the plan is known.
    """

    wanted: Kustomization
    revision: str
    began: float
    status: KustomizationStatus
    phase: str = "Fetching manifests"
    digest: str = ""
    notices: list[Notice] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    contested: Condition | None = None

    @property
    def progress(self) -> str:
        timeout = go_duration(timeout_of(self.wanted.spec))
        return f"{self.phase} for revision {self.revision} with a timeout of {timeout}"

    def tell(self, reason: str, message: str, **metadata: str) -> None:
        about = {f"{GROUP}/revision": self.revision, **{f"{GROUP}/{key}": value for key, value in metadata.items()}}
        self.notices.append(Notice("Normal", reason, message, about))

    def warn(self, reason: str, message: str) -> None:
        self.notices.append(Notice("Warning", reason, message, {f"{GROUP}/revision": self.revision}))

    def stated(self, *conditions: Condition) -> tuple[Condition, ...]:
        """These conditions, and that the objects are contested where they are."""
        return (*conditions, self.contested) if self.contested else conditions

    def has_inventory(self, refs: Iterable[ObjectRef]) -> None:
        entries = tuple(InventoryEntry(id=inventory.format_id(ref), v=ref.kind.version) for ref in refs)
        self.status = msgspec.structs.replace(self.status, inventory=Inventory(entries=entries) if entries else None)


@dataclass
class KustomizationReconciler:
    """Implements gitops_core.runtime.Reconciler for Kustomization."""

    platform: Platform
    folders: Folders
    renderer: Renderer
    _memory: dict[ObjectKey, _Memory] = field(default_factory=dict)
    _waits: dict[ObjectKey, Syncing | Wait] = field(default_factory=dict)

    async def reconcile(self, wanted: Kustomization) -> Outcome:
        refuse_unsupported(wanted, HARMLESS, {NAMED_BY: self.folders.kinds})
        source, artifact = await self._source(wanted)
        attempt = _Attempt(wanted, artifact.revision, self.platform.clock.monotonic(), wanted.status)
        attempt.contested = next((c for c in wanted.status.conditions if c.type == CONTESTED), None)
        limit = asyncio.timeout(timeout_of(wanted.spec))
        try:
            async with limit:
                return await self._sync(attempt, source)
        except TimeoutError:
            if not limit.expired():
                raise
            self._waits.pop(wanted.key, None)
            self._fail(attempt, "ReconciliationFailed", f"timed out: {attempt.progress}")

    async def _sync(self, attempt: _Attempt, source: Resource) -> Outcome:
        await self._check_dependencies(attempt)
        identity, key = _identity(attempt.wanted, attempt.revision), attempt.wanted.key
        match self._waits.pop(key, None):
            case Wait(identity=known) as wait if known == identity:
                return await self._check_again(attempt, wait)
            case Syncing(identity=known) as syncing if known == identity:
                attempt.digest = syncing.digest
                return await self._go_on(attempt, syncing)
        plan = await self._planned(attempt, source)
        weight = weight_of(action.manifest for action in plan.actions)
        fingerprint = await self.platform.compute.run(weight, _fingerprint, plan)
        before = await self._look(attempt, plan, fingerprint)
        return await self._go_on(attempt, Syncing(identity, plan, attempt.digest, fingerprint, attempt.began, before))

    # what is to be applied

    async def _source(self, wanted: Kustomization) -> tuple[Resource, Artifact]:
        name, key = dependencies.source_of(wanted)
        kind = self.folders.kinds[name]
        source = await self.platform.objects.get(kind.type_, key)
        if source is None:
            resource = f"{kind.type_.PLURAL}.{kind.type_.KIND.group}"
            raise _not_yet(wanted, f'{resource} "{key.name}" not found in {key.namespace}')
        artifact = kind.artifact(source)
        if artifact is None:
            raise _not_yet(wanted, f"source artifact not found: {source.ref} has fetched nothing yet")
        return source, artifact

    async def _check_dependencies(self, attempt: _Attempt) -> None:
        for key in dependencies.dependency_keys(attempt.wanted):
            dependency = await self.platform.objects.get(Kustomization, key)
            if why := dependencies.why_not_ready(attempt.wanted, key, dependency, attempt.revision):
                await self._refuse_cycle(attempt)
                # a change of the dependency wakes us; the delay is for a change that nobody told us of
                error = TransientError(
                    why, reason="DependencyNotReady", retry_after=seconds(attempt.wanted.spec.interval)
                )
                error.told("Normal", {f"{GROUP}/revision": attempt.revision})  # waiting is no fault
                raise error.carrying(attempt.status, *attempt.stated(Condition(type="Reconciling", status="False")))

    async def _refuse_cycle(self, attempt: _Attempt) -> None:
        """Raises StalledError: what is waited for waits for this one."""
        everyone = await self.platform.objects.list(Kustomization)
        edges = {one.key: dependencies.dependency_keys(one) for one in everyone}
        if cycle := dependencies.find_cycle(attempt.wanted.key, edges):
            text = f"spec.dependsOn goes in a circle, and all in it wait for ever: {dependencies.told_cycle(cycle)}"
            self._stall(attempt, StalledError(text, reason="DependencyCycle"))

    async def _planned(self, attempt: _Attempt, source: Resource) -> SyncPlan:
        wanted = attempt.wanted
        try:
            spec = wanted.spec
            folder = await self.folders.folder(source, attempt.revision, spec.path, beside=spec.components)
            attempt.phase = "Building manifests"
            attempt.status = msgspec.structs.replace(attempt.status, last_attempted_revision=attempt.revision)
            rendered = await self.renderer.render(folder.tree, _overlay(wanted), folder.path)
        except Postponed:
            raise
        except GitBusy as error:  # others find out whether the remote is well: no reason to wait for retryInterval
            raise GitBusy(str(error), reason="ArtifactFailed").told("None", {}) from None
        except GitError as error:
            self._fail(attempt, "ArtifactFailed", str(error))
        except GitOpsError as error:
            self._fail(attempt, error.reason, str(error))
        attempt.digest = f"sha256:{await self.platform.compute.run(weight_of(rendered), _digest, rendered)}"
        attempt.phase = "Detecting drift"
        if encrypted := [str(ObjectRef.of(m)) for m in rendered if m["kind"] == "Secret" and "sops" in m]:
            message = f"{', '.join(encrypted)} is SOPS encrypted, and spec.decryption is not supported yet"
            self._fail(attempt, "ReconciliationFailed", message)
        try:
            scoped = await self._applier.scoped(rendered)
        except SyncFailed as error:
            self._fail(attempt, error.reason, str(error))
        return await self._decided(attempt, scoped)

    async def _decided(self, attempt: _Attempt, scoped: Sequence[Manifest]) -> SyncPlan:
        wanted, annotations = attempt.wanted, attempt.wanted.metadata.annotations
        names = confirmations(attempt.revision, applied_revisions(wanted.status), wanted.metadata.generation)
        try:
            known, limit = _known(wanted.status), PruneLimit.of(annotations)
            return await self.platform.compute.run(
                weight_of(scoped),
                lambda: plan_sync(
                    [_owned(normalized(manifest), wanted) for manifest in scoped],
                    known,
                    prune=wanted.spec.prune,
                    limit=limit,
                    confirmed=annotations.get(CONFIRM, "").strip() in names,
                ),
            )
        except PruneGuarded as error:
            hint = f"mend Git, or confirm this with the annotation {CONFIRM}: {names[0]}"
            self._stall(attempt, PruneGuarded(f"{error}; {hint}"))
        except StalledError as error:
            self._stall(attempt, error)

    # carrying it out

    @property
    def _applier(self) -> Applier:
        return Applier(self.platform.cluster, self.platform.clock)

    async def _look(self, attempt: _Attempt, plan: SyncPlan, fingerprint: str) -> Before:
        """What there is, after the API server has accepted everything, with the inventory stored."""
        wanted, memory = attempt.wanted, self._memory.get(attempt.wanted.key)
        is_repeated = memory is not None and (memory.uid, memory.digest) == (wanted.metadata.uid, fingerprint)
        try:
            before = await (
                self._applier.read(plan, memory.marks) if memory and is_repeated else self._applier.try_out(plan)
            )
            await self._track(attempt, plan.tracked)
        except SyncFailed as error:  # nothing is written yet: what was applied before is remembered still
            self._fail(attempt, error.reason, str(error))
        except NotLeader:
            raise
        except GitOpsError as error:
            self._fail(attempt, "ReconciliationFailed", str(error), retry_after=_retry_after(error))
        return before

    async def _compare(self, attempt: _Attempt, plan: SyncPlan) -> None:
        """Find out whether others apply some of the objects too, and warn of it once."""
        everyone = await self.platform.objects.list(Kustomization)
        others = {other.key: other for other in everyone if other.key != attempt.wanted.key}
        found = contests.shared((action.ref for action in plan.actions), others.values())
        for key in tuple(found):
            if not contests.has_come_to_its_source(others[key], await self._artifact_for(others[key])):
                del found[key]
        before, attempt.contested = attempt.contested, None
        if found:
            message = contests.told(found)
            attempt.contested = Condition(type=CONTESTED, status="True", reason="AppliedByOthers", message=message)
            if before is None or before.message != message:
                attempt.warn("AppliedByOthers", message)

    async def _artifact_for(self, other: Kustomization) -> Artifact | None:
        """Return what the source of another Kustomization holds, or None when that is not known."""
        name, key = dependencies.source_of(other)
        if (kind := self.folders.kinds.get(name)) is None:
            return None
        source = await self.platform.objects.get(kind.type_, key)
        return kind.artifact(source) if source is not None else None

    async def _go_on(self, attempt: _Attempt, syncing: Syncing) -> Outcome:
        """Apply stage after stage as far as they are ready, then prune, then look after the health of it all."""
        attempt.phase = "Detecting drift"
        earlier = frozenset(syncing.done)
        while True:
            if syncing.unready:
                lives = await self._applier.lives(syncing.unready)
                syncing = await self._settled(attempt, syncing.with_lives(lives), lives)
                if syncing.unready:
                    return self._between_stages(attempt, syncing, lives)
            if syncing.stage == len(syncing.plan.stages):
                break
            syncing = await self._apply(attempt, syncing)
        plan = syncing.plan
        await self._prune(attempt, plan)
        await self._compare(attempt, plan)
        self._remember(attempt, syncing)
        changed = any(one.change in CHANGES for one in syncing.applied)
        refs, now = targets(attempt.wanted, plan, syncing.applied), self.platform.clock.monotonic()
        wait = Wait(syncing.identity, plan, syncing.digest, syncing.since, now, changed, refs, refs)
        known = {one.ref: one.live for one in syncing.applied if one.ref not in earlier}
        return await self._check_health(attempt, wait, known)

    async def _apply(self, attempt: _Attempt, syncing: Syncing) -> Syncing:
        """The next stage, applied; the objects that the one after it has to wait for are unready."""
        plan, owner = syncing.plan, attempt.wanted.key
        stage = plan.stages[syncing.stage]
        try:
            applied = await self._applier.apply(stage, syncing.before, owner)
        except SyncFailed as error:
            self._memory.pop(owner, None)
            changes = [str(one) for one in (*syncing.applied, *error.applied) if one.change in CHANGES]
            self._fail(attempt, error.reason, "\n".join((str(error), *changes)))
        except NotLeader:
            raise
        except GitOpsError as error:
            self._fail(attempt, "ReconciliationFailed", str(error), retry_after=_retry_after(error))
        if changes := [str(one) for one in applied if one.change in CHANGES]:
            attempt.changes.extend(changes)
        text = "was there before: it is applied from now on, and never deleted with this Kustomization"
        for kind, adopted in _by_kind(one.ref for one in applied if one.is_adopted):
            attempt.warn(f"{kind}Adopted", f"{adopted} {text}")
        syncing = replace(syncing.with_applied(applied), stage=syncing.stage + 1)
        if syncing.stage == len(plan.stages):
            return syncing
        waited_for = {one.ref: one.live for one in applied if one.change != "skipped"}
        return await self._settled(attempt, replace(syncing, unready=frozenset(waited_for)), waited_for)

    async def _settled(self, attempt: _Attempt, syncing: Syncing, lives: Lives) -> Syncing:
        """The same, with what is unready as `lives` are now. Fails when the time is up."""
        states = await self._applier.unsettled(lives)
        if gone := [ref for ref, state in states.items() if state.status == "NotFound"]:
            return syncing.without(gone)
        waited = self.platform.clock.monotonic() - syncing.since
        if states and waited >= timeout_of(attempt.wanted.spec):
            ref, state = next(iter(states.items()))
            self._memory.pop(attempt.wanted.key, None)
            cause = f"{ref} is not ready after {go_duration(waited)}: {state.message}"
            self._fail(attempt, "ReconciliationFailed", "\n".join((cause, *self._changes(attempt))))
        return replace(syncing, unready=frozenset(states))

    def _changes(self, attempt: _Attempt) -> list[str]:
        changes, attempt.changes = attempt.changes, []
        return changes

    def _between_stages(self, attempt: _Attempt, syncing: Syncing, lives: Lives) -> Outcome:
        wanted, now = attempt.wanted, self.platform.clock.monotonic()
        self._waits[wanted.key] = syncing
        waiting = [lives.get(ref) for ref in syncing.unready]
        delay = next_look(wanted, syncing.since, waiting, now)
        if any(health(live, self.platform.clock.now()).status == "Current" for live in waiting):
            delay = min(delay, SERVED_POLL)  # established, and not served yet
        self._tell_changes(attempt)
        return self._unfinished(attempt, delay, syncing.unready, changed=bool(attempt.notices))

    def _tell_changes(self, attempt: _Attempt) -> None:
        if changes := self._changes(attempt):
            attempt.tell("Progressing", "\n".join(changes))

    def _remember(self, attempt: _Attempt, syncing: Syncing) -> None:
        marks = {one.ref: one.mark for one in syncing.applied}
        key, uid = attempt.wanted.key, attempt.wanted.metadata.uid
        self._memory[key] = _Memory(uid, syncing.fingerprint, marks)

    async def _track(self, attempt: _Attempt, refs: Sequence[ObjectRef]) -> None:
        """Store the inventory before the first write, if it is not stored already."""
        before = attempt.status.inventory
        attempt.has_inventory(refs)
        if {e.id for e in _entries(before)} != {e.id for e in _entries(attempt.status.inventory)}:
            await self.platform.statuses.write(attempt.wanted, attempt.status)

    async def _prune(self, attempt: _Attempt, plan: SyncPlan) -> None:
        self._tell_changes(attempt)
        try:
            pruned = await self._applier.prune(plan.prune, attempt.wanted.key)
        except PruneFailed as error:
            attempt.has_inventory((*plan.inventory, *error.left))
            self._fail(attempt, error.reason, str(error))
        attempt.has_inventory(plan.inventory)
        if pruned.deleted:
            attempt.tell("Progressing", "\n".join(f"{ref} deleted" for ref in pruned.deleted))
        for kind, kept in _by_kind(pruned.spared):
            attempt.warn(f"{kind}Kept", f"{kept} {NOT_DELETED}")

    # health

    async def _check_again(self, attempt: _Attempt, wait: Wait) -> Outcome:
        attempt.digest = wait.digest
        return await self._check_health(attempt, wait, {})

    async def _check_health(self, attempt: _Attempt, wait: Wait, lives: Lives) -> Outcome:
        attempt.phase = "Running health checks"
        if unread := [ref for ref in wait.pending if ref not in lives]:
            lives = {**lives, **await self._applier.lives(unread)}
        found = verdict(wait, lives, self.platform.clock.now())
        now = self.platform.clock.monotonic()
        waited = now - wait.checked
        if not found.waiting:
            return self._ready(attempt, wait, go_duration(waited) if wait.refs else "")
        if found.failed:
            self._unhealthy(attempt, waited, f"failed early due to stalled resources: {told(found.failed)}")
        if now - wait.since >= timeout_of(attempt.wanted.spec):
            self._unhealthy(attempt, waited, f"timeout waiting for: {told(found.waiting)}")
        self._waits[attempt.wanted.key] = replace(wait, pending=tuple(found.waiting))
        delay = next_look(attempt.wanted, wait.since, (lives[ref] for ref in found.waiting), now)
        healthy = Condition(type="Healthy", status="Unknown", reason="Progressing", message=attempt.progress)
        return self._unfinished(attempt, delay, frozenset(found.waiting), healthy, changed=wait.changed)

    def _unfinished(
        self, attempt: _Attempt, delay: float, watch: frozenset[ObjectRef], *conditions: Condition, changed: bool
    ) -> Outcome:
        return Outcome(
            attempt.status,
            attempt.progress,
            delay,
            ready="Unknown",
            conditions=attempt.stated(*conditions),
            changed=changed,
            watch=watch,
            notices=tuple(attempt.notices),
        )

    def _ready(self, attempt: _Attempt, wait: Wait, waited: str) -> Outcome:
        """Applied, and healthy where that was asked for (`waited` is not empty)."""
        wanted = attempt.wanted
        is_new = wanted.status.last_applied_revision != attempt.revision
        conditions: tuple[Condition, ...] = ()
        if waited:
            message = f"Health check passed in {waited}"
            conditions = (Condition(type="Healthy", status="True", reason="Succeeded", message=message),)
            if not _was_healthy(wanted) or (is_new and wait.changed):
                attempt.tell("Progressing", message)
        took = self.platform.clock.monotonic() - attempt.began
        self._record(attempt, "ReconciliationSucceeded")
        status = msgspec.structs.replace(
            attempt.status, last_applied_revision=attempt.revision, last_attempted_revision=attempt.revision
        )
        interval = seconds(wanted.spec.interval)
        if wait.changed or is_new or attempt.notices or not wanted.status.is_ready:  # else there is no news
            text = f"Reconciliation finished in {go_duration(took)}, next run in {go_duration(interval)}"
            attempt.tell("ReconciliationSucceeded", text, commit_status="update")
        return Outcome(
            status,
            f"Applied revision: {attempt.revision}",
            interval,
            reason="ReconciliationSucceeded",
            conditions=attempt.stated(*conditions),
            changed=wait.changed,
            notices=tuple(attempt.notices),
        )

    def _unhealthy(self, attempt: _Attempt, waited: float, message: str) -> NoReturn:
        healthy = Condition(type="Healthy", status="False", reason="HealthCheckFailed", message=message)
        text = f"health check failed after {go_duration(waited)}: {message}"
        self._fail(attempt, "HealthCheckFailed", text, healthy)

    # what is stored

    def _record(self, attempt: _Attempt, outcome: str) -> None:
        clock = self.platform.clock
        history = with_attempt(
            attempt.status.history,
            attempt.digest,
            outcome,
            revision=attempt.revision,
            now=clock.now(),
            took=clock.monotonic() - attempt.began,
        )
        attempt.status = msgspec.structs.replace(attempt.status, history=history)

    def _stall(self, attempt: _Attempt, error: StalledError) -> NoReturn:
        """Raise `error` with the status to store: nothing more is tried until somebody edits something."""
        if attempt.digest:
            self._record(attempt, error.reason)
        raise error.told("Warning", {f"{GROUP}/revision": attempt.revision}).carrying(
            attempt.status, *attempt.stated()
        ) from None

    def _fail(
        self, attempt: _Attempt, reason: str, message: str, *conditions: Condition, retry_after: float | None = None
    ) -> NoReturn:
        """Raise the failure with the status to store and the phase it happened in, for a retry after retryInterval."""
        if attempt.digest:
            self._record(attempt, reason)
        for notice in attempt.notices:
            self.platform.events.emit(attempt.wanted, notice.type, notice.reason, notice.message, notice.metadata)
        delay = max(retry_interval_of(attempt.wanted.spec), retry_after or 0.0)
        phase = Condition(type="Reconciling", status="True", reason="ProgressingWithRetry", message=attempt.progress)
        error = TransientError(message, reason=reason, retry_after=delay)
        error.told("Warning", {f"{GROUP}/revision": attempt.revision})
        raise error.carrying(attempt.status, phase, *attempt.stated(*conditions)) from None

    # the end

    async def finalize(self, wanted: Kustomization) -> None:
        self._memory.pop(wanted.key, None)
        self._waits.pop(wanted.key, None)
        refs = _known(wanted.status)
        if wanted.spec.suspend or not refs or not _deletes(wanted):
            return
        order = stages.prune_order(refs)
        pruned = await self._applier.prune(order, wanted.key)
        metadata = {f"{GROUP}/revision": wanted.status.last_applied_revision}
        if pruned.deleted:
            text = "\n".join(f"{ref} deleted" for ref in pruned.deleted)
            self.platform.events.emit(wanted, "Normal", "ReconciliationSucceeded", text, metadata)
        for kind, kept in _by_kind(pruned.spared):
            self.platform.events.emit(wanted, "Warning", f"{kind}Kept", f"{kept} {NOT_DELETED}", metadata)
        if wanted.spec.deletion_policy == "WaitForTermination":
            await self._await_termination(wanted, order)

    async def _await_termination(self, wanted: Kustomization, refs: Sequence[ObjectRef]) -> None:
        """Raises TransientError while some objects are there; after the time-out they are left to the cluster."""
        applier = self._applier
        found = [await applier.find(ref) for ref in refs]
        left = [str(one[0]) for one in found if one is not None and is_terminating(one[1])]
        if not left:
            return
        asked = wanted.metadata.deletion_timestamp
        waited = (self.platform.clock.now() - asked).total_seconds() if asked else 0.0
        if waited < timeout_of(wanted.spec):
            raise TransientError(f"waiting for termination of {', '.join(left)}", reason="Progressing", retry_after=2.0)
        text = "failed to wait for resources termination"
        self.platform.events.emit(wanted, "Warning", "ReconciliationFailed", f"{text}: {', '.join(left)}", {})


def _by_kind(refs: Iterable[ObjectRef]) -> tuple[tuple[str, str], ...]:
    """Each kind of what is named, and the names."""
    found: dict[str, list[str]] = {}
    for ref in refs:
        found.setdefault(ref.kind.kind, []).append(str(ref))
    return tuple((kind, ", ".join(names)) for kind, names in found.items())


def _not_yet(wanted: Kustomization, message: str) -> TransientError:
    """Nobody did anything wrong, so there is no Event; the source's change wakes us."""
    delay = retry_interval_of(wanted.spec)
    return TransientError(message, reason="ArtifactFailed", retry_after=delay).told("None", {})


def _identity(wanted: Kustomization, revision: str) -> Identity:
    metadata = wanted.metadata
    return Identity(metadata.uid, metadata.generation, revision, metadata.annotations.get(REQUESTED_AT, ""))


def _overlay(wanted: Kustomization) -> Overlay:
    spec = wanted.spec
    lists = {
        "images": msgspec.to_builtins(spec.images),
        "patches": msgspec.to_builtins(spec.patches),
        "components": list(spec.components),
    }
    return Overlay(
        namespace=spec.target_namespace or "",
        name_prefix=spec.name_prefix or "",
        name_suffix=spec.name_suffix or "",
        fields=tuple((name, items) for name, items in lists.items() if items),
    )


def _owned(manifest: Manifest, wanted: Kustomization) -> Manifest:
    """`manifest` with the owner's labels, and the common metadata, which wins."""
    manifest = labels.with_metadata(manifest, labels.owner_labels(wanted.key), {})
    common = wanted.spec.common_metadata
    return labels.with_metadata(manifest, common.labels, common.annotations) if common else manifest


def _fingerprint(plan: SyncPlan) -> str:
    return _digest((action.manifest, action.create_only, action.take_over) for action in plan.actions)


def _digest(items: Iterable[object]) -> str:
    """Of a JSON array of `items`, written one by one: the writing of a whole array lets no other thread in."""
    digest = hashlib.sha256(b"[")
    for number, item in enumerate(items):
        digest.update(b"," * bool(number) + msgspec.json.encode(item, order="deterministic"))
    digest.update(b"]")
    return digest.hexdigest()


def _entries(stored: Inventory | None) -> tuple[InventoryEntry, ...]:
    return stored.entries if stored is not None else ()


def _known(status: KustomizationStatus) -> tuple[ObjectRef, ...]:
    """The inventory's objects. Raises StalledError: an entry is not one of ours or Flux's."""
    try:
        return tuple(inventory.parse_id(entry.id, entry.v) for entry in _entries(status.inventory))
    except ValueError as error:
        raise StalledError(f"status.inventory: {error}: take it out (kubectl edit --subresource=status)") from None


def _was_healthy(wanted: Kustomization) -> bool:
    return any(c.type == "Healthy" and c.status == "True" for c in wanted.status.conditions)


def _deletes(wanted: Kustomization) -> bool:
    match wanted.spec.deletion_policy:
        case "MirrorPrune":
            return wanted.spec.prune
        case "Delete" | "WaitForTermination":
            return True
        case _:
            return False


def _retry_after(error: GitOpsError) -> float | None:
    return error.retry_after if isinstance(error, TransientError) else None
