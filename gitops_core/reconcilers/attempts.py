"""One reconciliation of a Kustomization: how far it came, what there is to store and to tell, and how it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import msgspec

from gitops_core.api import Inventory, InventoryEntry, Kustomization
from gitops_core.domain.render.sopskeys import SopsKeys
from gitops_core.domain.sync import inventory
from gitops_core.domain.sync.durations import get_retry_interval, get_timeout, write_duration
from gitops_core.domain.sync.history import add_attempt
from gitops_core.errors import GitOpsError, NotLeader, StalledError, TransientError
from gitops_core.meta import Condition, ObjectRef, parse_duration
from gitops_core.ports import Clock, Events
from gitops_core.reconcilers.applying import Applier
from gitops_core.reconcilers.decrypting import Plaintext
from gitops_core.reconcilers.variables import Variables
from gitops_core.runtime.reconciling import Notice, Outcome

GROUP = Kustomization.KIND.group
CONTESTED, INSECURE = "Contested", "InsecureSecrets"
"""Conditions that say what a person should know of, whatever becomes of the reconciliation."""


@dataclass
class Attempt:
    """Attributes:
    applier: with the rights that the Kustomization has.
    hints: what is to be known of an object when it is refused.
    began: on the monotonic clock.
    phase: what it is doing, for the condition Reconciling.
    digest: of the rendering, as soon as there is one.
    changes: what was created or configured and is not told yet.
    contested: that others apply some of the objects too; as it was told last, until the plan is known.
    """

    wanted: Kustomization
    revision: str
    applier: Applier
    clock: Clock
    events: Events
    phase: str = "Fetching manifests"
    digest: str = ""
    notices: list[Notice] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    hints: Mapping[ObjectRef, str] = field(default_factory=dict)
    variables: Variables = field(default_factory=Variables)
    keys: SopsKeys | None = None
    plaintext: Plaintext = field(default_factory=Plaintext)

    def __post_init__(self) -> None:
        self.began, self.status = self.clock.monotonic(), self.wanted.status
        conditions = self.wanted.status.conditions
        self.findings = {c.type: c for c in conditions if c.type in (CONTESTED, INSECURE)}

    @property
    def progress(self) -> str:
        timeout = write_duration(get_timeout(self.wanted.spec))
        return f"{self.phase} for revision {self.revision} with a timeout of {timeout}"

    # what there is to store and to tell

    def set_inventory(self, refs: Iterable[ObjectRef]) -> None:
        entries = tuple(InventoryEntry(id=inventory.format_id(ref), v=ref.kind.version) for ref in refs)
        self.status = msgspec.structs.replace(self.status, inventory=Inventory(entries=entries) if entries else None)

    def tell(self, reason: str, message: str, **metadata: str) -> None:
        about = {f"{GROUP}/revision": self.revision, **{f"{GROUP}/{key}": value for key, value in metadata.items()}}
        self.notices.append(Notice("Normal", reason, message, about))

    def warn(self, reason: str, message: str) -> None:
        self.notices.append(Notice("Warning", reason, message, {f"{GROUP}/revision": self.revision}))

    def tell_changes(self) -> None:
        if changes := self.take_changes():
            self.tell("Progressing", "\n".join(changes))

    def take_changes(self) -> list[str]:
        """Take the changes that are not told yet."""
        changes, self.changes = self.changes, []
        return changes

    def note(self, type_: str, reason: str, message: str) -> None:
        """Note a finding, "" for none, and warn of it where that is news."""
        before = self.findings.pop(type_, None)
        if not message:
            return
        self.findings[type_] = Condition(type=type_, status="True", reason=reason, message=message)
        if before is None or before.message != message:
            self.warn(reason, message)

    def add_findings(self, *conditions: Condition) -> tuple[Condition, ...]:
        return (*conditions, *self.findings.values())

    def mute(self, text: str) -> str:
        """Replace by *** what of Secrets' variables and of what was decrypted stands in `text`."""
        return self.plaintext.mute(self.variables.mute(text))

    # how it ends

    def report_waiting(
        self, delay: float, watch: Iterable[ObjectRef], seen: Iterable[ObjectRef], *conditions: Condition
    ) -> Outcome:
        """Return what to say while `watch` is waited for, for `delay` seconds at most; `seen` of it was there."""
        return Outcome(
            self.status,
            self.progress,
            delay,
            ready="Unknown",
            conditions=self.add_findings(*conditions),
            changed=bool(self.notices),
            watch=frozenset(watch),
            seen=frozenset(seen),
            notices=tuple(self.notices),
        )

    def report_ready(self, changed: bool, health_took: str) -> Outcome:
        """Return that all is applied, and healthy where that was asked for (`health_took` is not empty)."""
        wanted = self.wanted
        is_new = wanted.status.last_applied_revision != self.revision
        conditions: tuple[Condition, ...] = ()
        if health_took:
            message = f"Health check passed in {health_took}"
            conditions = (Condition(type="Healthy", status="True", reason="Succeeded", message=message),)
            was_healthy = any(c.type == "Healthy" and c.status == "True" for c in wanted.status.conditions)
            if not was_healthy or (is_new and changed):
                self.tell("Progressing", message)
        took = self.clock.monotonic() - self.began
        self._record("ReconciliationSucceeded")
        status = msgspec.structs.replace(
            self.status, last_applied_revision=self.revision, last_attempted_revision=self.revision
        )
        interval = parse_duration(wanted.spec.interval)
        if changed or is_new or self.notices or not wanted.status.is_ready:  # else there is no news
            text = f"Reconciliation finished in {write_duration(took)}, next run in {write_duration(interval)}"
            self.tell("ReconciliationSucceeded", text, commit_status="update")
        return Outcome(
            status,
            f"Applied revision: {self.revision}",
            interval,
            reason="ReconciliationSucceeded",
            conditions=self.add_findings(*conditions),
            changed=changed,
            notices=tuple(self.notices),
        )

    def stall(self, error: StalledError) -> NoReturn:
        """Raise `error` with the status to store: nothing more is tried until somebody edits something."""
        if self.digest:
            self._record(error.reason)
        error.record_as("Warning", {f"{GROUP}/revision": self.revision})
        error.args = (self.mute(str(error)),)
        raise error.carry(self.status, *self.add_findings()) from None

    def postpone(self, why: str) -> NoReturn:
        """Raise that a dependency is not ready: its change wakes us, the delay is for one that nobody told us of."""
        error = TransientError(why, reason="DependencyNotReady", retry_after=parse_duration(self.wanted.spec.interval))
        error.record_as("Normal", {f"{GROUP}/revision": self.revision})  # waiting is no fault
        raise error.carry(self.status, *self.add_findings(Condition(type="Reconciling", status="False")))

    def fail(self, reason: str, message: str, *conditions: Condition, retry_after: float | None = None) -> NoReturn:
        """Raise the failure with the status to store and the phase it happened in, for a retry after retryInterval."""
        message = self.mute(message)
        told = (msgspec.structs.replace(one, message=self.mute(one.message)) for one in conditions)
        if self.digest:
            self._record(reason)
        for notice in self.notices:
            self.events.emit(self.wanted, notice.type, notice.reason, notice.message, notice.metadata)
        delay = max(get_retry_interval(self.wanted.spec), retry_after or 0.0)
        phase = Condition(type="Reconciling", status="True", reason="ProgressingWithRetry", message=self.progress)
        error = TransientError(message, reason=reason, retry_after=delay)
        error.record_as("Warning", {f"{GROUP}/revision": self.revision})
        raise error.carry(self.status, phase, *self.add_findings(*told)) from None

    def fail_sync(self, error: GitOpsError) -> NoReturn:
        """Raise what the cluster answered; that we lead no more is nothing to tell."""
        if isinstance(error, NotLeader):
            raise error
        retry_after = error.retry_after if isinstance(error, TransientError) else None
        hints = (f"{ref}: {hint}" for ref, hint in self.hints.items() if f"{ref} " in str(error))
        self.fail("ReconciliationFailed", "\n".join((str(error), *hints)), retry_after=retry_after)

    def fail_health(self, waited: float, message: str) -> NoReturn:
        healthy = Condition(type="Healthy", status="False", reason="HealthCheckFailed", message=message)
        text = f"health check failed after {write_duration(waited)}: {message}"
        self.fail("HealthCheckFailed", text, healthy)

    def _record(self, outcome: str) -> None:
        history = add_attempt(
            self.status.history,
            self.digest,
            outcome,
            revision=self.revision,
            now=self.clock.now(),
            took=self.clock.monotonic() - self.began,
        )
        self.status = msgspec.structs.replace(self.status, history=history)


def group_by_kind(refs: Iterable[ObjectRef]) -> tuple[tuple[str, str], ...]:
    """Group what is named by kind, each with the names."""
    found: dict[str, list[str]] = {}
    for ref in refs:
        found.setdefault(ref.kind.kind, []).append(str(ref))
    return tuple((kind, ", ".join(names)) for kind, names in found.items())
