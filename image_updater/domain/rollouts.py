"""What becomes of a bump once it is applied: it proves itself, or it is taken back.

    a workload runs the chosen tag ── Healthy ──► proven since then
                │
                └── fails within `rollback.within` ──► quarantined; what was proven before it is to be chosen again

Everything is judged by what workloads run, so nothing depends on having seen the push: a tag reaches a workload only
with a revision that contains it. A failure is blamed on the bump only when what ran until then was Healthy until then.

Deciding to take back is all that happens here: the quarantine is an input of the policy's next choice, the choice is an
input of the automation, and the automation commits the old value. Live objects are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from gitops_core.meta import seconds
from image_updater.api import ImageRef, Proven, Quarantined, Rollout, UpdateGuardSpec, UpdateGuardStatus
from image_updater.domain.workloads import RunningImage, Workload

MOST_PROVEN = 10
MOST_QUARANTINED = 50


class Followed(NamedTuple):
    """A policy that a guard selects: its name, its repository's canonical name, and what it chose.

    `latest` has the digest that the tag names as far as it is known, also where the policy does not reflect it.
    """

    policy: str
    repository: str
    latest: ImageRef


class Applied(NamedTuple):
    """A workload, the revision that it was applied from, and the policies whose automations write what is applied."""

    workload: Workload
    revision: str
    policies: frozenset[str]


@dataclass(frozen=True)
class Observation:
    """What was seen of all policies.

    Attributes:
        taken_back: new entries of the quarantine.
        troubles: a sentence for each failure that nothing can be done about.
        waiting: whether a bump is on its way.
    """

    status: UpdateGuardStatus
    taken_back: tuple[Quarantined, ...] = ()
    troubles: tuple[str, ...] = ()
    waiting: bool = False


@dataclass
class _Ledger:
    """The records of one policy while they are brought up to date, oldest first."""

    rollouts: list[Rollout] = field(default_factory=list)
    proven: list[Proven] = field(default_factory=list)
    quarantine: list[Quarantined] = field(default_factory=list)


def observe(
    spec: UpdateGuardSpec,
    status: UpdateGuardStatus,
    followed: Sequence[Followed],
    applied: Iterable[Applied],
    now: datetime,
) -> Observation:
    """The guard's status after a look at the workloads, and what is taken back.

    Args:
        applied: the workloads that the automations' sources were applied to, of any image.
        now: without fractions of a second, as timestamps are stored.
    """
    workloads = tuple(applied)
    taken: list[Quarantined] = []
    troubles: list[str] = []
    ledgers: list[_Ledger] = []
    for each in followed:
        ledger = _ledger_of(status, each.policy, spec, now)
        mine = [(found, found.workload) for found in workloads if _runs(found, each)]
        trouble = _look(ledger, each, mine, spec, now, taken)
        if trouble:
            troubles.append(trouble)
        ledgers.append(ledger)
    waiting = any(rollout.message for ledger in ledgers for rollout in ledger.rollouts)
    ledgers.append(_left(status, followed, now))
    updated = msgspec.structs.replace(
        status,
        policies=tuple(each.policy for each in followed),
        rollouts=tuple(entry for ledger in ledgers for entry in ledger.rollouts),
        proven=tuple(entry for ledger in ledgers for entry in ledger.proven[-MOST_PROVEN:]),
        quarantine=tuple(entry for ledger in ledgers for entry in ledger.quarantine[-MOST_QUARANTINED:]),
    )
    return Observation(updated, tuple(taken), tuple(troubles), waiting)


def runs(workload: Workload, repository: str) -> bool:
    """Whether the workload runs an image of that repository, of whatever tag."""
    return any(image.repository == repository for image in workload.images)


def _runs(applied: Applied, followed: Followed) -> bool:
    is_its = followed.policy in applied.policies
    return is_its and any(_is_chosen(image, followed) for image in applied.workload.images)


def _is_chosen(image: RunningImage, followed: Followed) -> bool:
    latest = followed.latest
    same_digest = not (image.digest and latest.digest) or image.digest == latest.digest
    return image.repository == followed.repository and image.tag == latest.tag and same_digest


def _ledger_of(status: UpdateGuardStatus, policy: str, spec: UpdateGuardSpec, now: datetime) -> _Ledger:
    """The policy's records; a person who pins a quarantined tag lets it out."""
    pinned = _pinned(spec, policy, now)
    return _Ledger(
        [entry for entry in status.rollouts if entry.policy == policy],
        [entry for entry in status.proven if entry.policy == policy],
        [entry for entry in status.quarantine if entry.policy == policy and entry.tag not in pinned],
    )


def _pinned(spec: UpdateGuardSpec, policy: str, now: datetime) -> frozenset[str]:
    return frozenset(
        pin.tag for pin in spec.pins if pin.policy in ("", policy) and (pin.until is None or now < pin.until)
    )


