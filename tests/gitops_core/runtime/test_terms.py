"""A term begins with what the last leader left: a standby has the mirrors already, and trusts none before it may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gitops_core.meta import ObjectKey
from gitops_core.ports import PartialObject, Query
from gitops_core.runtime.reconciling import Outcome, Platform, Watch, make_refs
from tests.gitops_core.runtime.kinds import Gadget, Widget
from tests.gitops_core.runtime.test_process import Diary
from tests.gitops_core.runtime.world import World, controller, lease, outcome
from tests.simulation.loop import in_virtual_time

WATCHES = (Watch(Query(Gadget.KIND)),)


class Seen:
    """A script that notes the size that is wanted and the one in the status, as it finds them."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int | None]] = []

    async def __call__(self, wanted: Widget, platform: Platform) -> Outcome:
        self.sizes.append((wanted.spec.size, wanted.status.size if wanted.status else None))
        return outcome(wanted)


def _lists(world: World) -> dict[str, int]:
    return {what: times for what, times in world.cluster.requests.items() if what.startswith("list ") and times}


@in_virtual_time
async def test_a_standby_takes_over_without_a_list() -> None:
    world, second = World(), Diary()
    beside = world.beside()
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(Diary(), watches=WATCHES), lease=lease("one")) as leader:
        await asyncio.sleep(1)
        async with beside.process(controller(second, watches=WATCHES), lease=lease("two")) as standby:
            await asyncio.sleep(600)
            stood_by = _lists(beside)
            await leader.stop()
            await asyncio.sleep(30)

            assert standby.health.synced
            assert second.of("a") != []
            assert stood_by == {"list Widget": 1, "list Gadget": 1}
            assert _lists(beside) == stood_by
            assert (beside.cluster.requests["ask Widget"], beside.cluster.requests["ask Gadget"]) == (1, 1)


@in_virtual_time
async def test_who_leads_at_once_lists_once_and_doubts_nothing() -> None:
    world, diary = World(), Diary()
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary, watches=WATCHES), lease=lease("one")) as leader:
        await asyncio.sleep(5)

        assert leader.health.synced
        assert diary.of("a") != []
        assert _lists(world) == {"list Widget": 1, "list Gadget": 1}
        assert (world.cluster.requests["ask Widget"], world.cluster.requests["ask Gadget"]) == (0, 0)


@pytest.mark.parametrize(("lag", "lists"), [(5.0, 1), (30.0, 2)])
@in_virtual_time
async def test_who_takes_over_with_a_watch_that_is_late_sees_what_the_last_leader_wrote(lag: float, lists: int) -> None:
    """A watch that is later than anybody has patience is given up for a list."""

    world, second = World(), Seen()
    beside = world.beside()
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(Seen()), lease=lease("one")) as leader:
        await asyncio.sleep(1)
        async with beside.process(controller(second), lease=lease("two")):
            await asyncio.sleep(600)
            beside.cluster.lag = {"Widget": lag}
            await world.put(Widget, "a", size=2)
            await asyncio.sleep(0.5)
            await leader.stop()
            await asyncio.sleep(120)

    assert second.sizes[0] == (2, 2)
    assert _lists(beside) == {"list Widget": lists}


@in_virtual_time
async def test_a_change_before_a_new_leader_has_looked_is_looked_at_however_small_it_is() -> None:
    world, second = World(), Diary()
    beside = world.beside()
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(Diary()), lease=lease("one")) as leader:
        await asyncio.sleep(1)
        async with beside.process(controller(second), lease=lease("two")):
            await asyncio.sleep(60)
            beside.cluster.lag = {"Widget": 5.0}
            await world.annotate(Widget, "a", other_thing="x")
            await leader.stop()
            await asyncio.sleep(60)

    assert len(second.of("a")) == 1


