"""What the loops of images remember is bounded, by bytes, and what they remember of an object goes with it."""

from __future__ import annotations

from typing import Any

from gitops_core.adapters.local import LocalCluster
from gitops_core.api import GitRepository
from gitops_core.meta import ObjectKey, ObjectMeta, ObjectRef, Resource
from gitops_core.recent import Recent
from image_updater.adapters.catalog import SqliteCatalog
from image_updater.api import ImagePolicy, ImageRepository, ImageRepositorySpec, ImageUpdateAutomation
from image_updater.domain.registry.webhooks import PushedTag
from image_updater.domain.tags.listings import Listings
from image_updater.reconcilers.checkpoints import Checkpoints
from image_updater.reconcilers.pushes import Pushes
from image_updater.reconcilers.repositories import ImageRepositoryReconciler
from tests.image_updater.world import World, conditions, is_ready
from tests.memories import remembering
from tests.simulation.fakes.registry import FakeRegistry
from tests.simulation.loop import SeededChance, VirtualClock, in_virtual_time, virtually

HOST = "registry.example.com"


class NoObjects:
    """Nobody lists anything else."""

    async def list(self, type_: type[Resource], namespace: str = "") -> tuple[()]:
        return ()


async def requests_for(names: str, capacity: int, tags: int = 20) -> list[int]:
    """How many listings a registry was asked for after each of these images was wanted, one after the other."""
    clock, registry = VirtualClock(), FakeRegistry()
    cluster, catalog = LocalCluster.open(None, clock, SeededChance(1)), SqliteCatalog.open(None)
    objects: Any = NoObjects()
    reconciler = ImageRepositoryReconciler(
        cluster=cluster,
        clock=clock,
        registry=registry,
        catalog=catalog,
        logins=None,
        checkpoints=Checkpoints(cluster, objects, clock, catalog),
        listings=Listings(),
        newest=Recent(capacity),
    )
    asked = []
    for name in names:
        for number in range(tags):
            registry.push(f"{HOST}/apps/{name}", f"1.0.{number}-{name * 90}")
        image = ImageRepositorySpec(image=f"{HOST}/apps/{name}", interval="1h")
        await reconciler.reconcile(ImageRepository(metadata=ObjectMeta(name=name, namespace="shop"), spec=image))
        asked.append(registry.requests)
    catalog.close()
    cluster.close()
    return asked


def test_listings_are_remembered_by_their_size_the_last_used_ones_first() -> None:
    one = 20 * 100  # bytes of the tags alone

    assert virtually(requests_for("abab", 20 * one)) == [1, 2, 2, 2]
    assert virtually(requests_for("abab", 3 * one)) == [1, 2, 3, 4]


def reminders(world: World, name: str) -> list[str]:
    return [place for each in world.controllers for place in remembering(each.reconciler, name)]


async def deleted(world: World, *kinds: type[Resource]) -> None:
    for kind in kinds:
        await world.cluster.delete(ObjectRef(kind.KIND, ObjectKey("default", "zebra")))
    for kind in kinds:
        while await world.get(kind, "zebra") is not None:
            await world.clock.sleep(0.1)


@in_virtual_time
async def test_nothing_is_remembered_of_what_was_deleted() -> None:
    world = World()
    marked = f'image: {HOST}/apps/zebra:1.0.0 # {{"$imagepolicy": "default:zebra"}}\n'
    await world.repository.commit({"app.yaml": marked.encode()}, message="first")
    async with world.running():
        await world.scanned("1.0.0", name="zebra", image=f"{HOST}/apps/zebra", interval="1h")
        await world.policy("zebra")
        await world.source("zebra")
        await world.automation("zebra", sourceRef={"kind": "GitRepository", "name": "zebra"})
        await world.until(ImageUpdateAutomation, "zebra", is_ready)
        pushed = [PushedTag(f"{HOST}/apps/zebra", "1.1.0", "")]
        assert await Pushes(world.cluster, world.clock).tell(ObjectKey("default", "zebra"), pushed)
        await world.clock.sleep(60)
        before = reminders(world, "zebra")

        await deleted(world, ImageUpdateAutomation, ImagePolicy, ImageRepository, GitRepository)
        after = reminders(world, "zebra")

    assert before
    assert after == []


@in_virtual_time
async def test_nothing_is_remembered_of_a_policy_that_was_deleted_while_it_waited_for_the_catalog() -> None:
    world = World()
    async with world.running(last=False):
        await world.scanned("1.0.0", name="zebra", interval="1h")
        await world.until(ImageRepository, "zebra", is_ready)

    async def slow(deed: str) -> None:
        await world.clock.sleep(20)

    world.fakes.fault = slow
    await world.policy("zebra")
    async with world.running():
        await world.until(ImagePolicy, "zebra", lambda found: conditions(found) != [])
        before = reminders(world, "zebra")

        await deleted(world, ImagePolicy)
        after = reminders(world, "zebra")

    assert before
    assert after == []
