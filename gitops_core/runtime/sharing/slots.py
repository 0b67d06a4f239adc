"""Who may do now what only a few may do at the same time: shared by namespace, and not by who came first.

    a slot is free      the namespace that holds the fewest gets it; of those, the one that had its turn the longest ago
    slow work           is on its namespace's account; when that is used up, one slot is left to the others
    nobody waits long   a worker is better given back: what waits comes again

So somebody else's work begins as soon as one piece of what is under way has ended, however much waits before it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gitops_core.errors import Postponed

SLOW = 5.0
"""Seconds up to which work is on nobody's account."""
BUDGET = 20.0
"""Seconds of slow work on one account. It is given back as time passes, a second each second."""
PATIENCE = 10.0
"""Seconds until who waits gives its worker back."""
MOST_WAITING = 4
"""How many wait at a time of a namespace whose budget is used up."""


@dataclass(eq=False)
class _Work:
    owner: str
    began: float


@dataclass
class Slots:
    """Attributes:
    size: how many work at the same time.
    works: what they do, in the plural, as who waits is told.
    """

    size: int
    works: str
    _running: list[_Work] = field(default_factory=list)
    _waiting: dict[str, deque[asyncio.Future[_Work]]] = field(default_factory=dict)
    _turns: dict[str, int] = field(default_factory=dict)
    """The number of each namespace's last turn since the slots were all free."""
    _spent: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Seconds of slow work, and when that was counted."""

    @asynccontextmanager
    async def taken(self, owner: str) -> AsyncIterator[None]:
        """Hold a slot while the block runs, for work of namespace `owner`. Raises Postponed: it would wait for long."""
        work = await self._enter(owner)
        try:
            yield
        finally:
            self._leave(work)

    async def _enter(self, owner: str) -> _Work:
        waiting = self._waiting.setdefault(owner, deque())
        if len(waiting) >= MOST_WAITING and self._is_used_up(owner):
            raise Postponed(f"many {self.works} of namespace {owner!r} wait, and those before them are slow")
        turn: asyncio.Future[_Work] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        self._begin()
        try:
            await asyncio.wait({turn}, timeout=PATIENCE)
        except BaseException:
            self._withdraw(owner, turn)
            raise
        if not turn.done():
            self._withdraw(owner, turn)
            raise Postponed(f"{self.works} of namespace {owner!r} wait for those before them")
        return turn.result()

    def _withdraw(self, owner: str, turn: asyncio.Future[_Work]) -> None:
        if turn.done():
            self._leave(turn.result())
            return
        self._waiting[owner].remove(turn)
        if not self._waiting[owner]:
            del self._waiting[owner]

    def _leave(self, work: _Work) -> None:
        self._running.remove(work)
        now = _read_clock()
        self._spent = {owner: (left, now) for owner in self._spent if (left := self._compute_left(owner, now)) > 0}
        if (took := now - work.began) > SLOW:
            self._spent[work.owner] = self._compute_left(work.owner, now) + took, now
        self._begin()
        if not self._running:
            self._turns.clear()

    def _begin(self) -> None:
        while len(self._running) < self.size and (owner := self._choose_next()) is not None:
            work = _Work(owner, _read_clock())
            self._running.append(work)
            self._turns[owner] = max(self._turns.values(), default=0) + 1
            self._waiting[owner].popleft().set_result(work)
            if not self._waiting[owner]:
                del self._waiting[owner]

    def _choose_next(self) -> str | None:
        held = Counter(work.owner for work in self._running)
        most = max(1, self.size - 1)
        may = (owner for owner in self._waiting if held[owner] < most or not self._is_used_up(owner))
        return min(may, key=lambda owner: (held[owner], self._turns.get(owner, 0)), default=None)

    def _is_used_up(self, owner: str) -> bool:
        now = _read_clock()
        under_way = (now - work.began for work in self._running if work.owner == owner)
        return self._compute_left(owner, now) + sum(took for took in under_way if took > SLOW) > BUDGET

    def _compute_left(self, owner: str, now: float) -> float:
        """Compute what is still on an account, in seconds."""
        spent, at = self._spent.get(owner, (0.0, now))
        return max(0.0, spent - (now - at))


def _read_clock() -> float:
    return asyncio.get_running_loop().time()
