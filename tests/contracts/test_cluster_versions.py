"""One kind in two versions that have different schemas: v1, which is stored, and v2."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.errors import Invalid
from gitops_core.meta import Kind
from gitops_core.ports import Cluster
from tests.contracts.conftest import named, until_served
from tests.contracts.things import GROUP, definition

_TEXT = {"type": "string"}
_ONE = Kind(GROUP, "v1", "Twofold")
_TWO = Kind(GROUP, "v2", "Twofold")


def _schema(**spec: Any) -> dict[str, Any]:
    properties = {
        "spec": {"type": "object", "properties": spec},
        "status": {"type": "object", "properties": {"phase": _TEXT}},
    }
    return {"type": "object", "properties": properties}


_LOOSE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
FIRST = _schema(both=_TEXT, odd={"type": "integer"}, loose=_LOOSE, first={"type": "string", "default": "one"})
SECOND = _schema(
    both=_TEXT, odd=_TEXT, loose={**_LOOSE, "maxProperties": 1}, second={"type": "string", "default": "two"}
)


class Twofold:
    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def manifest(self, kind: Kind, **spec: Any) -> dict[str, Any]:
        metadata = {"name": "a", "namespace": self.namespace}
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}

    async def spec(self, kind: Kind) -> Any:
        found = await self.cluster.get(named(kind, self.namespace, "a"))
        assert found is not None
        return found["spec"]

    async def managers(self) -> set[str]:
        found = await self.cluster.get(named(_ONE, self.namespace, "a"))
        assert found is not None
        return {entry["manager"] for entry in found["metadata"].get("managedFields", ())}


@pytest.fixture
async def twofold(cluster: Cluster, namespace: str) -> Twofold:
    await cluster.apply(definition("Twofold", FIRST, SECOND), field_manager="tests", force=True)
    for kind in (_ONE, _TWO):
        await until_served(cluster, kind)
    return Twofold(cluster, namespace)


async def test_only_the_stored_version_has_its_defaults_when_it_is_read(twofold: Twofold) -> None:
    created = await twofold.cluster.create(twofold.manifest(_TWO, both="x"), field_manager="ann")

    assert created["spec"] == {"both": "x"}
    assert await twofold.spec(_TWO) == {"both": "x"}
    assert await twofold.spec(_ONE) == {"both": "x", "first": "one"}


async def test_a_field_that_one_version_does_not_know_is_lost_when_that_version_is_written(twofold: Twofold) -> None:
    await twofold.cluster.create(twofold.manifest(_ONE, both="x", first="mine"), field_manager="ann")

    await twofold.cluster.patch(named(_TWO, twofold.namespace, "a"), {"spec": {"both": "y"}}, field_manager="bob")

    assert await twofold.spec(_ONE) == {"both": "y", "first": "one"}


async def test_an_apply_is_refused_whose_result_does_not_fit_a_version_that_somebody_applied(twofold: Twofold) -> None:
    await twofold.cluster.apply(twofold.manifest(_ONE, both="x"), field_manager="ann", force=False)

    with pytest.raises(Invalid):
        await twofold.cluster.apply(twofold.manifest(_TWO, second="z"), field_manager="bob", force=True)

    assert await twofold.spec(_TWO) == {"both": "x"}


async def test_an_apply_is_refused_in_a_version_that_the_stored_object_does_not_fit(twofold: Twofold) -> None:
    await twofold.cluster.create(twofold.manifest(_ONE, odd=1), field_manager="ann")
    ref = named(_ONE, twofold.namespace, "a")
    await twofold.cluster.patch(ref, {"metadata": {"managedFields": [{}]}}, field_manager="ann")
    assert await twofold.managers() == set()

    with pytest.raises(Invalid):
        await twofold.cluster.apply(twofold.manifest(_TWO, both="x"), field_manager="bob", force=True)


async def test_an_applier_in_a_version_that_an_update_does_not_fit_is_forgotten(twofold: Twofold) -> None:
    await twofold.cluster.apply(twofold.manifest(_ONE, both="x"), field_manager="ann", force=False)
    assert await twofold.managers() == {"ann"}

    await twofold.cluster.patch(named(_TWO, twofold.namespace, "a"), {"spec": {"second": "z"}}, field_manager="bob")

    assert await twofold.managers() == set()


async def test_a_status_is_written_though_the_rest_of_the_object_does_not_fit_that_version(twofold: Twofold) -> None:
    await twofold.cluster.create(twofold.manifest(_ONE, loose={"x": 1, "y": 2}), field_manager="ann")
    ref = named(_TWO, twofold.namespace, "a")

    with pytest.raises(Invalid):
        await twofold.cluster.patch(ref, {"spec": {"both": "x"}}, field_manager="bob")
    written = await twofold.cluster.patch(ref, {"status": {"phase": "Up"}}, field_manager="bob", subresource="status")

    assert written["status"] == {"phase": "Up"}


async def test_a_second_deletion_stores_what_its_version_knows(twofold: Twofold) -> None:
    manifest = twofold.manifest(_ONE, both="x", first="mine")
    manifest["metadata"]["finalizers"] = ["example.com/a"]
    await twofold.cluster.create(manifest, field_manager="ann")
    await twofold.cluster.delete(named(_ONE, twofold.namespace, "a"))
    assert await twofold.spec(_ONE) == {"both": "x", "first": "mine"}

    await twofold.cluster.delete(named(_TWO, twofold.namespace, "a"))

    assert await twofold.spec(_ONE) == {"both": "x", "first": "one"}


async def test_an_apply_that_changes_nothing_sets_no_defaults_of_its_version(twofold: Twofold) -> None:
    await twofold.cluster.create(twofold.manifest(_ONE, both="a"), field_manager="ann")

    applied = await twofold.cluster.apply(twofold.manifest(_TWO, both="a"), field_manager="bob")

    assert applied["spec"] == {"both": "a"}
    assert applied["metadata"]["generation"] == 1
    assert await twofold.managers() == {"ann", "bob"}
