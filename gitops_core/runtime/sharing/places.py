"""Who may ask a host now: one host's trouble never delays another's.

    a host          so many at the same time, and no more for all hosts together
    this machine    places of their own for what touches no network
    a namespace     of all these places, never all (see shares.py)

Who finds all places taken waits in line, as long as the host answers somebody now and then. When it answers nobody,
the line gives up: whoever waited for a host that hangs is free to do something else, and tries again later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import NamedTuple
from weakref import WeakValueDictionary

from gitops_core.runtime.sharing.computing import get_namespace_at_work
from gitops_core.runtime.sharing.shares import Shares


class PlacesTaken(Exception):
    """It is not worth waiting any longer. The message says for whom, and why."""


class Pulse:
    """When a host was last heard; the lines of one host may share it."""

    def __init__(self) -> None:
        self.since = 0.0  # of the last answer, or the last beginning that an answer made room for
        self._is_silent = False  # the last that left was not answered
        self._asking = 0

    def begin(self) -> None:
        """Note that somebody asks who took no other's place."""
        self._is_silent &= self._asking > 0  # nobody waits for an answer: nothing is known against the host
        self._asking += 1
        self.go_on()

    def go_on(self) -> None:
        """Note that somebody asks in the place of another."""
        if not self._is_silent:  # a place that a time-out made free says nothing new about the host
            self.since = _read_clock()

    def hear(self, *, answered: bool | None) -> None:
        """Note whether the host answered; None when that is not known."""
        if answered is not None:
            self._is_silent = not answered
        if answered:
            self.since = _read_clock()

    def end(self) -> None:
        self._asking -= 1


class _Turn(NamedTuple):
    owner: str
    come: asyncio.Future[None]


class Line:
    """Places, and those who wait for one, first come first served among those whose namespace may have another.

    Args:
        name: what is waited for, for the message.
        size: how many places there are.
        patience: seconds without an answer after which nobody waits any longer.
        host: another line of the same host, whose answers count here too.
    """

    def __init__(self, name: str, size: int, patience: float, host: Line | None = None) -> None:
        self._name, self._size, self._patience = name, size, patience
        self._host = host  # two lines of one host share its pulse for as long as one of them is there
        self._pulse: Pulse = host._pulse if host is not None else Pulse()
        self._shares = Shares(size)
        self._waiting: deque[_Turn] = deque()

    @property
    def waiting(self) -> int:
        """Return how many callers wait for a place."""
        return len(self._waiting)

    async def enter(self, longest: float) -> str:
        """Wait for a place, at most `longest` seconds; on whose account it is, for `leave`.

        Raises:
            PlacesTaken: nobody was answered for so long that it is not worth waiting, or it took too long.
        """
        owner = get_namespace_at_work()
        if self._shares.may_take(owner):
            self._pulse.begin()
            self._shares.take(owner)
            return owner
        turn = _Turn(owner, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            await self._wait(turn, _read_clock() + longest)
        except BaseException:
            if turn.come.done():
                self._make_room(owner)
            else:
                self._waiting.remove(turn)
            raise
        return owner

    def leave(self, owner: str, *, answered: bool | None) -> None:
        """Give the place free. `answered`: whether the host did; None when that is not known."""
        self._pulse.hear(answered=answered)
        self._make_room(owner)

    @asynccontextmanager
    async def taken(self, longest: float) -> AsyncIterator[None]:
        """Hold a place while the block runs; a TimeoutError out of it says that the host did not answer.

        Raises:
            PlacesTaken: see `enter`.
        """
        owner = await self.enter(longest)
        answered: bool | None = None
        try:
            yield
            answered = True
        except TimeoutError:
            answered = False
            raise
        finally:
            self.leave(owner, answered=answered)

    async def _wait(self, turn: _Turn, end: float) -> None:
        while not turn.come.done():
            left = min(end, self._pulse.since + self._patience) - _read_clock()
            if left <= 0:
                mine = f"all places that namespace {turn.owner!r} may have are taken"
                taken = f"all {self._size} places are taken" if self._shares.are_taken else mine
                if _read_clock() >= end:
                    raise PlacesTaken(f"waiting for {self._name}: {taken}, and it answers too slowly")
                silent = f"none was answered within {self._patience:g} s"
                raise PlacesTaken(f"waiting for {self._name}: {taken}, and {silent}")
            await asyncio.wait({turn.come}, timeout=left)

    def _make_room(self, owner: str) -> None:
        self._shares.give_back(owner)
        is_handed_on = False
        while (turn := next((turn for turn in self._waiting if self._shares.may_take(turn.owner)), None)) is not None:
            self._waiting.remove(turn)
            self._shares.take(turn.owner)
            turn.come.set_result(None)
            if is_handed_on:
                self._pulse.begin()
            else:
                self._pulse.go_on()
                is_handed_on = True
        if not is_handed_on:
            self._pulse.end()


class Place(NamedTuple):
    """What who asks a host holds, for as long as it is asked."""

    lines: tuple[Line, ...]
    owner: str

    def leave(self, *, answered: bool | None) -> None:
        """See Line.leave."""
        for line in self.lines:
            line.leave(self.owner, answered=answered)


class Places:
    """The lines of all hosts, of all of them together, and of this machine.

    Args:
        per_host: who talks to one host.
        remote: who talks to any host; several times `per_host`, so that some hosts may hang. None for no limit.
        local: who touches no network.
        patience: seconds, see Line.
    """

    def __init__(self, *, remote: int | None = 64, per_host: int = 8, local: int = 8, patience: float = 10.0) -> None:
        self._per_host, self._patience = per_host, patience
        self._hosts: WeakValueDictionary[str, Line] = WeakValueDictionary()  # those that somebody is in
        self._remote = None if remote is None else Line("any remote", remote, patience)
        self._local = asyncio.Semaphore(local)

    @asynccontextmanager
    async def taken(self, host: str, longest: float) -> AsyncIterator[None]:
        """Hold a place while the block runs; a TimeoutError out of it says that the host did not answer.

        Args:
            host: "" for what touches no network.
            longest: seconds to wait for each place.

        Raises:
            PlacesTaken: see Line.enter.
        """
        if not host:
            async with self._local:
                yield
            return
        async with self.get_line(host).taken(longest), self._remote.taken(longest) if self._remote else nullcontext():
            yield

    async def enter(self, host: str, longest: float) -> Place:
        """Take a place to be left by who is done, maybe another than who waited for it. Raises PlacesTaken."""
        line = self.get_line(host)
        owner = await line.enter(longest)
        if self._remote is None:
            return Place((line,), owner)
        try:
            await self._remote.enter(longest)
        except BaseException:
            line.leave(owner, answered=None)
            raise
        return Place((line, self._remote), owner)

    def get_line(self, host: str) -> Line:
        return self._hosts.setdefault(host, Line(host, self._per_host, self._patience))


def _read_clock() -> float:
    return asyncio.get_running_loop().time()
