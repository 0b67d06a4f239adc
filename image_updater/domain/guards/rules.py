"""What the UpdateGuards of a namespace demand of one policy, put together: of several, the strictest wins.

Of ages the highest counts, of shrinking the lowest share; platforms, keys, promotions, pins, skips, holds and freezes
add up; every guard's windows, approvals and groups must agree. A guard that is suspended demands nothing. One that
cannot be read demands that nothing changes: `faults` says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from gitops_core.meta import ObjectKey, parse_duration
from image_updater.api import (
    Approvals,
    Freeze,
    Hold,
    ImagePolicy,
    Pin,
    Quarantined,
    Skip,
    UpdateGuard,
    UpdateGuardSpec,
    UpdateWindow,
)
from image_updater.domain.guards.selectors import selects
from image_updater.domain.guards.windows import WindowInvalid, find_opening
from image_updater.domain.registry.platforms import parse_platform
from image_updater.domain.tags.filters import PatternInvalid, compile_pattern
from image_updater.errors import GuardInvalid, SelectorInvalid

LONGEST = 100 * 366 * 86400.0
"""Seconds; longer durations count as this one, so that times stay computable."""


class Promotion(NamedTuple):
    """Only what ran Healthy for `after` seconds where `policy` decides."""

    guard: str
    policy: ObjectKey
    after: float


class Group(NamedTuple):
    """Policies that move together: those that the guard selects."""

    guard: str
    same_tag: bool


@dataclass(frozen=True)
class Windows:
    """When one guard lets bumps be made."""

    guard: str
    windows: tuple[UpdateWindow, ...]
    freezes: tuple[Freeze, ...]


@dataclass(frozen=True)
class Rules:
    """What is demanded of one policy. `Rules()` demands nothing: no guard selects it.

    Attributes:
        guards: by name, in order.
        min_age: in seconds; 0 for none.
        verify: names of the Secrets whose keys must all have signed.
        max_shrink: in percent; None for no limit.
        approvals: of each guard that wants them.
        quarantine: of this policy, oldest first.
        is_promoted_from: whether somebody may ask which image ran here.
        faults: why some guard cannot be read: then nothing may change.
    """

    guards: tuple[str, ...] = ()
    min_age: float = 0.0
    platforms: tuple[str, ...] = ()
    verify: tuple[str, ...] = ()
    promotions: tuple[Promotion, ...] = ()
    max_shrink: int | None = None
    allow_downgrade: bool = True
    allow_reverted: bool = True
    windows: tuple[Windows, ...] = ()
    pins: tuple[Pin, ...] = ()
    skips: tuple[Skip, ...] = ()
    holds: tuple[Hold, ...] = ()
    approvals: tuple[Approvals, ...] = ()
    groups: tuple[Group, ...] = ()
    rollback: bool = False
    quarantine: tuple[Quarantined, ...] = ()
    is_promoted_from: bool = False
    faults: tuple[str, ...] = ()

    @property
    def watches_digests(self) -> bool:
        """Tell whether the digest of the chosen tag has to be looked up again and again."""
        needed = self.min_age or self.verify or self.platforms or self.rollback or self.quarantine
        return bool(needed or self.is_promoted_from)


def collect_rules(policy: ImagePolicy, guards: Iterable[UpdateGuard]) -> Rules:
    """Return the rules of those of `guards` that are in the policy's namespace and select it. Never raises."""
    rules, known = Rules(), tuple(guards)
    for guard in sorted(known, key=lambda guard: guard.key):
        if guard.metadata.namespace != policy.metadata.namespace or guard.spec.suspend:
            continue
        try:
            if not selects(guard.spec.policy_selector, policy.metadata.labels):
                continue
        except SelectorInvalid as error:  # it may be meant
            rules = replace(rules, faults=(*rules.faults, f"UpdateGuard {guard.metadata.name!r}: {error}"))
            continue
        rules = _join(rules, _make_rules(guard, policy))
    asked = any(_get_promoting_policy(guard) == policy.key for guard in known if not guard.spec.suspend)
    return replace(rules, is_promoted_from=bool(rules.guards) and (rules.is_promoted_from or asked))


def find_faults(spec: UpdateGuardSpec, now: datetime) -> tuple[str, ...]:
    """Return the faults in a guard's fields, each with the field's path."""
    found = list(find_candidate_faults(spec))
    for number, window in enumerate(spec.windows):
        try:
            opens = find_opening(window, now)
        except WindowInvalid as error:
            found.append(f"spec.windows[{number}]: {error}")
        else:
            if opens is None:
                found.append(f"spec.windows[{number}]: schedule {window.schedule!r} never fires")
    return tuple(found)


