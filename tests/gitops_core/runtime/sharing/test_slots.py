"""Slots are shared by namespace, in virtual time: one that is slow is slow for itself."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.errors import Postponed
from gitops_core.runtime.sharing.slots import BUDGET, MOST_WAITING, PATIENCE, Slots
from tests.simulation.loop import in_virtual_time


class Builds:
    """What began and ended when, in seconds, each with its namespace."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.began: list[tuple[str, float]] = []
        self.ended: list[tuple[str, float]] = []
        self.running: list[str] = []
        self.most = 0

    async def build(self, namespace: str, takes: float) -> None:
        """One build, tried again as long as it is postponed."""
        while True:
            try:
                async with self.slots.taken(namespace):
                    self.began.append((namespace, _now()))
                    self.running.append(namespace)
                    self.most = max(self.most, len(self.running))
                    try:
                        await asyncio.sleep(takes)
                    finally:
                        self.running.remove(namespace)
                self.ended.append((namespace, _now()))
            except Postponed:
                await asyncio.sleep(2)
            else:
                return


def _now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_a_newcomer_begins_when_the_first_that_is_under_way_has_ended() -> None:
    builds = Builds(Slots(2, "builds"))
    slow = [asyncio.create_task(builds.build("slow", 4)) for _ in range(20)]
    await asyncio.sleep(1)

    await builds.build("other", 1)

    assert builds.began[2] == ("other", 4.0)
    await asyncio.gather(*slow)


@in_virtual_time
async def test_a_waiter_gets_no_second_slot_before_another_has_its_first() -> None:
    builds = Builds(Slots(2, "builds"))
    tasks = [asyncio.create_task(builds.build(owner, 3)) for owner in ("a", "a", "a", "b", "b", "c")]
    await asyncio.gather(*tasks)

    assert [owner for owner, _ in builds.began] == ["a", "a", "b", "c", "a", "b"]


@in_virtual_time
async def test_a_namespace_whose_builds_are_slow_leaves_one_slot_to_the_others() -> None:
    builds = Builds(Slots(2, "builds"))
    slow = [asyncio.create_task(builds.build("slow", 60)) for _ in range(6)]
    await asyncio.sleep(61)

    for _ in range(20):
        began = _now()
        await builds.build("other", 1)
        assert _now() == began + 1
        await asyncio.sleep(7)

    assert builds.running == ["slow"]
    await asyncio.gather(*slow)
    assert len(builds.ended) == 26


@in_virtual_time
async def test_a_namespace_has_all_slots_again_when_time_has_passed() -> None:
    builds = Builds(Slots(2, "builds"))
    await builds.build("slow", BUDGET + 10)
    await asyncio.sleep(11)

    await asyncio.gather(*(builds.build("slow", 1) for _ in range(2)))

    assert builds.most == 2


@in_virtual_time
async def test_quick_builds_have_all_slots_for_as_long_as_they_like() -> None:
    builds = Builds(Slots(2, "builds"))
    for _ in range(20):
        await asyncio.gather(*(builds.build("busy", 2) for _ in range(4)))

    assert _now() == 80


@in_virtual_time
async def test_a_long_waiter_gives_its_worker_back() -> None:
    slots = Slots(1, "evaluations")

    async def one(takes: float) -> None:
        async with slots.taken("slow"):
            await asyncio.sleep(takes)

    first = asyncio.create_task(one(60))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(one(1)) for _ in range(30)]
    await asyncio.sleep(PATIENCE + 0.1)
    assert {type(task.exception()) for task in waiting} == {Postponed}
    assert {str(task.exception()) for task in waiting} == {"evaluations of namespace 'slow' wait for those before them"}

    await asyncio.sleep(20)  # by now it is known to be slow
    again = [asyncio.create_task(one(1)) for _ in range(30)]
    await asyncio.sleep(0.1)

    assert sum(task.done() for task in again) == 30 - MOST_WAITING
    told = {str(task.exception()) for task in again if task.done()}
    assert told == {"many evaluations of namespace 'slow' wait, and those before them are slow"}
    await first
    await asyncio.gather(*again, return_exceptions=True)
    await one(1)


async def test_a_slot_that_came_while_its_build_was_cancelled_goes_to_the_next() -> None:
    slots = Slots(1, "evaluations")
    done: list[str] = []

    async def one(name: str, takes: float) -> None:
        async with slots.taken("a"):
            await asyncio.sleep(takes)
            done.append(name)

    first = asyncio.create_task(one("first", 30))
    await asyncio.sleep(0)
    second, third = (asyncio.create_task(one(name, 0)) for name in ("second", "third"))
    await asyncio.sleep(0)

    first.cancel()
    second.cancel()
    async with asyncio.timeout(5):
        await third

    assert done == ["third"]
    with pytest.raises(asyncio.CancelledError):
        await second


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.1, 4, 9, 60]), st.integers(0, 40)), max_size=30),
    st.sets(st.integers(0, 29)),
)
@in_virtual_time
async def test_no_slot_is_lost_or_given_twice(
    size: int, wanted: list[tuple[str, float, int]], cancelled: set[int]
) -> None:
    builds = Builds(Slots(size, "builds"))

    async def later(owner: str, takes: float, begins: int) -> None:
        await asyncio.sleep(begins)
        await builds.build(owner, takes)

    tasks = [asyncio.create_task(later(*one)) for one in wanted]
    for number in range(30):
        await asyncio.sleep(1)
        if number in cancelled and number < len(tasks):
            tasks[number].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert builds.most <= size
    assert len(builds.ended) >= len(wanted) - len(cancelled)
    assert not builds.slots._running
    assert not builds.slots._waiting
    after = _now()
    await asyncio.gather(*(builds.build(f"new{n}", 1) for n in range(size)))
    assert _now() == pytest.approx(after + 1)
