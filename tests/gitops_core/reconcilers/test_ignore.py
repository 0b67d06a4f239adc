"""Fields that are left to others: nobody's write to them is lost, and nothing is written for them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from gitops_core.meta import ObjectKey, ObjectRef
from tests.gitops_core.reconcilers.world import DEPLOYMENT, World, condition
from tests.simulation.loop import in_virtual_time

WEB = ObjectRef(DEPLOYMENT, ObjectKey("default", "web"))
IGNORE = [{"paths": ["/spec/replicas"]}]


def deployment(image: str) -> str:
    labels = {"app": "web"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})


async def begin() -> World:
    world = World()
    await world.begin({"apps/a.yaml": deployment("web:1")})
    await world.sync("apps", "./apps", interval="1m", ignore=IGNORE)
    return world


async def scale(world: World, replicas: int) -> None:
    await world.local.patch(WEB, {"spec": {"replicas": replicas}}, field_manager="autoscaler")


async def read(world: World) -> tuple[int, str]:
    live: Any = await world.live(DEPLOYMENT, "web")
    return live["spec"]["replicas"], live["spec"]["template"]["spec"]["containers"][0]["image"]


@in_virtual_time
async def test_a_write_between_our_read_and_our_apply_is_not_lost() -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        await scale(world, 4)
        world.cluster.meanwhile["apply", "Deployment/web"] = lambda: scale(world, 5)
        await world.commit_and_sync({"apps/a.yaml": deployment("web:2")})

        assert await read(world) == (5, "web:2")
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"


@in_virtual_time
async def test_a_field_that_others_write_is_applied_once_for_each_of_their_writes() -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        await scale(world, 4)
        await asyncio.sleep(130)
        before = len(world.cluster.requests)
        await asyncio.sleep(300)

        assert await read(world) == (4, "web:1")
        assert world.cluster.since(before, "apply") == []
