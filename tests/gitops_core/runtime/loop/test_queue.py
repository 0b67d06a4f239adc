"""The laws of the work queue and its timers, by a random walk over everything that can be done to them."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitops_core.runtime.loop.queue import FEW, PATIENCE, Priority, WorkQueue
from gitops_core.runtime.timers import Timers
from tests.simulation.loop import VirtualClock, in_virtual_time

KEYS = st.sampled_from("abcdef")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, st.sampled_from(Priority)),
        st.tuples(st.just("later"), KEYS, st.floats(0.1, 5.0)),
        st.tuples(st.just("pause"), st.just(""), st.floats(0.0, 3.0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(1, 4))
@in_virtual_time
async def test_no_key_has_two_workers_and_nothing_added_is_lost(
    steps: list[tuple[str, str, float]], workers: int
) -> None:
    """After the last addition of a key, immediate or delayed, somebody takes it."""

    clock = VirtualClock()
    timers = Timers(clock)
    queue: WorkQueue[str] = WorkQueue(timers)
    busy: set[str] = set()
    taken_at: dict[str, float] = {}
    due: dict[str, float] = defaultdict(float)

    async def work() -> None:
        while (key := await queue.get()) is not None:
            assert key not in busy, "two workers have one key"
            busy.add(key)
            taken_at[key] = clock.monotonic()
            await clock.sleep(0.7)
            busy.discard(key)
            queue.give_back(key)

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    ticking = asyncio.create_task(timers.run())
    for kind, key, value in steps:
        if kind == "add":
            queue.add(key, Priority(int(value)))
            due[key] = max(due[key], clock.monotonic())
        elif kind == "later":
            queue.add_after(key, value)
            due[key] = max(clock.monotonic(), clock.monotonic() + value)
        else:
            await clock.sleep(value)
    await clock.sleep(120)
    queue.close()
    await asyncio.gather(*tasks)
    ticking.cancel()

    for key, moment in due.items():
        assert taken_at.get(key, -1.0) >= moment - 1e-6, f"{key} was due at {moment}"


@in_virtual_time
async def test_changes_go_before_periodic_looks_which_do_not_starve() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()))
    for number in range(PATIENCE + 3):
        queue.add(f"changed {number}")
    queue.add("periodic", Priority.PERIODIC)

    order = [await queue.get() for _ in range(PATIENCE + 4)]

    assert order.index("periodic") == PATIENCE
    assert [key for key in order if key != "periodic"] == [f"changed {n}" for n in range(PATIENCE + 3)]


@in_virtual_time
async def test_a_waiting_key_is_promoted_and_taken_once() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()))
    queue.add("x", Priority.PERIODIC)
    queue.add("y", Priority.PERIODIC)

    queue.add("y", Priority.CHANGED)

    assert [await queue.get(), await queue.get()] == ["y", "x"]
    assert len(queue) == 0


@in_virtual_time
async def test_a_key_changed_while_taken_is_looked_at_again() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()))
    queue.add("x")
    key = await queue.get()
    queue.add("x")
    assert len(queue) == 0

    queue.give_back("x")

    assert key == "x"
    assert await queue.get() == "x"


@in_virtual_time
async def test_a_key_changed_while_taken_goes_before_periodic_looks_whatever_was_added_after() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()))
    queue.add("x")
    assert await queue.get() == "x"
    queue.add("x", Priority.PERIODIC)
    queue.add("x", Priority.CHANGED)
    queue.add("x", Priority.PERIODIC)
    queue.add("y", Priority.PERIODIC)

    queue.give_back("x")

    assert [await queue.get(), await queue.get()] == ["x", "y"]


@in_virtual_time
async def test_a_periodic_look_that_came_due_while_its_key_was_taken_stays_one() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()))
    queue.add("x")
    assert await queue.get() == "x"
    queue.add("x", Priority.PERIODIC)

    queue.give_back("x")
    queue.add("y")

    assert [await queue.get(), await queue.get()] == ["y", "x"]


@in_virtual_time
async def test_a_key_that_was_added_twice_does_not_overtake_others_when_it_comes_back() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()))
    for key in ("x", "x", "y"):
        queue.add(key)
    assert await queue.get() == "x"
    queue.give_back("x")

    queue.add("x")

    assert [await queue.get(), await queue.get()] == ["y", "x"]


@in_virtual_time
async def test_patience_begins_anew_after_each_periodic_look() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()))
    for number in range(2 * PATIENCE + 1):
        queue.add(f"changed {number}")
    for key in ("first", "second"):
        queue.add(key, Priority.PERIODIC)

    order = [await queue.get() for _ in range(2 * PATIENCE + 3)]

    assert [order.index(key) for key in ("first", "second")] == [PATIENCE, 2 * PATIENCE + 1]


@in_virtual_time
async def test_a_key_that_is_due_later_comes_as_a_periodic_look() -> None:
    clock = VirtualClock()
    timers = Timers(clock)
    queue: WorkQueue[str] = WorkQueue(timers)
    ticking = asyncio.create_task(timers.run())
    queue.add_after("due", 1.0)
    await clock.sleep(2.0)
    queue.add("changed")

    assert [await queue.get(), await queue.get()] == ["changed", "due"]
    ticking.cancel()


@in_virtual_time
async def test_unscheduling_leaves_what_waits() -> None:
    clock = VirtualClock()
    timers = Timers(clock)
    queue: WorkQueue[str] = WorkQueue(timers)
    queue.add("x")
    queue.add_after("x", 1.0)

    queue.unschedule("x")

    assert len(timers) == 0
    assert await queue.get() == "x"


@in_virtual_time
async def test_a_closed_queue_hands_out_nothing_to_who_waits_and_to_who_comes() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()))
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)

    queue.close()
    queue.add("x")

    assert [await waiting, await queue.get()] == [None, None]


@in_virtual_time
async def test_the_last_schedule_of_a_key_is_the_one_that_counts() -> None:
    clock = VirtualClock()
    timers = Timers(clock)
    queue: WorkQueue[str] = WorkQueue(timers)
    ticking = asyncio.create_task(timers.run())
    queue.add_after("x", 5.0)
    queue.add_after("x", 60.0)
    queue.add_after("gone", 1.0)
    queue.forget("gone")

    key = await queue.get()

    assert (key, round(clock.monotonic(), 3)) == ("x", 60.0)
    ticking.cancel()


@in_virtual_time
async def test_rescheduling_does_not_grow_the_heap() -> None:
    timers = Timers(VirtualClock())
    queue: WorkQueue[int] = WorkQueue(timers)
    for _ in range(200):
        for key in range(50):
            queue.add_after(key, 60.0)

    assert len(timers) == 50
    assert len(timers._heap) <= 2 * 50 + 64 + 1


def _of_letter(key: str) -> str:
    return key[0]


@in_virtual_time
async def test_a_namespace_never_has_all_the_workers_however_long_it_keeps_them() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()), 64, _of_letter)
    for owner, number in (("a", 100), ("b", 100), ("c", 1)):
        for key in range(number):
            queue.add(f"{owner}{key}")
        waiting = [asyncio.create_task(queue.get()) for _ in range(64)]
        await asyncio.sleep(1)
        taken = [task.result() for task in waiting if task.done()]
        for task in waiting:
            task.cancel()

        assert taken, f"nothing of {owner} has its turn"

    assert len(queue) > 0


@in_virtual_time
async def test_a_namespace_goes_on_when_it_gives_a_worker_back() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()), 4, _of_letter)
    for key in range(6):
        queue.add(f"a{key}")
    held = [await queue.get() for _ in range(3)]
    fourth = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    assert not fourth.done()

    queue.give_back(str(held[0]))

    assert await fourth == "a3"


@in_virtual_time
async def test_namespaces_take_turns_and_the_keys_of_each_keep_their_order() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()), 64, _of_letter)
    for key in ("a0", "a1", "a2", "b0", "b1", "c0"):
        queue.add(key)

    order = [await queue.get() for _ in range(6)]

    assert order == ["a0", "b0", "c0", "a1", "b1", "a2"]


@in_virtual_time
async def test_of_a_namespace_of_which_nothing_waits_nothing_is_kept() -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()), 64, lambda key: key)
    for number in range(100):
        queue.add(f"namespace-{number}")
    for _ in range(100):
        queue.give_back(str(await queue.get()))
    queue.add("another")

    await queue.get()

    assert not any("namespace-" in owner for lines in queue._lines.values() for owner in lines)


DEEDS = st.lists(st.tuples(st.sampled_from(["add", "end", "cancel"]), st.sampled_from("abc"), st.integers(0, 9)))


@settings(max_examples=60, deadline=None)
@given(DEEDS, st.integers(1, 9))
@example([("add", "a", 1), ("cancel", "a", 6)], 2)  # the one that was woken ends
@in_virtual_time
async def test_no_worker_sleeps_while_there_is_a_key_that_it_may_take(
    deeds: list[tuple[str, str, int]], number: int
) -> None:
    queue: WorkQueue[str] = WorkQueue(Timers(VirtualClock()), number, lambda key: key[0])
    held: dict[str, asyncio.Event] = {}

    async def work() -> None:
        while (key := await queue.get()) is not None:
            held[key] = asyncio.Event()
            try:
                await held[key].wait()
            finally:
                del held[key]
                queue.give_back(key)

    workers = [asyncio.create_task(work()) for _ in range(number)]
    for deed, namespace, which in deeds:
        if deed == "add":
            queue.add(f"{namespace}{which}")
        elif deed == "end" and held:
            list(held.values())[which % len(held)].set()
        elif deed == "cancel":  # one that works, sleeps, or has just been woken
            workers.pop(which % len(workers)).cancel()
            if which < 5 or not workers:
                workers.append(asyncio.create_task(work()))
        if which % 2:
            continue  # more happens in the same moment
        await asyncio.sleep(0.1)
        before = len(held)
        another = asyncio.create_task(queue.get())
        await asyncio.sleep(0.1)
        assert before == len(workers) or not another.done(), "a worker sleeps, and there is a key for it"
        another.cancel()
        await asyncio.sleep(0.1)
    queue.close()
    for worker in workers:
        worker.cancel()


@in_virtual_time
async def test_few_of_those_that_yielded_are_looked_at_while_a_changed_one_is_and_then_all() -> None:
    queue: WorkQueue[tuple[str, int]] = WorkQueue(Timers(VirtualClock()), 64, lambda key: key[0])
    taken: list[tuple[str, int]] = []

    async def work() -> None:
        while (key := await queue.get()) is not None:
            taken.append(key)

    tasks = [asyncio.create_task(work()) for _ in range(64)]
    queue.add(("shop", 0))
    await asyncio.sleep(1)
    for number in range(1, 20):
        queue.add(("shop", number), Priority.YIELDED)
        queue.add(("team", number), Priority.YIELDED)
    await asyncio.sleep(1)
    while_changed = sorted(taken)

    queue.give_back(("shop", 0))
    for key in while_changed[1:]:
        queue.give_back(key)
    await asyncio.sleep(1)
    queue.close()
    await asyncio.gather(*tasks)

    few = range(1, FEW + 1)
    assert while_changed == [("shop", 0), *(("shop", n) for n in few), *(("team", n) for n in few)]
    assert len(taken) == 1 + 2 * 19
