"""What is told while a registry is being listed: the listing may lack it, and nobody waits an interval for it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from gitops_core.meta import ObjectKey, ObjectRef, write_timestamp
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.oci.references import Repository
from image_updater.api import ImageRepository
from image_updater.domain.registry.webhooks import PushedTag
from image_updater.reconcilers.pushes import Pushes
from tests.image_updater.world import IMAGE, World, is_ready
from tests.simulation.fakes.registry import FakeRegistry
from tests.simulation.loop import in_virtual_time

DIGEST = f"sha256:{'c' * 64}"


class SlowRegistry(FakeRegistry):
    """Answers with the tags of the moment when it was asked, as long as `takes` says later."""

    takes = 0.0

    async def list_tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        found = await super().list_tags(repository, access)
        await asyncio.sleep(self.takes)
        return found


def tag_count(number: int, manifest: dict[str, dict[str, dict[str, int]]]) -> bool:
    return (manifest["status"].get("lastScanResult") or {}).get("tagCount") == number


async def wake(world: World, name: str, when: str) -> None:
    patch = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": when}}}
    await world.cluster.patch(ObjectRef(ImageRepository.KIND, ObjectKey("default", name)), patch, field_manager="test")


@in_virtual_time
async def test_a_tag_that_is_told_during_a_listing_is_not_lost() -> None:
    world, registry = World(), SlowRegistry()
    world.fakes = registry
    async with world.running():
        await world.scanned("1.0.0", interval="1h")
        await world.until(ImageRepository, "app", is_ready)
        registry.takes = 30.0
        await world.clock.sleep(10)
        await world.request_scan("app")
        await world.clock.sleep(10)

        registry.push(IMAGE, "1.1.0")
        assert await Pushes(world.cluster, world.clock).tell(
            ObjectKey("default", "app"), [PushedTag(IMAGE, "1.1.0", DIGEST)]
        )
        told = world.clock.monotonic()

        await world.until(ImageRepository, "app", lambda o: tag_count(2, o))
        assert world.clock.monotonic() - told < 60


@in_virtual_time
async def test_a_woken_repository_takes_no_listing_that_began_before() -> None:
    world, registry = World(), SlowRegistry()
    world.fakes = registry
    async with world.running():
        for name in ("app", "other"):
            await world.scanned("1.0.0", name=name, interval="1h")
            await world.until(ImageRepository, name, is_ready)
        registry.takes = 30.0
        await world.clock.sleep(10)
        await world.request_scan("app")
        await world.clock.sleep(10)

        registry.push(IMAGE, "1.1.0")
        await wake(world, "other", write_timestamp(world.clock.now()))
        woken = world.clock.monotonic()

        await world.until(ImageRepository, "other", lambda o: tag_count(2, o))
        assert world.clock.monotonic() - woken < 90


@in_virtual_time
async def test_all_who_are_woken_at_once_share_a_listing() -> None:
    world, registry = World(), SlowRegistry()
    world.fakes = registry
    names = [f"app-{number}" for number in range(10)]
    async with world.running():
        for name in names:
            await world.scanned("1.0.0", name=name, interval="1h")
            await world.until(ImageRepository, name, is_ready)
        registry.takes, asked = 5.0, registry.requests
        await world.clock.sleep(10)
        moment = write_timestamp(world.clock.now() - timedelta(seconds=1))
        registry.push(IMAGE, "1.1.0")

        for name in names:
            await wake(world, name, moment)
        for name in names:
            await world.until(ImageRepository, name, lambda o: tag_count(2, o))

        assert registry.requests - asked <= 2
