"""Objects inside of custom resources (`x-kubernetes-embedded-resource`): read and checked as objects are.

Source: k8s.io/apiextensions-apiserver, pkg/apiserver/schema/objectmeta.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gitops_core.domain.decoding import Undecodable
from gitops_core.domain.objectmeta import embedded_metadata_faults
from gitops_core.errors import FieldFault

Schema = Mapping[str, Any]
Read = Callable[[Any, str], Any]

_MARK = "x-kubernetes-embedded-resource"
_KIND = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def with_embedded_read(schema: Schema, value: Any, read: Read, path: str = "") -> Any:
    """`value`, the metadata of each object inside of it as `read` gives it back.

    Args:
        read: (metadata, its path) -> the metadata as the API server writes it.

    Raises:
        Undecodable.
    """
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [with_embedded_read(items, item, read, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    made = {}
    for name, inner in value.items():
        here, known = _inside(schema, name, path)
        if schema.get(_MARK) and name in ("apiVersion", "kind") and not isinstance(inner, str):
            raise Undecodable(f"{here}: must be a string")
        if schema.get(_MARK) and name == "metadata":
            inner = read(inner, here)
        made[name] = with_embedded_read(known, inner, read, here)
    return made


def embedded_faults(schema: Schema, value: Any, path: str = "") -> Iterator[FieldFault]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from embedded_faults(schema.get("items") or {}, item, f"{path}[{index}]")
    elif isinstance(value, Mapping):
        if schema.get(_MARK):
            yield from _faults(value, path)
        for name, inner in value.items():
            here, known = _inside(schema, name, path)
            yield from embedded_faults(known, inner, here)


def _inside(schema: Schema, name: str, path: str) -> tuple[str, Schema]:
    """The path and schema of a field; of a map's entry the path is `a[key]`."""
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    if name not in properties and isinstance(others, Mapping):
        return f"{path}[{name}]", others
    return f"{path}.{name}" if path else name, properties.get(name) or {}


def _faults(resource: Mapping[str, Any], path: str) -> Iterator[FieldFault]:
    for name in ("apiVersion", "kind"):
        text = resource.get(name)
        if text is None:
            yield FieldFault(f"{path}.{name}", "FieldValueRequired", "Required value")
        elif not text:
            yield FieldFault(f"{path}.{name}", "FieldValueInvalid", 'Invalid value: "": must not be empty')
    if resource.get("apiVersion", "").count("/") > 1:
        text = f"unexpected GroupVersion string: {resource['apiVersion']}"
        yield FieldFault(
            f"{path}.apiVersion", "FieldValueInvalid", f'Invalid value: "{resource["apiVersion"]}": {text}'
        )
    kind = resource.get("kind") or "a"
    if len(kind) > 63 or not _KIND.fullmatch(kind.lower()):
        text = "may have mixed case, but should otherwise match: a DNS-1035 label of at most 63 characters"
        yield FieldFault(f"{path}.kind", "FieldValueInvalid", f'Invalid value: "{kind}": {text}')
    yield from embedded_metadata_faults(resource.get("metadata") or {}, f"{path}.metadata")
