"""Which tag a policy chooses.

    semver        the newest version in the range; tags that are not versions of three parts do not count
    alphabetical  the last tag in byte order (asc), or the first (desc)
    numerical     the largest number (asc), or the smallest (desc); one tag that is no number fails the whole policy

Candidates are taken in descending byte order of what is compared, whatever order they were listed in, so that ties have
one answer: of equal versions the first of that order wins, of equal numbers the last.

Source: fluxcd/image-reflector-controller, internal/policy; recorded answers in tests/golden/data/image-policies.jsonl.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from image_updater.domain.filters import PatternInvalid, TagFilter
from image_updater.domain.semver import Constraint, Version, parse_constraint, parse_tag
from image_updater.errors import NoTagQualifies, PolicyInvalid

Order = Literal["asc", "desc"]


@dataclass(frozen=True)
class SemVerPolicy:
    range: str

    def constraint(self) -> Constraint:
        """Raises PolicyInvalid."""
        try:
            return parse_constraint(self.range)
        except ValueError as error:
            raise PolicyInvalid(f"invalid policy: {error}") from None


@dataclass(frozen=True)
class AlphabeticalPolicy:
    order: Order = "asc"


@dataclass(frozen=True)
class NumericalPolicy:
    order: Order = "asc"


Policy = SemVerPolicy | AlphabeticalPolicy | NumericalPolicy


def select_latest(tags: Iterable[str], policy: Policy, tag_filter: TagFilter | None = None) -> str:
    """The tag that `policy` chooses.

    >>> select_latest(["1.0.0", "1.2.0", "2.0.0"], SemVerPolicy("^1"))
    '1.2.0'
    >>> select_latest(["b-9", "a-10"], NumericalPolicy(), TagFilter("-([0-9]+)$", "$1"))
    'a-10'

    Raises:
        PolicyInvalid: the range or the pattern is not one.
        NoTagQualifies.
    """
    constraint = policy.constraint() if isinstance(policy, SemVerPolicy) else None
    listed = sorted(set(tags), reverse=True)
    if tag_filter is None:
        return _choose(listed, policy, constraint)
    original = _filtered(listed, tag_filter)
    return original[_choose(sorted(original, reverse=True), policy, constraint)]


def _choose(candidates: Sequence[str], policy: Policy, constraint: Constraint | None) -> str:
    """The winner of candidates in descending order."""
    if not candidates:
        raise NoTagQualifies("version list argument cannot be empty")
    match policy:
        case AlphabeticalPolicy(order=order):
            return candidates[0] if order == "asc" else candidates[-1]
        case NumericalPolicy(order=order):
            return _largest(candidates, order)
        case SemVerPolicy():
            return _newest(candidates, constraint or policy.constraint())


def _filtered(listed: Sequence[str], tag_filter: TagFilter) -> dict[str, str]:
    try:
        return tag_filter.apply(listed)
    except PatternInvalid as error:
        quoted = tag_filter.pattern
        raise PolicyInvalid(f"failed to filter tags: invalid regular expression pattern '{quoted}': {error}") from None


def _newest(candidates: Iterable[str], constraint: Constraint) -> str:
    best: Version | None = None
    chosen = ""
    for tag in candidates:
        version = parse_tag(tag)
        if version is not None and (best is None or version > best) and constraint.accepts(version):
            best, chosen = version, tag
    if best is None:
        raise NoTagQualifies("unable to determine latest version from provided list")
    return chosen


def _largest(candidates: Sequence[str], order: Order) -> str:
    chosen, best = candidates[0], number_of(candidates[0])
    for text in candidates[1:]:
        number = number_of(text)
        if (number < best) if order == "asc" else (number > best):
            continue
        chosen, best = text, number
    return chosen


_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"[+-]?(?:inf|infinity)|nan", re.IGNORECASE)
_HEXADECIMAL = re.compile(
    r"[+-]?0[xX](?:_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+"
)


def number_of(text: str) -> float:
    """The number that Go's strconv.ParseFloat reads. Raises NoTagQualifies, which names the text."""
    failure = NoTagQualifies(f"failed to parse invalid numeric value '{text}'")
    if _HEXADECIMAL.fullmatch(text):
        try:
            return float.fromhex(text.replace("_", ""))
        except OverflowError:
            raise failure from None
    if _SPECIAL.fullmatch(text):
        return float(text)
    if not _DECIMAL.fullmatch(text):
        raise failure
    number = float(text)
    if number in (float("inf"), float("-inf")):  # Go reports a number out of range as an error
        raise failure
    return number
