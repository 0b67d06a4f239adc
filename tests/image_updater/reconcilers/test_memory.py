"""What the loop of ImageRepositories remembers is bounded, by bytes."""

from __future__ import annotations

from typing import Any

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import ObjectMeta, Resource
from gitops_core.recent import Recent
from image_updater.adapters.catalog import SqliteCatalog
from image_updater.api import ImageRepository, ImageRepositorySpec
from image_updater.domain.tags.listings import Listings
from image_updater.reconcilers.checkpoints import Checkpoints
from image_updater.reconcilers.repositories import ImageRepositoryReconciler
from tests.simulation.fakes.registry import FakeRegistry
from tests.simulation.loop import SeededChance, VirtualClock, virtually

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
