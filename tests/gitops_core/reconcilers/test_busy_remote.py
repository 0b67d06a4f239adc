"""A Git remote for which others wait already is no reason to give an object up for its whole interval."""

from __future__ import annotations

import asyncio

from gitops_core.errors import GitBusy
from tests.gitops_core.reconcilers.world import World, condition, config_map
from tests.simulation.loop import virtually


def test_a_kustomization_that_found_the_remote_busy_comes_back_soon() -> None:
    async def main() -> None:
        world = World()
        commit = await world.begin({"apps/one.yaml": config_map("one")})
        await world.sync("apps", "./apps", interval="10m")

        async def busy(deed: str, when: str) -> None:
            if deed == "tree" and world.clock.monotonic() < 25:
                raise GitBusy("waiting for git.example.com: all 4 places are taken")

        world.git.fault = busy
        async with world.running():
            await asyncio.sleep(20)
            waiting = condition(await world.kustomization("apps"), "Ready")
            await asyncio.sleep(40)
            ready = condition(await world.kustomization("apps"), "Ready")

        assert waiting[0] != "True"
        assert ready == ("True", "ReconciliationSucceeded", f"Applied revision: main@sha1:{commit}")

    virtually(main())


def test_after_a_restart_it_is_the_kustomization_that_finds_the_remote_busy() -> None:
    async def main() -> None:
        world = World()
        await world.begin({"apps/one.yaml": config_map("one")})
        await world.sync("apps", "./apps", interval="10m")
        async with world.running():
            await asyncio.sleep(20)
        await world.sync("more", "./apps", interval="10m", prune=False)
        began = world.clock.monotonic()

        async def busy(deed: str, when: str) -> None:
            if deed == "tree" and world.clock.monotonic() < began + 25:
                raise GitBusy("waiting for git.example.com: all 4 places are taken")

        world.git.fault = busy
        async with world.running():
            await asyncio.sleep(20)
            waiting = condition(await world.kustomization("more"), "Ready")
            await asyncio.sleep(25)
            ready = condition(await world.kustomization("more"), "Ready")

        assert waiting == ("False", "ArtifactFailed", "waiting for git.example.com: all 4 places are taken")
        assert ready[0] == "True"

    virtually(main())
