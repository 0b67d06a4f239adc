"""Who held the lease when, and what must hold of it as long as two processes want it.

    renewed ......... 10 s: its holder writes no more ......... 15 s: another one may take it

a write     is made by who holds the lease, and before the time for which it was renewed has run out
at the end  while anybody lives and is answered, the lease is never left alone for longer than TAKEOVER
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from gitops_core.meta import Manifest

DURATION, RENEWED_FOR, RETRY = 15.0, 10.0, 2.0
"""Virtual seconds, as the documentation and client-go have them."""
TAKEOVER = DURATION + 1.2 * RETRY + 7.0
"""From the last sign of life of a holder to the next holder's: 5 s for an answer that is given up, 2 for the others."""


class Interval(NamedTuple):
    start: float
    end: float = float("inf")


class Stored(NamedTuple):
    """The lease from `at` on; holder "" for nobody."""

    at: float
    holder: str


@dataclass
class LeaseRecord:
    """Every state of the one lease, oldest first."""

    stored: list[Stored] = field(default_factory=list)

    def see(self, at: float, manifest: Manifest) -> None:
        self.stored.append(Stored(at, manifest["spec"].get("holderIdentity") or ""))

    def fault_of(self, at: float, identity: str) -> str:
        """Say why a process may not begin to write, "" when it may."""
        last = self.stored[-1] if self.stored else Stored(0.0, "")
        if last.holder.partition("_")[0] != identity:
            return f"{last.holder or 'nobody'} held the lease"
        if at >= last.at + RENEWED_FOR:
            return f"its lease was renewed {at - last.at:.1f}s before"
        return ""

    def abandoned(self, lived: Interval, disturbed: Iterable[Interval]) -> Interval | None:
        """Return when nobody held the lease for too long while a process lived undisturbed; None for never."""
        for quiet in without(lived, disturbed):
            within = [each.at for each in self.stored if quiet.start < each.at < quiet.end]
            for one, two in pairwise([quiet.start, *within, quiet.end]):
                if two - one > TAKEOVER:
                    return Interval(one, two)
        return None


def without(whole: Interval, parts: Iterable[Interval]) -> Iterator[Interval]:
    """Yield what is left of `whole`.

    >>> [tuple(each) for each in without(Interval(0, 9), [Interval(7, 8), Interval(1, 3), Interval(2, 4)])]
    [(0, 1), (4, 7), (8, 9)]
    """
    start, end = whole
    for part in sorted(parts):
        if start < min(part.start, end):
            yield Interval(start, min(part.start, end))
        start = max(start, part.end)
    if start < end:
        yield Interval(start, end)