def find_candidate_faults(spec: UpdateGuardSpec) -> tuple[str, ...]:
    """Return the faults in the fields that say what a candidate must be."""
    found = []
    for number, skip in enumerate(spec.skips):
        try:
            compile_pattern(skip.pattern)
        except PatternInvalid as error:
            found.append(f"spec.skips[{number}].pattern: {error}")
    for number, platform in enumerate(spec.platforms):
        try:
            parse_platform(platform)
        except GuardInvalid as error:
            found.append(f"spec.platforms[{number}]: {error}")
    after = spec.promotion.after if spec.promotion is not None else "0s"
    for path, text in {"spec.minAge": spec.min_age or "0s", "spec.promotion.after": after}.items():
        if _parse_length(text) is None:
            found.append(f"{path}: {text!r} is not a duration")
    return tuple(found)


def _make_rules(guard: UpdateGuard, policy: ImagePolicy) -> Rules:
    spec, name, mine = guard.spec, policy.metadata.name, guard.metadata.name
    concerned = ("", name)
    promotions: tuple[Promotion, ...] = ()
    if spec.promotion is not None and (key := _get_promoting_policy(guard)) is not None:
        promotions = (Promotion(mine, key, _parse_length(spec.promotion.after) or 0.0),)
    return Rules(
        guards=(mine,),
        min_age=_parse_length(spec.min_age or "0") or 0.0,
        platforms=spec.platforms,
        verify=(spec.verify.secret_ref.name,) if spec.verify is not None else (),
        promotions=promotions,
        max_shrink=spec.max_shrink,
        allow_downgrade=spec.allow_downgrade,
        allow_reverted=spec.allow_reverted,
        windows=(Windows(mine, spec.windows, spec.freezes),) if spec.windows or spec.freezes else (),
        pins=tuple(pin for pin in spec.pins if pin.policy in concerned),
        skips=tuple(skip for skip in spec.skips if skip.policy in concerned),
        holds=tuple(hold for hold in spec.holds if hold.policy in concerned),
        approvals=(spec.approvals,) if spec.approvals is not None and spec.approvals.required else (),
        groups=(Group(mine, spec.group.same_tag),) if spec.group is not None else (),
        rollback=spec.rollback is not None,
        quarantine=tuple(entry for entry in guard.status.quarantine if entry.policy == name),
        is_promoted_from=spec.access_from is not None,
        faults=tuple(
            f"UpdateGuard {mine!r}: {fault}" for fault in find_candidate_faults(spec)
        ),  # windows hold when asked
    )


def _get_promoting_policy(guard: UpdateGuard) -> ObjectKey | None:
    """Return the policy that a guard takes promotions from."""
    if guard.spec.promotion is None:
        return None
    reference = guard.spec.promotion.policy_ref
    return ObjectKey(reference.namespace or guard.metadata.namespace, reference.name)


def _join(one: Rules, other: Rules) -> Rules:
    shares = [share for share in (one.max_shrink, other.max_shrink) if share is not None]
    return Rules(
        guards=one.guards + other.guards,
        min_age=max(one.min_age, other.min_age),
        platforms=tuple(dict.fromkeys(one.platforms + other.platforms)),
        verify=tuple(dict.fromkeys(one.verify + other.verify)),
        promotions=one.promotions + other.promotions,
        max_shrink=min(shares, default=None),
        allow_downgrade=one.allow_downgrade and other.allow_downgrade,
        allow_reverted=one.allow_reverted and other.allow_reverted,
        windows=one.windows + other.windows,
        pins=one.pins + other.pins,
        skips=one.skips + other.skips,
        holds=one.holds + other.holds,
        approvals=one.approvals + other.approvals,
        groups=one.groups + other.groups,
        rollback=one.rollback or other.rollback,
        quarantine=tuple(sorted(one.quarantine + other.quarantine, key=lambda entry: (entry.since, entry.tag))),
        is_promoted_from=one.is_promoted_from or other.is_promoted_from,
        faults=one.faults + other.faults,
    )


def is_current(until: datetime | None, now: datetime) -> bool:
    """Tell whether a pin, a skip or a hold that ends at `until` still counts."""
    return until is None or now < until


def _parse_length(duration: str) -> float | None:
    """Return a duration in seconds, None when it is not a duration."""
    try:
        return min(LONGEST, parse_duration(duration))
    except (ValueError, OverflowError):
        return None