def _left(status: UpdateGuardStatus, followed: Sequence[Followed], now: datetime) -> _Ledger:
    """The records of policies that are not followed now: one that is deleted and made again forgets no failure.

    Nobody watches what they run, so nothing goes on being proven.
    """
    names = {each.policy for each in followed}
    proven = [entry for entry in status.proven if entry.policy not in names]
    quarantine = [entry for entry in status.quarantine if entry.policy not in names]
    return _Ledger(
        [], [e if e.until is not None else msgspec.structs.replace(e, until=now) for e in proven], quarantine
    )


def _look(
    ledger: _Ledger,
    followed: Followed,
    mine: Sequence[tuple[Applied, Workload]],
    spec: UpdateGuardSpec,
    now: datetime,
    taken: list[Quarantined],
) -> str:
    """Bring one policy's ledger up to date; the trouble that nothing can be done about, or ""."""
    if not mine:
        return ""  # it is not applied yet, or nothing runs it
    rollout = _begun(ledger, followed, mine[0][0].revision, now)
    failed = [workload for _, workload in mine if workload.state == "Failed"]
    if failed:
        return _failed(ledger, followed, rollout, failed[0], spec, now, taken)
    unready = [workload for _, workload in mine if workload.state == "Progressing"]
    if unready:
        message = "" if _open(ledger, rollout) else f"{unready[0].ref}: {unready[0].message}"
        ledger.rollouts = [msgspec.structs.replace(rollout, message=message)]
        return ""
    if _open(ledger, rollout) is None:
        ledger.proven.append(Proven(policy=followed.policy, tag=rollout.tag, digest=rollout.digest, since=now))
    ledger.rollouts = [msgspec.structs.replace(rollout, message="")]
    return ""


def _begun(ledger: _Ledger, followed: Followed, revision: str, now: datetime) -> Rollout:
    """The rollout of what is chosen: the one under way, or a new one, which ends the reign of what was proven."""
    latest = followed.latest
    for rollout in ledger.rollouts:
        if _names(rollout, latest.tag, latest.digest):
            return msgspec.structs.replace(rollout, revision=revision, digest=rollout.digest or latest.digest)
    ledger.proven = [
        entry if entry.until is not None else msgspec.structs.replace(entry, until=now) for entry in ledger.proven
    ]
    return Rollout(policy=followed.policy, tag=latest.tag, digest=latest.digest, since=now, revision=revision)


def _open(ledger: _Ledger, rollout: Rollout) -> Proven | None:
    """The record that says that the rollout has proven itself, and still does."""
    return next((e for e in ledger.proven if e.until is None and _names(e, rollout.tag, rollout.digest)), None)


def _names(entry: Rollout | Proven | Quarantined, tag: str, digest: str) -> bool:
    """Whether a record is of this image, as far as digests are known."""
    return entry.tag == tag and (entry.digest == digest or not (entry.digest and digest))


def _failed(
    ledger: _Ledger,
    followed: Followed,
    rollout: Rollout,
    workload: Workload,
    spec: UpdateGuardSpec,
    now: datetime,
    taken: list[Quarantined],
) -> str:
    cause = f"{workload.ref}: {workload.message}"
    ledger.rollouts = [msgspec.structs.replace(rollout, message=cause)]
    ledger.proven = [
        msgspec.structs.replace(entry, until=now) if entry.until is None else entry for entry in ledger.proven
    ]
    name = f"{followed.policy} {rollout.tag}"
    if spec.rollback is None:
        return f"{name} fails: {cause}"
    if rollout.tag in _pinned(spec, followed.policy, now):
        return f"{name} fails, and is pinned: {cause}"
    if any(_names(entry, rollout.tag, rollout.digest) for entry in ledger.quarantine):
        return ""
    if now - rollout.since > timedelta(seconds=seconds(spec.rollback.within)):
        return f"{name} fails, too long after its bump to blame it: {cause}"
    previous = next((e for e in reversed(ledger.proven) if e.until == rollout.since and e.tag != rollout.tag), None)
    if previous is None:
        return f"{name} fails, and nothing that ran before it was healthy until then: {cause}"
    entry = Quarantined(
        policy=followed.policy,
        tag=rollout.tag,
        digest=rollout.digest,
        since=now,
        reason=cause,
        previous_tag=previous.tag,
        previous_digest=previous.digest,
        revision=rollout.revision,
    )
    ledger.quarantine.append(entry)
    taken.append(entry)
    return ""


def overview(status: UpdateGuardStatus, troubles: Sequence[str]) -> str:
    """What the guard's Ready condition says.

    >>> overview(UpdateGuardStatus(policies=("app", "web")), ())
    'guards 2 policies'
    """
    parts = [f"guards {len(status.policies)} polic{'y' if len(status.policies) == 1 else 'ies'}"]
    latest: Mapping[str, Quarantined] = {entry.policy: entry for entry in status.quarantine}
    parts += [f"{e.policy} {e.tag} is quarantined: {e.reason}" for e in latest.values()]
    return "; ".join((*parts, *troubles))
