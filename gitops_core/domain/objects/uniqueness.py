"""Items that a set or a keyed list of a custom resource holds twice, as the API server reports them.

Source: k8s.io/apiextensions-apiserver, pkg/apiserver/schema/listtype.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitops_core.domain.objects.decoding import write_plain_numbers
from gitops_core.errors import FieldFault


def find_duplicate_faults(schema: Mapping[str, Any], value: Any, path: str = "") -> Iterator[FieldFault]:
    """
    Args:
        schema: an OpenAPI v3 schema with x-kubernetes-list-type marks.
    """
    if isinstance(value, list):
        yield from _find_repeated(schema, value, path)
        for index, item in enumerate(value):
            yield from find_duplicate_faults(schema.get("items") or {}, item, f"{path}[{index}]")
    elif isinstance(value, Mapping):
        properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, inner in value.items():
            if isinstance(others, Mapping):
                yield from find_duplicate_faults(others, inner, f"{path}[{name}]")
            if name in properties:
                yield from find_duplicate_faults(properties[name], inner, f"{path}.{name}" if path else name)


def _find_repeated(schema: Mapping[str, Any], items: Sequence[Any], path: str) -> Iterator[FieldFault]:
    match schema.get("x-kubernetes-list-type"):
        case "set":
            identities = [write_plain_numbers(item) if isinstance(item, Mapping | list) else item for item in items]
        case "map":
            strangers = [n for n, item in enumerate(items) if not isinstance(item, Mapping | None)]
            if strangers:
                problem = "Invalid value: must be an object for an array of list-type map"
                yield FieldFault(f"{path}[{strangers[0]}]", "FieldValueInvalid", problem)
                return
            keys = schema.get("x-kubernetes-list-map-keys", ())
            identities = [{key: (item or {})[key] for key in keys if key in (item or {})} for item in items]
            if len(keys) > 1:
                identities = write_plain_numbers(identities)  # one key is compared as a value, several as their JSON
        case _:
            return
    seen: dict[str, int] = {}
    for index, identity in enumerate(identities):
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        seen[text] = seen.get(text, 0) + 1
        if seen[text] == 2:
            yield FieldFault(f"{path}[{index}]", "FieldValueDuplicate", f"Duplicate value: {text}")
