"""What goes with what is deleted: dependents, namespaces, the objects of a CRD. On both adapters.

The real cluster's controllers take their time, so every expectation is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from gitops_core.errors import Forbidden, KindUnknown
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster, Query
from tests.contracts.conftest import named
from tests.servers.controlplane import ControlPlane

CONFIG_MAP = Kind("", "v1", "ConfigMap")
NAMESPACE = Kind("", "v1", "Namespace")
CRD = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")


@pytest.fixture(autouse=True)
def controllers(request: pytest.FixtureRequest) -> ControlPlane | None:
    """The real cluster needs its controllers here."""
    found: ControlPlane | None = None
    if request.node.callspec.params["cluster"] == "real":
        found = request.getfixturevalue("workloads")
    return found


def config_map(namespace: str, name: str, *owners: Manifest, block: bool = False, **metadata: Any) -> dict[str, Any]:
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]
    described = {"name": name, "namespace": namespace, "ownerReferences": references, **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": described}


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await holds():  # noqa: ASYNC110 - a real cluster says so to nobody
            await asyncio.sleep(0.1)


async def gone(cluster: Cluster, ref: ObjectRef) -> None:
    async def is_gone() -> bool:
        return await cluster.get(ref) is None

    await eventually(is_gone)


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_dependents_go_with_their_owner(
    cluster: Cluster, namespace: str, propagation: Literal["Background", "Foreground"]
) -> None:
    owner = await cluster.create(config_map(namespace, "owner"), field_manager="ann")
    child = await cluster.create(config_map(namespace, "child", owner, block=True), field_manager="ann")
    await cluster.create(config_map(namespace, "grandchild", child, block=True), field_manager="ann")

    await cluster.delete(named(CONFIG_MAP, namespace, "owner"), propagation=propagation)

    for name in ("owner", "child", "grandchild"):
        await gone(cluster, named(CONFIG_MAP, namespace, name))


async def test_in_the_foreground_an_owner_waits_for_its_dependents(cluster: Cluster, namespace: str) -> None:
    ref, child = named(CONFIG_MAP, namespace, "owner"), named(CONFIG_MAP, namespace, "child")
    owner = await cluster.create(config_map(namespace, "owner"), field_manager="ann")
    held = config_map(namespace, "child", owner, block=True, finalizers=["example.com/hold"])
    await cluster.create(held, field_manager="ann")

    await cluster.delete(ref, propagation="Foreground")

    async def is_going() -> bool:
        live = await cluster.get(child)
        return live is not None and "deletionTimestamp" in live["metadata"]

    await eventually(is_going)
    waiting = await cluster.get(ref)
    assert waiting is not None
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    await cluster.patch(child, {"metadata": {"finalizers": None}}, field_manager="ann")
    await gone(cluster, child)
    await gone(cluster, ref)


async def test_orphans_stay_and_forget_their_owner(cluster: Cluster, namespace: str) -> None:
    ref, child = named(CONFIG_MAP, namespace, "owner"), named(CONFIG_MAP, namespace, "child")
    owner = await cluster.create(config_map(namespace, "owner"), field_manager="ann")
    await cluster.create(config_map(namespace, "child", owner), field_manager="ann")

    await cluster.delete(ref, propagation="Orphan")

    await gone(cluster, ref)
    live = await cluster.get(child)
    assert live is not None
    assert "ownerReferences" not in live["metadata"]


async def test_a_dependent_of_two_stays_until_both_are_gone(cluster: Cluster, namespace: str) -> None:
    child = named(CONFIG_MAP, namespace, "child")
    one = await cluster.create(config_map(namespace, "one"), field_manager="ann")
    two = await cluster.create(config_map(namespace, "two"), field_manager="ann")
    await cluster.create(config_map(namespace, "child", one, two), field_manager="ann")

    await cluster.delete(named(CONFIG_MAP, namespace, "one"))

    async def has_one_owner() -> bool:
        live = await cluster.get(child)
        assert live is not None
        return [owner["name"] for owner in live["metadata"]["ownerReferences"]] == ["two"]

    await eventually(has_one_owner)
    await cluster.delete(named(CONFIG_MAP, namespace, "two"))
    await gone(cluster, child)


async def test_an_object_of_an_owner_that_never_was_goes(cluster: Cluster, namespace: str) -> None:
    nobody = {"metadata": {"name": "nobody", "uid": "00000000-0000-4000-8000-000000000000"}}

    await cluster.create(config_map(namespace, "child", nobody), field_manager="ann")

    await gone(cluster, named(CONFIG_MAP, namespace, "child"))


async def test_a_namespace_takes_its_content_along(cluster: Cluster, namespace: str) -> None:
    ref, held = ObjectRef(NAMESPACE, ObjectKey("", namespace)), named(CONFIG_MAP, namespace, "held")
    await cluster.create(config_map(namespace, "plain"), field_manager="ann")
    await cluster.create(config_map(namespace, "held", finalizers=["example.com/hold"]), field_manager="ann")

    await cluster.delete(ref)

    await gone(cluster, named(CONFIG_MAP, namespace, "plain"))
    going = await cluster.get(ref)
    assert going is not None
    assert going["status"]["phase"] == "Terminating"
    with pytest.raises(Forbidden):
        await cluster.create(config_map(namespace, "late"), field_manager="ann")
    await cluster.patch(held, {"metadata": {"finalizers": None}}, field_manager="ann")
    await gone(cluster, ref)


async def test_a_crd_takes_its_objects_along(cluster: Cluster, namespace: str) -> None:
    kind = Kind(f"{namespace}.example.com", "v1", "Passing")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    crd = {
        "apiVersion": CRD.api_version,
        "kind": CRD.kind,
        "metadata": {"name": f"passings.{kind.group}"},
        "spec": {
            "group": kind.group,
            "names": {"kind": kind.kind, "plural": "passings"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }

    async def is_served() -> bool:
        try:
            await cluster.list(Query(kind, namespace), dict)
        except KindUnknown:
            return False
        return True

    async def is_not_served() -> bool:
        return not await is_served()

    await cluster.create(crd, field_manager="ann")
    await eventually(is_served)
    metadata = {"name": "app", "namespace": namespace}
    created = await cluster.create(
        {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "anything": {"goes": 1}},
        field_manager="ann",
    )
    await cluster.delete(ObjectRef(CRD, ObjectKey("", f"passings.{kind.group}")))

    assert created["anything"] == {"goes": 1}
    await eventually(is_not_served)
    await gone(cluster, ObjectRef(CRD, ObjectKey("", f"passings.{kind.group}")))
