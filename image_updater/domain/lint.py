"""What cannot work in a set of image objects and marked files, told before anybody waits for it.

    error     it fails, or nothing can ever come of it        warning   it may be meant, and mostly is not

Everything is judged from what is given: of objects that are not given, nothing is said to be missing unless all of
their kind are there (`Given.complete`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from gitops_core.errors import ImageInvalid
from gitops_core.gotemplate.regexps import parse_expansion
from gitops_core.meta import ObjectKey, Resource
from image_updater.api import ImagePolicy, ImageRepository, UpdateGuard, UpdateGuardSpec
from image_updater.domain.files.doubts import doubt, find_lone_digest, find_near_misses
from image_updater.domain.files.inventory import (
    LONGEST_CAUSE,
    describe_state,
    make_printable,
    select_noteworthy,
    write_line,
    write_location,
)
from image_updater.domain.files.sightings import Sighting
from image_updater.domain.guards.rules import find_faults
from image_updater.domain.guards.selectors import selects
from image_updater.domain.registry.references import parse_repository
from image_updater.domain.tags.choices import get_choice, get_filter, get_repository_key
from image_updater.domain.tags.filters import PatternInvalid, TagFilter, compile_pattern
from image_updater.domain.tags.policies import NumericalPolicy, Policy, SemVerPolicy
from image_updater.errors import PolicyInvalid, SelectorInvalid

LONGEST_DOUBT = 1000


class Finding(NamedTuple):
    """`about` names an object (`ImagePolicy shop/app`) or a place (`apps/web.yaml:12`)."""

    about: str
    severity: Literal["error", "warning"]
    message: str


@dataclass(frozen=True)
class Given:
    """What is looked at.

    Attributes:
        sightings: of the marked files, as a plan saw them.
        texts: of the files that may hold markers, by the sightings' names for them.
        complete: whether every object that these could name is given, too.
    """

    repositories: tuple[ImageRepository, ...] = ()
    policies: tuple[ImagePolicy, ...] = ()
    guards: tuple[UpdateGuard, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    complete: bool = True
    texts: Mapping[str, str] = field(default_factory=dict)


def lint(given: Given, now: datetime) -> tuple[Finding, ...]:
    """Return the findings, errors first, in the order of the objects that they are about."""
    found = [
        *(finding for each in given.repositories for finding in _check_repository(each)),
        *(finding for each in given.policies for finding in _check_policy(each, given)),
        *(finding for each in given.guards for finding in _check_guard(each, given, now)),
        *_find_cycles(given),
        *(finding for each in given.sightings for finding in _check_place(each, given)),
        *_find_near_misses(given),
    ]
    return tuple(sorted(set(found), key=lambda finding: (finding.severity, finding.about, finding.message)))


def _check_repository(repository: ImageRepository) -> Iterator[Finding]:
    try:
        parse_repository(repository.spec.image)
    except ImageInvalid as error:
        yield _make_error(repository, str(error))
    for number, pattern in enumerate(repository.spec.exclusion_list):
        try:
            compile_pattern(pattern)
        except PatternInvalid as error:
            yield _make_error(repository, f"spec.exclusionList[{number}]: {error}")


def _check_policy(policy: ImagePolicy, given: Given) -> Iterator[Finding]:
    key = get_repository_key(policy)
    if given.complete and key not in {repository.key for repository in given.repositories}:
        yield _make_error(policy, f"there is no ImageRepository {key}")
    tag_filter = get_filter(policy)
    yield from _check_filter(policy, tag_filter)
    try:
        choice = get_choice(policy)
    except PolicyInvalid as error:
        yield _make_error(policy, str(error))
        return
    yield from _check_choice(policy, choice, tag_filter, key, given)


def _check_filter(policy: ImagePolicy, tag_filter: TagFilter | None) -> Iterator[Finding]:
    if tag_filter is None:
        return
    try:
        compiled = compile_pattern(tag_filter.pattern)
    except PatternInvalid as error:
        yield _make_error(policy, f"spec.filterTags.pattern: {error}")
        return
    known = {name.decode() for name in compiled.groupindex} | {str(number) for number in range(compiled.groups + 1)}
    for part in parse_expansion(tag_filter.extract):
        if not isinstance(part, str) and part.name not in known:
            yield _make_error(policy, f"spec.filterTags.extract: the pattern has no group {part.name!r}")


def _check_choice(
    policy: ImagePolicy, choice: Policy, tag_filter: TagFilter | None, key: ObjectKey, given: Given
) -> Iterator[Finding]:
    if isinstance(choice, SemVerPolicy):
        constraint = choice.parse_constraint()
        impossible = constraint.impossible()
        if len(impossible) == len(constraint.groups):
            yield _make_error(policy, f"no version satisfies the range {choice.range!r}")
        elif impossible:
            parts = [choice.range.split("||")[number].strip() for number in impossible]
            yield _make_warning(
                policy, f"no version satisfies {', '.join(map(repr, parts))} of the range {choice.range!r}"
            )
    if isinstance(choice, NumericalPolicy) and tag_filter is None:
        seen = [tag for each in given.repositories if each.key == key for tag in _list_latest_tags(each)]
        others = [tag for tag in seen if not tag.isdecimal()]
        if others:
            yield _make_warning(policy, f"numerical without spec.filterTags fails on tags such as {others[0]!r}")


def _list_latest_tags(repository: ImageRepository) -> tuple[str, ...]:
    scan = repository.status.last_scan_result
    return scan.latest_tags if scan is not None else ()


def _check_guard(guard: UpdateGuard, given: Given, now: datetime) -> Iterator[Finding]:
    spec = guard.spec
    for fault in find_faults(spec, now):
        yield _make_error(guard, fault)
    try:
        mine = [policy for policy in given.policies if _is_mine(guard, policy)]
    except SelectorInvalid as error:
        yield _make_error(guard, str(error))
        return
    if not given.complete:
        return
    if not mine:
        yield _make_warning(guard, "selects no ImagePolicy")
    names = {policy.metadata.name for policy in mine}
    for path, name in _list_named(spec):
        if name and name not in names:
            yield _make_error(guard, f"{path} names ImagePolicy {name!r}, which the guard does not select")
    promoted = _get_promoting_policy(guard)
    if promoted is not None and promoted not in {policy.key for policy in given.policies}:
        yield _make_error(guard, f"spec.promotion.policyRef: there is no ImagePolicy {promoted}")
    if len({pin.tag for pin in spec.pins if not pin.policy}) > 1:
        yield _make_error(guard, "spec.pins pins all policies to several tags: there is no tag that is all of them")


def _list_named(spec: UpdateGuardSpec) -> Iterator[tuple[str, str]]:
    """Yield the policies that a guard's fields name, with the fields' paths."""
    for number, pin in enumerate(spec.pins):
        yield f"spec.pins[{number}]", pin.policy
    for number, skip in enumerate(spec.skips):
        yield f"spec.skips[{number}]", skip.policy
    for number, hold in enumerate(spec.holds):
        yield f"spec.holds[{number}]", hold.policy
    for number, target in enumerate(spec.targets):
        yield f"spec.targets[{number}]", target.policy


def _is_mine(guard: UpdateGuard, policy: ImagePolicy) -> bool:
    same = guard.metadata.namespace == policy.metadata.namespace
    return same and selects(guard.spec.policy_selector, policy.metadata.labels)


def _get_promoting_policy(guard: UpdateGuard) -> ObjectKey | None:
    promotion = guard.spec.promotion
    if promotion is None:
        return None
    return ObjectKey(promotion.policy_ref.namespace or guard.metadata.namespace, promotion.policy_ref.name)


def _find_cycles(given: Given) -> Iterator[Finding]:
    """Yield policies that wait for each other's proof, which none of them can give."""
    waits: dict[ObjectKey, set[ObjectKey]] = {}
    for guard in given.guards:
        before = _get_promoting_policy(guard)
        if before is None or guard.spec.suspend:
            continue
        for policy in given.policies:
            try:
                mine = _is_mine(guard, policy)
            except SelectorInvalid:
                break
            if mine:
                waits.setdefault(policy.key, set()).add(before)
    for policy in given.policies:
        if policy.key in _find_reached(policy.key, waits):
            yield _make_error(policy, "waits for its own promotion: the guards' spec.promotion go round in a circle")


