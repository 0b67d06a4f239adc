"""The embedded cluster in virtual time: bookmarks, and the same history from the same seed."""

from __future__ import annotations

import asyncio
from typing import Any

from gitops_core.adapters.local import LocalCluster, workloads
from gitops_core.domain.objects.controllermanager import KINDS
from gitops_core.meta import Kind
from gitops_core.ports import Query
from tests.gitops_core.adapters.local.test_workloads import DEPLOYMENT, Shelf, workload
from tests.simulation.loop import SeededChance, VirtualClock, in_virtual_time, virtually

CONFIG_MAP = Kind("", "v1", "ConfigMap")


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


@in_virtual_time
async def test_a_watch_that_has_nothing_to_say_sends_bookmarks() -> None:
    cluster = LocalCluster.open(None, VirtualClock(), SeededChance())
    version = (await cluster.list(Query(CONFIG_MAP), dict)).resource_version
    await cluster.apply(workload(DEPLOYMENT, "app:1"), field_manager="ann")  # nothing that this watch sees
    seen: list[tuple[str, bool]] = []
    async with asyncio.timeout(3600):
        async for event in cluster.watch(Query(CONFIG_MAP), dict, version):
            seen.append((event.type, int(event.resource_version) > int(version)))
            if len(seen) == 1:
                await cluster.create(config_map("a"), field_manager="ann")
            if len(seen) == 3:
                break
    cluster.close()
    assert seen == [("BOOKMARK", True), ("ADDED", True), ("BOOKMARK", True)]


def test_the_same_seed_makes_the_same_history() -> None:
    async def story() -> list[Any]:
        cluster = LocalCluster.open(None, VirtualClock(), SeededChance(5))
        task = asyncio.create_task(workloads.run(cluster, Shelf("app:1"), VirtualClock()))
        await cluster.apply(workload(DEPLOYMENT, "app:1", replicas=3), field_manager="ann")
        await asyncio.sleep(5)
        await cluster.apply(workload(DEPLOYMENT, "app:2", replicas=2), field_manager="ann")
        await asyncio.sleep(600)
        task.cancel()
        listed = [await cluster.list(Query(kind), dict) for kind in KINDS]
        cluster.close()
        return [(page.resource_version, page.items) for page in listed]

    assert virtually(story()) == virtually(story())
