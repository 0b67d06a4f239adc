"""Who waits for whom, in virtual time: commands that take as long as their host lets them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.runtime.sharing.computing import on_account_of
from gitops_core.runtime.sharing.places import Line, Places, PlacesTaken
from tests.simulation.loop import in_virtual_time

TIMEOUT = 60.0


class Work:
    """Commands that run at the places, and what became of them: when each ended, by name.

    Attributes:
        most: how many ran at the same time, by host, and "" for all of them.
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self.done: dict[str, float] = {}
        self.refused: dict[str, float] = {}
        self.words: set[str] = set()
        self.most: Counter[str] = Counter()
        self._now: Counter[str] = Counter()

    async def command(self, name: str, host: str, takes: float) -> None:
        """One that takes longer than the time-out is one that hangs."""
        clock = asyncio.get_running_loop().time
        try:
            async with self.places.taken(host, TIMEOUT):
                self._count(host, 1)
                try:
                    async with asyncio.timeout(TIMEOUT):
                        await asyncio.sleep(takes)
                finally:
                    self._count(host, -1)
                self.done[name] = clock()
        except PlacesTaken as error:
            self.refused[name] = clock()
            self.words.add(str(error))
        except TimeoutError:
            pass

    def _count(self, host: str, change: int) -> None:
        for counted in (host, ""):
            self._now[counted] += change
            self.most[counted] = max(self.most[counted], self._now[counted])


@in_virtual_time
async def test_a_host_that_hangs_keeps_nobody_else_waiting_and_its_own_only_for_a_while() -> None:
    work = Work(Places())
    hanging = [asyncio.create_task(work.command(f"{n}", "silent:80", 3600)) for n in range(40)]
    await asyncio.sleep(1)
    await work.command("good", "good:80", 0.5)
    assert work.done == {"good": 1.5}

    await asyncio.sleep(30)
    assert len(work.refused) == 32
    assert set(work.refused.values()) == {10.0}
    assert work.words == {"waiting for silent:80: all 8 places are taken, and none was answered within 10 s"}
    await work.command("late", "silent:80", 1)
    assert work.refused["late"] == 31.5

    await asyncio.gather(*hanging)
    await work.command("mended", "silent:80", 1)
    assert work.done["mended"] == 61


@in_virtual_time
async def test_a_place_that_a_time_out_made_free_does_not_begin_the_waiting_anew() -> None:
    work = Work(Places(per_host=2))
    tasks = []
    for moment in range(0, 300, 5):
        tasks.append(asyncio.create_task(work.command(f"{moment}", "silent:80", 3600)))
        await asyncio.sleep(5)
    await asyncio.gather(*tasks)

    waited = [moment - int(name) for name, moment in work.refused.items()]
    assert len(waited) > 45
    assert max(waited) <= 10


