"""What becomes of a bump once it is applied: it proves itself, or it is taken back.

    a workload runs the chosen image ── Healthy ──► proven since then, as long as it stays so; when it is not, from anew
                │
                └── fails within `rollback.within` ──► quarantined; what was proven before it is to be chosen again

Everything is judged by what workloads run (one that is idle runs nothing), so nothing depends on having seen the push:
a tag reaches a workload only with a revision that contains it. A failure is blamed on the bump only when what ran until
then was Healthy until then.

Deciding to take back is all that happens here: the quarantine is an input of the policy's next choice, the choice is an
input of the automation, and the automation commits the old value. Live objects are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from gitops_core.meta import parse_duration
from image_updater.api import ImageRef, Proven, Quarantined, Rollout, UpdateGuardSpec, UpdateGuardStatus
from image_updater.domain.guards.gates import is_older
from image_updater.domain.guards.workloads import RunningImage, Workload
from image_updater.domain.tags.filters import PatternInvalid, TagFilter
from image_updater.domain.tags.policies import Policy

MOST_PROVEN = 10
MOST_QUARANTINED = 50


class Followed(NamedTuple):
    """A policy that a guard selects: its name, its repository's canonical name, and what it chose.

    `latest` has the digest that the tag names as far as it is known, also where the policy does not reflect it.
    `order` and `tag_filter` say which of two tags the policy would rather have.
    """

    policy: str
    repository: str
    latest: ImageRef
    order: Policy
    tag_filter: TagFilter | None = None


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
    """Return the guard's status after a look at the workloads, and what is taken back.

    Args:
        applied: the workloads that the automations' sources were applied to, of any image.
        now: without fractions of a second, as timestamps are stored.
    """
    workloads = tuple(found for found in applied if found.workload.state != "Idle")
    taken: list[Quarantined] = []
    troubles: list[str] = []
    ledgers: list[_Ledger] = []
    for each in followed:
        ledger = _open_ledger(status, each.policy, spec, now)
        trouble = _look(ledger, each, [found for found in workloads if each.policy in found.policies], spec, now, taken)
        if trouble:
            troubles.append(trouble)
        ledgers.append(ledger)
    waiting = any(rollout.message for ledger in ledgers for rollout in ledger.rollouts)
    ledgers.append(_keep_unfollowed(status, followed, now))
    updated = msgspec.structs.replace(
        status,
        policies=tuple(each.policy for each in followed),
        rollouts=tuple(entry for ledger in ledgers for entry in ledger.rollouts),
        proven=tuple(entry for ledger in ledgers for entry in ledger.proven[-MOST_PROVEN:]),
        quarantine=tuple(entry for ledger in ledgers for entry in ledger.quarantine[-MOST_QUARANTINED:]),
    )
    return Observation(updated, tuple(taken), tuple(troubles), waiting)


def runs(workload: Workload, repository: str) -> bool:
    """Tell whether the workload runs an image of that repository, with any tag."""
    return any(image.repository == repository for image in workload.images)


def _select_images(applied: Applied, repository: str) -> Iterator[RunningImage]:
    return (image for image in applied.workload.images if image.repository == repository)


def _is_image(image: RunningImage, tag: str, digest: str) -> bool:
    """Tell whether a workload's image is this one, as far as digests are known."""
    return image.tag == tag and (image.digest == digest or not (image.digest and digest))


def _open_ledger(status: UpdateGuardStatus, policy: str, spec: UpdateGuardSpec, now: datetime) -> _Ledger:
    """Return the policy's records; a person who pins a quarantined tag lets it out."""
    pinned = _list_pinned(spec, policy, now)
    return _Ledger(
        [entry for entry in status.rollouts if entry.policy == policy],
        [entry for entry in status.proven if entry.policy == policy],
        [entry for entry in status.quarantine if entry.policy == policy and entry.tag not in pinned],
    )


def _list_pinned(spec: UpdateGuardSpec, policy: str, now: datetime) -> frozenset[str]:
    return frozenset(
        pin.tag for pin in spec.pins if pin.policy in ("", policy) and (pin.until is None or now < pin.until)
    )


def _keep_unfollowed(status: UpdateGuardStatus, followed: Sequence[Followed], now: datetime) -> _Ledger:
    """Return the records of policies that are not followed now, so that a policy that is made again forgets no failure.

    Nobody watches what they run, so nothing goes on being proven.
    """
    names = {each.policy for each in followed}
    proven = [entry for entry in status.proven if entry.policy not in names]
    quarantine = [entry for entry in status.quarantine if entry.policy not in names]
    return _Ledger([], [_end(entry, now, "gone") for entry in proven], quarantine)


