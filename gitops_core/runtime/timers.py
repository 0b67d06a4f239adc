"""Delayed calls: one heap and one task for the whole process, whatever the number of objects."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable
from typing import NamedTuple

from gitops_core.ports import Clock


class _Entry(NamedTuple):
    due: float
    number: int
    token: Hashable


class Timers:
    """At most one pending call for each token. Calls must be short and must not raise."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[_Entry] = []
        self._pending: dict[Hashable, tuple[int, Callable[[], None]]] = {}
        self._sooner = asyncio.Event()
        self._count = 0

    def __len__(self) -> int:
        return len(self._pending)

    def schedule(self, token: Hashable, delay: float, call: Callable[[], None]) -> None:
        """Call `call` in `delay` seconds, instead of what was pending for `token`."""
        self._count += 1
        entry = _Entry(self._clock.monotonic() + max(0.0, delay), self._count, token)
        self._pending[token] = (entry.number, call)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._sooner.set()
        if len(self._heap) > 2 * len(self._pending) + 64:  # cancelled entries stay in the heap until then
            self._heap = [e for e in self._heap if self._is_current(e)]
            heapq.heapify(self._heap)

    def cancel(self, token: Hashable) -> None:
        self._pending.pop(token, None)

    async def run(self) -> None:
        """Make the calls as they come due, until cancelled."""
        while True:
            self._call_due()
            self._sooner.clear()
            wait = self._heap[0].due - self._clock.monotonic() if self._heap else None
            try:
                async with asyncio.timeout(wait):
                    await self._sooner.wait()
            except TimeoutError:
                continue

    def _call_due(self) -> None:
        now = self._clock.monotonic()
        while self._heap and (self._heap[0].due <= now or not self._is_current(self._heap[0])):
            entry = heapq.heappop(self._heap)
            if self._is_current(entry):
                self._pending.pop(entry.token)[1]()

    def _is_current(self, entry: _Entry) -> bool:
        number, _ = self._pending.get(entry.token, (0, None))
        return number == entry.number
