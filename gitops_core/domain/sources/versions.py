"""Which Git tags a range means: those whose version is the newest that it accepts.

    1.x   of v0.9.0, v1.0.0, 1.1.5, v1.2.0-rc.1, v2.0.0, v1.3  ->  1.1.5    v1.3 has two parts: it is no version
    2.x   of v2.0.0+a, v2.0.0+b                                ->  both     build metadata does not order

Source: fluxcd/pkg, git/gogit/clone.go; Masterminds/semver v3.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitops_core.errors import StalledError
from gitops_core.gotemplate.semver import Constraint, Version, parse_constraint, parse_tag


def parse_range(text: str) -> Constraint:
    """Parse ref.semver. Raises StalledError: it is no range."""
    try:
        return parse_constraint(text)
    except ValueError as error:
        raise StalledError(f"ref.semver is no range of versions: {error}", reason="GitOperationFailed") from None


def list_newest(tags: Iterable[str], wanted: Constraint) -> tuple[str, ...]:
    """List the tags of the newest version that `wanted` accepts, in descending byte order; () when there is none."""
    newest: Version | None = None
    found: list[str] = []
    for tag in tags:
        version = parse_tag(tag)
        if version is None or (newest is not None and version < newest) or not wanted.accepts(version):
            continue
        if version != newest:  # newer than all before
            newest, found = version, []
        found.append(tag)
    return tuple(sorted(found, key=lambda tag: tag.encode("utf-8", "surrogateescape"), reverse=True))
