"""What an apply changes in an object, field by field, as people read it.

    spec.replicas: 5 -> 2 (set by kubectl-edit)
    spec.template.spec.containers[main].image: web:1 -> web:2

Items of a list are told apart by their names where all of them have one, else by their places. What the API server
keeps for itself (managedFields, versions, times, status) is no change. Values of a Secret are never told: only that
they differ. A long value is cut to where it differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gitops_core.domain.objects.serversideapply import LAST_APPLIED
from gitops_core.domain.sync.fieldowners import FieldOwners
from gitops_core.meta import Manifest

LONGEST = 120
"""Characters of a value that are told."""
_KEPT = frozenset({"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"})
_ABSENT = object()
_BEFORE = 20
"""Characters that are told of what comes before a difference."""


class Difference(NamedTuple):
    """One field; None stands for: there is none.

    Attributes:
        by: who set the old value, where that is another field manager than the one that applies.
    """

    path: str
    old: str | None
    new: str | None
    by: str = ""

    def __str__(self) -> str:
        by = f" (set by {self.by})" if self.by else ""
        match self.old, self.new:
            case None, new:
                return f"{self.path}: + {new}"
            case old, None:
                return f"{self.path}: - {old}{by}"
            case old, new:
                return f"{self.path}: {old} -> {new}{by}"


def _tell_all(text: str) -> str:
    return text


def list_differences(
    live: Manifest, predicted: Manifest, manager: str = "", mute: Callable[[str], str] = _tell_all
) -> tuple[Difference, ...]:
    """List what differs, in the order of the paths.

    Args:
        manager: the field manager that applies.
        mute: takes out of a path or a whole value what nobody may read.

    >>> old, new = {"spec": {"replicas": 1}}, {"spec": {"replicas": 2, "paused": True}}
    >>> [str(difference) for difference in list_differences(old, new)]
    ['spec.paused: + true', 'spec.replicas: 1 -> 2']
    """
    found = _compare(_clean(live), _clean(predicted), "", FieldOwners.of(live))
    is_secret = predicted.get("kind") == "Secret"
    told = (_tell(one, manager, mute, is_muted=is_secret and _holds_values(one.path)) for one in found)
    return tuple(sorted(told, key=lambda one: one.path))


class _Found(NamedTuple):
    path: str
    old: Any
    new: Any
    owners: FieldOwners


def _clean(manifest: Manifest) -> dict[str, Any]:
    metadata = {name: value for name, value in (manifest.get("metadata") or {}).items() if name not in _KEPT}
    return {**{name: value for name, value in manifest.items() if name != "status"}, "metadata": metadata}


def _compare(old: Any, new: Any, path: str, owners: FieldOwners) -> Iterator[_Found]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in old.keys() | new.keys():
            place, value = f"{path}.{name}" if path else str(name), old.get(name, _ABSENT)
            yield from _compare(value, new.get(name, _ABSENT), place, _get_below(owners, str(name), value))
    elif isinstance(old, list) and isinstance(new, list):
        ours, theirs = _name_items(old, new)
        for name in ours.keys() | theirs.keys():
            place, value = f"{path}[{name}]", ours.get(name, _ABSENT)
            yield from _compare(value, theirs.get(name, _ABSENT), place, _get_below(owners, name, value))
    elif old is not new and (type(old) is not type(new) or old != new):
        yield _Found(path, old, new, owners)


def _get_below(owners: FieldOwners, part: str, value: Any) -> FieldOwners:
    return FieldOwners() if value is _ABSENT else owners.get_below(part, value)


def _name_items(old: Sequence[Any], new: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    items = [*old, *new]
    is_named = items and all(isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in items)
    found = [{str(item["name"]) if is_named else str(n): item for n, item in enumerate(some)} for some in (old, new)]
    if is_named and [len(some) for some in found] != [len(old), len(new)]:  # two of one name
        found = [{str(n): item for n, item in enumerate(some)} for some in (old, new)]
    return found[0], found[1]


def _holds_values(path: str) -> bool:
    """Tell whether a field of a Secret holds its values: kubectl keeps a copy of the whole object in an annotation."""
    place = "metadata.annotations"
    return path.partition(".")[0] in ("data", "stringData") or path in (place, f"{place}.{LAST_APPLIED}")


def _tell(found: _Found, manager: str, mute: Callable[[str], str], *, is_muted: bool) -> Difference:
    old, new = (_write(value, mute, is_muted=is_muted) for value in (found.old, found.new))
    return Difference(mute(found.path), *_cut(old, new), "" if old is None else found.owners.find_other(manager))


def _write(value: Any, mute: Callable[[str], str], *, is_muted: bool) -> str | None:
    if value is _ABSENT:
        return None
    if is_muted:
        return "***"
    return mute(value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False))


def _cut(old: str | None, new: str | None) -> tuple[str | None, str | None]:
    """Cut long values to where they differ."""
    if len(old or "") <= LONGEST >= len(new or ""):
        return old, new
    pairs = enumerate(zip(old or "", new or "", strict=False))
    same = next((n for n, (one, other) in pairs if one != other), min(len(old or ""), len(new or "")))
    start = max(0, same - _BEFORE)
    return _shorten(old, start), _shorten(new, start)


def _shorten(text: str | None, start: int) -> str | None:
    if text is None:
        return None
    rest = f"...{text[start:]}" if start > 3 else text
    return rest if len(rest) <= LONGEST else f"{rest[: LONGEST - 3]}..."
