"""A health check of an object that the Kustomization did not apply: it is looked at every five seconds."""

from __future__ import annotations

import asyncio

from gitops_core.meta import Kind, ObjectKey, ObjectRef
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, condition, config_map
from tests.simulation.loop import in_virtual_time

JOB = Kind("batch", "v1", "Job")


@in_virtual_time
async def test_an_object_of_another_controller_is_found_healthy_within_seconds() -> None:
    world = World()
    await world.begin({"apps/one.yaml": config_map("one")})
    checks = [{"apiVersion": "batch/v1", "kind": "Job", "name": "migrate", "namespace": "default"}]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate", "namespace": "default"}}
    await world.local.apply(job, field_manager="somebody")
    await world.sync("apps", "./apps", interval="1h", timeout="10m", healthChecks=checks)
    async with world.running():
        await asyncio.sleep(60)
        waiting = condition(await world.kustomization("apps"), "Ready")
        assert await world.live(CONFIG_MAP, "one") is not None
        done = {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}
        ref = ObjectRef(JOB, ObjectKey("default", "migrate"))
        await world.local.patch(ref, {"status": done}, field_manager="somebody", subresource="status")
        await asyncio.sleep(6)
        ready = condition(await world.kustomization("apps"), "Ready")

    assert waiting[0] == "Unknown"
    assert ready[0] == "True"
