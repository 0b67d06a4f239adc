"""A Git remote for which others wait already is no reason to give an object up for its whole interval."""

from __future__ import annotations

import asyncio

from gitops_core.errors import GitBusy, Postponed
from tests.gitops_core.reconcilers.world import World, condition, config_map
from tests.simulation.loop import in_virtual_time


@in_virtual_time
async def test_a_kustomization_that_found_the_remote_busy_comes_back_soon() -> None:
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


@in_virtual_time
async def test_after_a_restart_it_is_the_kustomization_that_finds_the_remote_busy() -> None:
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


@in_virtual_time
async def test_a_kustomization_whose_turn_has_not_come_says_nothing() -> None:
    world = World()
    commit = await world.begin({"apps/one.yaml": config_map("one")})
    await world.sync("apps", "./apps", interval="10m")
    async with world.running():
        await asyncio.sleep(20)
    await world.sync("more", "./apps", interval="10m", prune=False)
    postponed, told = 0, list[str]()

    async def later(deed: str, when: str) -> None:
        nonlocal postponed
        if deed == "tree" and postponed < 20:
            postponed += 1
            raise Postponed("many builds of namespace 'default' wait")

    world.git.fault = later
    async with world.running():
        while not told or told[-1] != f"Applied revision: main@sha1:{commit}":
            told.append(condition(await world.kustomization("more"), "Ready")[2])
            await asyncio.sleep(0.1)

    assert postponed == 20
    assert not [message for message in told if "many builds" in message]
    assert not [message for _, _, message in await world.events("more") if "many builds" in message]
