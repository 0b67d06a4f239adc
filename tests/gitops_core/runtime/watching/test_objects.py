"""Finding objects by what they list: as if all were looked through, and without looking through all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gitops_core.ports import Query
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.watching.informers import Informers
from gitops_core.runtime.watching.objects import WatchedObjects
from tests.gitops_core.runtime.kinds import Widget
from tests.gitops_core.runtime.world import World, ref
from tests.simulation.loop import SeededChance, in_virtual_time


def list_letters(widget: Widget) -> tuple[str, ...]:
    return tuple(widget.spec.gadget)


class Counting:
    """Lists letters, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, widget: Widget) -> tuple[str, ...]:
        self.times += 1
        return list_letters(widget)


@asynccontextmanager
async def mirrored(world: World, *queries: Query) -> AsyncIterator[tuple[Informers, WatchedObjects]]:
    """The widgets of each query are mirrored; of none, all widgets are."""
    informers = Informers(world.cluster, world.clock, SeededChance(4), Metrics(CollectorRegistry()))
    async with asyncio.TaskGroup() as group:
        informers.start(group)
        for query in queries or (Query(Widget.KIND),):
            informers.acquire(query, Widget)
        await asyncio.sleep(1)
        yield informers, WatchedObjects(informers, world.cluster)
        informers.stop()


def names(widgets: Iterable[Widget]) -> list[str]:
    return [widget.metadata.name for widget in widgets]


TEXTS = st.text("xyz", max_size=4)
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.none() | TEXTS), max_size=12)


@in_virtual_time
async def test_whoever_is_woken_by_a_watch_reads_what_woke_it() -> None:
    world = World()
    await world.install()
    key = ref(Widget, "a").key
    own = Query(Widget.KIND, namespace=key.namespace)  # what a shard reconciles
    named = Query(Widget.KIND)  # what others name
    async with mirrored(world, own, named) as (informers, objects):
        narrow, wide = (informers.acquire(query, Widget) for query in (own, named))
        await world.put(Widget, "a", gadget="x")
        await asyncio.sleep(1)
        older = narrow.objects[key]
        await world.put(Widget, "a", gadget="y")
        await asyncio.sleep(1)
        newer = wide.objects[key]
        narrow.objects[key] = older  # as if its watch were slower

        found = await objects.get(Widget, key)

    assert (found, newer.spec.gadget) == (newer, "y")


PARTS = [
    Query(Widget.KIND, namespace="other"),
    Query(Widget.KIND, labels="shard=one"),
    Query(Widget.KIND, namespace="shop", name="b"),
]


@pytest.mark.parametrize("part", PARTS, ids=["another namespace", "a label", "a name"])
@in_virtual_time
async def test_a_mirror_of_some_objects_stands_for_no_others(part: Query) -> None:
    world = World()
    await world.install()
    async with mirrored(world, part) as (_, objects):
        await world.put(Widget, "a", gadget="x")
        await asyncio.sleep(1)

        found = await objects.get(Widget, ref(Widget, "a").key)
        listed = await objects.list(Widget, "shop")

    assert found is not None
    assert names(listed) == ["a"]


@settings(max_examples=40, deadline=None)
@given(STEPS, TEXTS)
@in_virtual_time
async def test_after_any_history_those_are_found_that_list_one_of_the_terms(
    steps: list[tuple[str, str | None]], wanted: str
) -> None:
    world, live = World(), dict[str, str]()
    await world.install()
    async with mirrored(world) as (_, objects):
        for name, text in steps:
            await objects.find(Widget, list_letters, "x")
            if text is not None:
                await world.put(Widget, name, gadget=text)
                live[name] = text
            elif live.pop(name, None) is not None:
                await world.local.delete(ref(Widget, name))
            await asyncio.sleep(1)

        found = names(await objects.find(Widget, list_letters, wanted))

    assert found == sorted(name for name, text in live.items() if set(text) & set(wanted))


@in_virtual_time
async def test_to_find_some_of_many_again_and_again_only_what_changed_is_looked_at() -> None:
    world, counting = World(), Counting()
    await world.install()
    for number in range(50):
        await world.put(Widget, f"w{number:02}", gadget="x" if number == 7 else "y")
    async with mirrored(world) as (_, objects):
        await objects.find(Widget, counting, "x")
        counting.times = 0

        found = [names(await objects.find(Widget, counting, "x")) for _ in range(20)]
        await world.put(Widget, "w09", gadget="x")
        await asyncio.sleep(1)
        found.append(names(await objects.find(Widget, counting, "x")))

    assert found == [*[["w07"]] * 20, ["w07", "w09"]]
    assert counting.times <= 2


@in_virtual_time
async def test_what_is_mirrored_anew_is_found_and_what_is_not_mirrored_too() -> None:
    world = World()
    await world.install()
    await world.put(Widget, "a", gadget="x")
    async with mirrored(world) as (informers, objects):
        assert names(await objects.find(Widget, list_letters, "x")) == ["a"]
        mirror = informers.acquire(Query(Widget.KIND), Widget)
        for _ in range(2):
            informers.release(mirror)
        await world.put(Widget, "b", gadget="x")

        assert names(await objects.find(Widget, list_letters, "x")) == ["a", "b"]
        informers.acquire(Query(Widget.KIND), Widget)
        await asyncio.sleep(1)
        await world.put(Widget, "c", gadget="xy")
        await asyncio.sleep(1)
        assert names(await objects.find(Widget, list_letters, "x")) == ["a", "b", "c"]
