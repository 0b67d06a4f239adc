"""Time, chance and computing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return the seconds since some moment; they never go back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Chance(Protocol):
    def random(self) -> float:
        """Draw a number from [0, 1), all equally likely."""
        ...


class Compute(Protocol):
    async def run(self, weight: int, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """Compute `work(*args)` and return or raise what it does, so that nobody else has to wait for it.

        Everything whose cost a user's input decides goes through here. It may run in another thread, and end anywhere
        when the reconciliation has used up what it may: so `work` is pure, but for reading a Tree.

        Args:
            weight: about how many characters, entries or steps it looks at; what is small is done on the spot.

        Raises:
            TransientError: the reconciliation used up the computing that it may have, or too much waits.
        """
        ...
