"""What a Kustomization waits for, without a worker that waits.

A sync waits in two places: between its stages, for definitions to be served and namespaces to end, and at its end, for
health. Each look asks once. When something is not ready yet, the Kustomization is reconciled again when one of those
objects changes, or when the time is up; until then nobody is busy with it, and the sync goes on from what is remembered
here. A new revision, generation or request begins anew, and so does a new process.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from gitops_core.api import Kustomization
from gitops_core.domain.health.kstatus import Health, expires, health
from gitops_core.domain.sync.ownership import Ownership
from gitops_core.domain.sync.plan import SyncPlan
from gitops_core.domain.sync.progress import timeout_of
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.reconcilers.applying import Applied, Before

POLL = 5.0  # seconds, for objects that carry no mark of ours and so are not watched
SERVED_POLL = 0.5  # seconds, for what discovery alone tells


class Identity(NamedTuple):
    """What a wait is for; anything else begins anew."""

    uid: str
    generation: int
    revision: str
    requested_at: str


@dataclass(frozen=True)
class Syncing:
    """How far a sync has come.

    Attributes:
        digest: of the rendering.
        fingerprint: of the plan, which is remembered when all of it is applied.
        since: when it began, on the monotonic clock: `spec.timeout` counts from here.
        done: what was applied, by object.
        stage: the number of the stage to apply next.
        unready: what the stage before it waits for.
    """

    identity: Identity
    plan: SyncPlan
    digest: str
    fingerprint: str
    since: float
    before: Before
    done: Mapping[ObjectRef, Applied] = field(default_factory=dict)
    stage: int = 0
    unready: frozenset[ObjectRef] = frozenset()

    def with_applied(self, applied: Iterable[Applied]) -> Syncing:
        return replace(self, done={**self.done, **{one.ref: one for one in applied}})

    def with_lives(self, lives: Mapping[ObjectRef, Manifest | None]) -> Syncing:
        """The same, with what was applied as it is now."""
        fresh = {ref: self.done[ref]._replace(live=live) for ref, live in lives.items() if live and ref in self.done}
        return replace(self, done={**self.done, **fresh})

    def without(self, gone: Collection[ObjectRef]) -> Syncing:
        """The same, back at the stage before: those that went away while it waited have to be applied again."""
        lives = {**self.before.lives, **dict.fromkeys(gone)}
        return replace(self, before=replace(self.before, lives=lives), stage=self.stage - 1, unready=frozenset())

    @property
    def applied(self) -> tuple[Applied, ...]:
        """What was applied so far, in the order of the plan."""
        return tuple(self.done[action.ref] for action in self.plan.actions if action.ref in self.done)


@dataclass(frozen=True)
class Wait:
    """A sync that is done but for the health of its objects.

    Attributes:
        since: when the sync began, on the monotonic clock: `spec.timeout` counts from here.
        checked: when its health was looked at first.
        changed: whether the apply changed anything.
        refs: what must be healthy.
        pending: what was not at the last look: only that is read again.
    """

    identity: Identity
    plan: SyncPlan
    digest: str
    since: float
    checked: float
    changed: bool
    refs: tuple[ObjectRef, ...]
    pending: tuple[ObjectRef, ...]


@dataclass(frozen=True)
class Verdict:
    """Attributes:
    waiting: the health of what is not ready, in the order of the plan; empty when all is.
    failed: those among them that will not become ready by themselves.
    """

    waiting: Mapping[ObjectRef, Health]

    @property
    def failed(self) -> Mapping[ObjectRef, Health]:
        return {ref: state for ref, state in self.waiting.items() if state.status == "Failed"}


def targets(
    wanted: Kustomization, plan: SyncPlan, applied: Iterable[Applied], ownership: Ownership
) -> tuple[ObjectRef, ...]:
    """What must be healthy: everything that was applied, or what spec.healthChecks names; never the object itself.

    What somebody excluded by a directive in the cluster is nobody's to wait for.
    """
    if wanted.spec.wait:
        excluded = {one.ref for one in applied if one.change == "skipped" and ownership.is_excluded(one.live)}
        refs = tuple(action.ref for action in plan.actions if action.ref not in excluded)
    else:
        refs = tuple(
            ObjectRef(Kind.of(check.api_version or "apps/v1", check.kind), ObjectKey(check.namespace, check.name))
            for check in wanted.spec.health_checks
        )
    return tuple(ref for ref in refs if (ref.kind.kind, ref.key) != (wanted.KIND.kind, wanted.key))


def verdict(wait: Wait, lives: Mapping[ObjectRef, Manifest | None], now: datetime) -> Verdict:
    """How what was not ready at the last look is now. A finished Job that its time to live removed is fine."""
    expiring = {action.ref.identity for action in wait.plan.actions if expires(action.manifest)}
    states = {ref: health(lives.get(ref), now) for ref in wait.pending}
    return Verdict(
        {
            ref: state
            for ref, state in states.items()
            if state.status != "Current" and not (state.status == "NotFound" and ref.identity in expiring)
        }
    )


def told(states: Mapping[ObjectRef, Health]) -> str:
    """
    >>> ref = ObjectRef(Kind.of("apps/v1", "Deployment"), ObjectKey("shop", "web"))
    >>> told({ref: Health("InProgress", "Ready: 0/1")})
    "[Deployment/shop/web status: 'InProgress']"
    """
    return f"[{', '.join(f'{ref} status: {state.status!r}' for ref, state in states.items())}]"


def next_look(
    wanted: Kustomization, since: float, lives: Iterable[Manifest | None], now: float, ownership: Ownership
) -> float:
    """Seconds until the next look at the latest: when the time is up, or sooner for what is not watched.

    Args:
        since: when the sync began.
        lives: what is waited for; what carries a mark of ours is watched.
    """
    remaining = max(0.0, since + timeout_of(wanted.spec) - now)
    watched = all(live is not None and ownership.is_watched(live) for live in lives)
    return remaining if watched else min(POLL, remaining)
