"""Kustomization: render a folder of a source, apply it in stages, prune what it no longer holds, watch it get healthy.

    read                                       decide     write
    source · dependencies · render · live ──►  plan  ──►  inventory (old and new) ──► stage ──► what it awaits ──► ready
                                                                                        └── the next, or a later look

The inventory is stored before the first write, so that an object that was made is never forgotten, whenever the process
dies. A rendering that this process applied before is not tried again, only read: that is how drift is found and healed.
Nobody waits inside a reconciliation: it returns, and the next one goes on from its Progress (domain/sync/progress).

Source: Flux, kustomize-controller; differences on purpose are listed in docs/compatibility.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import msgspec

from gitops_core.api import Artifact, Kustomization
from gitops_core.domain.render.sopskeys import SopsKeys
from gitops_core.domain.render.variables import substitute_all, weigh_substitution
from gitops_core.domain.sync import contests, dependencies, inventory, stages
from gitops_core.domain.sync.durations import get_retry_interval, get_timeout, write_duration
from gitops_core.domain.sync.imprints import Imprint
from gitops_core.domain.sync.plan import SyncPlan
from gitops_core.domain.sync.predictions import CHANGES, Applied, Predictions
from gitops_core.domain.sync.progress import (
    Identity,
    Lives,
    Progress,
    Verdict,
    choose_targets,
    is_there,
    judge,
    plan_next_look,
    tell_states,
)
from gitops_core.domain.sync.targets import find_kubeconfig
from gitops_core.errors import (
    ClusterUnavailable,
    GitBusy,
    GitError,
    GitOpsError,
    ManifestInvalid,
    Postponed,
    StalledError,
    TransientError,
    Yielded,
)
from gitops_core.meta import Condition, Manifest, ObjectKey, ObjectRef, Resource
from gitops_core.reconcilers.applying import Applier, PruneFailed, Replaced, SyncFailed, is_terminating
from gitops_core.reconcilers.attempts import CONTESTED, GROUP, INSECURE, Attempt, group_by_kind
from gitops_core.reconcilers.building import Builder, Built, hash_items
from gitops_core.reconcilers.decrypting import MAC, Plaintext, Scan
from gitops_core.reconcilers.evaluating import Evaluator
from gitops_core.reconcilers.explaining import find_causes
from gitops_core.reconcilers.folders import Folder, Folders
from gitops_core.reconcilers.planning import list_entries, make_overlay, plan_revision, sift_inventory
from gitops_core.reconcilers.risks import find_risks
from gitops_core.reconcilers.sources import NAMED_BY, SourceUnready, get_fetched
from gitops_core.reconcilers.targets import KubeConfigMissing, Targets
from gitops_core.reconcilers.variables import Variables, read_variables
from gitops_core.runtime.loop.conditions import REQUESTED_AT
from gitops_core.runtime.loop.refusing import refuse_unsupported
from gitops_core.runtime.reconciling import Outcome, Platform
from gitops_core.runtime.sharing.computing import estimate_weight

NOT_DELETED = "is not deleted: it was not made by us, and what belongs to others would go with it"


@dataclass(frozen=True)
class _Memory:
    """What this process applied last for a Kustomization, and to which cluster."""

    target: str
    uid: str
    digest: str
    imprints: Mapping[ObjectRef, Imprint]

    def is_of(self, target: str, uid: str, digest: str) -> bool:
        return (self.target, self.uid, self.digest) == (target, uid, digest)


@dataclass(frozen=True)
class _Sight:
    """What was seen last of the files of a Kustomization, and for which request of it.

    Attributes:
        oid: of the tree that its folder is read from.
    """

    uid: str
    generation: int
    requested_at: str
    revision: str
    oid: str

    @classmethod
    def of(cls, wanted: Kustomization, revision: str, oid: str) -> _Sight:
        metadata = wanted.metadata
        return cls(metadata.uid, metadata.generation, metadata.annotations.get(REQUESTED_AT, ""), revision, oid)


@dataclass
class KustomizationReconciler:
    """Implements gitops_core.runtime.reconciling.Reconciler for Kustomization."""

    platform: Platform
    folders: Folders
    builder: Builder
    evaluator: Evaluator
    targets: Targets
    _memory: dict[ObjectKey, _Memory] = field(default_factory=dict)
    _waits: dict[ObjectKey, tuple[Progress, Plaintext]] = field(default_factory=dict)
    _sights: dict[ObjectKey, _Sight] = field(default_factory=dict)

    async def reconcile(self, wanted: Kustomization) -> Outcome:
        refuse_unsupported(wanted, acts_on={NAMED_BY: self.folders.kinds})
        source, artifact = await self._get_source(wanted)
        await self._yield_to_others(wanted, source, artifact.revision)
        limit = asyncio.timeout(get_timeout(wanted.spec))
        async with self.targets.open(wanted) as applier:
            attempt = Attempt(wanted, artifact.revision, applier, self.platform.clock, self.platform.events)
            try:
                async with limit:
                    return await self._sync(attempt, source)
            except TimeoutError:
                if not limit.expired():
                    raise
                self._waits.pop(wanted.key, None)
                attempt.fail("ReconciliationFailed", f"timed out: {attempt.progress}")

    async def _sync(self, attempt: Attempt, source: Resource) -> Outcome:
        await self.evaluator.check(attempt)
        await self._check_dependencies(attempt)
        attempt.variables = await self._read_variables(attempt)
        attempt.keys = await self._read_keys(attempt)
        identity, waited = _make_identity(attempt), self._waits.pop(attempt.wanted.key, None)
        if waited is not None and waited[0].identity == identity:
            progress, attempt.plaintext = waited
        else:
            plan = await self._plan(attempt, source)
            progress = await self._begin(attempt, plan, identity)
        attempt.digest = progress.digest
        return await self._go_on(attempt, progress)

    # who goes first

    async def _yield_to_others(self, wanted: Kustomization, source: Resource, revision: str) -> None:
        """Raise Yielded, once, if nothing but the revision is another one: who has something to apply goes first.

        A commit wakes all Kustomizations of a repository, and is about a few of them.
        """
        before = self._sights.get(wanted.key)
        if before is None or before.revision == revision:
            return
        if before.revision != wanted.status.last_attempted_revision:
            return  # it yielded already, and would for ever where commits come faster than its turn
        try:
            folder = await self._read_folder(wanted, source, revision)
        except GitOpsError:
            return  # it is told where it is needed
        if replace(self._sights[wanted.key], revision=before.revision) == before:
            raise Yielded(f"{folder.path} is as it was at {before.revision}")

    async def _read_folder(self, wanted: Kustomization, source: Resource, revision: str) -> Folder:
        spec = wanted.spec
        folder = await self.folders.read_folder(source, revision, spec.path, beside=spec.components)
        self._sights[wanted.key] = _Sight.of(wanted, revision, folder.tree.oid)
        return folder

    # what is to be applied

    async def _get_source(self, wanted: Kustomization) -> tuple[Resource, Artifact]:
        try:
            return await get_fetched(wanted, self.folders.kinds, self.platform.objects, self.platform.policy)
        except SourceUnready as error:
            raise _make_unready(wanted, str(error)) from None

    async def _check_dependencies(self, attempt: Attempt) -> None:
        wanted = attempt.wanted
        for key, named in zip(dependencies.list_dependencies(wanted), wanted.spec.depends_on, strict=True):
            if why := await self._explain_dependency(attempt, key, named.ready_expr):
                await self._refuse_cycle(attempt)
                attempt.postpone(why)

    async def _explain_dependency(self, attempt: Attempt, key: ObjectKey, expression: str) -> str:
        """Explain why a dependency is not ready; "" when it is."""
        if expression:  # it may ask for whatever stands there
            self.platform.policy.check_reference(attempt.wanted.ref, ObjectRef(Kustomization.KIND, key))
        dependency = await self.platform.objects.get(Kustomization, key)
        if dependency is None:
            return dependencies.explain_absence(key)
        if expression:
            return await self.evaluator.explain_dependency(attempt, key, expression, dependency)
        return dependencies.explain_unready(attempt.wanted, key, dependency, attempt.revision)

    async def _refuse_cycle(self, attempt: Attempt) -> None:
        """Raise StalledError if what is waited for waits for this one."""
        everyone = await self.platform.objects.list(Kustomization)
        edges = {one.key: dependencies.list_dependencies(one) for one in everyone}
        if cycle := dependencies.find_cycle(attempt.wanted.key, edges):
            text = f"spec.dependsOn goes in a circle, and all in it wait for ever: {dependencies.tell_cycle(cycle)}"
            attempt.stall(StalledError(text, reason="DependencyCycle"))

    async def _read_variables(self, attempt: Attempt) -> Variables:
        try:
            return await read_variables(self.platform.cluster, attempt.wanted)
        except ManifestInvalid as error:
            attempt.fail(error.reason, str(error))

    async def _read_keys(self, attempt: Attempt) -> SopsKeys | None:
        try:
            return await self.builder.decrypter.read_keys(attempt.wanted)
        except ManifestInvalid as error:
            attempt.phase = "Building manifests"
            attempt.status = msgspec.structs.replace(attempt.status, last_attempted_revision=attempt.revision)
            attempt.fail(error.reason, str(error))

    async def _plan(self, attempt: Attempt, source: Resource) -> SyncPlan:
        wanted = attempt.wanted
        try:
            folder = await self._read_folder(wanted, source, attempt.revision)
            attempt.phase = "Building manifests"
            attempt.status = msgspec.structs.replace(attempt.status, last_attempted_revision=attempt.revision)
            built = await self._build(attempt, source, folder)
        except Postponed:
            raise
        except GitBusy as error:  # others find out whether the remote is well: no reason to wait for retryInterval
            raise GitBusy(str(error), reason="ArtifactFailed").record_as("None", {}) from None
        except GitError as error:
            attempt.fail("ArtifactFailed", str(error))
        except GitOpsError as error:
            attempt.fail(error.reason, str(error))
        attempt.digest, attempt.plaintext = built.digest, built.plaintext
        rendered = await self._substitute(attempt, built.objects)
        attempt.phase = "Detecting drift"
        if built.left:
            attempt.fail("ReconciliationFailed", built.left)
        try:
            scoped = await attempt.applier.scope(rendered)
        except ClusterUnavailable as error:
            if not attempt.applier.target:  # ours will be back in a moment: no reason to wait for retryInterval
                raise
            attempt.fail_sync(error)
        except SyncFailed as error:
            attempt.fail_sync(error)
        return await self._decide(attempt, scoped)

    async def _build(self, attempt: Attempt, source: Resource, folder: Folder) -> Built:
        """Build the folder, and note what people should know of its Secrets."""
        is_asked = self.platform.policy.plain_secrets != "ignore"
        built = await self.builder.build(attempt.wanted, folder.tree, folder.path, attempt.keys, is_scanned=is_asked)
        if built.scan is None:
            return built
        before = await self._scan_applied(attempt, source, built.scan)
        found = find_risks(attempt.wanted, built.scan, before, built.plaintext.altered, self.platform.policy)
        attempt.note(INSECURE, found.reason, found.message)
        if found.refused:
            attempt.fail(found.reason, found.refused)
        return built

    async def _scan_applied(self, attempt: Attempt, source: Resource, now: Scan) -> Scan:
        """Scan the files of the revision that was applied last; what is not there any more tells nothing."""
        wanted, spec = attempt.wanted, attempt.wanted.spec
        revision = wanted.status.last_applied_revision
        if not now.sealed or not revision or revision == attempt.revision:
            return Scan()
        try:
            folder = await self.folders.read_folder(source, revision, spec.path, beside=spec.components)
            return await self.builder.decrypter.scan(folder.tree, make_overlay(wanted), folder.path)
        except GitOpsError:
            return Scan()

    async def _substitute(self, attempt: Attempt, rendered: Sequence[Manifest]) -> Sequence[Manifest]:
        """Replace variables, and note what is to be known of the objects."""
        if (values := attempt.variables.values) is None:
            return rendered
        strict = self.platform.policy.strict_substitutions
        try:
            found = await self.platform.compute.run(
                weigh_substitution(estimate_weight(rendered), values),
                lambda: substitute_all(rendered, values, strict=strict),
            )
        except ManifestInvalid as error:
            attempt.fail(error.reason, str(error))
        attempt.hints = found.hints
        return found.objects

    async def _decide(self, attempt: Attempt, scoped: Sequence[Manifest]) -> SyncPlan:
        wanted, ownership, revision = attempt.wanted, attempt.applier.ownership, attempt.revision
        try:
            return await self.platform.compute.run(
                estimate_weight(scoped), plan_revision, wanted, scoped, ownership, revision
            )
        except StalledError as error:
            attempt.stall(error)

    # carrying it out

    async def _begin(self, attempt: Attempt, plan: SyncPlan, identity: Identity) -> Progress:
        """See what would become of everything, and store the inventory: nothing else is written yet."""
        wanted, applier = attempt.wanted, attempt.applier
        weight = estimate_weight(action.manifest for action in plan.actions)
        fingerprint = await self.platform.compute.run(weight, _compute_fingerprint, plan)
        memory = self._memory.get(wanted.key)
        is_repeated = memory is not None and memory.is_of(applier.target, wanted.metadata.uid, fingerprint)
        try:
            predictions = await (
                applier.read(plan, memory.imprints) if memory and is_repeated else applier.try_out(plan)
            )
            await self._track(attempt, plan.tracked)
            await self._compare(attempt, plan, predictions)
        except GitOpsError as error:  # what was applied before is remembered still
            attempt.fail_sync(error)
        return Progress(identity, plan, attempt.digest, fingerprint, attempt.began, predictions)

    async def _track(self, attempt: Attempt, refs: Sequence[ObjectRef]) -> None:
        """Store the inventory before the first write, if it is not stored already."""
        before = attempt.status.inventory
        attempt.set_inventory(refs)
        if {e.id for e in list_entries(before)} != {e.id for e in list_entries(attempt.status.inventory)}:
            await self.platform.statuses.write(attempt.wanted, attempt.status)

    async def _compare(self, attempt: Attempt, plan: SyncPlan, predictions: Predictions) -> None:
        """Find out whether others apply some of the objects too, as these are before the apply; warn of it once."""
        refs = [action.ref for action in plan.actions]
        sharing = await self.platform.objects.find(Kustomization, contests.list_ids, map(inventory.format_id, refs))
        kubeconfig = find_kubeconfig(attempt.wanted)
        near = (other for other in sharing if find_kubeconfig(other) == kubeconfig)
        others = {other.key: other for other in near if other.key != attempt.wanted.key}
        claims = contests.find_shared(refs, others.values())
        for key in tuple(claims):
            if not contests.has_come_to_its_source(others[key], await self._find_artifact(others[key])):
                del claims[key]
        before = attempt.findings.get(CONTESTED)
        lives = {ref: predictions[ref].live for refs in claims.values() for ref in refs}
        lives |= await attempt.applier.read_lives(ref for ref, live in lives.items() if live is None)
        found = contests.select_proven(claims, lives, before.message if before is not None else "")
        attempt.note(CONTESTED, "AppliedByOthers", contests.tell_shared(found) if found else "")

    async def _find_artifact(self, other: Kustomization) -> Artifact | None:
        """Return what the source of another Kustomization holds, or None when that is not known."""
        name, key = dependencies.get_source_name(other)
        if (kind := self.folders.kinds.get(name)) is None:
            return None
        source = await self.platform.objects.get(kind.type_, key)
        return kind.find_artifact(source) if source is not None else None

    async def _go_on(self, attempt: Attempt, progress: Progress) -> Outcome:
        """Carry out stage after stage, as long as what each of them awaits has come."""
        lives: Lives = {}
        while True:
            if progress.awaited is None:
                progress, seen = await self._carry_out(attempt, progress)
                lives = {**lives, **seen}
            verdict, lives = await self._look(attempt, progress, lives)
            if verdict.gone:
                progress, lives = progress.repeat_stage(verdict.gone), {}
            elif verdict.waiting:
                await self._refuse_failure(attempt, progress, verdict, lives)
                return self._wait(attempt, progress, verdict, lives)
            elif progress.is_last:
                took = self.platform.clock.monotonic() - progress.awaited_since
                return attempt.report_ready(progress.changed, write_duration(took) if progress.awaited else "")
            else:
                progress = progress.advance()

    async def _carry_out(self, attempt: Attempt, progress: Progress) -> tuple[Progress, Lives]:
        """Apply a stage, and prune with the last one. Also returns what was seen of the objects."""
        attempt.phase = "Detecting drift"
        clock = self.platform.clock
        made, left = await self._replace(attempt, progress)
        progress = progress.add_made(made)
        if left:
            return progress.begin_clearing(left, clock.monotonic()), left
        applied = await self._apply(attempt, progress)
        progress = progress.add_applied(applied)
        if progress.stage.awaits == "served":
            refs = [one.ref for one in applied if one.change != "skipped"]
            there = {one.ref: one.live for one in applied if is_there(one.live, clock.now())}
            return progress.begin_waiting(refs, clock.monotonic()), there  # the others may be there a moment later
        await self._prune(attempt, progress.plan)
        target, imprints = attempt.applier.target, {one.ref: one.imprint for one in progress.applied}
        self._memory[attempt.wanted.key] = _Memory(target, attempt.wanted.metadata.uid, progress.fingerprint, imprints)
        healthy = choose_targets(attempt.wanted, progress, attempt.applier.ownership)
        return progress.drop_objects().begin_waiting(healthy, clock.monotonic()), {one.ref: one.live for one in applied}

    async def _replace(self, attempt: Attempt, progress: Progress) -> Replaced:
        """Make anew what of the stage cannot be changed, as far as the old one goes."""
        with self._failing(attempt, progress, may_be_missing=True):
            replaced = await attempt.applier.replace(progress.choose_predictions())
        attempt.changes.extend(str(one) for one in replaced.made)
        return replaced

    async def _apply(self, attempt: Attempt, progress: Progress) -> Sequence[Applied]:
        with self._failing(attempt, progress):
            applied = await attempt.applier.apply(progress.choose_predictions())
        attempt.changes.extend(str(one) for one in applied if one.change in CHANGES)
        text = "was there before: it is applied from now on, and never deleted with this Kustomization"
        for kind, adopted in group_by_kind(one.ref for one in applied if one.is_adopted):
            attempt.warn(f"{kind}Adopted", f"{adopted} {text}")
        return applied

    @contextmanager
    def _failing(self, attempt: Attempt, progress: Progress, *, may_be_missing: bool = False) -> Iterator[None]:
        """Fail with what the cluster answers to the writes of a stage, and tell what was written before."""
        try:
            yield
        except SyncFailed as error:
            self._memory.pop(attempt.wanted.key, None)
            changes = [str(one) for one in (*progress.applied, *error.applied) if one.change in CHANGES]
            attempt.fail(error.reason, "\n".join((str(error), *changes)))
        except GitOpsError as error:
            if may_be_missing and isinstance(error, ClusterUnavailable) and not attempt.applier.target:
                raise  # ours will be back in a moment: what was deleted does not wait for retryInterval
            attempt.fail_sync(error)

    async def _prune(self, attempt: Attempt, plan: SyncPlan) -> None:
        attempt.tell_changes()
        try:
            pruned = await attempt.applier.prune(plan.prune)
        except PruneFailed as error:
            attempt.set_inventory((*plan.inventory, *error.left))
            attempt.fail(error.reason, str(error))
        attempt.set_inventory(plan.inventory)
        if pruned.deleted:
            attempt.tell("Progressing", "\n".join(f"{ref} deleted" for ref in pruned.deleted))
        for kind, kept in group_by_kind(pruned.spared):
            attempt.warn(f"{kind}Kept", f"{kept} {NOT_DELETED}")

    # what is waited for

    async def _look(self, attempt: Attempt, progress: Progress, lives: Lives) -> tuple[Verdict, Lives]:
        """Judge what a stage awaits, with what of it was not seen yet. Also returns all that was seen by now."""
        applier, awaited = attempt.applier, progress.awaited or ()
        awaits_health = progress.awaits == "healthy"
        attempt.phase = "Running health checks" if awaits_health else "Detecting drift"
        lives = {**lives, **await applier.read_lives(ref for ref in awaited if ref not in lives)}
        unserved = (
            {} if progress.awaits != "served" else await applier.find_unserved({ref: lives[ref] for ref in awaited})
        )
        judged = await self.evaluator.judge(attempt, {ref: lives[ref] for ref in awaited}) if awaits_health else {}
        return judge(progress, lives, unserved, self.platform.clock.now(), judged), lives

    async def _refuse_failure(self, attempt: Attempt, progress: Progress, verdict: Verdict, lives: Lives) -> None:
        """Fail where what is waited for will not come, or has not come in time."""
        now = self.platform.clock.monotonic()
        took, waited = now - progress.since, now - progress.awaited_since
        is_late = took >= get_timeout(attempt.wanted.spec)
        if is_late and progress.awaits != "healthy":
            self._memory.pop(attempt.wanted.key, None)
            ref, state = next(iter(verdict.waiting.items()))
            still = "there still, to be made anew," if progress.awaits == "gone" else "not ready"
            cause = f"{ref} is {still} after {write_duration(took)}: {state.message}"
            attempt.fail("ReconciliationFailed", "\n".join((cause, *attempt.take_changes())))
        if verdict.failed or is_late:
            states = verdict.failed or verdict.waiting
            looked_at = {ref: lives.get(ref) for ref in states}
            causes = await find_causes(attempt.applier.cluster, looked_at, self.platform.clock.now())
            why = "failed early due to stalled resources" if verdict.failed else "timeout waiting for"
            attempt.fail_health(waited, f"{why}: {tell_states(states, causes)}")

    def _wait(self, attempt: Attempt, progress: Progress, verdict: Verdict, lives: Lives) -> Outcome:
        """Return without having waited: what comes wakes the Kustomization, and it goes on from here."""
        wanted, now = attempt.wanted, self.platform.clock.monotonic()
        self._waits[wanted.key] = progress.keep_waiting(verdict.waiting), attempt.plaintext
        attempt.tell_changes()
        conditions: tuple[Condition, ...] = ()
        if progress.awaits == "healthy":
            conditions = (Condition(type="Healthy", status="Unknown", reason="Progressing", message=attempt.progress),)
        delay = plan_next_look(progress, wanted, verdict, lives, attempt.applier.ownership, now)
        seen = [ref for ref in verdict.waiting if lives.get(ref) is not None]
        return attempt.report_waiting(delay, verdict.waiting, seen, *conditions)

    # the end

    async def finalize(self, wanted: Kustomization) -> None:
        self._memory.pop(wanted.key, None)
        self._waits.pop(wanted.key, None)
        self._sights.pop(wanted.key, None)
        self.builder.forget(wanted)
        refs, faults = sift_inventory(wanted.status)
        if wanted.spec.suspend or not _deletes(wanted):
            return
        if faults:  # they name nothing that could be waited for
            self._tell_left(wanted, f"an entry of the inventory is left: {faults[0]}")
        if not refs:
            return
        try:
            if why := await self.targets.explain_loss(wanted):
                self._tell_left(wanted, f"the objects of the inventory are left: {why}")
                return  # the namespace may be going: whoever waited for what is gone would keep it
            async with self.targets.open(wanted) as applier:
                await self._delete_all(wanted, stages.sort_for_pruning(refs), applier)
        except KubeConfigMissing as error:
            self._tell_left(wanted, f"the objects of the inventory are left: {error}")

    def _tell_left(self, wanted: Kustomization, text: str) -> None:
        self.platform.events.emit(wanted, "Warning", "PruneFailed", text, _about(wanted))

    async def _delete_all(self, wanted: Kustomization, order: Sequence[ObjectRef], applier: Applier) -> None:
        pruned, metadata = await applier.prune(order), _about(wanted)
        if pruned.deleted:
            text = "\n".join(f"{ref} deleted" for ref in pruned.deleted)
            self.platform.events.emit(wanted, "Normal", "ReconciliationSucceeded", text, metadata)
        for kind, kept in group_by_kind(pruned.spared):
            self.platform.events.emit(wanted, "Warning", f"{kind}Kept", f"{kept} {NOT_DELETED}", metadata)
        if wanted.spec.deletion_policy == "WaitForTermination":
            await self._await_termination(wanted, order, applier)

    async def _await_termination(self, wanted: Kustomization, refs: Sequence[ObjectRef], applier: Applier) -> None:
        """Raise TransientError while some objects are there; after the time-out they are left to the cluster."""
        found = [await applier.find(ref) for ref in refs]
        left = [str(one[0]) for one in found if one is not None and is_terminating(one[1])]
        if not left:
            return
        asked = wanted.metadata.deletion_timestamp
        waited = (self.platform.clock.now() - asked).total_seconds() if asked else 0.0
        if waited < get_timeout(wanted.spec):
            text = f"waiting for termination of {', '.join(left)}"
            raise TransientError(text, reason="Progressing", retry_after=2.0).record_as("None", {})
        text = "failed to wait for resources termination"
        self.platform.events.emit(wanted, "Warning", "ReconciliationFailed", f"{text}: {', '.join(left)}", {})


def _make_unready(wanted: Kustomization, message: str) -> TransientError:
    """Return an error without an Event, as nobody did anything wrong; the source's change wakes us."""
    delay = get_retry_interval(wanted.spec)
    error = TransientError(message, reason="ArtifactFailed", retry_after=delay).record_as("None", {})
    return error.carry(wanted.status, Condition(type="Reconciling", status="False"))


def _about(wanted: Kustomization) -> Mapping[str, str]:
    """Return what is said with an Event of what was applied."""
    return {f"{GROUP}/revision": wanted.status.last_applied_revision}


def _make_identity(attempt: Attempt) -> Identity:
    metadata = attempt.wanted.metadata
    asked, variables = metadata.annotations.get(REQUESTED_AT, ""), attempt.variables.digest
    target, revision = attempt.applier.target, attempt.revision
    keys = f"{attempt.keys.fingerprint} {metadata.annotations.get(MAC, '')}" if attempt.keys is not None else ""
    return Identity(target, metadata.uid, metadata.generation, revision, asked, variables + keys)


def _compute_fingerprint(plan: SyncPlan) -> str:
    return hash_items((one.manifest, one.create_only, one.take_over, one.ignored) for one in plan.actions)


def _deletes(wanted: Kustomization) -> bool:
    match wanted.spec.deletion_policy:
        case "MirrorPrune":
            return wanted.spec.prune
        case "Delete" | "WaitForTermination":
            return True
        case _:
            return False
