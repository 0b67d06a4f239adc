"""Two ways to describe a change of a JSON document.

JSON merge patch   {"spec": {"suspend": true, "path": null}}              RFC 7396: null removes
JSON patch         [{"op": "replace", "path": "/spec/suspend", "value": true}]      RFC 6902
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from gitops_core.domain.typedvalues import equal


class PatchFailed(ValueError):
    """The patch does not fit the document: a path that is not there, a test that fails."""


def merge_patched(document: Any, patch: Any) -> Any:
    """
    >>> merge_patched({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": 4}})
    {'b': {'c': 4, 'd': 3}}
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(document) if isinstance(document, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patched(merged.get(name), value)
    return merged


def json_patched(document: Any, operations: Iterable[Mapping[str, Any]]) -> Any:
    """
    >>> json_patched({"a": [1, 2]}, [{"op": "add", "path": "/a/-", "value": 3}, {"op": "remove", "path": "/a/0"}])
    {'a': [2, 3]}

    Raises:
        PatchFailed
    """
    document = deepcopy(document)
    for operation in operations:
        document = _carried_out(document, operation)
    return document


def _carried_out(document: Any, operation: Mapping[str, Any]) -> Any:
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _added(document, path, operation.get("value"))
        case "remove":
            return _removed(document, path)
        case "replace":
            _at(document, path)
            return _replaced(document, path, operation.get("value"))
        case "move":
            value = _at(document, _pointer(operation.get("from")))
            return _added(_removed(document, _pointer(operation.get("from"))), path, value)
        case "copy":
            return _added(document, path, deepcopy(_at(document, _pointer(operation.get("from")))))
        case "test":
            if not equal(_at(document, path), operation.get("value")):
                raise PatchFailed(f"testing value {operation.get('path')} failed: test failed")
            return document
        case unknown:
            raise PatchFailed(f"unexpected kind: {unknown}")


def _pointer(text: Any) -> tuple[str, ...]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchFailed(f"not a JSON pointer: {text!r}")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def _at(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(part, len(document) - 1)]
        else:
            raise _missing(path)
    return document


def _added(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _at(document, path[:-1])
    if isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else _index(path[-1], len(parent)), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise _missing(path)
    return document


def _replaced(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _at(document, path[:-1])
    parent[_index(path[-1], len(parent) - 1) if isinstance(parent, list) else path[-1]] = value
    return document


def _removed(document: Any, path: Sequence[str]) -> Any:
    _at(document, path)
    if not path:
        return None
    parent = _at(document, path[:-1])
    del parent[_index(path[-1], len(parent) - 1) if isinstance(parent, list) else path[-1]]
    return document


def _index(part: str, last: int) -> int:
    if not part.isdigit() or int(part) > last:
        raise PatchFailed(f"invalid array index: {part}")
    return int(part)


def _missing(path: Sequence[str]) -> PatchFailed:
    return PatchFailed(f"path not found: /{'/'.join(path)}")
