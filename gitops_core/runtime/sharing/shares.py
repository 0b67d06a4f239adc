"""How much of what all share one namespace may have: at most three times what is left free.

    of 64 places    one namespace holds 48, and 16 are free    two hold 27 each, and 10 are free    ten hold 6 each

So who comes next finds a place, however much others want and however long they stay. What is on nobody's account
(a command, a test) has no share to keep to.

Source: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.
"""

from __future__ import annotations

from collections import Counter

GREED = 3


class Shares:
    """Who holds how many of `size` places."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._held: Counter[str] = Counter()

    def may_take(self, owner: str) -> bool:
        """Tell whether there is a place that `owner` (a namespace; "" for nobody's) may have."""
        return self._free > 0 and (not owner or self._held[owner] < GREED * self._free)

    @property
    def are_taken(self) -> bool:
        """Tell whether no place is free for anybody."""
        return self._free <= 0

    def take(self, owner: str) -> None:
        self._free -= 1
        self._held[owner] += 1

    def give_back(self, owner: str) -> None:
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
