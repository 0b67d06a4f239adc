"""Versions and version constraints exactly as Flux's users know them: Masterminds/semver v3, lenient parsing.

    version      v1.2.3-rc.1+build.5      "v" and missing numbers are forgiven, build metadata does not order
    constraint   >=1.2, <2 || ~3.1.x      "," or space is AND, "||" is OR, "1 - 2" is >=1 <=2, x X * are wildcards

A prerelease satisfies an AND group only when some comparator of that group names a prerelease (idiom: `>=1.0.0-0`).

Source: https://github.com/Masterminds/semver, constraints.go and version.go of v3.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import re2

_UINT64 = 2**64
_PLAIN = re.compile(
    r"v?([0-9]{1,19})\.([0-9]{1,19})\.([0-9]{1,19})"
)  # what almost all version tags are; none overflows
_VERSION = re.compile(
    r"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)

Prerelease = tuple[tuple[int, int, str], ...]
"""Identifiers in an order that Python compares: (0, number, "") before (1, 0, text)."""

RELEASE: Prerelease = ((2, 0, ""),)  # after every prerelease of the same numbers


class Version(NamedTuple):
    """A version as its precedence: build metadata is left out, so equal tuples are equally new."""

    major: int
    minor: int
    patch: int
    prerelease: Prerelease

    @property
    def is_prerelease(self) -> bool:
        return self.prerelease is not RELEASE


def parse_version(text: str) -> Version | None:
    """Parse the version that `text` spells, or None.

    >>> parse_version("v1.2") == parse_version("1.2.0+build")
    True
    >>> parse_version("1.2.3-01") is None  # a numeric identifier must not begin with 0
    True
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    major, minor, patch = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    if major >= _UINT64 or minor >= _UINT64 or patch >= _UINT64:
        return None
    if not match[4]:
        return Version(major, minor, patch, RELEASE)
    identifiers = match[4].split(".")
    if any(part.isdigit() and len(part) > 1 and part[0] == "0" for part in identifiers):
        return None
    return Version(major, minor, patch, tuple(_identifier(part) for part in identifiers))


def parse_tag(tag: str) -> Version | None:
    """Parse the version that a tag spells, or None: unlike `parse_version` it needs three parts, so `1.0` is none.

    Source: fluxcd/pkg, version.ParseVersion.
    """
    plain = _PLAIN.fullmatch(tag)
    if plain is not None:
        major, minor, patch = plain.groups()
        return Version(int(major), int(minor), int(patch), RELEASE)
    return parse_version(tag) if tag.count(".") >= 2 else None


def _identifier(text: str) -> tuple[int, int, str]:
    if text.isdigit() and (number := int(text)) < _UINT64:
        return (0, number, "")
    return (1, 0, text)


@dataclass(frozen=True)
class Comparator:
    """One operator and its version.

    Attributes:
        dirty: the version has a wildcard or a missing number, which stands as 0 in `version`.
        minor_dirty: from the second number on.
        patch_dirty: only the third.
        names_prerelease: the version was written with a prerelease.
    """

    operator: str
    version: Version
    dirty: bool = False
    minor_dirty: bool = False
    patch_dirty: bool = False

    @property
    def names_prerelease(self) -> bool:
        return self.version.is_prerelease

    def accepts(self, version: Version) -> bool:
        """Tell whether the numbers satisfy it; whether a prerelease may pass at all is the group's business."""
        return _OPERATORS[self.operator](version, self)


