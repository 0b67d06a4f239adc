"""Which tag a policy chooses.

    semver        the newest version in the range; tags that are not versions of three parts do not count
    alphabetical  the last tag in byte order (asc), or the first (desc)
    numerical     the largest number (asc), or the smallest (desc); one tag that is no number fails the whole policy

Candidates are taken in descending byte order of what is compared, whatever order they were listed in, so that ties have
one answer: of equal versions the first of that order wins, of equal numbers the last.

Source: fluxcd/image-reflector-controller, internal/policy; recorded answers in tests/golden/data/image-policies.jsonl.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Literal

from gitops_core.gotemplate.constants import parse_float
from image_updater.domain.tags.filters import TagFilter
from image_updater.domain.tags.listings import Candidates, find_candidates, sort_descending
from image_updater.domain.tags.semver import Constraint, parse_constraint, parse_tag
from image_updater.errors import NoTagQualifies, PolicyInvalid

Order = Literal["asc", "desc"]

SKIP_UNPARSABLE = "sealoop.dev/skip-unparsable"
NUMBERS = r"^[0-9]+(\.[0-9]+)?$"


@dataclass(frozen=True)
class SemVerPolicy:
    range: str

    def parse_constraint(self) -> Constraint:
        """Parse the range. Raises PolicyInvalid."""
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


def select_latest(
    tags: Iterable[str], policy: Policy, tag_filter: TagFilter | None = None, *, skip_unparsable: bool = False
) -> str:
    """Return the tag that `policy` chooses.

    >>> select_latest(["1.0.0", "1.2.0", "2.0.0"], SemVerPolicy("^1"))
    '1.2.0'
    >>> select_latest(["b-9", "a-10"], NumericalPolicy(), TagFilter("-([0-9]+)$", "$1"))
    'a-10'

    Args:
        skip_unparsable: a numerical policy passes over what is no number.

    Raises:
        PolicyInvalid: the range or the pattern is not one.
        NoTagQualifies.
    """
    if isinstance(policy, SemVerPolicy):
        policy.parse_constraint()  # a range that is none is told first
    candidates = find_candidates(sort_descending(tags), tag_filter)
    return candidates.find_tag(next(iter(rank(candidates, policy, skip_unparsable=skip_unparsable))))


def rank(candidates: Candidates, policy: Policy, *, skip_unparsable: bool = False) -> Iterator[str]:
    """Return the texts that qualify, best first; at least one.

    Raises:
        PolicyInvalid: the range is not one.
        NoTagQualifies.
    """
    if not candidates.texts:
        raise NoTagQualifies("version list argument cannot be empty")
    match policy:
        case AlphabeticalPolicy(order=order):
            return iter(candidates.texts) if order == "asc" else reversed(candidates.texts)
        case NumericalPolicy(order=order):
            return iter(_rank_by_number(candidates.texts, order, skip_unparsable))
        case SemVerPolicy():
            return _rank_by_version(candidates, policy.parse_constraint())


def make_sort_key(text: str, policy: Policy) -> tuple[object, ...] | None:
    """Return a sort key for a text: the greater one is better; None for a text that the policy cannot compare.

    Whether it is in range plays no part. Equal places are equally good.
    """
    match policy:
        case SemVerPolicy():
            return parse_tag(text)
        case NumericalPolicy(order=order):
            try:
                number = parse_number(text)
            except NoTagQualifies:
                return None
            return None if math.isnan(number) else (number if order == "asc" else -number,)
        case AlphabeticalPolicy(order=order):
            return (text,) if order == "asc" else (*(-ord(letter) for letter in text), 1)


def _rank_by_version(candidates: Candidates, constraint: Constraint) -> Iterator[str]:
    versions = candidates.versions if constraint.takes_prereleases else candidates.releases
    ceiling = constraint.ceiling()
    end = len(versions) if ceiling is None else bisect.bisect_right(versions, ceiling, key=itemgetter(0))
    qualified = (versions[n][1] for n in range(end - 1, -1, -1) if constraint.accepts(versions[n][0]))
    first = next(qualified, None)
    if first is None:
        raise NoTagQualifies("unable to determine latest version from provided list")
    return chain((first,), qualified)


def _rank_by_number(texts: Sequence[str], order: Order, skip_unparsable: bool) -> list[str]:
    numbers: list[tuple[float, str]] = []
    unparsable: list[str] = []
    for text in texts:
        try:
            numbers.append((parse_number(text), text))
        except NoTagQualifies:
            unparsable.append(text)
    if unparsable and not skip_unparsable:
        raise NoTagQualifies(f"{_make_not_numeric(unparsable[0])}; {_advise(unparsable, len(texts))}")
    if not numbers:
        raise NoTagQualifies(f"none of {len(texts)} tags is a number")
    sign = 1 if order == "desc" else -1
    best = [text for _, text in sorted((sign * number, text) for number, text in numbers if not math.isnan(number))]
    return best + [text for number, text in reversed(numbers) if math.isnan(number)]


def _advise(unparsable: Sequence[str], total: int) -> str:
    """Say which texts are not numbers, and how to leave them out."""
    named = ", ".join(repr(text[:60]) for text in unparsable[:3])
    more = ", ..." if len(unparsable) > 3 else ""
    if len(unparsable) < total:
        help_ = f"spec.filterTags with the pattern '{NUMBERS}' leaves only numbers"
    else:
        help_ = "spec.filterTags with the pattern '([0-9]+)$' and extract '$1' compares the numbers that tags end with"
    return (
        f"{len(unparsable)} of {total} are no numbers ({named}{more}): {help_}, "
        f'and the annotation {SKIP_UNPARSABLE}: "true" skips what is none'
    )


def _make_not_numeric(text: str) -> str:
    return f"failed to parse invalid numeric value '{text}'"


def parse_number(text: str) -> float:
    """Parse a number as Go's strconv.ParseFloat does. Raises NoTagQualifies, which names the text."""
    number = parse_float(text)
    if number is None:
        raise NoTagQualifies(_make_not_numeric(text))
    return number
