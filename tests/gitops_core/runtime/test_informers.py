"""Whatever happens to the connection, an informer ends up with what the cluster has, and tells every change once."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gitops_core.errors import NotFound
from gitops_core.meta import ObjectKey
from gitops_core.ports import PartialObject, Query
from gitops_core.runtime.informers import Informer, Informers, WatchedObjects
from gitops_core.runtime.metrics import Metrics
from gitops_core.schema import from_manifest
from tests.gitops_core.runtime.kinds import Gadget, Widget
from tests.gitops_core.runtime.world import World, ref
from tests.simulation.loop import SeededChance, virtually

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
            informer.absorb(from_manifest(Widget, stored))
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
def test_after_any_history_the_mirror_is_the_cluster(steps: list[tuple[str, str]], labels: str) -> None:
    async def main() -> None:
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

    virtually(main())


def test_everyone_who_asks_the_same_shares_one_informer_and_the_last_one_ends_it() -> None:
    async def main() -> None:
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

    virtually(main())


def test_watched_objects_cost_no_request_and_others_are_asked_for() -> None:
    async def main() -> None:
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

    virtually(main())


def test_an_api_server_restored_from_a_backup_is_believed() -> None:
    """Its versions begin again below ours: after the next list we follow it all the same."""

    async def main() -> None:
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

    virtually(main())
