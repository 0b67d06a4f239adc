"""Two ways to describe a change of a JSON document.

JSON merge patch   {"spec": {"suspend": true, "path": null}}              RFC 7396: null removes
JSON patch         [{"op": "replace", "path": "/spec/suspend", "value": true}]      RFC 6902
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from gitops_core.schema import drop_nulls


class PatchFailed(ValueError):
    """The patch does not fit the document: a path that is not there, a test that fails."""


def apply_merge_patch(document: Any, patch: Any) -> Any:
    """
    >>> apply_merge_patch({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": 4}})
    {'b': {'c': 4, 'd': 3}}
    """
    if not isinstance(document, Mapping):
        return drop_nulls(patch)  # where nothing was, the API server's library drops nulls, also in lists
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(document)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = apply_merge_patch(merged.get(name), value)
    return merged


def apply_json_patch(document: Any, operations: Iterable[Mapping[str, Any]]) -> Any:
    """
    >>> apply_json_patch({"a": [1, 2]}, [{"op": "add", "path": "/a/-", "value": 3}, {"op": "remove", "path": "/a/0"}])
    {'a': [2, 3]}

    Raises:
        PatchFailed
    """
    document = deepcopy(document)
    for operation in operations:
        document = _carry_out(document, operation)
    return document


def _write_text(value: Any) -> str:
    """Write a value so that texts compare as in the API server's library: 2.0 is not 2."""
    return json.dumps(value, sort_keys=True)


def _carry_out(document: Any, operation: Mapping[str, Any]) -> Any:
    path = _parse_pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _add(document, path, operation.get("value"))
        case "remove":
            return _remove(document, path)
        case "replace":
            return _replace(document, path, operation.get("value"))
        case "move":
            origin = _parse_pointer(operation.get("from"))
            value = _find(document, origin)
            return _add(_remove(document, origin), path, value)
        case "copy":
            return _add(document, path, deepcopy(_find(document, _parse_pointer(operation.get("from")))))
        case "test":
            if _write_text(_find(document, path)) != _write_text(operation.get("value")):
                raise PatchFailed(f"testing value {operation.get('path')} failed: test failed")
            return document
        case unknown:
            raise PatchFailed(f"unexpected kind: {unknown}")


def _parse_pointer(text: Any) -> tuple[str, ...]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchFailed(f"not a JSON pointer: {text!r}")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def _find(document: Any, path: Sequence[str]) -> Any:
    """Return the value at `path`; a member that an object does not have is null, as in the API server's library."""
    for position, part in enumerate(path):
        if isinstance(document, dict) and (part in document or position == len(path) - 1):
            document = document.get(part)
        elif isinstance(document, list):
            document = document[_parse_index(part, len(document))]
        else:
            raise PatchFailed(f"doc is missing path: /{'/'.join(path)}")
    return document


def _find_parent(document: Any, path: Sequence[str]) -> Any:
    parent = _find(document, path[:-1])
    if not isinstance(parent, dict | list):
        raise PatchFailed(f"doc is missing path: /{'/'.join(path)}")
    return parent


def _add(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _find_parent(document, path)
    if isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        parent.insert(len(parent) if path[-1] == "-" else _parse_index(path[-1], len(parent) + 1), value)
    return document


def _replace(document: Any, path: Sequence[str], value: Any) -> Any:
    """Replace a value; like the API server's own library, also set a member that an object does not have."""
    if not path:
        return value
    parent = _find_parent(document, path)
    parent[path[-1] if isinstance(parent, dict) else _parse_index(path[-1], len(parent))] = value
    return document


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        raise PatchFailed("the whole document cannot be removed")
    parent = _find_parent(document, path)
    if isinstance(parent, dict) and path[-1] not in parent:
        raise PatchFailed(f"unable to remove nonexistent key: {path[-1]}")
    del parent[path[-1] if isinstance(parent, dict) else _parse_index(path[-1], len(parent))]
    return document


def _parse_index(part: str, length: int) -> int:
    """Parse an index; negative ones count from the end. Raises PatchFailed."""
    try:
        index = int(part)
    except ValueError:
        raise PatchFailed(f"value was not a proper array index: {part!r}") from None
    if not -length <= index < length:
        raise PatchFailed(f"unable to access invalid index: {index}")
    return index % length
