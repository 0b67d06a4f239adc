"""Answers that are asked for once, also by many at the same time, and kept for a while.

    get("a") ─┬─ known and not too old ──> the answer
              └─ else ask (see flights); a failure is told to those who waited, and then forgotten

Of more than `most` answers, those that were not asked for the longest go first.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

from gitops_core.runtime.flights import Flights

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Kept(NamedTuple, Generic[Value]):
    """An answer and for how many seconds it is one."""

    value: Value
    seconds: float = math.inf


class Remembered(Generic[Key, Value]):
    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[Key, tuple[Value, float]] = OrderedDict()
        self._flights: Flights[Value] = Flights()

    async def get(self, key: Key, ask: Callable[[], Coroutine[Any, Any, Kept[Value]]]) -> Value:
        """Raises what `ask` raises."""
        if key in self._known:
            value, until = self._known[key]
            if asyncio.get_running_loop().time() < until:
                self._known.move_to_end(key)
                return value
        return await self._flights.join(key, lambda: self._ask(key, ask))

    async def close(self) -> None:
        """Stop asking."""
        await self._flights.close()

    async def _ask(self, key: Key, ask: Callable[[], Coroutine[Any, Any, Kept[Value]]]) -> Value:
        value, seconds = await ask()
        if seconds > 0:
            self._known[key] = (value, asyncio.get_running_loop().time() + seconds)
            self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return value
