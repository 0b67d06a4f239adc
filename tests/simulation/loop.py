"""Virtual time: an event loop whose clock jumps to the next timer when nothing else can happen.

A day of reconciling takes as long as its work takes, in the same order every time. What really comes from outside
(threads, sockets, subprocesses) is waited for in real time first, so real adapters work too; only what stays inside
the loop is deterministic.
"""

from __future__ import annotations

import asyncio
import functools
import random
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class Idle(Exception):
    """Every task waits for something that nobody will ever do."""


class _Selector(selectors.DefaultSelector):
    """Asks what is ready now; where the real one would sleep, it has the loop's time jump."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: VirtualLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        loop = self.loop
        if ready or loop is None or (timeout is not None and timeout <= 0):
            return ready
        if loop.waits_for_outside(len(self.get_map())):
            ready = super().select(loop.patience)
            if ready or loop.is_busy:
                return ready
        if timeout is None:
            if ready := super().select(loop.despair):
                return ready
            raise Idle("every task waits, and no timer is set")
        loop.jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    Args:
        patience: real seconds to wait for open sockets before time jumps.
        despair: real seconds to wait for a thread that nobody told us of, before saying that nothing will happen.
    """

    def __init__(self, patience: float = 0.02, despair: float = 5.0) -> None:
        self._virtual = 0.0
        self._jobs: set[asyncio.Future[Any]] = set()
        self.patience, self.despair = patience, despair
        selector = _Selector()
        super().__init__(selector)
        self._own = len(selector.get_map())  # the loop's own wake-up socket
        selector.loop = self

    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        self._virtual += seconds

    @property
    def is_busy(self) -> bool:
        """Tell whether a thread or a program works for us: time stands still until it is done."""
        return bool(self._jobs)

    def waits_for_outside(self, open_files: int) -> bool:
        return self.is_busy or open_files > self._own

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        return self._outside(super().run_in_executor(executor, func, *args))

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        transport, protocol = await super().subprocess_exec(*args, **options)
        self._outside(asyncio.ensure_future(transport._wait()))  # type: ignore[attr-defined]
        return transport, protocol

    def _outside(self, job: asyncio.Future[Any]) -> asyncio.Future[Any]:
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job


class VirtualClock:
    """Implements gitops_core.ports.Clock on the running loop's time."""

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SeededChance:
    """Implements gitops_core.ports.Chance: the same numbers for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def random(self) -> float:
        return self._random.random()


def virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in virtual time and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Let a test that awaits run in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        virtually(test(*args, **kwargs))

    return run
