"""Numbers, nulls and objects inside of custom resources, as both clusters read and keep them."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.errors import Invalid
from gitops_core.meta import Kind, Manifest
from gitops_core.ports import Cluster
from tests.contracts.conftest import named, until_served
from tests.contracts.things import GROUP, definition

KIND = Kind(GROUP, "v1", "Valued")
_KEYED = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
_ITEM = {"type": "object", "properties": {"k": {"type": "string", "default": "a"}, "n": {"type": "integer"}}}
_EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True}
_SPEC = {
    "number": {"type": "number"},
    "numbers": {"type": "array", "items": {"type": "number"}, "x-kubernetes-list-type": "set"},
    "size": {"x-kubernetes-int-or-string": True, "nullable": True},
    "text": {"type": "string"},
    "items": {"type": "array", "items": _ITEM, **_KEYED},
    "inner": {**_EMBEDDED, "properties": {"metadata": {"type": "object"}}},
    "given": {
        **_EMBEDDED,
        "x-kubernetes-preserve-unknown-fields": True,
        "default": {"apiVersion": "v1", "kind": "P", "metadata": {"name": "p", "labels": {}}},
    },
}
_INNER = {"apiVersion": "v1", "kind": "P"}


@pytest.fixture
async def valued(cluster: Cluster) -> Cluster:
    spec = {"type": "object", "properties": _SPEC}
    schema = {"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}}
    await cluster.apply(definition("Valued", schema), field_manager="tests", force=True)
    await until_served(cluster, KIND)
    return cluster


def manifest(namespace: str, **spec: Any) -> dict[str, Any]:
    about = {"apiVersion": KIND.api_version, "kind": KIND.kind, "metadata": {"name": "a", "namespace": namespace}}
    return {**about, "spec": spec}


async def applied(cluster: Cluster, namespace: str, **spec: Any) -> Manifest:
    return await cluster.apply(manifest(namespace, **spec), field_manager="ann", force=True)


async def test_a_whole_number_with_a_point_is_another_value_until_it_is_stored(valued: Cluster, namespace: str) -> None:
    await valued.create(manifest(namespace, number=2), field_manager="ann")

    written = await valued.patch(named(KIND, namespace, "a"), {"spec": {"number": 2.0}}, field_manager="ann")

    assert written["metadata"]["generation"] == 2
    assert isinstance(written["spec"]["number"], int)


async def test_a_set_may_hold_a_whole_number_with_and_without_a_point(valued: Cluster, namespace: str) -> None:
    created = await valued.create(manifest(namespace, numbers=[2, 2.0]), field_manager="ann")

    assert created["spec"]["numbers"] == [2, 2]


async def test_a_null_stays_where_an_integer_or_a_string_may_be_null(valued: Cluster, namespace: str) -> None:
    created = await valued.create(manifest(namespace, size=None), field_manager="ann")

    assert created["spec"]["size"] is None


async def test_a_null_that_is_applied_where_none_may_be_is_refused(valued: Cluster, namespace: str) -> None:
    with pytest.raises(Invalid) as caught:
        await applied(valued, namespace, text=None)

    assert {fault.field for fault in caught.value.faults} == {"spec.text"}


async def test_a_key_that_is_null_in_an_apply_gets_its_default(valued: Cluster, namespace: str) -> None:
    made = await applied(valued, namespace, items=[{"k": None, "n": 1}])

    assert made["spec"]["items"] == [{"k": "a", "n": 1}]


async def test_an_apply_that_takes_the_last_field_of_inner_metadata_is_refused(valued: Cluster, namespace: str) -> None:
    await valued.create(manifest(namespace, inner={**_INNER, "metadata": {"name": "q"}}), field_manager="bob")
    await applied(valued, namespace, inner={**_INNER, "metadata": {"name": "p"}})

    with pytest.raises(Invalid) as caught:
        await applied(valued, namespace, inner=_INNER)

    assert {fault.field for fault in caught.value.faults} == {"spec.inner.metadata"}


async def test_an_inner_object_whose_kind_is_null_in_an_apply_is_refused(valued: Cluster, namespace: str) -> None:
    with pytest.raises(Invalid) as caught:
        await applied(valued, namespace, inner={"apiVersion": "v1", "kind": None})

    assert "spec.inner.kind" in {fault.field for fault in caught.value.faults}


async def test_a_default_is_read_as_an_object_is(valued: Cluster, namespace: str) -> None:
    created = await valued.create(manifest(namespace), field_manager="ann")

    assert created["spec"]["given"] == {**_INNER, "metadata": {"name": "p"}}
