"""Health checks of a Kustomization, without a worker that waits.

A check looks once. When something is not ready yet, the Kustomization is reconciled again when one of those objects
changes, or when the time is up; until then nobody is busy with it. What is waited for is remembered here: a new
revision, generation or request begins anew, and so does a new process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from gitops_core.api import Kustomization
from gitops_core.domain.health import Health, health
from gitops_core.domain.plan import SyncPlan
from gitops_core.domain.progress import timeout_of
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef

POLL = 5.0  # seconds, for objects that carry no label of ours and so are not watched


class Identity(NamedTuple):
    """What a wait is for; anything else begins anew."""

    uid: str
    generation: int
    revision: str
    requested_at: str


@dataclass(frozen=True)
class Wait:
    """Attributes:
    since: when it began, on the monotonic clock.
    digest: of the rendering that was applied.
    changed: whether the apply changed anything.
    """

    identity: Identity
    plan: SyncPlan
    digest: str
    since: float
    changed: bool


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


def targets(wanted: Kustomization, plan: SyncPlan) -> tuple[ObjectRef, ...]:
    """What must be healthy: everything that was applied, or what spec.healthChecks names; never the object itself."""
    if wanted.spec.wait:
        refs = tuple(action.ref for action in plan.actions)
    else:
        refs = tuple(
            ObjectRef(Kind.of(check.api_version or "apps/v1", check.kind), ObjectKey(check.namespace, check.name))
            for check in wanted.spec.health_checks
        )
    return tuple(ref for ref in refs if (ref.kind.kind, ref.key) != (wanted.KIND.kind, wanted.key))


def verdict(refs: Iterable[ObjectRef], lives: Mapping[ObjectRef, Manifest | None], now: datetime) -> Verdict:
    states = {ref: health(lives.get(ref), now) for ref in refs}
    return Verdict({ref: state for ref, state in states.items() if state.status != "Current"})


def told(states: Mapping[ObjectRef, Health]) -> str:
    """
    >>> ref = ObjectRef(Kind.of("apps/v1", "Deployment"), ObjectKey("shop", "web"))
    >>> told({ref: Health("InProgress", "Ready: 0/1")})
    "[Deployment/shop/web status: 'InProgress']"
    """
    return f"[{', '.join(f'{ref} status: {state.status!r}' for ref, state in states.items())}]"


def next_look(wanted: Kustomization, wait: Wait, verdict_: Verdict, now: float) -> float:
    """Seconds until the next look at the latest: when the time is up, or sooner for what is not watched."""
    remaining = max(0.0, wait.since + timeout_of(wanted.spec) - now)
    watched = {action.ref for action in wait.plan.actions}
    return remaining if watched.issuperset(verdict_.waiting) else min(POLL, remaining)