def _find_reached(start: ObjectKey, waits: dict[ObjectKey, set[ObjectKey]]) -> set[ObjectKey]:
    seen: set[ObjectKey] = set()
    open_ = list(waits.get(start, ()))
    while open_:
        key = open_.pop()
        if key not in seen:
            seen.add(key)
            open_ += waits.get(key, ())
    return seen


def _check_place(place: Sighting, given: Given) -> Iterator[Finding]:
    """Yield what the plan says of a place; of a value that follows, also whether that can be meant."""
    if select_noteworthy([place]):
        shown = make_printable(place)
        yield Finding(write_location(shown), "warning" if place.state == "held" else "error", describe_state(shown))
    if place.state in ("applied", "pending", "held") and place.line:
        lines = given.texts.get(place.file, "").split("\n")
        written = lines[place.line - 1] if place.line <= len(lines) else ""
        value = re.split(r"\s#", written, maxsplit=1)[0]
        before = value.rpartition(place.current)[0] if place.current else value.rstrip("\"' ") + " "
        image = _get_image(place.setter, given)
        doubted = doubt(place.setter, place.current, before, image) or find_lone_digest(place.setter, lines, place.line)
        if doubted:
            yield Finding(
                write_location(make_printable(place)),
                "warning",
                write_line(f"{place.setter}: {doubted}", LONGEST_DOUBT),
            )


def _get_image(setter: str, given: Given) -> str:
    """Return the image of the policy that a setter names; "" when it is not known."""
    namespace, name = setter.split(":")[:2]
    for policy in given.policies:
        if policy.key == ObjectKey(namespace, name):
            key = get_repository_key(policy)
            return next((each.spec.image for each in given.repositories if each.key == key), "")
    return ""


def _find_near_misses(given: Given) -> Iterator[Finding]:
    for file, text in given.texts.items():
        for line, cause in find_near_misses(text):
            yield Finding(f"{write_line(file, LONGEST_CAUSE)}:{line}", "warning", cause)


def _make_error(about: Resource, message: str) -> Finding:
    return Finding(f"{about.KIND.kind} {about.key}", "error", message)


def _make_warning(about: Resource, message: str) -> Finding:
    return Finding(f"{about.KIND.kind} {about.key}", "warning", message)
