"""The work queue: which object of one kind is looked at next.

A key is in at most one of three places: waiting to be taken, taken by one worker, or due at a later time (and then it
may be in one of the others as well). Adding a key that waits does nothing but raise its priority; adding one that is
taken has it looked at once more afterwards.

Who finds that it has less to do than others yields: it is looked at behind them, and with few others at the same time.

Namespaces take turns, and none has all the workers (see sharing/shares.py): what hangs holds up its own alone.

Source: client-go, util/workqueue.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Generic, TypeVar

from gitops_core.runtime.sharing.shares import Shares
from gitops_core.runtime.timers import Timers

K = TypeVar("K", bound=Hashable)

# With changes arriving without end, periodic looks would starve; every so often one of them goes first.
PATIENCE = 8
FEW = 4
"""How many of a namespace that yielded are looked at while changed ones are: many would take their time by turns."""


class Priority(IntEnum):
    """Why a key is looked at. Lower goes first."""

    CHANGED = 0
    PERIODIC = 1
    YIELDED = 2
    """It was looked at already, and has less to do than others: see FEW."""


_ORDER = (Priority.CHANGED, Priority.PERIODIC, Priority.YIELDED)
_ORDER_OF_THE_PATIENT = (Priority.PERIODIC, Priority.YIELDED, Priority.CHANGED)


def find_no_owner(key: object) -> str:
    return ""


class WorkQueue(Generic[K]):
    """
    Args:
        workers: how many take from it.
        owner_of: the namespace that a key is of; "" for none.
    """

    def __init__(self, timers: Timers, workers: int = 1, owner_of: Callable[[K], str] = find_no_owner) -> None:
        self._timers = timers
        self._shares, self._owner_of = Shares(workers), owner_of
        self._waiting: dict[K, Priority] = {}
        self._lines: dict[Priority, OrderedDict[str, deque[K]]] = {priority: OrderedDict() for priority in Priority}
        self._taken: dict[K, Priority] = {}
        self._busy: Counter[Priority] = Counter()
        self._yielded: Counter[str] = Counter()  # of those, by namespace
        self._again: dict[K, Priority] = {}
        self._idle: deque[asyncio.Future[None]] = deque()
        self._changes_in_a_row = 0
        self._closed = False

    def __len__(self) -> int:
        """Return how many keys wait to be taken."""
        return len(self._waiting)

    def add(self, key: K, priority: Priority = Priority.CHANGED) -> None:
        if key in self._taken:
            self._again[key] = min(priority, self._again.get(key, priority))
            return
        present = self._waiting.get(key)
        if present is None or priority < present:
            self._waiting[key] = priority
            self._lines[priority].setdefault(self._owner_of(key), deque()).append(key)
            self._wake_one()

    def add_after(self, key: K, delay: float, priority: Priority = Priority.PERIODIC) -> None:
        """Add `key` in `delay` seconds, instead of at the time that was set before."""
        self._timers.schedule((id(self), key), delay, lambda: self.add(key, priority))

    def forget(self, key: K) -> None:
        """Drop `key` wherever it waits; a worker that has it keeps it, and it is not looked at again."""
        self._timers.cancel((id(self), key))
        self._waiting.pop(key, None)
        self._again.pop(key, None)

    def unschedule(self, key: K) -> None:
        """Drop only what add_after() set."""
        self._timers.cancel((id(self), key))

    async def get(self) -> K | None:
        """Return the next key, from now on taken until given to give_back(); None once the queue is closed."""
        while not self._closed:
            if (key := self._take_next()) is not None:
                return key
            turn = asyncio.get_running_loop().create_future()
            self._idle.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # it was to work, and is needed elsewhere
                    self._wake_one()
                raise
        return None

    def close(self) -> None:
        """Hand out nothing more."""
        self._closed = True
        while self._idle:
            self._wake_one()

    def give_back(self, key: K) -> None:
        self._note_taken(key, self._taken.pop(key), -1)
        self._shares.give_back(self._owner_of(key))
        if self._waiting:
            self._wake_one()  # for what waited for its namespace's turn
        if (priority := self._again.pop(key, None)) is not None:
            self.add(key, priority)

    def _wake_one(self) -> None:
        """Wake the worker that waits the longest: of many, all but one would find nothing."""
        while self._idle:
            turn = self._idle.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _take_next(self) -> K | None:
        if not self._waiting:
            return None
        for priority in _ORDER if self._changes_in_a_row < PATIENCE else _ORDER_OF_THE_PATIENT:
            if (key := self._pop_first(priority)) is None:
                continue
            self._changes_in_a_row = self._changes_in_a_row + 1 if priority is Priority.CHANGED else 0
            del self._waiting[key]
            self._taken[key] = priority
            self._note_taken(key, priority, 1)
            self._shares.take(self._owner_of(key))
            return key
        return None

    def _note_taken(self, key: K, priority: Priority, number: int) -> None:
        self._busy[priority] += number
        if priority is Priority.YIELDED:
            self._yielded[self._owner_of(key)] += number
            self._yielded = +self._yielded

    def _may_take(self, priority: Priority, owner: str) -> bool:
        """Tell whether a namespace may have another worker for this."""
        if priority is Priority.YIELDED and self._busy[Priority.CHANGED] and self._yielded[owner] >= FEW:
            return False
        return not owner or self._shares.may_take(owner)

    def _pop_first(self, priority: Priority) -> K | None:
        """Return the next key of the namespace that had its turn longest ago, of those that may have another worker."""
        lines, empty = self._lines[priority], list[str]()
        found = None
        for owner, line in lines.items():
            while line and self._waiting.get(line[0]) is not priority:  # promoted or forgotten since
                line.popleft()
            if not line:  # nothing waits
                empty.append(owner)
            elif self._may_take(priority, owner):
                found = owner
                break
        for owner in empty:
            del lines[owner]
        if found is None:
            return None
        lines.move_to_end(found)
        return lines[found].popleft()
