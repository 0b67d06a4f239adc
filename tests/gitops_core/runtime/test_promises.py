"""Single lines that nothing else would miss: of the lease, of waking, of forgetting, and of whose status it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gitops_core.errors import ClusterUnavailable, Conflict, TransientError
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.runtime.authority.leading import LEASE, Leadership
from gitops_core.runtime.loop.queue import WorkQueue
from gitops_core.runtime.loop.statuses import StatusWriter
from gitops_core.runtime.reconciling import Outcome, Platform
from gitops_core.runtime.retry import choose_delay
from gitops_core.runtime.timers import Timers
from gitops_core.schema import read_manifest
from tests.gitops_core.runtime.kinds import Gadget, Widget, WidgetStatus
from tests.gitops_core.runtime.test_process import Diary
from tests.gitops_core.runtime.world import World, condition, controller, lease, outcome, ref
from tests.simulation.loop import SeededChance, VirtualClock, in_virtual_time

_LEASE = ObjectRef(LEASE, ObjectKey("shop", "sealoop"))


# the lease


@in_virtual_time
async def test_a_lease_is_ours_for_ten_seconds_from_when_it_was_asked_for_not_from_the_answer() -> None:
    """The others count from the moment they see it, which is before a slow answer reaches us."""

    world = World()
    await world.install()
    world.cluster.delay = 4.0
    mine = Leadership(lease("one"), world.cluster, world.clock, SeededChance(3))
    began = world.clock.monotonic()
    await mine.acquire()

    assert world.clock.monotonic() - began >= 4.0
    await asyncio.sleep(began + 9.9 - world.clock.monotonic())
    assert mine.is_certain
    await asyncio.sleep(0.2)
    assert not mine.is_certain


@pytest.mark.parametrize(("promised", "until"), [(60, 60.0), (5, 15.0)])
@in_virtual_time
async def test_a_holder_is_believed_as_long_as_it_promised_and_never_shorter_than_we_would(
    promised: int, until: float
) -> None:
    world = World()
    await world.install()
    spec = {
        "holderIdentity": "other",
        "leaseDurationSeconds": promised,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }
    metadata = {"name": "sealoop", "namespace": "shop"}
    made = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}
    await world.local.create(made, field_manager="other")
    mine = Leadership(lease("one"), world.local, world.clock, SeededChance(3))
    began = world.clock.monotonic()
    await mine.acquire()

    assert until <= world.clock.monotonic() - began <= until + 5


# waking


@in_virtual_time
async def test_a_request_to_look_is_answered_also_when_the_look_fails() -> None:
    world = World()
    await world.install()
    await world.put(Widget, "a", size=1)
    await world.annotate(Widget, "a", **{"reconcile.fluxcd.io_requestedAt": "now"})
    async with world.process(controller(Diary(lambda wanted: TransientError("away", retry_after=1000.0)))):
        await asyncio.sleep(5)
        live = await world.get(Widget, "a")

    assert condition(live, "Ready")["status"] == "False"
    assert live["status"]["lastHandledReconcileAt"] == "now"


@in_virtual_time
async def test_a_change_between_the_read_and_the_watch_wakes() -> None:
    """The kind is watched already, for another object: the watch tells of the change before anybody names it."""

    world = World()

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        live = await world.get(Gadget, "part")
        read.append(f"{wanted.key.name} {live['spec']['size']}")
        if wanted.key.name == "a":
            await platform.clock.sleep(2.0)
        return outcome(wanted, None, watch=frozenset({ref(Gadget, "part" if wanted.key.name == "a" else "x")}))

    read: list[str] = []
    await world.install()
    await world.put(Gadget, "part", size=1)
    await world.put(Widget, "b", size=1)
    async with world.process(controller(script)):
        await asyncio.sleep(5)
        await world.put(Widget, "a", size=1)
        await asyncio.sleep(1)
        await world.put(Gadget, "part", size=2)
        await asyncio.sleep(10)

    assert read == ["b 1", "a 1", "a 2"]


@pytest.mark.parametrize("is_watched_already", [False, True])
@in_virtual_time
async def test_a_deletion_between_the_read_and_the_watch_wakes_once(is_watched_already: bool) -> None:
    world = World()

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        live = await world.get(Gadget, "part")
        read.append(f"{wanted.key.name} {live and live['spec']['size']}")
        part, other = ref(Gadget, "part"), ref(Gadget, "x")
        if wanted.key.name == "b":
            return outcome(wanted, None, watch=frozenset({other}))
        await platform.clock.sleep(2.0)
        return outcome(wanted, None, watch=frozenset({part, other}), seen=frozenset({part} if live else ()))

    read: list[str] = []
    await world.install()
    await world.put(Gadget, "part", size=1)
    if is_watched_already:
        await world.put(Widget, "b", size=1)
    async with world.process(controller(script)):
        await asyncio.sleep(5)
        await world.put(Widget, "a", size=1)
        await asyncio.sleep(1)
        await world.local.delete(ref(Gadget, "part"))
        await asyncio.sleep(60)

    assert [look for look in read if look.startswith("a")] == ["a 1", "a None"]


@pytest.mark.parametrize("still_named", [False, True])
@in_virtual_time
async def test_a_change_during_a_look_wakes_only_who_names_the_object_after_it(still_named: bool) -> None:
    """A Job that is gone as soon as it is done must not be made anew by who has just seen it done."""

    world = World()

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        looks.append(platform.clock.monotonic())
        await platform.clock.sleep(2.0)
        names = len(looks) <= 2 or still_named
        return outcome(wanted, None, watch=frozenset({ref(Gadget, "part")} if names else ()))

    looks: list[float] = []
    await world.install()
    await world.put(Gadget, "part", size=1)
    await world.put(Widget, "a", size=1)
    async with world.process(controller(script)):
        await asyncio.sleep(5)  # it has looked twice: nobody knew when the object changed last
        await world.put(Gadget, "part", size=2)  # which has it look again
        await asyncio.sleep(1)
        await world.local.delete(ref(Gadget, "part"))  # in the middle of that
        await asyncio.sleep(10)

    assert len(looks) == (4 if still_named else 3)


@in_virtual_time
async def test_an_edit_begins_the_back_off_anew() -> None:
    world, diary = World(), Diary(lambda wanted: TransientError("away"))
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(600)
        await world.put(Widget, "a", size=2)
        edited = world.clock.monotonic()
        await asyncio.sleep(4)

    after = [moment for moment in diary.of("a") if moment >= edited]
    assert len(after) >= 3
    assert after[0] - edited < 0.1


@in_virtual_time
async def test_an_object_made_anew_while_nobody_watched_is_looked_at() -> None:
    """Its generation is 1 as its predecessor's was."""

    world, diary = World(), Diary(lambda wanted: outcome(wanted, None))
    await world.install()
    await world.put(Gadget, "a", size=1)
    async with world.process(controller(diary, Gadget)):
        await asyncio.sleep(5)
        world.cluster.expire = True
        world.cluster.cut_watches()
        await asyncio.sleep(0.1)  # the next one is not there yet
        await world.local.delete(ref(Gadget, "a"))
        await world.put(Gadget, "a", size=2)
        await asyncio.sleep(60)
        live = await world.get(Gadget, "a")

    assert len(diary.looks) == 2
    assert condition(live, "Ready")["message"] == "size 2"


