"""Objects inside of custom resources: where a schema has them, they are found."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.domain.objects.embedded import has_embedded, read_embedded

EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True}
POD: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (EMBEDDED, POD),
        ({"properties": {"spec": {"properties": {"pod": EMBEDDED}}}}, {"spec": {"pod": POD}}),
        ({"properties": {"pods": {"items": EMBEDDED}}}, {"pods": [POD]}),
        ({"properties": {"pods": {"additionalProperties": EMBEDDED}}}, {"pods": {"one": POD}}),
    ],
    ids=["itself", "a field", "an item", "an entry"],
)
def test_a_schema_tells_wherever_an_object_may_be_inside(schema: dict[str, Any], value: dict[str, Any]) -> None:
    def read(metadata: Any, path: str) -> Any:
        return {**metadata, "read": True}

    assert "'read': True" in str(read_embedded(schema, value, read))
    assert has_embedded(schema)


def test_a_schema_without_such_objects_says_so() -> None:
    plain = {"properties": {"spec": {"additionalProperties": True, "items": {"type": "string"}}}}

    assert not has_embedded(plain)
    assert not has_embedded({})
