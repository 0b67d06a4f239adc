"""Two objects field by field: what the original wrote, and what we wrote for the same input.

    Difference("good", "status.conditions.Ready.message", theirs, ours)

Lists of things that have names become maps, so that their order says nothing: conditions by type, managedFields by
manager. What differs from run to run is replaced by a word first: uids, times, hosts, commits, durations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

MOMENTS = {
    "creationTimestamp",
    "deletionTimestamp",
    "firstReconciled",
    "firstTimestamp",
    "lastAutomationRunTime",
    "lastPushTime",
    "lastReconciled",
    "lastReconciledDuration",
    "totalReconciliations",  # how often it was looked at meanwhile
    "lastTransitionTime",
    "refreshTime",
    "resourceVersion",
    "scanTime",
    "time",
    "uid",
}
_CHANGING = re.compile(r"(finished in|passed in|failed after) (?:\d+(?:\.\d+)?(?:h|ms|m|µs|s))+")


class Difference(NamedTuple):
    """One field that is not the same. A missing one is None."""

    case: str
    path: str
    theirs: Any
    ours: Any


@dataclass(frozen=True)
class Intended:
    """Differences that we want: a row of docs/compatibility.md."""

    case: str
    path: str
    why: str

    def covers(self, found: Difference) -> bool:
        return fnmatchcase(found.case, self.case) and fnmatchcase(found.path, self.path)


def settled(value: Any, words: Mapping[str, str]) -> Any:
    """`value` with everything replaced that is of its run alone. `words`: what stands for hosts, commits, ..."""
    if isinstance(value, Mapping):
        pairs = {_worded(key, words): settled(item, words) for key, item in value.items()}
        return {key: "SET" if key in MOMENTS and item is not None else item for key, item in pairs.items()}
    if isinstance(value, list):
        return _named([settled(item, words) for item in value])
    return _worded(value, words) if isinstance(value, str) else value


def _worded(text: str, words: Mapping[str, str]) -> str:
    for written, word in words.items():
        text = text.replace(written, word)
    return _CHANGING.sub(r"\1 DURATION", text)


def _named(items: list[Any]) -> Any:
    if items and all(isinstance(item, dict) for item in items):
        for keys in (("manager", "operation", "subresource"), ("type", "status", "reason")):
            if all(keys[0] in item and keys[1] in item for item in items):
                parts = keys if keys[0] == "manager" else keys[:1]
                return {"/".join(str(item.get(part, "")) for part in parts).strip("/"): item for item in items}
    return items


def differences(case: str, theirs: Any, ours: Any, path: str = "") -> Iterator[Difference]:
    """Every leaf that is not the same, in the order of theirs."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            yield from differences(case, theirs.get(key), ours.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, pair in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(case, *pair, f"{path}[{number}]")
    elif theirs != ours:
        yield Difference(case, path, theirs, ours)


def unintended(found: Iterable[Difference], intended: Iterable[Intended]) -> str:
    """The differences that no row covers, one on a line; "" when there is none."""
    rows = tuple(intended)
    wrong = [each for each in found if not any(row.covers(each) for row in rows)]
    return "\n".join(f"{e.case}: {e.path}\n    theirs {e.theirs!r}\n    ours   {e.ours!r}" for e in wrong)
