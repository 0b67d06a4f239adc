"""Objects inside of custom resources (`x-kubernetes-embedded-resource`): read and checked as objects are.

Source: k8s.io/apiextensions-apiserver, pkg/apiserver/schema/objectmeta.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gitops_core.domain.objects.decoding import Undecodable
from gitops_core.domain.objects.objectmeta import find_embedded_metadata_faults
from gitops_core.errors import FieldFault

Schema = Mapping[str, Any]
Read = Callable[[Any, str], Any]

_MARK = "x-kubernetes-embedded-resource"
_KIND = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def has_embedded(schema: Schema) -> bool:
    """Tell whether there may be objects inside of those of a schema."""
    others, items = schema.get("additionalProperties"), schema.get("items")
    inner = [
        *(schema.get("properties") or {}).values(),
        *(part for part in (others, items) if isinstance(part, Mapping)),
    ]
    return bool(schema.get(_MARK)) or any(map(has_embedded, inner))


def read_embedded(schema: Schema, value: Any, read: Read, path: str = "") -> Any:
    """Return `value` with the metadata of each object inside of it as `read` gives it back.

    Args:
        read: (metadata, its path) -> the metadata as the API server writes it.

    Raises:
        Undecodable.
    """
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [read_embedded(items, item, read, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    made = {}
    for name, inner in value.items():
        here, known = _enter(schema, name, path)
        if schema.get(_MARK) and name in ("apiVersion", "kind") and not isinstance(inner, str):
            raise Undecodable(f"{here}: must be a string")
        if schema.get(_MARK) and name == "metadata":
            inner = read(inner, here)
        made[name] = read_embedded(known, inner, read, here)
    return made


def find_embedded_faults(schema: Schema, value: Any, read: Read, path: str = "") -> Iterator[FieldFault]:
    """
    Args:
        read: as of with_embedded_read; what an apply merged has not been read yet.
    """
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from find_embedded_faults(schema.get("items") or {}, item, read, f"{path}[{index}]")
    elif isinstance(value, Mapping):
        if schema.get(_MARK):
            yield from _find_faults(value, read, path)
        for name, inner in value.items():
            here, known = _enter(schema, name, path)
            yield from find_embedded_faults(known, inner, read, here)


def _enter(schema: Schema, name: str, path: str) -> tuple[str, Schema]:
    """Return the path and schema of a field; of a map's entry the path is `a[key]`."""
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    if name not in properties and isinstance(others, Mapping):
        return f"{path}[{name}]", others
    return f"{path}.{name}" if path else name, properties.get(name) or {}


def _find_faults(resource: Mapping[str, Any], read: Read, path: str) -> Iterator[FieldFault]:
    for name, check in (("apiVersion", _find_version_faults), ("kind", _find_kind_faults)):
        text = resource.get(name)
        if name not in resource:
            yield FieldFault(f"{path}.{name}", "FieldValueRequired", "Required value")
        elif not isinstance(text, str):
            yield _make_invalid(f"{path}.{name}", text, "must be a string")
        elif not text:
            yield _make_invalid(f"{path}.{name}", text, "must not be empty")
        else:
            yield from check(f"{path}.{name}", text)
    try:
        metadata = read(resource.get("metadata"), f"{path}.metadata")
    except Undecodable as error:
        yield FieldFault(f"{path}.metadata", "FieldValueInvalid", f"Invalid value: {error}")
    else:
        yield from find_embedded_metadata_faults(metadata or {}, f"{path}.metadata")


def _find_version_faults(path: str, version: str) -> Iterator[FieldFault]:
    if version.count("/") > 1:
        yield _make_invalid(path, version, f"unexpected GroupVersion string: {version}")


def _find_kind_faults(path: str, kind: str) -> Iterator[FieldFault]:
    if len(kind) > 63 or not _KIND.fullmatch(kind.lower()):
        rule = "may have mixed case, but should otherwise match: a DNS-1035 label of at most 63 characters"
        yield _make_invalid(path, kind, rule)


def _make_invalid(path: str, value: Any, rule: str) -> FieldFault:
    return FieldFault(path, "FieldValueInvalid", f"Invalid value: {json.dumps(value, ensure_ascii=False)}: {rule}")