@in_virtual_time
async def test_a_new_leader_reads_nothing_of_other_kinds_that_is_older_than_its_term() -> None:
    """The Widget's own mirror is trusted at once; that of the Gadgets, which no watch of its names, is late."""

    world = World()
    beside = world.beside()
    read: list[int] = []

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        gadget = await platform.objects.get(Gadget, ObjectKey("shop", "g"))
        read.append(gadget.spec.size if gadget else 0)
        return outcome(wanted)

    def kinds(look: Any) -> Any:
        return controller(look), controller(Diary(), Gadget)

    await world.install()
    await world.put(Widget, "a", size=1)
    await world.put(Gadget, "g", size=1)
    async with world.process(*kinds(Diary()), lease=lease("one")) as leader:
        await asyncio.sleep(1)
        async with beside.process(*kinds(script), lease=lease("two")):
            await asyncio.sleep(60)
            beside.cluster.lag = {"Gadget": 8.0}
            await world.put(Gadget, "g", size=2)
            await leader.stop()
            await asyncio.sleep(60)

    assert read == [2]
    assert beside.cluster.requests["get Gadget"] == 1


@in_virtual_time
async def test_a_standby_serves_reads_without_a_request_and_is_ready() -> None:
    world = World()
    beside = world.beside()
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(Diary()), lease=lease("one")):
        await asyncio.sleep(1)
        async with beside.process(controller(Diary()), lease=lease("two")) as standby:
            await asyncio.sleep(10)
            await world.put(Widget, "a", size=2)
            await asyncio.sleep(10)
            assert standby.platform is not None
            seen = await standby.platform.objects.get(Widget, ObjectKey("shop", "a"))
            every = await standby.platform.objects.list(Widget)

            assert (standby.health.leading, standby.health.is_ready) == (False, True)

    assert seen is not None
    assert seen.spec.size == 2
    assert every == (seen,)
    assert (beside.cluster.requests["get Widget"], beside.cluster.requests["list Widget"]) == (0, 1)


@in_virtual_time
async def test_a_change_in_another_ones_term_wakes_nobody_and_each_term_looks_at_everything_once() -> None:
    world, diary = World(), Diary()
    await world.install()
    await world.put(Widget, "a", size=1, gadget="g")
    await world.put(Widget, "b", size=1)

    def references(wanted: Widget) -> Any:
        return make_refs("shop", Gadget, wanted.spec.gadget)

    own = controller(diary, watches=WATCHES, references=references)
    async with world.process(own, lease=lease("one")) as one:
        await asyncio.sleep(5)
        async with world.beside().process(own, lease=lease("two")):
            await asyncio.sleep(5)
            first = len(diary.looks)
            await world.put(Gadget, "g", size=1)
            await world.put(Widget, "b", size=2)
            await asyncio.sleep(5)
            second = len(diary.looks)
            await one.stop()
            await asyncio.sleep(30)

    assert first == 2
    assert sorted(name for name, _ in diary.looks[first:second]) == ["a", "b"]
    assert sorted(name for name, _ in diary.looks[second:]) == ["a", "b"]


@in_virtual_time
async def test_a_leader_that_leads_again_goes_on_from_its_mirrors() -> None:
    world, diary = World(), Diary(lambda wanted: outcome(wanted, watch=frozenset({wanted.ref})))
    await world.install()
    await world.put(Widget, "a", size=1)
    own = controller(diary, watches=(Watch(Query(Gadget.KIND), PartialObject),))
    async with world.process(own, lease=lease("one")) as process:
        await asyncio.sleep(5)
        stolen = {"spec": {"holderIdentity": "thief", "renewTime": "2026-01-01T01:00:00.000000Z"}}
        await world.local.patch(lease("one").ref, stolen, field_manager="thief")
        await asyncio.sleep(12)
        assert not process.health.leading
        before, watching = _lists(world), world.cluster.watching.copy()
        await world.put(Widget, "a", size=2)
        await asyncio.sleep(60)  # the thief never renews: ours again

        assert process.health.leading
        assert diary.of("a")[1:] != []
        assert before == {"list Widget": 2, "list Gadget": 1}
        assert _lists(world) == {"list Widget": 3, "list Gadget": 1}, "but what an Outcome named is read anew"
        assert watching == {"Widget": 1, "Gadget": 1}
        assert world.cluster.watching == {"Widget": 2, "Gadget": 1}
