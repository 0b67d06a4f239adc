"""Kustomization: render a folder of a source, apply it in stages, prune what it no longer holds, watch it get healthy.

    source · dependencies · render ──► plan ──► dry-runs ──► inventory (old and new) ──► stages ──► prune ──► health

The inventory is stored before the first write, so that an object that was made is never forgotten, whenever the process
dies. A rendering that this process applied before is applied again without dry-runs: that is how drift is healed.

Source: Flux, kustomize-controller; differences on purpose are listed in docs/compatibility.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import msgspec

from gitops_core.api import GitRepository, Inventory, InventoryEntry, Kustomization, KustomizationStatus
from gitops_core.domain import dependencies, inventory, labels
from gitops_core.domain.plan import SyncPlan, plan_sync
from gitops_core.domain.progress import go_duration, retry_interval_of, timeout_of, with_attempt
from gitops_core.errors import GitError, GitOpsError, NotLeader, StalledError, TransientError
from gitops_core.meta import Condition, Manifest, ObjectKey, ObjectRef, Revision, seconds
from gitops_core.ports import Overlay, Renderer
from gitops_core.reconcilers.applying import Applied, Applier, Before, Mark, PruneFailed, SyncFailed, mark_of
from gitops_core.reconcilers.folders import Folders
from gitops_core.reconcilers.waiting import Identity, Verdict, Wait, next_look, targets, told, verdict
from gitops_core.runtime.conditions import REQUESTED_AT
from gitops_core.runtime.reconciling import Notice, Outcome, Platform
from gitops_core.runtime.refusing import refuse_unsupported

HARMLESS = frozenset({"spec.ignoreMissingComponents", "spec.buildMetadata", "spec.force"})
GROUP = Kustomization.KIND.group
OBJECT_WEIGHT = 200
"""What one object counts where all of a plan are looked at."""
Lives = Mapping[ObjectRef, Manifest | None]


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
    """

    wanted: Kustomization
    revision: str
    began: float
    status: KustomizationStatus
    phase: str = "Fetching manifests"
    digest: str = ""
    notices: list[Notice] = field(default_factory=list)

    @property
    def progress(self) -> str:
        timeout = go_duration(timeout_of(self.wanted.spec))
        return f"{self.phase} for revision {self.revision} with a timeout of {timeout}"

    def tell(self, reason: str, message: str, **metadata: str) -> None:
        about = {f"{GROUP}/revision": self.revision, **{f"{GROUP}/{key}": value for key, value in metadata.items()}}
        self.notices.append(Notice("Normal", reason, message, about))

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
    _waits: dict[ObjectKey, Wait] = field(default_factory=dict)

    async def reconcile(self, wanted: Kustomization) -> Outcome:
        refuse_unsupported(wanted, HARMLESS)
        source = await self._source(wanted)
        attempt = _Attempt(wanted, _revision_of(source), self.platform.clock.monotonic(), wanted.status)
        await self._check_dependencies(attempt)
        identity = _identity(wanted, attempt.revision)
        wait = self._waits.get(wanted.key)
        if wait is not None and wait.identity == identity:
            return await self._check_again(attempt, wait)
        self._waits.pop(wanted.key, None)
        plan = await self._planned(attempt, source)
        applied = await self._apply(attempt, plan)
        await self._prune(attempt, plan)
        changed = any(a.change in ("created", "configured") for a in applied)
        wait = Wait(identity, plan, attempt.digest, self.platform.clock.monotonic(), changed)
        return await self._check_health(attempt, wait, {a.ref: a.live for a in applied})

    # what is to be applied

    async def _source(self, wanted: Kustomization) -> GitRepository:
        key = dependencies.source_key(wanted)
        source = await self.platform.objects.get(GitRepository, key)
        if source is None:
            raise _not_yet(
                wanted, f'gitrepositories.source.toolkit.fluxcd.io "{key.name}" not found in {key.namespace}'
            )
        if source.status.artifact is None:
            raise _not_yet(wanted, f"source artifact not found: GitRepository/{key} has fetched nothing yet")
        return source

    async def _check_dependencies(self, attempt: _Attempt) -> None:
        for key in dependencies.dependency_keys(attempt.wanted):
            dependency = await self.platform.objects.get(Kustomization, key)
            if why := dependencies.why_not_ready(attempt.wanted, key, dependency, attempt.revision):
                # a change of the dependency wakes us; the delay is for a change that nobody told us of
                error = TransientError(
                    why, reason="DependencyNotReady", retry_after=seconds(attempt.wanted.spec.interval)
                )
                error.told("Normal", {f"{GROUP}/revision": attempt.revision})  # waiting is no fault
                raise error.carrying(attempt.status, Condition(type="Reconciling", status="False"))

    async def _planned(self, attempt: _Attempt, source: GitRepository) -> SyncPlan:
        wanted = attempt.wanted
        try:
            revision, spec = Revision.parse(attempt.revision), wanted.spec
            folder = await self.folders.folder(source, revision, spec.path, beside=spec.components)
            attempt.phase = "Building manifests"
            attempt.status = msgspec.structs.replace(attempt.status, last_attempted_revision=attempt.revision)
            rendered = await self.renderer.render(folder.tree, _overlay(wanted), folder.path)
        except GitError as error:
            self._fail(attempt, "ArtifactFailed", str(error))
        except GitOpsError as error:
            self._fail(attempt, error.reason, str(error))
        weight = len(rendered) * OBJECT_WEIGHT
        attempt.digest = f"sha256:{await self.platform.compute.run(weight, _digest, rendered)}"
        attempt.phase = "Detecting drift"
        if encrypted := [str(ObjectRef.of(m)) for m in rendered if m["kind"] == "Secret" and "sops" in m]:
            message = f"{', '.join(encrypted)} is SOPS encrypted, and spec.decryption is not supported yet"
            self._fail(attempt, "ReconciliationFailed", message)
        try:
            scoped = await self._applier.scoped(rendered)
        except SyncFailed as error:
            self._fail(attempt, error.reason, str(error))
        known, prune = _known(wanted.status), wanted.spec.prune
        return await self.platform.compute.run(
            weight, lambda: plan_sync((_owned(m, wanted) for m in scoped), known, prune=prune)
        )

    # carrying it out

    @property
    def _applier(self) -> Applier:
        return Applier(self.platform.cluster, self.platform.clock)

    async def _apply(self, attempt: _Attempt, plan: SyncPlan) -> tuple[Applied, ...]:
        wanted, memory = attempt.wanted, self._memory.get(attempt.wanted.key)
        weight = len(plan.inventory) * OBJECT_WEIGHT
        fingerprint = await self.platform.compute.run(weight, _fingerprint, plan)
        is_repeated = memory is not None and (memory.uid, memory.digest) == (wanted.metadata.uid, fingerprint)
        is_first = wanted.status.inventory is None
        try:
            if memory is not None and is_repeated:
                before = Before(memory.marks)
            else:
                before = await self._applier.try_out(plan, first_is_its_own_trial=is_first)
            await self._track(attempt, plan.tracked)
            applied = await self._applier.apply(plan, before, first_alone=is_first and not is_repeated)
        except SyncFailed as error:
            self._memory.pop(wanted.key, None)
            if is_first and not error.applied:
                attempt.status = msgspec.structs.replace(attempt.status, inventory=None)  # nothing was made
            changes = [str(a) for a in error.applied if a.change in ("created", "configured")]
            self._fail(attempt, error.reason, "\n".join((str(error), *changes)))
        except NotLeader:
            raise
        except GitOpsError as error:
            self._fail(attempt, "ReconciliationFailed", str(error), retry_after=_retry_after(error))
        if changes := [str(a) for a in applied if a.change in ("created", "configured")]:
            attempt.tell("Progressing", "\n".join(changes))
        self._memory[wanted.key] = _Memory(wanted.metadata.uid, fingerprint, {a.ref: mark_of(a.live) for a in applied})
        return applied

    async def _track(self, attempt: _Attempt, refs: Sequence[ObjectRef]) -> None:
        """Store the inventory before the first write, if it is not stored already."""
        before = attempt.status.inventory
        attempt.has_inventory(refs)
        if {e.id for e in _entries(before)} != {e.id for e in _entries(attempt.status.inventory)}:
            await self.platform.statuses.write(attempt.wanted, attempt.status)

    async def _prune(self, attempt: _Attempt, plan: SyncPlan) -> None:
        try:
            deleted = await self._applier.prune(plan.prune, attempt.wanted.key)
        except PruneFailed as error:
            attempt.has_inventory((*plan.inventory, *error.left))
            self._fail(attempt, error.reason, str(error))
        attempt.has_inventory(plan.inventory)
        if deleted:
            attempt.tell("Progressing", "\n".join(f"{ref} deleted" for ref in deleted))

    # health

    async def _check_again(self, attempt: _Attempt, wait: Wait) -> Outcome:
        attempt.digest = wait.digest
        refs = targets(attempt.wanted, wait.plan)
        return await self._check_health(attempt, wait, await self._applier.lives(refs))

    async def _check_health(self, attempt: _Attempt, wait: Wait, lives: Lives) -> Outcome:
        attempt.phase = "Running health checks"
        refs = targets(attempt.wanted, wait.plan)
        if unread := [ref for ref in refs if ref not in lives]:
            lives = {**lives, **await self._applier.lives(unread)}
        found = verdict(refs, lives, self.platform.clock.now())
        waited = self.platform.clock.monotonic() - wait.since
        if not found.waiting:
            self._waits.pop(attempt.wanted.key, None)
            return self._ready(attempt, wait, go_duration(waited) if refs else "")
        if found.failed:
            self._unhealthy(attempt, waited, f"failed early due to stalled resources: {told(found.failed)}")
        if waited >= timeout_of(attempt.wanted.spec):
            self._unhealthy(attempt, waited, f"timeout waiting for: {told(found.waiting)}")
        self._waits[attempt.wanted.key] = wait
        return self._waiting(attempt, wait, found)

    def _waiting(self, attempt: _Attempt, wait: Wait, found: Verdict) -> Outcome:
        message = attempt.progress
        return Outcome(
            attempt.status,
            message,
            next_look(attempt.wanted, wait, found, self.platform.clock.monotonic()),
            ready="Unknown",
            conditions=(Condition(type="Healthy", status="Unknown", reason="Progressing", message=message),),
            changed=wait.changed,
            watch=frozenset(found.waiting),
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
            conditions=conditions,
            changed=wait.changed,
            notices=tuple(attempt.notices),
        )

    def _unhealthy(self, attempt: _Attempt, waited: float, message: str) -> NoReturn:
        self._waits.pop(attempt.wanted.key, None)
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
        raise error.carrying(attempt.status, phase, *conditions) from None

    # the end

    async def finalize(self, wanted: Kustomization) -> None:
        self._memory.pop(wanted.key, None)
        self._waits.pop(wanted.key, None)
        refs = _known(wanted.status)
        if wanted.spec.suspend or not refs or not _deletes(wanted):
            return
        plan = plan_sync((), refs, prune=True)
        deleted = await self._applier.prune(plan.prune, wanted.key)
        if deleted:
            text = "\n".join(f"{ref} deleted" for ref in deleted)
            metadata = {f"{GROUP}/revision": wanted.status.last_applied_revision}
            self.platform.events.emit(wanted, "Normal", "ReconciliationSucceeded", text, metadata)
        if wanted.spec.deletion_policy == "WaitForTermination":
            await self._await_termination(wanted, plan.prune)

    async def _await_termination(self, wanted: Kustomization, refs: Sequence[ObjectRef]) -> None:
        """Raises TransientError while some objects are there; after the time-out they are left to the cluster."""
        lives = await self._applier.lives(refs)
        left = [str(ref) for ref, live in lives.items() if live is not None and labels.is_owned_by(live, wanted.key)]
        if not left:
            return
        asked = wanted.metadata.deletion_timestamp
        waited = (self.platform.clock.now() - asked).total_seconds() if asked else 0.0
        if waited < timeout_of(wanted.spec):
            raise TransientError(f"waiting for termination of {', '.join(left)}", reason="Progressing", retry_after=2.0)
        text = "failed to wait for resources termination"
        self.platform.events.emit(wanted, "Warning", "ReconciliationFailed", f"{text}: {', '.join(left)}", {})


def _not_yet(wanted: Kustomization, message: str) -> TransientError:
    """Nobody did anything wrong, so there is no Event; the source's change wakes us."""
    delay = retry_interval_of(wanted.spec)
    return TransientError(message, reason="ArtifactFailed", retry_after=delay).told("None", {})


def _revision_of(source: GitRepository) -> str:
    return source.status.artifact.revision if source.status.artifact else ""


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
        raise StalledError(f"status.inventory: {error}") from None


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
