"""Requests that are shared while they are under way."""

from __future__ import annotations

import asyncio

import pytest

from gitops_core.runtime.sharing.flights import Flights


async def test_two_who_ask_the_same_at_the_same_time_get_the_same() -> None:
    flights: Flights[int] = Flights()
    made = []

    async def ask() -> int:
        made.append(1)
        await asyncio.sleep(0.01)
        return len(made)

    assert await asyncio.gather(*(flights.join("a", ask) for _ in range(10)), flights.join("b", ask)) == [2] * 11
    assert len(made) == 2
    assert await flights.join("a", ask) == 3


async def test_a_failure_is_everybodys_and_is_not_kept() -> None:
    flights: Flights[int] = Flights()
    made = []

    async def ask() -> int:
        made.append(1)
        await asyncio.sleep(0)
        if len(made) == 1:
            raise ValueError("broken")
        return 7

    results = await asyncio.gather(*(flights.join("a", ask) for _ in range(3)), return_exceptions=True)

    assert [str(result) for result in results] == ["broken"] * 3
    assert await flights.join("a", ask) == 7


async def test_a_caller_that_gives_up_disturbs_no_other_and_the_last_one_ends_the_flight() -> None:
    flights: Flights[int] = Flights()
    ended = []
    go_on = asyncio.Event()

    async def ask() -> int:
        try:
            await go_on.wait()
        finally:
            ended.append(1)
        return 7

    first, second, third = (asyncio.create_task(flights.join("a", ask)) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert not ended

    go_on.set()
    assert [await second, await third] == [7, 7]
    with pytest.raises(asyncio.CancelledError):
        await first

    go_on.clear()
    lonely = asyncio.create_task(flights.join("a", ask))
    await asyncio.sleep(0)
    lonely.cancel()
    late = asyncio.create_task(flights.join("a", ask))
    await asyncio.sleep(0.01)
    assert len(ended) == 2  # the first one's and the lonely one's, not the late one's
    go_on.set()
    assert await late == 7


async def test_closing_gives_up_what_is_under_way() -> None:
    flights: Flights[int] = Flights()

    async def ask() -> int:
        await asyncio.sleep(3600)
        return 1

    waiting = asyncio.create_task(flights.join("a", ask))
    await asyncio.sleep(0)
    await flights.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting
