"""How often a host is asked, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.adapters.oci.pacing import Pace, Paces
from gitops_core.errors import RegistryUnavailable
from tests.simulation.loop import in_virtual_time


def _now() -> float:
    return asyncio.get_running_loop().time()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 30)), min_size=1, max_size=12),
    st.floats(0.5, 20),
    st.integers(1, 20),
)
@in_virtual_time
async def test_no_window_holds_more_than_burst_and_rate_allow(
    arrivals: list[tuple[float, int]], rate: float, burst: int
) -> None:
    pace = Pace("r.example.com", rate, burst, longest=10_000)
    turns: list[float] = []

    async def ask() -> None:
        await pace.take_turn()
        turns.append(_now())

    asking = []
    for pause, count in arrivals:
        await asyncio.sleep(pause)
        asking += [asyncio.create_task(ask()) for _ in range(count)]
    await asyncio.gather(*asking)

    assert len(turns) == sum(count for _, count in arrivals)
    for first, begin in enumerate(turns):
        for last in range(first, len(turns)):
            assert last - first + 1 <= burst + rate * (turns[last] - begin) + 1e-3


@in_virtual_time
async def test_retry_after_silences_one_host_and_no_other() -> None:
    paces = Paces(rate=10, burst=100, longest=10)
    paces.get("busy").learn(429, {"Retry-After": "30"})

    await paces.get("other").take_turn()
    with pytest.raises(RegistryUnavailable, match="registry busy is not asked anything now: it answered 429") as caught:
        await paces.get("busy").take_turn()
    assert caught.value.retry_after == 30

    await asyncio.sleep(29.9)
    with pytest.raises(RegistryUnavailable):
        await paces.get("busy").take_turn()
    await asyncio.sleep(0.2)
    await paces.get("busy").take_turn()


@in_virtual_time
async def test_a_request_that_waits_when_the_silence_begins_fails() -> None:
    pace = Pace("r", rate=1, burst=1, longest=10)
    await pace.take_turn()
    waiting = asyncio.create_task(pace.take_turn())
    await asyncio.sleep(0.5)
    pace.learn(503, {"Retry-After": "60"})

    with pytest.raises(RegistryUnavailable, match="it answered 503"):
        await waiting


@in_virtual_time
async def test_too_many_are_refused_rather_than_kept_waiting() -> None:
    pace = Pace("r", rate=2, burst=1, longest=5)
    results = await asyncio.gather(*(pace.take_turn() for _ in range(50)), return_exceptions=True)

    refused = [result for result in results if isinstance(result, RegistryUnavailable)]
    assert len(refused) == 50 - 1 - 10
    assert _now() == pytest.approx(5)


@in_virtual_time
async def test_too_many_requests_slow_us_down_and_good_answers_speed_us_up() -> None:
    pace = Pace("r", rate=50, burst=500, longest=100)
    for _ in range(3):
        pace.learn(429, {})
    began = _now()
    for _ in range(25):
        await pace.take_turn()
    slow = _now() - began
    for _ in range(100):
        pace.learn(200, {})
    began = _now()
    for _ in range(25):
        await pace.take_turn()

    assert slow > 2
    assert _now() - began < 0.6


@in_virtual_time
async def test_the_rest_of_a_rate_limit_is_not_overdrawn() -> None:
    pace = Pace("r", rate=50, burst=500, longest=10)
    pace.learn(200, {"RateLimit-Limit": "100", "RateLimit-Remaining": "3", "RateLimit-Reset": "60"})
    for _ in range(3):
        await pace.take_turn()
    with pytest.raises(RegistryUnavailable) as caught:
        await pace.take_turn()
    assert caught.value.retry_after == pytest.approx(60, abs=0.1)

    await asyncio.sleep(60.1)
    await pace.take_turn()

    pace.learn(200, {"RateLimit-Remaining": "0", "RateLimit-Reset": "20"})
    with pytest.raises(RegistryUnavailable, match="its rate limit is used up"):
        await pace.take_turn()


@pytest.mark.parametrize(
    "headers",
    [
        {"RateLimit-Remaining": "76;w=21600"},  # Docker Hub: when it begins anew is not said
        {"RateLimit-Remaining": "0", "RateLimit-Reset": "1790000000"},
        {"RateLimit-Remaining": "few", "RateLimit-Reset": "-5"},
        {"RateLimit-Remaining": "0", "RateLimit-Reset": "0"},
        {"Retry-After": "60"},
    ],
)
@in_virtual_time
async def test_a_header_that_is_not_certain_changes_nothing(headers: dict[str, str]) -> None:
    pace = Pace("r", rate=50, burst=500, longest=10)
    pace.learn(200, headers)
    for _ in range(500):
        await pace.take_turn()
    assert _now() == 0


@in_virtual_time
async def test_hosts_that_behave_are_forgotten_and_others_are_not() -> None:
    paces = Paces(rate=10, burst=100, longest=10)
    paces.get("busy").learn(429, {"Retry-After": "3000"})
    for number in range(2500):
        await paces.get(f"host-{number}").take_turn()
        await asyncio.sleep(0.2)

    with pytest.raises(RegistryUnavailable):
        await paces.get("busy").take_turn()
