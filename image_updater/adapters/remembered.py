"""Answers that are asked for once, also by many at the same time, and kept for a while.

    get("a") ─┬─ known and not too old ──> the answer
              ├─ somebody asks already ──> what they get, also their failure
              └─ else ask; a failure is told to those who waited and then forgotten

Of more than `most` answers, those that were not asked for the longest go first. Who is cancelled cancels nobody else.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

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
        self._asking: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key, ask: Callable[[], Awaitable[Kept[Value]]]) -> Value:
        """Raises what `ask` raises."""
        if key in self._known:
            value, until = self._known[key]
            if asyncio.get_running_loop().time() < until:
                self._known.move_to_end(key)
                return value
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key, ask))
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Stop asking."""
        tasks = tuple(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, key: Key, ask: Callable[[], Awaitable[Kept[Value]]]) -> Value:
        value, seconds = await ask()
        if seconds > 0:
            self._known[key] = (value, asyncio.get_running_loop().time() + seconds)
            self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return value

    def _ended(self, key: Key, task: asyncio.Task[Value]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # looked at, also when nobody waits any more
