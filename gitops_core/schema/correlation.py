"""Which old value a new one replaces, and whether it is the same: what did not change is not held against a write.

Properties are found by name and items of keyed lists by their keys. Items of other lists have no old value of their
own: such a list is unchanged only as a whole. A field that the schema does not know is never called unchanged.

Source: k8s.io/apiserver, pkg/cel/common, CorrelatedObject.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops_core.schema.formats import SCALARS, find_type, is_identical

Schema = Mapping[str, Any]

ABSENT: Any = object()
"""There is no old value, or none that can be told."""


def find_old_property(old: Any, name: str) -> Any:
    return old.get(name, ABSENT) if isinstance(old, Mapping) else ABSENT


def find_old_item(schema: Schema, old: Any, item: Any) -> Any:
    """Return the old item of a keyed list that has the keys of `item`."""
    key = _make_key(schema, item)
    if not isinstance(old, list) or key is None:
        return ABSENT
    return next((known for known in old if _make_key(schema, known) == key), ABSENT)


def is_unchanged(schema: Schema, old: Any, new: Any) -> bool:
    """
    >>> keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    >>> keyed["items"] = {"properties": {"k": {}}}
    >>> is_unchanged(keyed, [{"k": 1}, {"k": 2}], [{"k": 2}, {"k": 1}]), is_unchanged({}, [1, 2], [2, 1])
    (True, False)
    """
    if isinstance(old, SCALARS):
        return is_identical(old, new)
    match old, new:
        case Mapping(), Mapping():
            return len(old) == len(new) and all(
                _is_same_property(schema, old, name, inner) for name, inner in new.items()
            )
        case list(), list() if schema.get("x-kubernetes-list-type") == "map":
            return len(old) == len(new) and all(_is_same_item(schema, old, item) for item in new)
        case _:
            return is_identical(old, new)


def _is_same_property(schema: Schema, old: Mapping[str, Any], name: str, inner: Any) -> bool:
    known = (schema.get("properties") or {}).get(name)
    if known is None and isinstance(others := schema.get("additionalProperties"), Mapping):
        known = others
    return known is not None and name in old and is_unchanged(known, old[name], inner)


def _is_same_item(schema: Schema, old: list[Any], item: Any) -> bool:
    before = find_old_item(schema, old, item)
    return before is not ABSENT and is_unchanged(schema.get("items") or {}, before, item)


def _make_key(schema: Schema, item: Any) -> tuple[tuple[str, Any], ...] | None:
    """Return what identifies an item of a keyed list; None for an item that cannot be found again."""
    keys = schema.get("x-kubernetes-list-map-keys", ()) if schema.get("x-kubernetes-list-type") == "map" else ()
    if not keys or not isinstance(item, Mapping):
        return None
    values = [item.get(key) for key in keys]
    if not all(isinstance(value, str | int | float) for value in values):
        return None
    return tuple((find_type(value), value) for value in values)
