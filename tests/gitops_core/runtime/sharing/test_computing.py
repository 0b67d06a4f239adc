"""Work beside the loop: who waits for whom, and how work ends that costs too much."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.sharing.computing import (
    ACCOUNT,
    AT_A_STRETCH,
    SMALL,
    Account,
    Busy,
    Threads,
    TooCostly,
    estimate_weight,
    on_account_of,
)

KIND = Kind("example.org", "v1", "Thing")
LARGE = SMALL + 1


def thing(name: str, namespace: str = "shop") -> ObjectRef:
    return ObjectRef(KIND, ObjectKey(namespace, name))


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    made = Threads(Metrics(CollectorRegistry()), look=0.01)
    yield made
    made.close()


async def computed(threads: Threads, about: ObjectRef, work: Callable[[], Any], allowance: float = 20.0) -> Any:
    with on_account_of(about):
        account = ACCOUNT.get()
        assert account is not None
        account.left = allowance
        return await threads.run(LARGE, work)


def forever() -> None:
    while True:
        try:
            sum(range(1000))
        except Exception:  # as careless as code can be
            continue


def for_seconds(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def test_small_work_is_done_in_the_loop_and_large_work_beside_it(threads: Threads) -> None:
    here = threading.get_ident()

    assert await threads.run(SMALL, threading.get_ident) == here
    assert await threads.run(LARGE, threading.get_ident) != here


async def test_an_error_of_the_work_is_the_caller_s(threads: Threads) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(LARGE, lambda: 1 // 0)


async def test_work_that_never_ends_is_ended_with_a_sentence_that_names_the_object(threads: Threads) -> None:
    with pytest.raises(
        TooCostly, match=r"Thing/shop/hostile needs more than 60 s of computing: make what it reads smaller"
    ):
        await computed(threads, thing("hostile"), forever, allowance=0.1)

    assert not [t for t in threading.enumerate() if t.name.startswith("compute") and t.is_alive() and _is_busy(t)]
    assert await threads.run(LARGE, lambda: "the thread lives on") == "the thread lives on"


def _is_busy(thread: threading.Thread) -> bool:
    clock = time.pthread_getcpuclockid(thread.ident or 0)
    before = time.clock_gettime(clock)
    time.sleep(0.05)
    return time.clock_gettime(clock) - before > 0.01


async def test_all_the_work_of_one_reconciliation_is_on_one_account(threads: Threads) -> None:
    with on_account_of(thing("many")):
        account = ACCOUNT.get()
        assert account is not None
        account.left = 0.2
        done = 0
        with contextlib.suppress(TooCostly):
            while done < 100:
                await threads.run(LARGE, for_seconds, 0.05)
                done += 1
        assert 2 <= done <= 5

    with on_account_of(thing("many")):  # the next reconciliation begins anew
        await threads.run(LARGE, for_seconds, 0.05)


async def test_time_that_passes_without_computing_is_not_counted(threads: Threads) -> None:
    await computed(threads, thing("patient"), partial(time.sleep, 0.3), allowance=0.1)


async def test_costly_work_of_one_namespace_does_not_delay_another(threads: Threads) -> None:
    hostile = [asyncio.create_task(computed(threads, thing(f"h{i}", "evil"), forever)) for i in range(50)]
    await asyncio.sleep(0.05)

    async with asyncio.timeout(60):
        assert await computed(threads, thing("honest", "shop"), lambda: "done") == "done"

    assert not any(task.done() for task in hostile)
    await _cancelled(hostile)


async def test_namespaces_that_wait_take_turns(threads: Threads) -> None:
    one = Threads(Metrics(CollectorRegistry()), places=1)
    order: list[str] = []
    gate = threading.Event()
    first = asyncio.create_task(computed(one, thing("first", "zero"), gate.wait))
    await asyncio.sleep(0)
    waiting = [
        asyncio.create_task(computed(one, thing("x", namespace), partial(order.append, namespace)))
        for namespace in ("evil", "evil", "evil", "shop", "bank")
    ]
    await asyncio.sleep(0)

    gate.set()
    await asyncio.gather(first, *waiting)

    assert order == ["evil", "shop", "bank", "evil", "evil"]
    one.close()


async def test_work_whose_asker_is_gone_is_ended(threads: Threads) -> None:
    task = asyncio.create_task(computed(threads, thing("cancelled"), forever))
    await asyncio.sleep(0.05)

    await _cancelled([task])

    async with asyncio.timeout(60):  # the same namespace has its place again
        assert await computed(threads, thing("next"), lambda: "done") == "done"


async def test_too_many_that_wait_are_refused(threads: Threads) -> None:
    running = [asyncio.create_task(computed(threads, thing("x"), forever)) for _ in range(1200)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    refused = [task for task in running if task.done()]

    assert refused
    assert all(isinstance(task.exception(), Busy) for task in refused)
    await _cancelled(running)


async def test_small_work_that_adds_up_lets_others_have_their_turn(threads: Threads) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(100):
        await threads.run(SMALL, lambda: None)

    assert turns >= 100 * SMALL // AT_A_STRETCH - 1
    await _cancelled([task])


async def test_the_loop_goes_on_while_eight_namespaces_compute(threads: Threads) -> None:
    hostile = [asyncio.create_task(computed(threads, thing("x", f"evil{i}"), forever, 0.3)) for i in range(8)]

    assert await cpu_at_a_stretch(asyncio.gather(*hostile, return_exceptions=True)) < 0.1
    assert all(isinstance(task.exception(), TooCostly) for task in hostile)


async def test_an_account_without_an_object_can_be_used_up_too() -> None:
    assert "this needs more than" in str(Account().make_too_costly())


async def cpu_at_a_stretch(work: Any) -> float:
    """The longest CPU time of the loop's thread between two turns of a task that does nothing, while `work` runs."""
    future = asyncio.ensure_future(work)
    longest, before = 0.0, time.thread_time()
    while not future.done():
        await asyncio.sleep(0.001)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    await future
    return longest


async def _cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_objects_weigh_by_their_bytes_and_not_by_their_number() -> None:
    dense = {"apiVersion": "v1", "kind": "ConfigMap", "data": {f"{n}": "" for n in range(40_000)}}
    small = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}

    assert estimate_weight([dense]) > SMALL
    assert estimate_weight([small] * 100) < SMALL < estimate_weight([small] * 10_000)
