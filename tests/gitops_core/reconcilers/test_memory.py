"""What the loops of Git and of the cluster remember of an object goes with it."""

from __future__ import annotations

import asyncio

from gitops_core.api import GitRepository, Kustomization
from gitops_core.meta import ObjectKey, ObjectRef
from tests.gitops_core.reconcilers.world import World
from tests.memories import remembering
from tests.simulation.loop import in_virtual_time

NEVER_READY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
"""


@in_virtual_time
async def test_nothing_is_remembered_of_what_was_deleted_while_it_was_waited_for() -> None:
    world = World()
    await world.begin({"app/web.yaml": NEVER_READY})
    await world.sync("zebra", "./app", wait=True, timeout="1h")
    async with world.running():
        await asyncio.sleep(60)
        assert any(remembering(each.reconciler, "zebra") for each in world.controllers)

        for kind, name in ((Kustomization, "zebra"), (GitRepository, "r")):
            await world.local.delete(ObjectRef(kind.KIND, ObjectKey("default", name)))
        await asyncio.sleep(60)

        assert await world.kustomization("zebra") is None
        assert await world.repository_object() is None
        for each in world.controllers:
            assert remembering(each.reconciler, "zebra") == []
