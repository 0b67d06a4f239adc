"""One object in two Kustomizations: both are told, once, and only as long as it is so."""

from __future__ import annotations

import asyncio

from gitops_core.api import Kustomization
from gitops_core.errors import Forbidden
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.ports import Query
from tests.gitops_core.reconcilers.world import CONFIG_MAP, EVENT, World, condition, config_map
from tests.simulation.loop import in_virtual_time

BOTH = {"a/one.yaml": config_map("one"), "a/a.yaml": config_map("a"), "b/one.yaml": config_map("one", "2")}


async def warnings(world: World, name: str) -> list[str]:
    """The messages of the Warnings about an object of that name, each as often as it was told."""
    page = await world.local.list(Query(EVENT), dict)
    found = [item for item in page.items if isinstance(item, dict) and item["involvedObject"]["name"] == name]
    return [item["message"] for item in found if item["type"] == "Warning" for _ in range(item.get("count") or 1)]


@in_virtual_time
async def test_an_object_in_two_kustomizations_is_told_once_by_both() -> None:
    world = World()
    await world.begin(BOTH)
    await world.sync("a", "./a", interval="1m")
    await world.sync("b", "./b", interval="1m")
    async with world.running():
        await asyncio.sleep(600)

        for name, other in (("a", "b"), ("b", "a")):
            message = f"ConfigMap/default/one is applied by Kustomization/default/{other} too: "
            message += "take it out of all but one"
            live = await world.kustomization(name)
            assert condition(live, "Contested") == ("True", "AppliedByOthers", message)
            assert condition(live, "Ready")[0] == "True"
            assert await warnings(world, name) == [message]


@in_virtual_time
async def test_the_condition_stays_through_a_failure_and_goes_with_its_cause() -> None:
    world = World()
    await world.begin(BOTH)
    await world.sync("a", "./a", interval="1m")
    await world.sync("b", "./b", interval="1m")
    async with world.running():
        await asyncio.sleep(200)
        await world.commit({"a/bad.yaml": "kind: ["})
        await asyncio.sleep(200)
        live = await world.kustomization("a")
        assert condition(live, "Ready")[1] == "BuildFailed"
        assert condition(live, "Contested")[0] == "True"
        assert len([text for text in await warnings(world, "a") if "too: take" in text]) == 1

        await world.commit({"a/bad.yaml": None, "b/one.yaml": None, "b/b.yaml": config_map("b")})
        await asyncio.sleep(400)

        assert condition(await world.kustomization("a"), "Contested") == ("", "", "")
        assert condition(await world.kustomization("b"), "Contested") == ("", "", "")
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "1"}


@in_virtual_time
async def test_an_object_of_the_same_name_in_another_cluster_is_no_contest() -> None:
    world = World()
    await world.begin(BOTH)
    await world.sync("a", "./a", interval="1m")
    await world.sync("b", "./b", interval="1m")
    async with world.running():
        await asyncio.sleep(200)
        assert condition(await world.kustomization("a"), "Contested")[0] == "True"

        ref = ObjectRef(Kustomization.KIND, ObjectKey("default", "b"))
        elsewhere = {"spec": {"suspend": True, "kubeConfig": {"secretRef": {"name": "there"}}}}
        edited = await world.local.patch(ref, elsewhere, field_manager="test")
        status = {"status": {"observedGeneration": edited["metadata"]["generation"]}}
        await world.local.patch(ref, status, field_manager="test", subresource="status")
        await asyncio.sleep(200)

        assert condition(await world.kustomization("a"), "Contested") == ("", "", "")


@in_virtual_time
async def test_an_object_that_moves_from_one_to_the_other_is_no_contest() -> None:
    world = World()
    await world.begin({"b/one.yaml": config_map("one"), "a/a.yaml": config_map("a"), "b/b.yaml": config_map("b")})
    await world.sync("a", "./a", interval="1m")
    await world.sync("b", "./b", interval="1m", retryInterval="30s")
    async with world.running():
        await asyncio.sleep(10)
        world.cluster.refusals["ConfigMap/b"] = Forbidden("not now")  # so that "a" is far ahead

        moved = {"b/one.yaml": None, "b/b.yaml": config_map("b", "2"), "a/one.yaml": config_map("one", "2")}
        await world.commit(moved)
        await asyncio.sleep(100)
        assert await warnings(world, "a") == []
        world.cluster.refusals.clear()
        await asyncio.sleep(100)

        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "2"}
        assert condition(await world.kustomization("b"), "Ready")[0] == "True"
        assert await warnings(world, "a") == []


@in_virtual_time
async def test_an_object_that_two_apply_in_different_versions_is_contested() -> None:
    def policy(version: str) -> str:
        return f"apiVersion: example.org/{version}\nkind: Widget\nmetadata: {{name: w}}\n"

    definition = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: false, schema: {openAPIV3Schema: {type: object}}}
  - {name: v2, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""

    world = World()
    await world.begin({"crd/crd.yaml": definition, "a/w.yaml": policy("v1"), "b/w.yaml": policy("v2")})
    await world.sync("crd", "./crd")
    for name in ("a", "b"):
        await world.sync(name, f"./{name}", interval="1m", dependsOn=[{"name": "crd"}])
    async with world.running():
        await asyncio.sleep(300)

        for name in ("a", "b"):
            assert condition(await world.kustomization(name), "Contested")[0] == "True"
        await world.request(Kustomization, "a", "again")
        await asyncio.sleep(5)
        assert len(await warnings(world, "a")) == 1


async def forge(world: World, name: str, *ids: str) -> None:
    """An inventory that claims these beside what is there."""
    entries = (await world.kustomization(name))["status"]["inventory"]["entries"]
    forged = {"status": {"inventory": {"entries": [*entries, *({"id": id_, "v": "v1"} for id_ in ids)]}}}
    ref = ObjectRef(Kustomization.KIND, ObjectKey("default", name))
    await world.local.patch(ref, forged, field_manager="tenant", subresource="status")


@in_virtual_time
async def test_what_somebody_only_claims_in_a_status_is_no_contest() -> None:
    """A real one beside it is told, and names who writes the object and nobody else."""
    world = World()
    await world.begin({**BOTH, "c/c.yaml": config_map("c")})
    for name in ("a", "b", "c"):
        await world.sync(name, f"./{name}", interval="1m" if name != "c" else "1h")
    async with world.running():
        await asyncio.sleep(10)
        await forge(world, "c", "default_a__ConfigMap", "default_one__ConfigMap")
        await asyncio.sleep(300)
        await world.request(Kustomization, "a", "look")
        await asyncio.sleep(10)

        message = "ConfigMap/default/one is applied by Kustomization/default/b too: take it out of all but one"
        assert condition(await world.kustomization("a"), "Contested") == ("True", "AppliedByOthers", message)
        assert await warnings(world, "a") == [message]


@in_virtual_time
async def test_a_claim_makes_nobody_warn_also_when_a_new_commit_comes() -> None:
    world = World()
    await world.begin({"a/a.yaml": config_map("a"), "c/c.yaml": config_map("c")})
    for name in ("a", "c"):
        await world.sync(name, f"./{name}", interval="1m" if name == "a" else "1h")
    async with world.running():
        await asyncio.sleep(10)
        await world.commit_and_sync({"a/a.yaml": config_map("a", "2")})
        await forge(world, "c", "default_a__ConfigMap")
        await world.request(Kustomization, "a", "look")
        await asyncio.sleep(200)

        assert condition(await world.kustomization("a"), "Contested") == ("", "", "")
        assert await warnings(world, "a") == []
