"""sprig's semantic versions.

Source: Masterminds/sprig v3.3, semver.go; Masterminds/semver v3.4, version.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitops_core.gotemplate import semver
from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.functions import Function
from gitops_core.gotemplate.values import Object, Uint64


def version(text: str) -> Object:
    """Parse a semantic version. Raises CallError."""
    parsed = semver.parse_version(text)
    if parsed is None:
        raise CallError("invalid semantic version")
    rest, _, metadata = text.partition("+")
    prerelease = rest.partition("-")[2]
    numbers = {"Major": Uint64(parsed.major), "Minor": Uint64(parsed.minor), "Patch": Uint64(parsed.patch)}
    shown = ".".join(map(str, numbers.values()))
    shown += (f"-{prerelease}" if prerelease else "") + (f"+{metadata}" if metadata else "")
    texts = {"Prerelease": prerelease, "Metadata": metadata, "Original": text, "String": shown}
    return Object("*semver.Version", "ptr", shown, {**numbers, **texts}, parsed)


def compare(constraint: str, text: str) -> bool:
    """Compare a version with a constraint. Raises CallError."""
    try:
        wanted = semver.parse_constraint(constraint)
    except ValueError as error:
        raise CallError(str(error)) from None
    parsed = semver.parse_version(text)
    if parsed is None:
        raise CallError("invalid semantic version")
    return wanted.accepts(parsed)


VERSIONS: Mapping[str, Function] = {
    "semver": Function("string", version),
    "semverCompare": Function("string, string", compare),
}