def _look(
    ledger: _Ledger,
    followed: Followed,
    applied: Sequence[Applied],
    spec: UpdateGuardSpec,
    now: datetime,
    taken: list[Quarantined],
) -> str:
    """Bring one policy's ledger up to date; return the trouble that nothing can be done about, or "".

    Args:
        applied: what is applied where the policy's image is written, of any image.
    """
    repository, latest = followed.repository, followed.latest
    mine = [a for a in applied if any(_is_image(i, latest.tag, latest.digest) for i in _select_images(a, repository))]
    ledger.proven = [_follow_up(entry, followed, applied, bool(mine), now) for entry in ledger.proven]
    # it is not applied yet, or nothing runs it
    if not mine:
        return ""
    is_told = all(i.digest for a in mine for i in _select_images(a, repository) if i.tag == latest.tag)
    rollout = _begin(ledger, followed, mine[0].revision, now, is_told=is_told)
    # one workload fails: the image does
    failed = [found.workload for found in mine if found.workload.state == "Failed"]
    if failed:
        return _quarantine_failed(ledger, followed, rollout, failed[0], spec, now, taken)
    # one is not ready yet: the rollout goes on, unless it has proven itself before
    unready = [found.workload for found in mine if found.workload.state == "Progressing"]
    if unready:
        message = "" if _find_proof(ledger, rollout) else f"{unready[0].ref}: {unready[0].message}"
        ledger.rollouts = [msgspec.structs.replace(rollout, message=message)]
        return ""
    # all are Healthy: the image has proven itself
    if _find_proof(ledger, rollout) is None:
        digest = "" if rollout.moved else rollout.digest
        ledger.proven.append(Proven(policy=followed.policy, tag=rollout.tag, digest=digest, since=now))
    ledger.rollouts = [msgspec.structs.replace(rollout, message="")]
    return ""


def _follow_up(
    entry: Proven, followed: Followed, applied: Sequence[Applied], is_replaced: bool, now: datetime
) -> Proven:
    """Return the record after a look at the workloads that run its image now.

    Args:
        is_replaced: whether what the policy chose runs somewhere: then a record of another image is ended by that.
    """
    # it ended before
    if entry.until is not None:
        return entry
    runners = [
        found.workload
        for found in applied
        if any(_is_image(image, entry.tag, entry.digest) for image in _select_images(found, followed.repository))
    ]
    states = {workload.state for workload in runners}
    # nothing runs it any more: a bump replaced it, a person did, or its workload is gone
    if not states:
        is_other = any(True for found in applied for _ in _select_images(found, followed.repository))
        return entry if is_replaced else _end(entry, now, "set back" if is_other else "gone")
    if "Failed" in states:
        return _end(entry, now, "failed")
    if "Progressing" in states:
        return entry if entry.down is not None else msgspec.structs.replace(entry, down=now)
    return entry if entry.down is None else msgspec.structs.replace(entry, since=now, down=None)


def _end(entry: Proven, now: datetime, why: Literal["", "failed", "gone", "set back"]) -> Proven:
    return entry if entry.until is not None else msgspec.structs.replace(entry, until=now, ended=why)


def _begin(ledger: _Ledger, followed: Followed, revision: str, now: datetime, *, is_told: bool) -> Rollout:
    """Return the rollout of the chosen image: the one under way, or a new one, which ends the time of the proven image.

    Args:
        is_told: whether what runs says its digest itself.
    """
    latest = followed.latest
    for rollout in ledger.rollouts:
        if _names(rollout, latest.tag, latest.digest):
            return msgspec.structs.replace(rollout, revision=revision, digest=rollout.digest or latest.digest)
    ledger.proven = [
        _end(entry, now, "set back" if _is_older(latest.tag, entry.tag, followed) else "") for entry in ledger.proven
    ]
    moved = not is_told and any(rollout.tag == latest.tag for rollout in ledger.rollouts)
    return Rollout(
        policy=followed.policy, tag=latest.tag, digest=latest.digest, since=now, revision=revision, moved=moved
    )


def _is_older(tag: str, other: str, followed: Followed) -> bool:
    try:
        return is_older(tag, other, followed.order, followed.tag_filter)
    except PatternInvalid:
        return False


def _find_proof(ledger: _Ledger, rollout: Rollout) -> Proven | None:
    """Return the record that shows that the rollout has proven itself and still does; None without one."""
    return next((e for e in ledger.proven if e.until is None and _names(e, rollout.tag, rollout.digest)), None)


def _names(entry: Rollout | Proven | Quarantined, tag: str, digest: str) -> bool:
    """Tell whether a record is of this image, as far as digests are known."""
    return entry.tag == tag and (entry.digest == digest or not (entry.digest and digest))


def _quarantine_failed(
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
    ledger.proven = [_end(entry, now, "failed") for entry in ledger.proven]
    name = f"{followed.policy} {rollout.tag}"
    # nothing is taken back here, or not what a person pinned
    if spec.rollback is None:
        return f"{name} fails: {cause}"
    if rollout.tag in _list_pinned(spec, followed.policy, now):
        return f"{name} fails, and is pinned: {cause}"
    # it is in quarantine already
    if any(_names(entry, rollout.tag, rollout.digest) for entry in ledger.quarantine):
        return ""
    if now - rollout.since > timedelta(seconds=parse_duration(spec.rollback.within)):
        return f"{name} fails, too long after its bump to blame it: {cause}"
    # back to what was healthy until this rollout began
    before = [e for e in ledger.proven if e.until == rollout.since and e.ended in ("", "set back")]
    previous = next((e for e in reversed(before) if not _names(e, rollout.tag, rollout.digest)), None)
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


def write_overview(status: UpdateGuardStatus, troubles: Sequence[str]) -> str:
    """Return the message of the guard's Ready condition.

    >>> write_overview(UpdateGuardStatus(policies=("app", "web")), ())
    'guards 2 policies'
    """
    parts = [f"guards {len(status.policies)} polic{'y' if len(status.policies) == 1 else 'ies'}"]
    latest: Mapping[str, Quarantined] = {entry.policy: entry for entry in status.quarantine}
    parts += [f"{e.policy} {e.tag} is quarantined: {e.reason}" for e in latest.values()]
    return "; ".join((*parts, *troubles))
