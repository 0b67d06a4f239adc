"""What becomes of a tag that a webhook told of: the registry is asked once, with the object's own credentials."""

from __future__ import annotations

import asyncio
from typing import Any

from gitops_core.errors import RegistryDenied, RegistryUnavailable
from gitops_core.meta import ObjectKey
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.oci.references import Repository
from image_updater.api import ImagePolicy, ImageRepository, UpdateGuard
from image_updater.domain.registry.webhooks import PushedTag
from image_updater.reconcilers.pushes import Pushes
from tests.image_updater.world import IMAGE, World, is_ready
from tests.simulation.fakes.registry import FakeRegistry, no_fault
from tests.simulation.loop import in_virtual_time, virtually

APP = ObjectKey("default", "app")
FORGED = f"sha256:{'f' * 64}"


async def tell(world: World, *tags: str, digest: str = "") -> None:
    pushed = [PushedTag(IMAGE, tag, digest) for tag in tags]
    assert await Pushes(world.cluster, world.clock).tell(APP, pushed)


async def begun(world: World, **spec: Any) -> None:
    await world.scanned("1.0.0", **{"interval": "1h", **spec})
    await world.policy(range_="*", digestReflectionPolicy="IfNotPresent")
    await world.until(ImagePolicy, "app", is_ready)


@in_virtual_time
async def test_a_tag_that_the_registry_does_not_have_is_not_believed() -> None:
    world = World()
    async with world.running():
        await begun(world)
        await tell(world, "99.0.0", digest=FORGED)
        await world.clock.sleep(60)
        repository, policy = await world.get(ImageRepository, "app"), await world.get(ImagePolicy, "app")

    assert is_ready(repository)
    assert repository["status"]["lastScanResult"]["tagCount"] == 1
    assert policy["status"]["latestRef"]["tag"] == "1.0.0"


@in_virtual_time
async def test_a_tag_names_what_the_registry_says() -> None:
    world = World()
    async with world.running():
        await begun(world)
        digest = world.fakes.push(IMAGE, "1.1.0")
        await tell(world, "1.1.0", digest=FORGED)
        policy = await world.until(ImagePolicy, "app", lambda o: o["status"]["latestRef"]["tag"] == "1.1.0")
        events = await world.events("ImagePolicy")

    assert policy["status"]["latestRef"]["digest"] == digest
    assert not any("names another image now" in event for event in events)


@in_virtual_time
async def test_many_forged_pushes_cost_few_requests_and_keep_no_true_one_out_for_longer_than_an_interval() -> None:
    world = World()
    async with world.running():
        await begun(world)
        before = world.fakes.requests
        for number in range(30):
            await tell(world, *(f"99.{number}.{patch}" for patch in range(10)))
            await world.clock.sleep(0.5)
        world.fakes.push(IMAGE, "1.1.0")
        await tell(world, "1.1.0")
        await world.clock.sleep(60)
        asked = world.fakes.requests - before
        await world.clock.sleep(4500)
        repository = await world.get(ImageRepository, "app")

    assert asked <= 50
    assert repository["status"]["lastScanResult"]["latestTags"] == ["1.1.0", "1.0.0"]


@in_virtual_time
async def test_a_push_is_asked_about_once() -> None:
    world = World()
    async with world.running():
        await begun(world)
        world.fakes.push(IMAGE, "1.1.0")
        await tell(world, "1.1.0", "99.0.0")
        await world.clock.sleep(10)
        before = world.fakes.requests
        for suspend in (True, False) * 3:  # it is looked at again and again
            await world.scanned(interval="1h", suspend=suspend)
            await world.clock.sleep(5)
        result = world.fakes.requests - before
    assert result == 0


class SlowToList(FakeRegistry):
    """Its answer to a listing takes a while, and is what was there when it was asked."""

    pause = 0.0

    async def list_tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        found = await super().list_tags(repository, access)
        await asyncio.sleep(self.pause)
        return found


@in_virtual_time
async def test_a_push_during_a_listing_that_does_not_have_it_is_not_lost() -> None:
    world = World()
    world.fakes = fakes = SlowToList()
    async with world.running():
        await begun(world)
        fakes.pause = 5.0
        await world.clock.sleep(2)
        await world.request_scan("app")
        await world.clock.sleep(2)
        fakes.push(IMAGE, "1.1.0")
        await tell(world, "1.1.0")


def test_a_registry_that_is_away_or_denies_loses_no_push_and_believes_none() -> None:
    async def scenario() -> Any:
        world = World()
        async with world.running():
            await begun(world)

            async def denied(deed: str) -> None:
                if deed == "digest":
                    raise RegistryDenied("no")

            async def away(deed: str) -> None:
                if deed == "digest":
                    raise RegistryUnavailable("HEAD failed: away")

            async def well(deed: str) -> None:
                return

            world.fakes.fault = denied
            await tell(world, "99.0.0")
            await world.clock.sleep(5)
            denied_one = await world.get(ImageRepository, "app")
            world.fakes.fault = away
            world.fakes.push(IMAGE, "1.1.0")
            await tell(world, "1.1.0")
            await world.clock.sleep(5)
            world.fakes.fault = well
            there = await world.until(ImageRepository, "app", lambda o: o["status"]["lastScanResult"]["tagCount"] == 2)
            return denied_one, there

    denied_one, there = virtually(scenario())

    assert is_ready(denied_one)
    assert denied_one["status"]["lastScanResult"]["tagCount"] == 1
    assert there["status"]["lastScanResult"]["latestTags"] == ["1.1.0", "1.0.0"]


@in_virtual_time
async def test_a_tag_that_was_told_of_is_as_old_as_what_the_registry_says_of_it() -> None:
    world = World()
    async with world.running():
        await begun(world)
        await world.put(UpdateGuard, "careful", minAge="10m")

        async def away(deed: str) -> None:
            if deed == "digest":
                raise RegistryUnavailable("HEAD failed: away")

        world.fakes.fault = away
        world.fakes.push(IMAGE, "1.1.0")
        await tell(world, "1.1.0")
        await world.clock.sleep(400)
        world.fakes.push(IMAGE, "1.1.0", "another")  # nobody told of it
        world.fakes.fault, moved = no_fault, world.clock.monotonic()
        await world.clock.sleep(500)
        await world.until(ImagePolicy, "app", lambda o: o["status"]["latestRef"]["tag"] == "1.1.0")
        result = world.clock.monotonic() - moved
    assert result >= 600