@dataclass(frozen=True)
class Constraint:
    """Alternatives, each a group of comparators that must all hold."""

    groups: tuple[tuple[Comparator, ...], ...]

    def accepts(self, version: Version) -> bool:
        return any(_group_accepts(group, version) for group in self.groups)

    def contains(self, version: Version) -> bool:
        """Tell whether the numbers are in range, also of a prerelease that is not accepted for being one."""
        return any(all(comparator.accepts(version) for comparator in group) for group in self.groups)

    @property
    def takes_prereleases(self) -> bool:
        return any(comparator.names_prerelease for group in self.groups for comparator in group)

    def ceiling(self) -> Version | None:
        """Return a version that no accepted version is above, or None when there is no such bound that we know."""
        bounds = [min(filter(None, map(_ceiling, group)), default=None) for group in self.groups]
        known = [bound for bound in bounds if bound is not None]
        return max(known) if len(known) == len(bounds) else None

    def impossible(self) -> tuple[int, ...]:
        """Return the groups, counted from 0, that no version satisfies.

        >>> parse_constraint(">2 <1 || ^1").impossible()
        (0,)
        """
        return tuple(number for number, group in enumerate(self.groups) if not _is_possible(group))


def _group_accepts(group: tuple[Comparator, ...], version: Version) -> bool:
    if version.is_prerelease and not any(comparator.names_prerelease for comparator in group):
        return False
    return all(comparator.accepts(version) for comparator in group)


def _ceiling(comparator: Comparator) -> Version | None:
    named, operator = comparator.version, comparator.operator
    partial = comparator.minor_dirty or comparator.patch_dirty
    if operator == "<" or (operator in ("", "=", "<=", "=<") and not comparator.dirty):
        return named
    if operator in ("", "=", "<=", "=<", "~", "~>") and not partial and named[:3] == (0, 0, 0):
        return None  # a wildcard
    if operator in ("", "=", "<=", "=<", "~", "~>", "^"):
        return Version(named.major + 1, 0, 0, RELEASE)
    return None


def _is_possible(group: tuple[Comparator, ...]) -> bool:
    """Tell whether a version satisfies the group: if any does, then one on or right above a comparator's bound."""
    bounds = [Version(0, 0, 0, RELEASE), *(comparator.version for comparator in group)]
    return any(_group_accepts(group, version) for bound in bounds for version in _around(bound))


def _around(bound: Version) -> Iterator[Version]:
    major, minor, patch, prerelease = bound
    yield bound
    if bound.is_prerelease:
        yield bound._replace(prerelease=(*prerelease, (0, 0, "")))
    for numbers in ((major, minor, patch), (major, minor, patch + 1), (major, minor + 1, 0), (major + 1, 0, 0)):
        yield Version(*numbers, RELEASE)
        yield Version(*numbers, ((0, 0, ""),))