def test_the_api_servers_own_word_on_when_to_come_back_counts() -> None:
    delay = choose_delay(ClusterUnavailable("too many requests", retry_after=120.0), 1, 0.5)

    assert delay is not None
    assert 120.0 <= delay <= 126.0


# forgetting


async def _taken(queue: WorkQueue[str], seconds: float) -> list[str]:
    keys: list[str] = []

    async def take() -> None:
        while (key := await queue.get()) is not None:
            keys.append(key)

    taking = asyncio.create_task(take())
    await asyncio.sleep(seconds)
    taking.cancel()
    return keys


@in_virtual_time
async def test_a_forgotten_key_is_handed_out_no_more_wherever_it_waited() -> None:
    timers = Timers(VirtualClock())
    queue: WorkQueue[str] = WorkQueue(timers)
    ticking = asyncio.create_task(timers.run())
    for key in ("taken", "waiting", "due", "kept"):
        queue.add(key) if key != "due" else queue.add_after(key, 1.0)
    assert await queue.get() == "taken"
    queue.add("taken")

    for key in ("taken", "waiting", "due"):
        queue.forget(key)
    queue.give_back("taken")

    assert len(queue) == 1
    assert await _taken(queue, 10.0) == ["kept"]
    assert len(timers) == 0
    ticking.cancel()


# whose status


@in_virtual_time
async def test_a_status_is_not_stored_on_another_object_of_that_name() -> None:
    world = World()
    await world.install()
    old = read_manifest(Gadget, await world.put(Gadget, "a", size=1))
    await world.local.delete(ref(Gadget, "a"))
    await world.put(Gadget, "a", size=2)

    with pytest.raises(Conflict):
        await StatusWriter(world.local, lambda written: None).write(old, WidgetStatus(size=1))

    assert "status" not in await world.get(Gadget, "a")


@in_virtual_time
async def test_the_outcome_of_an_object_is_not_reported_for_its_successor() -> None:
    world = World()

    async def script(wanted: Gadget, platform: Platform) -> Outcome:
        if wanted.spec.size == 1:
            await world.local.delete(ref(Gadget, "a"))
            await world.put(Gadget, "a", size=2)
            await platform.clock.sleep(1.0)  # the watch has shown both by now
        else:
            seen.append(await world.get(Gadget, "a"))
        return outcome(wanted, None)

    seen: list[Any] = []
    await world.install()
    await world.put(Gadget, "a", size=1)
    async with world.process(controller(script, Gadget)):
        await asyncio.sleep(5)
        live = await world.get(Gadget, "a")

    assert [each.get("status") for each in seen] == [None]
    assert live["status"]["size"] == 2
