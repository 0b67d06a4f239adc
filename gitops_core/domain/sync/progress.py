"""How far a sync has come and what it waits for, without a worker that waits.

    carry out a stage ──► what it awaits ──► verdict ──► the next stage · the same one again · a later look · the end

Each look asks once. When something has not come yet, the owner is reconciled again when one of those objects changes,
or when the time is up; until then nobody is busy with it, and the sync goes on from its Progress. A new revision,
generation or request begins anew, and so does a new process.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, NamedTuple

from gitops_core.api import Kustomization
from gitops_core.domain.health.kstatus import Health, expires, judge_health
from gitops_core.domain.sync.durations import get_timeout
from gitops_core.domain.sync.ownership import Ownership
from gitops_core.domain.sync.plan import Stage, SyncPlan
from gitops_core.domain.sync.predictions import CHANGES, Applied, Prediction, Predictions
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef

POLL = 5.0  # seconds, for objects that carry no mark of ours and so are not watched
SERVED_POLL = 0.5  # seconds, for what discovery alone tells

Lives = Mapping[ObjectRef, Manifest | None]


class Identity(NamedTuple):
    """What a sync is for; anything else begins anew.

    Attributes:
        target: the cluster that it is applied to (gitops_core.ports.Target).
        variables: the digest of those that are substituted.
    """

    target: str
    uid: str
    generation: int
    revision: str
    requested_at: str
    variables: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a sync has come.

    Attributes:
        digest: of the rendering.
        fingerprint: of the plan, which is remembered when all of it is applied.
        since: when it began, on the monotonic clock: `spec.timeout` counts from here.
        predictions: of what is still to be applied.
        done: what was applied, by object, until that is remembered.
        changed: whether any apply changed anything.
        number: of the stage, from 0.
        awaited: what of the stage is waited for: only that is read again. None before it is carried out.
        awaited_since: when that was looked at first.
        clearing: whether that is what has to go first, to be made anew; nothing else of the stage is applied before.
    """

    identity: Identity
    plan: SyncPlan
    digest: str
    fingerprint: str
    since: float
    predictions: Predictions
    done: Mapping[ObjectRef, Applied] = field(default_factory=dict)
    changed: bool = False
    number: int = 0
    awaited: tuple[ObjectRef, ...] | None = None
    awaited_since: float = 0.0
    clearing: bool = False

    @property
    def stage(self) -> Stage:
        return self.plan.stages[self.number]

    @property
    def awaits(self) -> Literal["gone", "served", "healthy"]:
        """Return what is to become of those that are awaited."""
        return "gone" if self.clearing else self.stage.awaits

    @property
    def is_last(self) -> bool:
        return self.number + 1 == len(self.plan.stages)

    @property
    def applied(self) -> tuple[Applied, ...]:
        """Return what was applied so far, in the order of the plan."""
        return tuple(self.done[action.ref] for action in self.plan.actions if action.ref in self.done)

    def choose_predictions(self) -> tuple[Prediction, ...]:
        """Choose what is predicted of the stage."""
        return tuple(self.predictions[action.ref] for action in self.stage.actions)

    def add_made(self, made: Collection[Applied]) -> Progress:
        """Add what was made anew: it is not applied once more."""
        fresh = {
            one.ref: Prediction(self.predictions[one.ref].action, "unchanged", one.live, one.live, one.imprint)
            for one in made
        }
        return replace(self.add_applied(made), predictions={**self.predictions, **fresh})

    def add_applied(self, applied: Collection[Applied]) -> Progress:
        done = {**self.done, **{one.ref: one for one in applied}}
        return replace(self, done=done, changed=self.changed or any(one.change in CHANGES for one in applied))

    def begin_waiting(self, refs: Iterable[ObjectRef], now: float) -> Progress:
        """Begin to wait for these, as the stage is carried out."""
        return replace(self, awaited=tuple(refs), awaited_since=now)

    def begin_clearing(self, refs: Iterable[ObjectRef], now: float) -> Progress:
        """Begin to wait until these are gone; then the stage is carried out."""
        return replace(self.begin_waiting(refs, now), clearing=True)

    def keep_waiting(self, refs: Iterable[ObjectRef]) -> Progress:
        """Keep waiting for these until another look: what was known of the next stages is old by then."""
        reopened = {ref: prediction.reopen() for ref, prediction in self.predictions.items()}
        return replace(self, awaited=tuple(refs), predictions=reopened)

    def advance(self) -> Progress:
        return replace(self, number=self.number + 1, awaited=None)

    def repeat_stage(self, gone: Collection[ObjectRef]) -> Progress:
        """Repeat the stage: those that went away while they were waited for have to be applied again."""
        if self.clearing:
            return replace(self, awaited=None, clearing=False)
        fresh = {ref: Prediction(self.predictions[ref].action, "created") for ref in gone}
        return replace(self, predictions={**self.predictions, **fresh}, awaited=None, clearing=False)

    def drop_objects(self) -> Progress:
        """Drop all but what the wait for health needs, which may be long."""
        return replace(self, predictions={}, done={})


class Verdict(NamedTuple):
    """What is to be said of what a stage awaits, each in the order of the plan.

    Attributes:
        waiting: the health of what has not come.
        failed: those among them that will not by themselves.
        gone: what has to be applied again.
        unserved: those among them whose coming nobody tells: they are established, and not served yet.
    """

    waiting: Mapping[ObjectRef, Health]
    failed: Mapping[ObjectRef, Health]
    gone: tuple[ObjectRef, ...]
    unserved: tuple[ObjectRef, ...]


