"""Whatever happens to the connection, an informer ends up with what the cluster has, and tells every change once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gitops_core.errors import NotFound
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import Change, PartialObject, Query
from gitops_core.runtime.authority.forwarding import Request
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.watching.informers import Informer, Informers
from gitops_core.runtime.watching.objects import WatchedObjects
from gitops_core.schema import read_manifest
from tests.gitops_core.runtime.kinds import Gadget, Widget
from tests.gitops_core.runtime.world import Send, World, ref
from tests.simulation.loop import SeededChance, in_virtual_time

_DEFINITION = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
NAMES = st.sampled_from("ab")
_OBJECTS = st.tuples(st.sampled_from(["put", "put", "delete", "label", "absorb", "absorb"]), NAMES)
_CONNECTION = st.tuples(
    st.sampled_from(["pause", "pause", "pause", "long pause", "cut", "expire", "expire", "down", "up"]), st.just("")
)
STEPS = st.lists(st.one_of(_OBJECTS, _CONNECTION), min_size=8, max_size=40)
REMOVED_WHILE_AWAY = [("put", "a"), ("pause", ""), ("expire", ""), ("delete", "a")]
AHEAD_OF_THE_WATCH = [("put", "a"), ("pause", ""), ("absorb", "a"), ("absorb", "a"), ("pause", "")]


class History:
    """A listener that rebuilds the mirror from what it is told, and checks that each step fits the one before."""

    def __init__(self) -> None:
        self.state: dict[str, str] = {}
        self.faults: list[str] = []  # an informer survives listeners that raise: what is wrong is told at the end

    def __call__(self, old: Any, new: Any) -> None:
        name = (new or old).metadata.name
        before, after = (x.metadata.resource_version if x else None for x in (old, new))
        if self.state.get(name) != before:
            self.faults.append(f"{name} went on from {before}, we were told {self.state.get(name)}")
        if before == after:
            self.faults.append(f"{name} was told twice at {after}")
        if before and after and int(after) < int(before):
            self.faults.append(f"{name} went back from {before} to {after}")
        if after is None:
            self.state.pop(name, None)
        else:
            self.state[name] = after


def _informer(world: World, query: Query = Query(Widget.KIND), type_: Any = Widget) -> Informer[Any]:  # noqa: B008
    return Informer(query, type_, world.cluster, world.clock, SeededChance(4), Metrics(CollectorRegistry()))


async def _step(world: World, informer: Informer[Any], kind: str, name: str, number: int) -> None:
    cluster = world.cluster
    match kind:
        case "put":
            await world.put(Widget, name, size=number)
        case "delete":
            try:
                await world.local.delete(ref(Widget, name))
            except NotFound:
                return
        case "label" if await world.get(Widget, name):
            patch = {"metadata": {"labels": {"app": "web" if number % 2 else "db"}}}
            await world.local.patch(ref(Widget, name), patch, field_manager="test")
        case "absorb" if await world.get(Widget, name):
            status = {"status": {"size": number}}
            stored = await world.local.patch(ref(Widget, name), status, field_manager="us", subresource="status")
            informer.absorb(read_manifest(Widget, stored))
        case "cut":
            cluster.cut_watches()
        case "expire":
            cluster.expire = True
            cluster.cut_watches()
        case "down":
            cluster.down = True
            cluster.cut_watches()
        case "up":
            cluster.down = False
        case "pause":
            await asyncio.sleep(0.1)
        case "long pause":
            await asyncio.sleep(100)
    if kind in ("cut", "expire", "down"):
        await asyncio.sleep(0.01)  # the connection is gone before anything else happens


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from(["", "app=web"]))
@example(REMOVED_WHILE_AWAY, "")
@example(AHEAD_OF_THE_WATCH, "")
@in_virtual_time
async def test_after_any_history_the_mirror_is_the_cluster(steps: list[tuple[str, str]], labels: str) -> None:
    world, history = World(), History()
    await world.install()
    query = Query(Widget.KIND, labels=labels)
    informer = _informer(world, query)
    informer.subscribe(history)
    running = asyncio.create_task(informer.run())
    for number, (kind, name) in enumerate(steps):
        await _step(world, informer, kind, name, number)
    world.cluster.down = False
    await asyncio.sleep(120)
    page = await world.local.list(query, Widget)
    running.cancel()

    expected = {w.metadata.name: w.metadata.resource_version for w in page.items if isinstance(w, Widget)}
    assert {w.metadata.name: w.metadata.resource_version for w in informer.objects.values()} == expected
    assert history.state == expected
    assert history.faults == []


_DOUBTS = st.tuples(st.sampled_from(["doubt", "doubt", "late", "very late", "slow", "prompt", "pause"]), st.just(""))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(_OBJECTS, _DOUBTS, _CONNECTION), min_size=8, max_size=40), st.sampled_from(["", "app=web"]))
@example([("put", "a"), ("pause", ""), ("late", ""), ("put", "a"), ("doubt", ""), ("long pause", "")], "")
@example([("put", "a"), ("pause", ""), ("very late", ""), ("delete", "a"), ("doubt", ""), ("long pause", "")], "")
@example([("doubt", ""), ("put", "a"), ("doubt", ""), ("put", "a"), ("doubt", ""), ("pause", "")], "")
@example([("slow", ""), ("put", "a"), ("late", ""), ("put", "a"), ("doubt", ""), ("long pause", "")], "")
@example([("pause", ""), ("slow", ""), ("late", ""), ("doubt", ""), ("pause", ""), ("put", "a"), ("doubt", "")], "")
@in_virtual_time
async def test_a_mirror_that_is_trusted_again_lacks_nothing_that_was_written_before_the_doubt(
    steps: list[tuple[str, str]], labels: str
) -> None:
    world, query = World(), Query(Widget.KIND, labels=labels)
    await world.install()
    informer = _informer(world, query)
    running = asyncio.create_task(informer.run())
    states: list[dict[str, str]] = [{}]
    trusted: list[tuple[int, dict[str, str]]] = []

    async def trust(doubted_at: int) -> None:
        await informer.synced.wait()
        trusted.append((doubted_at, _versions(informer.objects.values())))

    async with asyncio.TaskGroup() as group:
        for number, (kind, name) in enumerate(steps):
            match kind:
                case "doubt":
                    informer.doubt()
                    group.create_task(trust(len(states) - 1))
                case "late" | "very late":
                    world.cluster.lag = {"Widget": 4.0 if kind == "late" else 40.0}
                case "slow":
                    world.cluster.override["list"] = _answers_late
                case "prompt":
                    world.cluster.lag = {}
                    world.cluster.override.clear()
            await _step(world, informer, kind, name, number)
            states.append(_versions((await world.local.list(query, Widget)).items))
        world.cluster.down = False
    running.cancel()

    for doubted_at, mirrored in trusted:
        for name in "ab":
            assert mirrored.get(name) in [state.get(name) for state in states[doubted_at:]]


async def _answers_late(request: Request, send: Send) -> Any:
    answer = await send()
    await asyncio.sleep(2)
    return answer


def _versions(widgets: Any) -> dict[str, str]:
    return {widget.metadata.name: widget.metadata.resource_version for widget in widgets}


@in_virtual_time
async def test_a_mirror_that_is_doubted_after_a_restore_from_a_backup_is_read_anew() -> None:
    """No watch told: what the API server says now is older than what we have."""

    world, backup = World(), World()
    await world.install()
    await backup.install()
    for size in range(30):
        await world.put(Widget, "a", size=size)
    await backup.put(Widget, "a", size=77)
    informer = _informer(world)
    running = asyncio.create_task(informer.run())
    await asyncio.sleep(1)

    world.cluster.become(backup.local)
    informer.doubt()
    await informer.synced.wait()
    running.cancel()

    assert [widget.spec.size for widget in informer.objects.values()] == [77]
    assert world.cluster.requests["list Widget"] == 2


@in_virtual_time
async def test_a_kind_that_went_away_while_others_led_keeps_no_watcher_of_it_waiting() -> None:
    world = World()
    await world.install()
    await world.put(Widget, "a", size=1)
    informer = _informer(world)
    running = asyncio.create_task(informer.run())
    await informer.synced.wait()

    await world.local.delete(ObjectRef(_DEFINITION, ObjectKey("", "widgets.test.sealoop.dev")))
    informer.doubt()
    await informer.settled.wait()
    running.cancel()

    assert informer.is_missing
    assert not informer.synced.is_set()


@in_virtual_time
async def test_everyone_who_asks_the_same_shares_one_informer_and_the_last_one_ends_it() -> None:
    world = World()
    await world.install()
    informers = Informers(world.cluster, world.clock, SeededChance(4), Metrics(CollectorRegistry()))
    async with asyncio.TaskGroup() as group:
        informers.start(group)
        one, two = (informers.acquire(Query(Widget.KIND), Widget) for _ in range(2))
        other = informers.acquire(Query(Widget.KIND, metadata_only=True), PartialObject)
        await asyncio.sleep(1)
        tasks = len(asyncio.all_tasks())
        informers.release(one)
        await asyncio.sleep(1)

        assert one is two
        assert id(one) != id(other)
        assert len(asyncio.all_tasks()) == tasks
        assert world.cluster.requests["list Widget"] == 2

        informers.release(two)
        informers.release(other)
        await asyncio.sleep(1)
        assert informers.acquire(Query(Widget.KIND), Widget) is not one
        informers.stop()


@in_virtual_time
async def test_all_mirrors_of_a_kind_are_counted_and_none_that_ended() -> None:
    world, metrics = World(), Metrics(CollectorRegistry())
    await world.install()
    await world.put(Widget, "a", size=1)
    await world.put(Widget, "b", size=1)
    await world.local.patch(ref(Widget, "a"), {"metadata": {"labels": {"app": "web"}}}, field_manager="test")
    informers = Informers(world.cluster, world.clock, SeededChance(4), metrics)
    counts = list[float]()

    def count() -> None:
        counts.append(next(s.value for m in metrics.informer_objects.collect() for s in m.samples))

    async with asyncio.TaskGroup() as group:
        informers.start(group)
        everything = informers.acquire(Query(Widget.KIND), Widget)
        labelled = informers.acquire(Query(Widget.KIND, labels="app=web"), Widget)
        await everything.synced.wait()
        await labelled.synced.wait()
        count()
        informers.release(labelled)
        count()
        await world.local.delete(ref(Widget, "a"))
        await asyncio.sleep(5)
        count()
        informers.stop()
        count()

    assert counts == [3, 2, 1, 0]


@in_virtual_time
async def test_watched_objects_cost_no_request_and_others_are_asked_for() -> None:
    world = World()
    await world.install()
    await world.put(Widget, "a", size=1)
    await world.put(Gadget, "g", size=2)
    cluster = world.cluster
    informers = Informers(cluster, world.clock, SeededChance(4), Metrics(CollectorRegistry()))
    objects = WatchedObjects(informers, cluster)
    async with asyncio.TaskGroup() as group:
        informers.start(group)
        informers.acquire(Query(Widget.KIND), Widget)
        await asyncio.sleep(1)

        widget = await objects.get(Widget, ObjectKey("shop", "a"))
        nobody = await objects.get(Widget, ObjectKey("shop", "b"))
        gadget = await objects.get(Gadget, ObjectKey("shop", "g"))
        informers.stop()

    assert widget is not None
    assert widget.spec.size == 1
    assert nobody is None
    assert gadget is not None
    assert gadget.spec.size == 2
    assert world.cluster.requests["get Widget"] == 0
    assert world.cluster.requests["get Gadget"] == 1


@in_virtual_time
async def test_who_reads_changes_is_told_what_there_is_and_then_of_each_object_the_newest() -> None:
    world = World()
    await world.install()
    for name in "abc":
        await world.put(Widget, name, size=1)
    informers = Informers(world.cluster, world.clock, SeededChance(4), Metrics(CollectorRegistry()))
    async with asyncio.TaskGroup() as group:
        informers.start(group)
        informers.acquire(Query(Widget.KIND), Widget)
        await asyncio.sleep(1)
        changes = WatchedObjects(informers, world.cluster).follow(Widget, "shop")
        told = [await _told(changes) for _ in range(3)]
        for size in (2, 3):
            await world.put(Widget, "a", size=size)
        await world.local.delete(ref(Widget, "b"))
        await world.put(Widget, "gone", size=1)
        await asyncio.sleep(1)
        await world.local.delete(ref(Widget, "gone"))
        await asyncio.sleep(1)
        await world.put(Widget, "c", size=4)
        told += [await _told(changes) for _ in range(3)]
        informers.stop()

    assert told[:3] == [("a", None, 1), ("b", None, 1), ("c", None, 1)]
    assert told[3:] == [("a", 1, 3), ("b", 1, None), ("c", 1, 4)]
    assert world.cluster.requests["list Widget"] == 1


async def _told(changes: AsyncIterator[Change[Widget]]) -> tuple[str, int | None, int | None]:
    """The next change: whose, and the size before and after it."""
    change = await anext(changes)
    (name, *_) = (each.key.name for each in (change.old, change.new) if each is not None)
    before, after = (None if each is None else each.spec.size for each in (change.old, change.new))
    return name, before, after


@in_virtual_time
async def test_a_kind_is_watched_for_as_long_as_somebody_reads_its_changes() -> None:
    world = World()
    await world.install()
    informers = Informers(world.cluster, world.clock, SeededChance(4), Metrics(CollectorRegistry()))
    async with asyncio.TaskGroup() as group:
        informers.start(group)
        async with aclosing(WatchedObjects(informers, world.cluster).follow(Gadget)) as changes:
            reading = asyncio.create_task(anext(changes))
            await asyncio.sleep(1)
            watching = world.cluster.watching.copy()
            await world.put(Gadget, "g", size=5)
            change = await reading
        await asyncio.sleep(1)
        watching_after = world.cluster.watching.copy()
        informers.stop()

    assert change.old is None
    assert change.new is not None
    assert change.new.spec.size == 5
    assert watching == {"Gadget": 1}
    assert watching_after == {"Gadget": 0}


@in_virtual_time
async def test_an_api_server_restored_from_a_backup_is_believed() -> None:
    """Its versions begin again below ours: after the next list we follow it all the same."""

    world, backup = World(), World()
    await world.install()
    await backup.install()
    await world.put(Widget, "a", size=1)
    for size in range(30):
        await world.put(Widget, "a", size=size)
    await backup.put(Widget, "a", size=77)
    informer = _informer(world)
    running = asyncio.create_task(informer.run())
    await asyncio.sleep(1)

    world.cluster.become(backup.local)
    world.cluster.expire = True
    world.cluster.cut_watches()
    await asyncio.sleep(60)
    await backup.put(Widget, "a", size=78)
    await asyncio.sleep(1)
    running.cancel()

    assert [widget.spec.size for widget in informer.objects.values()] == [78]
