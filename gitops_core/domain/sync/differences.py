"""What an apply changes in an object, field by field, as people read it.

    spec.replicas: 1 -> 2
    spec.template.spec.containers[main].image: web:1 -> web:2

Items of a list are told apart by their names where all of them have one, else by their places. What the API server
keeps for itself (managedFields, versions, times, status) is no change. Values of a Secret are never told: only that
they differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gitops_core.meta import Manifest

LONGEST = 120
"""Characters of a value that are told."""
_KEPT = frozenset({"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"})
_ABSENT = object()


class Difference(NamedTuple):
    """One field; None stands for: there is none."""

    path: str
    old: str | None
    new: str | None

    def map(self, change: Callable[[str], str]) -> Difference:
        """Return the same with both values changed."""
        old, new = (None if value is None else change(value) for value in (self.old, self.new))
        return Difference(self.path, old, new)

    def __str__(self) -> str:
        match self.old, self.new:
            case None, new:
                return f"{self.path}: + {new}"
            case old, None:
                return f"{self.path}: - {old}"
            case old, new:
                return f"{self.path}: {old} -> {new}"


def list_differences(live: Manifest, predicted: Manifest) -> tuple[Difference, ...]:
    """List what differs, in the order of the paths.

    >>> old, new = {"spec": {"replicas": 1}}, {"spec": {"replicas": 2, "paused": True}}
    >>> [str(difference) for difference in list_differences(old, new)]
    ['spec.paused: + true', 'spec.replicas: 1 -> 2']
    """
    is_secret = predicted.get("kind") == "Secret"
    return tuple(sorted(_compare(_clean(live), _clean(predicted), "", is_secret=is_secret)))


def _clean(manifest: Manifest) -> dict[str, Any]:
    metadata = {name: value for name, value in (manifest.get("metadata") or {}).items() if name not in _KEPT}
    return {**{name: value for name, value in manifest.items() if name != "status"}, "metadata": metadata}


def _compare(old: Any, new: Any, path: str, *, is_secret: bool) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in old.keys() | new.keys():
            place = f"{path}.{name}" if path else str(name)
            yield from _compare(old.get(name, _ABSENT), new.get(name, _ABSENT), place, is_secret=is_secret)
    elif isinstance(old, list) and isinstance(new, list):
        ours, theirs = _name_items(old, new)
        for name in ours.keys() | theirs.keys():
            place = f"{path}[{name}]"
            yield from _compare(ours.get(name, _ABSENT), theirs.get(name, _ABSENT), place, is_secret=is_secret)
    elif old is not new and (type(old) is not type(new) or old != new):
        is_muted = is_secret and path.partition(".")[0] in ("data", "stringData")
        yield Difference(path, _write(old, is_muted=is_muted), _write(new, is_muted=is_muted))


def _name_items(old: Sequence[Any], new: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    items = [*old, *new]
    is_named = items and all(isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in items)
    found = [{str(item["name"]) if is_named else str(n): item for n, item in enumerate(some)} for some in (old, new)]
    if is_named and [len(some) for some in found] != [len(old), len(new)]:  # two of one name
        found = [{str(n): item for n, item in enumerate(some)} for some in (old, new)]
    return found[0], found[1]


def _write(value: Any, *, is_muted: bool) -> str | None:
    if value is _ABSENT:
        return None
    if is_muted:
        return "***"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
