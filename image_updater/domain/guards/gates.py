"""Which of the changes that policies want may be committed now, and why the others may not.

    desired = current                                     never asked
    the current image is quarantined, for an older one    taken back, always
    a guard cannot be read                                held
    a person set it back from just this                   held until the policy chooses another one
    older than what is there, and not pinned              held, unless the guard allows it
    hold · freeze · no window open · not approved         held, mostly until a time
    a member of a group that cannot move                  the whole group is held

Each cause is one sentence, for the marker's report.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from gitops_core.meta import write_timestamp
from image_updater.api import Approval, ImagePolicy, ImageRef, Quarantined, Reverted, UpdateGuard
from image_updater.domain.files.places import Setter, parse_setter
from image_updater.domain.files.sightings import Change, CommitPlan, Sighting
from image_updater.domain.guards.rules import Rules, Windows, collect_rules, is_current
from image_updater.domain.guards.windows import Closed, WindowInvalid, decide_state, find_next_change
from image_updater.domain.tags.choices import get_choice, get_filter
from image_updater.domain.tags.filters import PatternInvalid, TagFilter
from image_updater.domain.tags.policies import Policy, make_sort_key
from image_updater.errors import PolicyInvalid

APPROVE = "sealoop.dev/approve"


@dataclass(frozen=True)
class Gate:
    """One policy at commit time: what is demanded of it, what it chose, and which tag a person said yes to."""

    policy: ImagePolicy
    rules: Rules

    @property
    def latest(self) -> ImageRef | None:
        return self.policy.status.latest_ref


def make_gates(policies: Iterable[ImagePolicy], guards: Iterable[UpdateGuard]) -> dict[str, Gate]:
    """Return the gate of each policy, by setter base, as the guards in the policies' namespaces make it."""
    known = tuple(guards)
    return {
        f"{policy.metadata.namespace}:{policy.metadata.name}": Gate(policy, collect_rules(policy, known))
        for policy in policies
    }


@dataclass(frozen=True)
class Gatekeeper:
    """Says which changes must wait.

    Attributes:
        gates: by setter base, `namespace:name`.
        reverted: what people set back, of the automation that asks.
    """

    gates: Mapping[str, Gate]
    now: datetime
    reverted: tuple[Reverted, ...] = ()
    _closed: dict[tuple[str, str], str] = field(default_factory=dict, compare=False, repr=False)
    """Why the windows of a guard (namespace and name) are not open now: thousands of places may ask."""

    def hold(self, change: Change) -> str:
        """Say why `change` must not be made now, "" when it may; a policy that no guard selects is never held."""
        setter = parse_setter(change.setter)
        gate = self.gates.get(setter.base)
        # no guard selects the policy, or it chose nothing
        if gate is None or not (gate.rules.guards or gate.rules.faults) or gate.latest is None:
            return ""
        # away from an image that failed: at once, whatever the guards say
        if self.takes_back(change):
            return ""
        # a guard cannot be read: it may forbid anything
        if gate.rules.faults:
            return gate.rules.faults[0]
        # the first guard's rule that forbids it is the cause
        return (
            self._explain_refused(change, gate)
            or _explain_downgrade(change, setter, gate, self.now)
            or _explain_hold(gate.rules, self.now)
            or self._explain_closed_windows(gate)
            or _explain_unapproved(gate)
        )

    def takes_back(self, change: Change) -> bool:
        """Tell whether the change takes back a quarantined image, which is allowed at any time.

        Going on from it to a newer tag is a bump like any other.
        """
        return self.find_taken_back(change) is not None

    def find_taken_back(self, change: Change) -> Quarantined | None:
        """Return the quarantined image that the change takes back, if it does."""
        setter = parse_setter(change.setter)
        gate = self.gates.get(setter.base)
        if gate is None or gate.latest is None:
            return None
        tag, digest = _split_value(change.old, setter.part)
        # the place names a tag alone: it means the image that the policy chose with it
        if tag and not digest:
            digest = _find_chosen_digest(tag, gate)
        latest = gate.latest
        for entry in gate.rules.quarantine:
            same_digest = not (digest and entry.digest) or digest == entry.digest
            named = tag == entry.tag if tag else bool(digest and digest == entry.digest)
            is_latest = entry.tag == latest.tag and not (
                entry.digest and latest.digest and entry.digest != latest.digest
            )
            # the place names an image that failed, and the policy has left it
            if named and same_digest and not is_latest:
                return entry if _leads_back(gate) and not _goes_on(entry.tag, gate) else None
        return None

    def find_next_change(self) -> datetime | None:
        """Return when the next gate that is closed now may open by itself; None: none does."""
        gates = self.gates.values()
        moments = [hold.until for gate in gates for hold in gate.rules.holds if is_current(hold.until, self.now)]
        known = {(gate.policy.metadata.namespace, each.guard): each for gate in gates for each in gate.rules.windows}
        for windows in known.values():
            with contextlib.suppress(WindowInvalid):
                moments.append(find_next_change(windows.windows, windows.freezes, self.now))
        return min((moment for moment in moments if moment is not None), default=None)

    def _explain_closed_windows(self, gate: Gate) -> str:
        for each in gate.rules.windows:
            key = (gate.policy.metadata.namespace, each.guard)
            if key not in self._closed:
                self._closed[key] = _explain_closed(each, self.now)
            if cause := self._closed[key]:
                return cause
        return ""

    def _explain_refused(self, change: Change, gate: Gate) -> str:
        if gate.rules.allow_reverted:
            return ""
        if any((r.file, r.setter, r.refused) == (change.file, change.setter, change.new) for r in self.reverted):
            return f"somebody set it back from {change.new}: it is left until the policy chooses another one"
        return ""


