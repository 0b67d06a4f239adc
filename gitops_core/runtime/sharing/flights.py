"""Who asks what somebody else is asking already gets the same answer.

    a ──► ask ────────────► answer      one request under way
    b ──────►└── waits ───► answer      the same, or the same error

One who stops waiting disturbs nobody; when nobody waits any more, the request is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

V = TypeVar("V")


@dataclass
class _Flight(Generic[V]):
    task: asyncio.Task[V]
    waiting: int = 0


class Flights(Generic[V]):
    """The requests under way, each by what it asks."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Flight[V]] = {}

    async def join(self, asked: Hashable, ask: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return or raise what `ask` does, or the `ask` of who asked the same before and still waits."""
        flight = self._under_way.get(asked)
        if flight is None:
            flight = self._under_way[asked] = _Flight(asyncio.create_task(ask()))
            flight.task.add_done_callback(lambda task: self._end(asked, task))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._forget(asked, flight.task)  # who comes now begins anew
                flight.task.cancel()

    async def close(self) -> None:
        """Give up whatever is under way."""
        tasks = [flight.task for flight in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, asked: Hashable, task: asyncio.Task[V]) -> None:
        self._forget(asked, task)
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits any more

    def _forget(self, asked: Hashable, task: asyncio.Task[V]) -> None:
        flight = self._under_way.get(asked)
        if flight is not None and flight.task is task:
            del self._under_way[asked]
