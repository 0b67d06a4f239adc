"""What remotes answered lately, by the fingerprint of who asked. Forgotten, it is asked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

from gitops_core.ports import WriteAccess
from gitops_core.recent import Recent
from gitops_core.runtime.sharing.flights import Flights

CAPACITY, WEIGHT = 2 << 20, 256
ACCESS_SECONDS, GRANTED_SECONDS = 3600.0, 300.0  # that an answer about pushes holds; that one holds which is to change


class Proven:
    """The identities that were let in lately; one that is forgotten is asked about again."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._known: Recent[bytes, bool] = Recent(capacity)

    def __contains__(self, fingerprint: bytes) -> bool:
        return self._known.get(fingerprint) is not None

    def __len__(self) -> int:
        return len(self._known)

    def add(self, fingerprint: bytes) -> None:
        self._known.put(fingerprint, True, WEIGHT)


class Writing:
    """What remotes said lately of pushes, by who would push."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: Recent[bytes, tuple[WriteAccess, float]] = Recent(CAPACITY)
        self._asked: Flights[WriteAccess] = Flights()

    async def find(self, fingerprint: bytes, ask: Callable[[], Coroutine[Any, Any, WriteAccess]]) -> WriteAccess:
        """Return what is known; else ask, once for all who want to know it meanwhile."""
        if (known := self.get(fingerprint)) is None:
            known = await self._asked.join(fingerprint, ask)
            self.put(fingerprint, known)
        return known

    def get(self, fingerprint: bytes) -> WriteAccess | None:
        known, until = self._known.get(fingerprint) or (None, 0.0)
        return known if self._now() < until else None

    def put(self, fingerprint: bytes, said: WriteAccess) -> None:
        until = self._now() + (GRANTED_SECONDS if said.granted else ACCESS_SECONDS)
        self._known.put(fingerprint, (said, until), WEIGHT + len(said.why))
