"""The event recorder never blocks, never raises, and drops before it harms."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry

from gitops_core.errors import Forbidden
from gitops_core.meta import ObjectMeta
from gitops_core.runtime.authority.forwarding import Request
from gitops_core.runtime.loop.events import (
    COUNTED_EVERY,
    MOST_MESSAGE,
    OVERHEAD,
    QUEUED,
    REMEMBERED,
    SAME_FOR,
    EventRecorder,
)
from gitops_core.runtime.metrics import Metrics
from tests.gitops_core.runtime.kinds import Widget
from tests.gitops_core.runtime.world import Send, World
from tests.simulation.loop import SeededChance, in_virtual_time

ABOUT = Widget(metadata=ObjectMeta(name="a", namespace="shop", uid="1", resource_version="7"))
BLOG = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "blog"}}
NEIGHBOUR = Widget(metadata=ObjectMeta(name="b", namespace="blog", uid="2", resource_version="8"))


def _recorder(world: World) -> tuple[EventRecorder, Metrics]:
    metrics = Metrics(CollectorRegistry())
    cluster = world.cluster
    return EventRecorder(cluster, world.clock, SeededChance(5), metrics, "sealoop-0"), metrics


def _dropped(metrics: Metrics) -> float:
    return sum(s.value for m in metrics.events_dropped.collect() for s in m.samples if s.name.endswith("_total"))


@in_virtual_time
async def test_repetitions_are_one_event_with_a_count() -> None:
    world = World()
    await world.install()
    recorder, _ = _recorder(world)
    writing = asyncio.create_task(recorder.run())
    for _ in range(10):
        recorder.emit(ABOUT, "Warning", "Away", "the registry is away", {})
        await world.clock.sleep(COUNTED_EVERY / 4)
    await recorder.flush(1.0)
    recorder.emit(ABOUT, "Warning", "Away", "another message", {})
    await recorder.flush(1.0)
    events = await world.events()
    writing.cancel()

    assert sorted((e["message"], e["count"]) for e in events) == [
        ("another message", 1),
        ("the registry is away", 9),
    ]
    assert world.cluster.requests["patch Event"] == 2


@in_virtual_time
async def test_a_repetition_after_the_event_was_forgotten_is_a_new_one() -> None:
    world = World()
    await world.install()
    recorder, _ = _recorder(world)
    writing = asyncio.create_task(recorder.run())
    for _ in range(2):
        recorder.emit(ABOUT, "Normal", "Done", "all is well", {})
        await world.clock.sleep(SAME_FOR + 1)
    events = await world.events()
    writing.cancel()

    assert [e["count"] for e in events] == [1, 1]


@in_virtual_time
async def test_an_event_says_no_more_than_the_api_server_takes() -> None:
    world = World()
    await world.install()
    recorder, _ = _recorder(world)
    writing = asyncio.create_task(recorder.run())
    for _ in range(2):
        recorder.emit(ABOUT, "Warning", "Failed", "ä" * 5000, {})
    await recorder.flush(1.0)
    (event,) = await world.events()
    writing.cancel()

    assert 900 < len(event["message"].encode()) <= 1024
    assert event["message"].startswith("ääää")
    assert event["message"].endswith("bytes left out)")
    assert event["count"] == 2


@in_virtual_time
async def test_a_namespace_that_floods_loses_its_own_events_and_no_others() -> None:
    world = World()
    await world.install()
    await world.local.apply(BLOG, field_manager="test")
    recorder, metrics = _recorder(world)
    for number in range(QUEUED):
        recorder.emit(ABOUT, "Normal", "Busy", f"message {number}", {})
    flooded = _dropped(metrics)
    for number in range(10):
        recorder.emit(NEIGHBOUR, "Normal", "Done", f"message {number}", {})
    writing = asyncio.create_task(recorder.run())
    await recorder.flush(60.0)
    written = [event["involvedObject"]["namespace"] for event in await world.events()]
    writing.cancel()

    assert flooded == _dropped(metrics) == QUEUED // 4
    assert world.cluster.requests["create Event"] == QUEUED - QUEUED // 4 + 10
    assert written.count("blog") == 10


@in_virtual_time
async def test_namespaces_take_turns_in_having_their_events_written() -> None:
    world = World()
    await world.install()
    await world.local.apply(BLOG, field_manager="test")
    recorder, _ = _recorder(world)
    for number in range(50):
        recorder.emit(ABOUT, "Normal", "Busy", f"message {number}", {})
    recorder.emit(NEIGHBOUR, "Normal", "Done", "all is well", {})
    order = list[str]()

    async def note(request: Request, send: Send) -> Any:
        assert isinstance(request.about, dict)
        order.append(request.about["metadata"]["namespace"])
        return await send()

    world.cluster.override["create"] = note
    writing = asyncio.create_task(recorder.run())
    await recorder.flush(60.0)
    writing.cancel()

    assert order.index("blog") == 1


@in_virtual_time
async def test_notes_are_remembered_by_their_size_the_last_used_ones_first() -> None:
    many = REMEMBERED // (OVERHEAD + MOST_MESSAGE) + 1

    world = World()
    await world.install()
    recorder, _ = _recorder(world)
    writing = asyncio.create_task(recorder.run())

    for number in (*range(many), many - 1, 0):
        recorder.emit(ABOUT, "Normal", "Busy", f"{number}".ljust(MOST_MESSAGE, "x"), {})
        await recorder.flush(1.0)
    writing.cancel()

    assert world.cluster.requests["create Event"] == many + 1  # the first one was forgotten, the last one was not


@in_virtual_time
async def test_an_api_server_that_is_away_for_a_moment_loses_nothing() -> None:
    world = World()
    await world.install()
    recorder, metrics = _recorder(world)
    writing = asyncio.create_task(recorder.run())
    world.cluster.down = True
    recorder.emit(ABOUT, "Normal", "Done", "all is well", {})
    await world.clock.sleep(0.5)
    world.cluster.down = False
    await world.clock.sleep(5)
    events = await world.events()
    writing.cancel()

    assert len(events) == 1
    assert _dropped(metrics) == 0


@in_virtual_time
async def test_an_api_server_that_will_not_have_it_stops_nothing() -> None:
    world = World()
    await world.install()
    recorder, metrics = _recorder(world)

    async def refuse(request: Request, send: Send) -> Any:
        if isinstance(request.about, dict) and request.about["message"] == "bad":
            raise Forbidden("events is forbidden")
        return await send()

    world.cluster.override["create"] = refuse
    writing = asyncio.create_task(recorder.run())
    recorder.emit(ABOUT, "Normal", "Done", "bad", {})
    recorder.emit(ABOUT, "Normal", "Done", "x" * 100_000, {})
    await recorder.flush(5)
    (event,) = await world.events()
    writing.cancel()

    assert _dropped(metrics) == 1
    assert len(event["message"]) <= 1024