def _find_chosen_digest(tag: str, gate: Gate) -> str:
    """Return the digest that `tag` had when the policy chose it last, "" when it is not known."""
    status = gate.policy.status
    known = (status.latest_ref, status.observed_previous_ref)
    return next((ref.digest for ref in known if ref is not None and ref.tag == tag), "")


def _leads_back(gate: Gate) -> bool:
    """Tell whether the policy chose what ran before a quarantined image, or a tag that a person pinned.

    What it chose before it heard of the quarantine may be anything older, which never ran here.
    """
    latest = gate.latest
    if latest is None:
        return False
    return any(pin.tag == latest.tag for pin in gate.rules.pins) or any(
        entry.previous_tag in ("", latest.tag)
        and (not (entry.previous_digest and latest.digest) or entry.previous_digest == latest.digest)
        for entry in gate.rules.quarantine
    )


def _goes_on(tag: str, gate: Gate) -> bool:
    """Tell whether the policy chose something newer than `tag`."""
    if gate.latest is None:
        return False
    try:
        return is_older(tag, gate.latest.tag, get_choice(gate.policy), get_filter(gate.policy))
    except (PolicyInvalid, PatternInvalid):
        return False


def _explain_downgrade(change: Change, setter: Setter, gate: Gate, now: datetime) -> str:
    # a guard allows it
    if gate.rules.allow_downgrade or gate.latest is None:
        return ""
    if any(pin.tag == gate.latest.tag and is_current(pin.until, now) for pin in gate.rules.pins):
        return ""  # a person asked for it
    current = _split_value(change.old, setter.part)[0]
    try:
        older = is_older(gate.latest.tag, current, get_choice(gate.policy), get_filter(gate.policy))
    except (PolicyInvalid, PatternInvalid):
        return ""  # the policy says so itself, and chooses nothing
    return f"{gate.latest.tag} is older than {current}, and no guard allows a downgrade" if older else ""


def is_older(tag: str, other: str, policy: Policy, tag_filter: TagFilter | None) -> bool:
    """Tell whether `policy` prefers `other` to `tag`; False when it cannot compare them.

    Raises:
        PatternInvalid.
    """
    places = [_make_sort_key(text, policy, tag_filter) for text in (tag, other)]
    if places[0] is None or places[1] is None:
        return False
    return places[0] < places[1]


def _make_sort_key(tag: str, policy: Policy, tag_filter: TagFilter | None) -> tuple[object, ...] | None:
    if not tag:
        return None
    if tag_filter is None:
        return make_sort_key(tag, policy)
    text = next(iter(tag_filter.apply((tag,))), None)
    return None if text is None else make_sort_key(text, policy)


def _explain_hold(rules: Rules, now: datetime) -> str:
    for hold in rules.holds:
        if is_current(hold.until, now):
            return "updates are held" + _write_until(hold.until) + (f": {hold.reason}" if hold.reason else "")
    return ""


def _explain_closed(windows: Windows, now: datetime) -> str:
    try:
        found = decide_state(windows.windows, windows.freezes, now)
    except WindowInvalid as error:
        return f"UpdateGuard {windows.guard!r}: {error}"
    return found.cause + _write_until(found.until) if isinstance(found, Closed) else ""


