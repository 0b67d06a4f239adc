"""What a sync deletes, and what it does not: a mistake in Git costs nothing that a person did not confirm."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from gitops_core.api import Kustomization
from gitops_core.meta import ObjectKey, ObjectRef
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, condition, config_map, inventory
from tests.simulation.loop import virtually

APP = {"apps/one.yaml": config_map("one"), "apps/two.yaml": config_map("two")}
LOCAL = config_map("local", annotations={"config.kubernetes.io/local-config": "true"})
EMPTIED: dict[str, Mapping[str, str | None]] = {
    "comments": {"apps/one.yaml": "# moved\n", "apps/two.yaml": None},
    "an emptied file": {"apps/one.yaml": "", "apps/two.yaml": None},
    "an empty document": {"apps/one.yaml": "---\n---\n", "apps/two.yaml": None},
    "a List without items": {"apps/one.yaml": "apiVersion: v1\nkind: List\nitems: []\n", "apps/two.yaml": None},
    "no resources": {"apps/kustomization.yaml": "resources: []\n"},
    "an empty mapping": {"apps/one.yaml": "{}\n", "apps/two.yaml": None},
    "all for tools": {"apps/one.yaml": LOCAL, "apps/two.yaml": None},
}


async def annotate(world: World, name: str, **annotations: str | None) -> None:
    patch = {"metadata": {"annotations": {f"sealoop.dev/{key.replace('_', '-')}": v for key, v in annotations.items()}}}
    await world.local.patch(ObjectRef(Kustomization.KIND, ObjectKey("default", name)), patch, field_manager="test")


async def names(world: World, *candidates: str) -> set[str]:
    return {name for name in candidates if await world.live(CONFIG_MAP, name) is not None}


@pytest.mark.parametrize("how", EMPTIED)
def test_a_build_without_objects_deletes_nothing_and_says_so(how: str) -> None:
    async def main() -> None:
        world = World()
        await world.begin(APP)
        await world.sync("apps", "./apps")
        async with world.running():
            await asyncio.sleep(5)

            await world.commit(EMPTIED[how])
            await asyncio.sleep(90)

            assert await names(world, "one", "two") == {"one", "two"}
            live = await world.kustomization("apps")
            status, reason, message = condition(live, "Ready")
            assert (status, reason) == ("False", "PruneGuarded")
            assert condition(live, "Stalled")[:2] == ("True", "PruneGuarded")
            assert "ConfigMap/default/one, ConfigMap/default/two" in message
            assert inventory(live) == ["default_one__ConfigMap", "default_two__ConfigMap"]

    virtually(main())


def test_an_empty_build_is_confirmed_for_one_revision_and_not_for_the_next() -> None:
    async def main() -> None:
        world = World()
        await world.begin(APP)
        await world.sync("apps", "./apps", interval="1h")
        async with world.running():
            await asyncio.sleep(5)
            commit = await world.commit(EMPTIED["comments"])
            await asyncio.sleep(90)
            assert await names(world, "one", "two") == {"one", "two"}

            await annotate(world, "apps", confirm_prune=f"main@sha1:{commit}")
            await asyncio.sleep(5)  # the annotation itself wakes

            live = await world.kustomization("apps")
            assert condition(live, "Ready")[:2] == ("True", "ReconciliationSucceeded")
            assert condition(live, "Stalled") == ("", "", "")
            assert await names(world, "one", "two") == set()
            await world.commit(APP)
            await asyncio.sleep(90)
            assert await names(world, "one", "two") == {"one", "two"}
            await world.commit(EMPTIED["comments"])
            await asyncio.sleep(90)
            assert await names(world, "one", "two") == {"one", "two"}

    virtually(main())


def test_a_commit_that_brings_the_objects_back_heals_a_refused_one() -> None:
    async def main() -> None:
        world = World()
        await world.begin(APP)
        await world.sync("apps", "./apps", interval="1h")
        async with world.running():
            await asyncio.sleep(5)
            await world.commit(EMPTIED["comments"])
            await asyncio.sleep(90)

            await world.commit(APP)
            await asyncio.sleep(90)

            assert condition(await world.kustomization("apps"), "Ready")[0] == "True"

    virtually(main())


def test_most_of_many_objects_are_deleted_only_within_the_limit_that_was_set() -> None:
    files = {f"apps/c{number}.yaml": config_map(f"c{number}") for number in range(12)}
    most: dict[str, str | None] = {path: None for path in files if path != "apps/c0.yaml"}

    async def main() -> None:
        world = World()
        await world.begin(files)
        await world.sync("apps", "./apps", interval="1h")
        async with world.running():
            await asyncio.sleep(5)

            await world.commit(most)
            await asyncio.sleep(90)

            live = await world.kustomization("apps")
            assert condition(live, "Ready")[1] == "PruneGuarded"
            assert (
                "11 of 12 applied objects would be deleted, more than 10 and more than 50%"
                in (condition(live, "Ready")[2])
            )
            assert len(inventory(live)) == 12
            await annotate(world, "apps", prune_limit="11")
            await asyncio.sleep(5)
            live = await world.kustomization("apps")
            assert condition(live, "Ready")[0] == "True"
            assert inventory(live) == ["default_c0__ConfigMap"]

    virtually(main())


def test_without_prune_an_empty_build_is_applied() -> None:
    async def main() -> None:
        world = World()
        await world.begin(APP)
        await world.sync("apps", "./apps", prune=False)
        async with world.running():
            await asyncio.sleep(5)

            await world.commit(EMPTIED["comments"])
            await asyncio.sleep(90)

            assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
            assert await names(world, "one", "two") == {"one", "two"}

    virtually(main())


def test_a_limit_that_cannot_be_read_is_told() -> None:
    async def main() -> None:
        world = World()
        await world.begin(APP)
        await world.sync("apps", "./apps")
        await annotate(world, "apps", prune_limit="a few")
        async with world.running():
            await asyncio.sleep(5)

            status, reason, message = condition(await world.kustomization("apps"), "Ready")
            assert (status, reason) == ("False", "InvalidPruneLimit")
            assert message.startswith("annotation sealoop.dev/prune-limit is 'a few': write ")

    virtually(main())
