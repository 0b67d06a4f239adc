"""What a schema that became stricter still lets through: what did not change since it was stored."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.errors import Invalid
from gitops_core.meta import Kind, Manifest
from gitops_core.ports import Cluster
from tests.contracts.conftest import named, until_served
from tests.contracts.things import GROUP, definition

_ITEM: dict[str, Any] = {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "n": {}}}
_KEYED = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}


def _schema(most: int) -> dict[str, Any]:
    """Numbers may be as large as `most`, and lists as long."""
    number = {"type": "integer", "maximum": most}
    item = {**_ITEM, "properties": {"k": {"type": "string"}, "n": number}}
    rule = {"rule": f"self.n <= {most}", "message": f"over {most}"}
    properties = {
        "keyed": {"type": "array", **_KEYED, "items": item},
        "atomic": {"type": "array", "items": item},
        "free": {
            "type": "object",
            "maxProperties": most,
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"n": {"type": "integer"}},
        },
        "ruled": {
            "type": "array",
            "maxItems": 8,
            "items": {"type": "object", "properties": {"n": {"type": "integer"}}, "x-kubernetes-validations": [rule]},
        },
        "either": {
            "type": "object",
            "properties": {"n": {"type": "integer"}, "m": {"type": "integer"}},
            "anyOf": [{"properties": {"n": {"maximum": most}}}, {"properties": {"n": {"minimum": 10}}}],
        },
        "note": {"type": "string"},
    }
    spec = {"type": "object", "properties": properties}
    return {"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}}


class Narrowed:
    """An object that was stored under a schema that allowed more than it does now."""

    def __init__(self, cluster: Cluster, kind: Kind, stored: Manifest) -> None:
        self.cluster, self.kind, self.stored = cluster, kind, stored

    async def refused(self, **fields: Any) -> set[str]:
        """The fields that a replacement is refused for; none when it is taken."""
        wanted = {**self.stored, "spec": {**self.stored["spec"], **fields}}
        try:
            await self.cluster.replace(wanted, field_manager="tests", dry_run=True)
        except Invalid as refusal:
            return {fault.field for fault in refusal.faults}
        return set()


@pytest.fixture
async def narrowed(cluster: Cluster, namespace: str) -> Narrowed:
    name = f"Narrow{namespace.removeprefix('contract-')}"
    kind = Kind(GROUP, "v1", name)
    await cluster.apply(definition(name, _schema(9)), field_manager="tests", force=True)
    await until_served(cluster, kind)
    items = [{"k": "a", "n": 5}, {"k": "b", "n": 6}]
    spec = {"keyed": items, "atomic": items, "free": {"n": 1, "x": 1, "y": 2}, "ruled": [{"n": 5}], "either": {"n": 5}}
    about = {"apiVersion": kind.api_version, "kind": name, "metadata": {"name": "one", "namespace": namespace}}
    await cluster.create({**about, "spec": spec}, field_manager="tests")
    await cluster.apply(definition(name, _schema(2)), field_manager="tests", force=True)
    while True:  # until the new schema counts
        try:
            other = {**about, "metadata": {"name": "two", "namespace": namespace}, "spec": spec}
            await cluster.create(other, field_manager="tests", dry_run=True)
        except Invalid:
            break
    stored = await cluster.get(named(kind, namespace, "one"))
    assert stored is not None
    return Narrowed(cluster, kind, stored)


PLAIN_FREE = {"n": 1}
"""Few enough fields for the new schema, so that a refusal is about something else."""


async def test_items_of_a_keyed_list_stay_when_they_change_places_or_others_come(narrowed: Narrowed) -> None:
    first, second = narrowed.stored["spec"]["keyed"]

    assert await narrowed.refused(free=PLAIN_FREE, keyed=[second, first]) == set()
    assert await narrowed.refused(free=PLAIN_FREE, keyed=[first, second, {"k": "c", "n": 1}]) == set()


async def test_items_of_another_list_stay_only_while_all_of_it_is_the_same(narrowed: Narrowed) -> None:
    first, second = narrowed.stored["spec"]["atomic"]

    assert await narrowed.refused(free=PLAIN_FREE, note="new") == set()
    assert await narrowed.refused(free=PLAIN_FREE, atomic=[second, first]) == {"spec.atomic[0].n", "spec.atomic[1].n"}


async def test_an_alternative_is_not_asked_again_about_an_object_that_is_the_same_but_about_each_field_of_another(
    narrowed: Narrowed,
) -> None:
    assert await narrowed.refused(free=PLAIN_FREE, either={"n": 5}) == set()
    assert await narrowed.refused(free=PLAIN_FREE, either={"n": 5, "m": 1}) == {"<nil>", "spec.either.n"}


async def test_a_rule_is_not_asked_again_about_items_of_a_list_that_is_the_same(narrowed: Narrowed) -> None:
    assert await narrowed.refused(free=PLAIN_FREE, ruled=[{"n": 5}]) == set()
    assert await narrowed.refused(free=PLAIN_FREE, ruled=[{"n": 5}, {"n": 1}]) == {"spec.ruled[0]"}


async def test_a_map_with_fields_that_the_schema_does_not_know_is_never_the_same(narrowed: Narrowed) -> None:
    assert "spec.free" in await narrowed.refused(note="new")