def _explain_unapproved(gate: Gate) -> str:
    latest = gate.latest
    if latest is None:
        return ""
    approved = gate.policy.metadata.annotations.get(APPROVE, "").strip()
    tag, _, digest = approved.partition("@")
    granted = Approval(tag=tag, digest=digest)
    for approvals in gate.rules.approvals:
        if not any(_approves(each, gate.policy.metadata.name, latest) for each in (granted, *approvals.granted)):
            return f"{latest.tag} waits for approval: annotation {APPROVE}: {latest.tag} on the ImagePolicy"
    return ""


def _approves(approval: Approval, policy: str, latest: ImageRef) -> bool:
    meant = approval.policy in ("", policy) and approval.tag == latest.tag
    return meant and approval.digest in ("", latest.digest)


def _split_value(value: str, part: str) -> tuple[str, str]:
    """Return tag and digest of a marked value, each "" when it does not say."""
    # a part alone
    if part == "tag":
        return value, ""
    if part == "digest":
        return "", value
    if part == "name":
        return "", ""
    # a whole reference; a colon before a slash belongs to a port
    rest, _, digest = value.partition("@")
    _, colon, tag = rest.rpartition(":")
    return (tag if colon and "/" not in tag else ""), digest


def _write_until(moment: datetime | None) -> str:
    return f" until {write_timestamp(moment)}" if moment is not None else ""


# Groups


class GroupOf(NamedTuple):
    """Policies that move together.

    Attributes:
        tags: what each policy chose, "" for nothing, by setter base.
    """

    name: str
    same_tag: bool
    tags: Mapping[str, str]


def collect_groups(gates: Mapping[str, Gate]) -> tuple[GroupOf, ...]:
    """Return the groups that the gates' guards make of their policies."""
    members: dict[tuple[str, bool], dict[str, str]] = {}
    for base, gate in sorted(gates.items()):
        for group in gate.rules.groups:
            latest = gate.latest
            members.setdefault((group.guard, group.same_tag), {})[base] = latest.tag if latest is not None else ""
    return tuple(GroupOf(name, same_tag, tags) for (name, same_tag), tags in members.items())


def regulate(keeper: Gatekeeper, make: Callable[[Callable[[Change], str]], CommitPlan]) -> CommitPlan:
    """Return the plan that `make` makes, with each change held that must wait, also for other members of its group.

    Args:
        make: plans with the given answer to whether a change must wait.
    """
    groups = collect_groups(keeper.gates)
    held: dict[str, str] = {}

    def hold(change: Change) -> str:
        if keeper.takes_back(change):
            return ""
        return keeper.hold(change) or held.get(parse_setter(change.setter).base, "")

    plan = make(hold)
    for _ in range(len(keeper.gates) + 1):  # each round holds one policy more, or is the last
        more = explain_group_holds(plan.sightings, groups)
        if more.keys() <= held.keys():
            break
        held = {**more, **held}
        plan = make(hold)
    return plan


def explain_group_holds(sightings: Iterable[Sighting], groups: Iterable[GroupOf]) -> dict[str, str]:
    """Say why policies must not move, by setter base: a member of their group does not.

    A plan that is made again with these holds moves all members of a group, or none.
    """
    stuck = _explain_stuck(sightings)
    held: dict[str, str] = {}
    waiting = list(groups)
    changed = True
    while changed:  # a policy may be in two groups, which then wait for each other's members
        changed = False
        for group in waiting:
            cause = _explain_group(group, stuck)
            for base in group.tags if cause else ():
                if base not in held:
                    held[base] = cause
                    changed = base not in stuck or changed
                    stuck.setdefault(base, cause)
    return held


def _explain_stuck(sightings: Iterable[Sighting]) -> dict[str, str]:
    """Say why policies do not move, for those with a place that stays behind."""
    found: dict[str, str] = {}
    for sighting in sightings:
        if sighting.state in ("held", "unmatched", "ambiguous") and sighting.setter:
            found.setdefault(parse_setter(sighting.setter).base, sighting.cause or sighting.state)
    return found


def _explain_group(group: GroupOf, stuck: Mapping[str, str]) -> str:
    # a member has a place that stays behind
    for base in sorted(group.tags):
        if base in stuck:
            return f"group {group.name!r} moves together, and {base} does not: {stuck[base]}"
    # the members chose different tags
    if group.same_tag and len(set(group.tags.values())) > 1:
        chosen = ", ".join(f"{base} {tag or 'nothing'}" for base, tag in sorted(group.tags.items()))
        return f"group {group.name!r} moves to one tag, and its policies chose {chosen}"
    # a member has chosen nothing yet
    missing = [base for base, tag in sorted(group.tags.items()) if not tag]
    return f"group {group.name!r} moves together, and {missing[0]} chose nothing" if missing else ""