def is_there(live: Manifest | None, now: datetime) -> bool:
    """Return whether the next stage need not wait for the object itself."""
    return _has_come(judge_health(live, now))


def _has_come(state: Health) -> bool:
    """Return whether nothing better is to be waited for: what failed does not get better by waiting."""
    return state.status in ("Current", "Failed")


def judge(
    progress: Progress,
    lives: Lives,
    unserved: Mapping[ObjectRef, Kind],
    now: datetime,
    judged: Mapping[ObjectRef, Health] = {},
) -> Verdict:
    """Judge what has come of what a stage awaits.

    Args:
        judged: the health of those that have a rule of their own.
        lives: what is awaited, as it is now.
        unserved: kinds that definitions among them define, and that are not served yet.
    """
    if progress.awaits == "gone":
        return _judge_clearing(progress, lives)
    states = {ref: judged.get(ref) or judge_health(lives.get(ref), now) for ref in progress.awaited or ()}
    if progress.awaits == "served":
        gone = tuple(ref for ref, state in states.items() if state.status == "NotFound")
        soon = tuple(ref for ref in unserved if states[ref].status == "Current")
        coming = {ref: Health("InProgress", f"{kind} is not served yet") for ref, kind in unserved.items()}
        waiting = {
            ref: coming.get(ref, state) for ref, state in states.items() if ref in coming or not _has_come(state)
        }
        return Verdict(waiting, {}, gone, soon)
    expiring = {action.ref.identity for action in progress.plan.actions if expires(action.manifest)}
    waiting = {
        ref: state
        for ref, state in states.items()
        if state.status != "Current" and not (state.status == "NotFound" and ref.identity in expiring)
    }  # a finished Job that its time to live removed is fine
    return Verdict(waiting, {ref: state for ref, state in waiting.items() if state.status == "Failed"}, (), ())


def _judge_clearing(progress: Progress, lives: Lives) -> Verdict:
    """Judge whether what is to be made anew has gone: what has is made at once."""
    waiting: dict[ObjectRef, Health] = {}
    for ref in progress.awaited or ():
        old, live = progress.predictions[ref].live, lives.get(ref)
        if old is not None and live is not None and live["metadata"]["uid"] == old["metadata"]["uid"]:
            waiting[ref] = Health("Terminating", tell_holders(live))
    return Verdict(waiting, {}, tuple(ref for ref in progress.awaited or () if ref not in waiting), ())


def tell_holders(live: Manifest) -> str:
    """Tell what keeps an object that is being deleted."""
    finalizers = live["metadata"].get("finalizers") or ()
    return f"held by the finalizers {', '.join(finalizers)}" if finalizers else "it is being deleted"


def choose_targets(wanted: Kustomization, progress: Progress, ownership: Ownership) -> tuple[ObjectRef, ...]:
    """Choose what must be healthy: all that was applied, or what spec.healthChecks names; never the object itself.

    What somebody excluded by a directive in the cluster is nobody's to wait for.
    """
    if wanted.spec.wait:
        excluded = {one.ref for one in progress.applied if one.change == "skipped" and ownership.is_excluded(one.live)}
        refs = tuple(action.ref for action in progress.plan.actions if action.ref not in excluded)
    else:
        refs = tuple(
            ObjectRef(Kind.of(check.api_version or "apps/v1", check.kind), ObjectKey(check.namespace, check.name))
            for check in wanted.spec.health_checks
        )
    return tuple(ref for ref in refs if (ref.kind.kind, ref.key) != (wanted.KIND.kind, wanted.key))


def tell_states(states: Mapping[ObjectRef, Health], causes: Mapping[ObjectRef, str] = {}) -> str:
    """Tell how each object is, in kstatus' words, and what keeps it where that is known.

    >>> ref = ObjectRef(Kind.of("apps/v1", "Deployment"), ObjectKey("shop", "web"))
    >>> tell_states({ref: Health("InProgress", "Ready: 0/1")})
    "[Deployment/shop/web status: 'InProgress']"
    >>> tell_states({ref: Health("InProgress", "")}, {ref: "container main of Pod web-7d9f: ImagePullBackOff"})
    "[Deployment/shop/web status: 'InProgress': container main of Pod web-7d9f: ImagePullBackOff]"
    """
    whys = {ref: state.message for ref, state in states.items() if state.status == "Unknown"} | dict(causes)
    told = (
        f"{ref} status: {state.status!r}" + f": {whys.get(ref)}" * bool(whys.get(ref)) for ref, state in states.items()
    )
    return f"[{', '.join(told)}]"


def plan_next_look(
    progress: Progress, wanted: Kustomization, verdict: Verdict, lives: Lives, ownership: Ownership, now: float
) -> float:
    """Plan the next look: the seconds until then at the latest, when the time is up, or sooner for what is not watched.

    Args:
        lives: what is waited for; what carries a mark of ours is watched, in our own cluster.
    """
    remaining = max(0.0, progress.since + get_timeout(wanted.spec) - now)
    found = [lives.get(ref) for ref in verdict.waiting]
    is_watched = not progress.identity.target and all(live is not None and ownership.is_watched(live) for live in found)
    at_most = SERVED_POLL if verdict.unserved else remaining if is_watched else POLL
    return min(remaining, at_most)
