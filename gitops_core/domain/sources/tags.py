"""Which tag of a repository an OCIRepository's semver range means: the newest version in it, among those that fit.

    semver: ">=1.0.0"  semverFilter: ".*-alpine"      1.2.0-alpine  1.2.0  2.0.0-rc.1  nightly   ->   1.2.0-alpine

A range hides pre-releases unless it names one. Tags of equally new versions (`1.0.0`, `v1.0.0`) are tried in the order
of their bytes, the greatest first: always the same, where the original takes any.

Source: github.com/fluxcd/source-controller, internal/controller/ocirepository_controller.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitops_core.gotemplate.regexps import compile_pattern
from gitops_core.gotemplate.semver import parse_constraint, parse_tag


def choose_tag(tags: Iterable[str], semver: str, pattern: str = "") -> str:
    """Choose the tag.

    >>> choose_tag(["1.0.0", "1.2.0", "2.0.0", "latest"], "1.x")
    '1.2.0'

    Raises:
        ValueError: in the original's words: the pattern or the range is none, or no tag is in it.
    """
    if pattern:
        compiled = compile_pattern(pattern)
        tags = [tag for tag in tags if compiled.search(tag.encode("utf-8", "replace")) is not None]
    try:
        constraint = parse_constraint(semver)
    except ValueError as error:
        raise ValueError(f"semver '{semver}' parse error: {error}") from None
    versions = ((version, tag) for tag in tags if (version := parse_tag(tag)) is not None)
    best = max((pair for pair in versions if constraint.accepts(pair[0])), default=None)
    if best is None:
        raise ValueError(f"no match found for semver: {semver}")
    return best[1]
