"""What is found, and what people say of it beforehand.

    password: hunter2   # sealoop:allow plain-secret     the finding of this line is none

    # sealoop:allow private-key, plain-secret: of a test
    key: ...                                             a line of its own speaks for the next one

An object says it with the annotation `sealoop.dev/lint-allow: plain-secret`, for JSON knows no comments. A finding is
allowed by the name of its rule, so that nothing else is allowed along with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning"]

RULES: Mapping[str, str] = {
    "plain-secret": "a Secret, or a patch of one, whose values can be read",
    "plain-generator": "literals of a secretGenerator, and files of it that are not encrypted",
    "half-encrypted": "an encrypted Secret with values that can be read",
    "lost-block": "encrypted values without the `sops` block that belongs to them",
    "misplaced-block": "a `sops` block that stands in an object, not beside it",
    "no-mac": "an encrypted file without a mac",
    "weak-mac": "an encrypted file whose mac covers only what is encrypted",
    "encrypted-configmap": "an encrypted file that a configMapGenerator puts into a ConfigMap",
    "unencrypted": "a file that a creation rule of .sops.yaml names, and that is not encrypted",
    "recipients": "an encrypted file that is for others than its creation rule says",
    "sops-config": "a .sops.yaml that sops does not take, or that means something else than it says",
    "private-key": "a private key of age, OpenPGP, TLS or SSH",
    "copied": "the same encrypted text in two places",
    "unreadable": "a file that cannot be opened",
    "unparsed": "a file that is no YAML, so that nothing is known of its Secrets",
    "too-large": "a file of which only the beginning was looked at",
    "unused-allow": "a comment that allows what is not found",
}
ALLOW = "sealoop.dev/lint-allow"
MOST_OF_A_RULE = 20
"""In one file."""

MOST_ALLOWED = 1000
"""Comments in one file; more are not read."""

_COMMENT = re.compile(rb"sealoop:allow[ \t]+([a-z-]+(?:[ \t]{0,4},[ \t]{0,4}[a-z-]+){0,20})")
_ALONE = re.compile(rb"[ \t]*(?:#|//|;|--|<!--)")


class Finding(NamedTuple):
    """Attributes:
    line: from 1; 0 where no line is at fault.
    message: quotes no value.
    """

    path: str
    line: int
    severity: Severity
    rule: str
    message: str


class Allowance(NamedTuple):
    """A comment at `line` that allows findings of a rule at line `covered`."""

    path: str
    line: int
    covered: int
    rule: str


def list_allowances(path: str, data: bytes) -> Iterable[Allowance]:
    return islice(_list_allowances(path, data), MOST_ALLOWED) if b"sealoop:allow" in data else ()


def _list_allowances(path: str, data: bytes) -> Iterator[Allowance]:
    waiting: list[Allowance] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        match, is_alone = _COMMENT.search(line), _ALONE.match(line) is not None
        names = [name.strip().decode() for name in match[1].split(b",")] if match else []
        found = [Allowance(path, number, number, name) for name in names]
        if is_alone:
            waiting += found[: MOST_ALLOWED - len(waiting)]
        else:
            yield from found
            yield from (one._replace(covered=number) for one in waiting)
            waiting = []
    yield from waiting


def silence(
    findings: Iterable[Finding], allowances: Sequence[Allowance], others: Sequence[Allowance] = ()
) -> Iterator[Finding]:
    """Yield the findings that nobody allowed, and one for each comment that allows nothing.

    Args:
        others: comments that may be about what was not looked at.
    """
    known = {place for one in (*allowances, *others) for place in _list_places(one)}
    used: set[tuple[str, int, str]] = set()
    for finding in findings:
        place = (finding.path, finding.line, finding.rule)
        if place in known:
            used.add(place)
        else:
            yield finding
    for one in allowances:
        if one.rule not in RULES:
            message = f"there is no rule {one.rule}: `sealoop secrets lint --help` names them"
            yield Finding(one.path, one.line, "warning", "unused-allow", message)
        elif one.rule != "copied" and used.isdisjoint(_list_places(one)):
            message = f"{one.rule} is allowed here, and is not found"
            yield Finding(one.path, one.line, "warning", "unused-allow", message)


def _list_places(one: Allowance) -> tuple[tuple[str, int, str], ...]:
    return (one.path, one.line, one.rule), (one.path, one.covered, one.rule)


def is_allowed(document: Any, place: Iterable[str | int], rule: str) -> bool:
    """Tell whether the document, or an object in it on the way to `place`, allows a rule by its annotation."""
    for part in (None, *place):
        if part is not None:
            try:
                document = document[part]
            except (KeyError, IndexError, TypeError):
                return False
        metadata = document.get("metadata") if isinstance(document, dict) else None
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        text = annotations.get(ALLOW) if isinstance(annotations, dict) else None
        if isinstance(text, str) and rule in [name.strip() for name in text.split(",")]:
            return True
    return False


def bound(findings: Iterable[Finding]) -> list[Finding]:
    """Keep the first of each rule in a file, and say how many more there are with the last of them."""
    kept: dict[tuple[str, str], list[Finding]] = {}
    left: dict[tuple[str, str], int] = {}
    for one in findings:
        key = (one.path, one.rule)
        if len(kept.setdefault(key, [])) < MOST_OF_A_RULE:
            kept[key].append(one)
        else:
            left[key] = left.get(key, 0) + 1
    for key, number in left.items():
        last = kept[key][-1]
        kept[key][-1] = last._replace(message=f"{last.message}; and {number} more of {last.rule} in this file")
    return [one for found in kept.values() for one in found]