@in_virtual_time
async def test_a_busy_host_that_answers_is_waited_for() -> None:
    work = Work(Places(per_host=2))
    await asyncio.gather(*(work.command(f"{n}", "busy:443", 3) for n in range(30)))
    assert work.refused == {}
    assert {name: round(moment) for name, moment in work.done.items()} == {f"{n}": 3 + n // 2 * 3 for n in range(30)}

    await asyncio.gather(*(work.command(f"slow {n}", "busy:443", 9) for n in range(30)))
    assert {round(moment) for moment in work.refused.values()} == {45 + int(TIMEOUT)}


@in_virtual_time
async def test_many_hosts_that_hang_leave_the_machine_alone() -> None:
    work = Work(Places(remote=16))
    hosts = [f"silent-{n}:80" for n in range(5)]
    hanging = [asyncio.create_task(work.command(f"{h} {n}", h, 3600)) for h in hosts for n in range(20)]
    await asyncio.sleep(20)

    async with work.places.taken("", TIMEOUT):
        assert work.most[""] == 16
    assert "waiting for any remote: all 16 places are taken, and none was answered within 10 s" in work.words
    await asyncio.gather(*hanging)
    await work.command("good", "good:80", 1)
    assert "good" in work.done


async def on_account(namespace: str, work: Awaitable[None]) -> None:
    with on_account_of(ObjectRef(Kind("", "v1", "Thing"), ObjectKey(namespace, "x"))):
        await work


@in_virtual_time
async def test_a_namespace_whose_hundred_hosts_hang_keeps_nobody_elses_places() -> None:
    work = Work(Places())
    hanging = [
        asyncio.create_task(on_account("theirs", work.command(f"{n}", f"silent-{n}:80", 3600))) for n in range(100)
    ]
    await asyncio.sleep(30)

    await on_account("ours", work.command("good", "good:80", 0.5))

    assert work.done == {"good": 30.5}
    assert work.most[""] == 49
    theirs = "all places that namespace 'theirs' may have are taken"
    assert work.words == {f"waiting for any remote: {theirs}, and none was answered within 10 s"}
    await asyncio.gather(*hanging)


@in_virtual_time
async def test_a_namespace_that_keeps_a_host_busy_leaves_places_to_the_others() -> None:
    work = Work(Places(per_host=8))
    busy = [asyncio.create_task(on_account("theirs", work.command(f"{n}", "busy:443", 50))) for n in range(20)]
    await asyncio.sleep(5)

    await on_account("ours", work.command("good", "busy:443", 1))

    assert work.done == {"good": 6}
    await asyncio.gather(*busy)
    assert work.most["busy:443"] == 7


@in_virtual_time
async def test_a_waiter_for_its_namespaces_share_is_next_when_one_of_it_leaves() -> None:
    work = Work(Places(per_host=4))
    tasks = [asyncio.create_task(on_account("a", work.command(f"{n}", "busy:443", 5))) for n in range(7)]

    await asyncio.gather(*tasks)

    assert work.done == {"0": 5, "1": 5, "2": 5, "3": 10, "4": 10, "5": 10, "6": 15}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.1, 4, 30, 999]), st.integers(0, 40)), max_size=40),
    st.sets(st.integers(0, 39)),
)
@in_virtual_time
async def test_no_place_is_lost_or_given_twice(commands: list[tuple[str, float, int]], cancelled: set[int]) -> None:
    places = Places(remote=4, per_host=2)
    work = Work(places)

    async def later(number: int, host: str, takes: float, begins: int) -> None:
        await asyncio.sleep(begins)
        await on_account("xy"[number % 3 : number % 3 + 1], work.command(f"{number}", host, takes))

    tasks = [asyncio.create_task(later(n, *command)) for n, command in enumerate(commands)]
    for number in range(40):
        await asyncio.sleep(1)
        if number in cancelled and number < len(tasks):
            tasks[number].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert all(work.most[host] <= 2 for host in "abc")
    assert work.most[""] <= 4
    after = Work(places)
    await asyncio.gather(*(after.command(f"{host}{n}", host, 1) for host in "ab" for n in range(2)))
    assert len(after.done) == 4
    assert max(after.done.values()) - min(after.done.values()) < 0.001


async def test_a_turn_that_came_while_its_command_was_cancelled_goes_to_the_next() -> None:
    places = Places(per_host=1)
    work = Work(places)
    first = asyncio.create_task(work.command("first", "a", 30))
    await asyncio.sleep(0)
    second, third = (asyncio.create_task(work.command(name, "a", 0)) for name in ("second", "third"))
    await asyncio.sleep(0)

    first.cancel()
    second.cancel()
    async with asyncio.timeout(60):
        await third

    assert list(work.done) == ["third"]
    with pytest.raises(asyncio.CancelledError):
        await second


@in_virtual_time
async def test_a_request_that_ends_can_make_room_for_two_and_those_in_line_are_counted_right() -> None:
    line = Line("git.example", 7, 10.0)
    leaving = {owner: asyncio.Event() for owner in "ab"}

    async def stay(owner: str) -> None:
        async with line.taken(TIMEOUT):
            await leaving[owner].wait()

    async def short() -> None:
        async with line.taken(TIMEOUT):
            await asyncio.sleep(1)

    first = asyncio.create_task(on_account("a", short()))
    staying = [asyncio.create_task(on_account(owner, stay(owner))) for owner in "aabbb"]
    await asyncio.sleep(0.5)
    staying += [asyncio.create_task(on_account(owner, stay(owner))) for owner in "ba"]
    await asyncio.sleep(0.1)
    assert line.waiting == 2

    await first
    await asyncio.sleep(0)

    assert line.waiting == 0
    for event in leaving.values():
        event.set()
    await asyncio.gather(*staying)
    assert line._pulse._asking == 0
