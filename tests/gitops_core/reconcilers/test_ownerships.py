"""Another kind of owner works beside a Kustomization, and neither touches what the other applied."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import yaml

from gitops_core.api import Kustomization
from gitops_core.domain.sync.plan import plan_sync
from gitops_core.domain.sync.predictions import Applied
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.reconcilers.applying import Applier
from tests.gitops_core.domain.sync.owners import release
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, condition, config_map
from tests.simulation.loop import in_virtual_time

RELEASE = release(ObjectKey("default", "apps"))  # called like the Kustomization
TEAM = ObjectRef(Kind("", "v1", "Namespace"), ObjectKey("", "team"))


def named(name: str) -> ObjectRef:
    return ObjectRef(CONFIG_MAP, ObjectKey("default", name))


async def install(world: World, *names: str) -> Sequence[Applied]:
    """Apply ConfigMaps, and the Namespace `team`, as a release would."""
    manifests: list[Manifest] = [yaml.safe_load(config_map(name, namespace="default")) for name in names]
    manifests.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    plan = plan_sync(map(RELEASE.add_mark, manifests), (), RELEASE, prune=True)
    applier = Applier(world.cluster, world.clock, RELEASE)
    return await applier.apply((await applier.try_out(plan)).values())


async def versions(world: World, *names: str) -> list[Any]:
    lives = [await world.live(CONFIG_MAP, name) for name in names]
    return [live and live["metadata"]["resourceVersion"] for live in lives]


async def new_world() -> World:
    world = World()
    await world.begin({"apps/one.yaml": config_map("one"), "apps/two.yaml": config_map("two")})
    await world.sync("apps", "./apps", interval="1h")
    return world


@in_virtual_time
async def test_another_owner_prunes_its_own_objects_and_none_of_a_kustomization() -> None:
    world = await new_world()
    async with world.running():
        await asyncio.sleep(5)
        before = await versions(world, "one", "two")
        assert [one.change for one in await install(world, "three")] == ["created", "created"]

        applier = Applier(world.cluster, world.clock, RELEASE)
        pruned = await applier.prune([named("one"), named("two"), named("three"), TEAM])

        assert (pruned.deleted, pruned.spared) == ((named("three"), TEAM), ())
        assert await versions(world, "one", "two", "three") == [*before, None]


@in_virtual_time
async def test_a_kustomization_prunes_nothing_of_another_owner_that_its_inventory_names() -> None:
    world = await new_world()
    async with world.running():
        await asyncio.sleep(5)
        await install(world, "three")
        before = await versions(world, "one", "two", "three")
        known = ["default_one__ConfigMap", "default_two__ConfigMap", "default_three__ConfigMap", "_team__Namespace"]
        status = {"inventory": {"entries": [{"id": one, "v": "v1"} for one in known]}}
        ref = ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))
        await world.local.patch(ref, {"status": status}, field_manager="test", subresource="status")

        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(5)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert await versions(world, "one", "two", "three") == before
        assert await world.local.get(TEAM) is not None
        await world.local.delete(ref)
        await asyncio.sleep(5)
        assert await world.kustomization("apps") is None
        assert await versions(world, "one", "two", "three") == [None, None, before[2]]
        assert await world.local.get(TEAM) is not None