_PARTIAL = (
    r"v?([0-9|xX*]+)(\.[0-9|xX*]+)?(\.[0-9|xX*]+)?"
    r"(-(?:[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
    r"(?:\+(?:[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
_PARTIAL_ANY = _PARTIAL.replace("(-(?:", "(?:-(?:").replace("([0-9|", "(?:[0-9|").replace(r"(\.[0-9|", r"(?:\.[0-9|")
# Ranges come from users: RE2 takes linear time where `re` would try every way to share out the spaces.
_SPACE = r"[\t\n\f\r ]"  # what \s is to Go
_OPERATOR = r"(=||!=|>|<|>=|=>|<=|=<|~|~>|\^)"
_HYPHEN = re2.compile(rf"{_SPACE}*({_PARTIAL_ANY}){_SPACE}+-{_SPACE}+({_PARTIAL_ANY}){_SPACE}*")
_ONE = re2.compile(rf"{_OPERATOR}{_SPACE}*{_PARTIAL}")
_VALID = re2.compile(
    rf"{_SPACE}*{_OPERATOR}{_SPACE}*{_PARTIAL_ANY}{_SPACE}*"
    rf"(?:(?:{_SPACE}+|,{_SPACE}*){_OPERATOR}{_SPACE}*{_PARTIAL_ANY}{_SPACE}*)*"
)
_LONGEST = 4096  # characters; no range that a person writes is longer


def parse_constraint(text: str) -> Constraint:
    """Parse a constraint. Raises ValueError, in the words of the original, when `text` is none.

    >>> parse_constraint("^1.2 || 3.x").accepts(parse_version("3.9.9"))
    True
    """
    if len(text) > _LONGEST:
        raise ValueError(f"improper constraint: longer than {_LONGEST} characters")
    rewritten = _HYPHEN.sub(r">= \1, <= \2 ", text)
    return Constraint(tuple(_group(part) for part in rewritten.split("||")))


def _group(text: str) -> tuple[Comparator, ...]:
    if _VALID.fullmatch(text) is None:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        raise ValueError(f'improper constraint: "{quoted}"')
    return tuple(_comparator(match) for match in _ONE.finditer(text))


def _comparator(match: Any) -> Comparator:
    operator, major, minor, patch, prerelease = match[1], match[2], match[3] or "", match[4] or "", match[5] or ""
    dirty = minor_dirty = patch_dirty = False
    if major in ("x", "X", "*"):
        numbers, dirty = "0.0.0", True
    elif minor[1:] in ("", "x", "X", "*"):
        numbers, dirty, minor_dirty = f"{major}.0.0", True, True
    elif patch[1:] in ("", "x", "X", "*"):
        numbers, dirty, patch_dirty = f"{major}{minor}.0", True, True
    else:
        numbers = major + minor + patch
    version = parse_version(numbers + prerelease)
    if version is None:
        raise ValueError("constraint parser error")
    return Comparator(operator, version, dirty, minor_dirty, patch_dirty)


def _equal(version: Version, wanted: Comparator) -> bool:
    return _tilde(version, wanted) if wanted.dirty else version == wanted.version


def _not_equal(version: Version, wanted: Comparator) -> bool:
    named = wanted.version
    if not wanted.dirty:
        return version != named
    if named.major != version.major:
        return True
    if wanted.minor_dirty:
        return False
    if named.minor != version.minor:
        return True
    if wanted.patch_dirty:
        return version.prerelease != named.prerelease
    return version != named


def _greater(version: Version, wanted: Comparator) -> bool:
    named = wanted.version
    if wanted.minor_dirty:  # 11.1.0 is not above 11, 12.0.0 is
        return version.major > named.major
    if wanted.patch_dirty:
        return version[:2] > named[:2]
    return version > named


def _less(version: Version, wanted: Comparator) -> bool:
    return version < wanted.version


def _greater_or_equal(version: Version, wanted: Comparator) -> bool:
    return version >= wanted.version


def _less_or_equal(version: Version, wanted: Comparator) -> bool:
    named = wanted.version
    if not wanted.dirty:
        return version <= named
    if version.major != named.major:
        return version.major < named.major
    return wanted.minor_dirty or version.minor <= named.minor


def _tilde(version: Version, wanted: Comparator) -> bool:
    named = wanted.version
    if version < named:
        return False
    if named[:3] == (0, 0, 0) and not wanted.minor_dirty and not wanted.patch_dirty:
        return True  # ~* and, with the original, ~0.0.0 accept everything
    return version.major == named.major and (wanted.minor_dirty or version.minor == named.minor)


def _caret(version: Version, wanted: Comparator) -> bool:
    named = wanted.version
    if version < named:
        return False
    if named.major > 0 or wanted.minor_dirty:
        return version.major == named.major
    if version.major > 0:
        return False
    if named.minor > 0 or wanted.patch_dirty:
        return version.minor == named.minor
    return version.minor == 0 and version.patch == named.patch


_OPERATORS: dict[str, Callable[[Version, Comparator], bool]] = {
    "": _equal,
    "=": _equal,
    "!=": _not_equal,
    ">": _greater,
    "<": _less,
    ">=": _greater_or_equal,
    "=>": _greater_or_equal,
    "<=": _less_or_equal,
    "=<": _less_or_equal,
    "~": _tilde,
    "~>": _tilde,
    "^": _caret,
}
