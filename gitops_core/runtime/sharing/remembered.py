"""Answers that are asked for once, also by many at the same time, and kept for a while.

    get("a") ─┬─ known and not too old ──> the answer
              └─ else ask (see flights); a failure is told to those who waited, and then forgotten

Of answers that weigh more than the capacity, those that were not asked for the longest go first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

from gitops_core.recent import Recent
from gitops_core.runtime.sharing.flights import Flights

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Kept(NamedTuple, Generic[Value]):
    """An answer and for how many seconds it is one."""

    value: Value
    seconds: float = math.inf


class Remembered(Generic[Key, Value]):
    """
    Args:
        capacity: how many bytes may be kept.
        weigh: about how many bytes an answer takes, together with what it is asked for by.
    """

    def __init__(self, capacity: int, weigh: Callable[[Value], int]) -> None:
        self._weigh = weigh
        self._known: Recent[Key, tuple[Value, float]] = Recent(capacity)
        self._flights: Flights[Value] = Flights()

    async def get(self, key: Key, ask: Callable[[], Coroutine[Any, Any, Kept[Value]]]) -> Value:
        """Return what is kept under `key`, or else ask. Raises what `ask` raises."""
        if (known := self._known.get(key)) is not None:
            value, until = known
            if asyncio.get_running_loop().time() < until:
                return value
        return await self._flights.join(key, lambda: self._ask(key, ask))

    def forget(self, key: Key) -> None:
        """Ask again the next time."""
        self._known.drop(key)

    async def close(self) -> None:
        """Stop asking."""
        await self._flights.close()

    async def _ask(self, key: Key, ask: Callable[[], Coroutine[Any, Any, Kept[Value]]]) -> Value:
        value, seconds = await ask()
        if seconds > 0:
            self._known.put(key, (value, asyncio.get_running_loop().time() + seconds), self._weigh(value))
        return value
