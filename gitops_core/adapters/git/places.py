"""Which git command may run now: one host's trouble never delays another's.

    the remote's host    so many commands to one host:port, and no more for all hosts together
    this machine         places of their own for what touches no network

Who finds all places taken waits in line, as long as the host answers somebody now and then. When it answers nobody,
the line gives up: whoever waited for a host that hangs is free to do something else, and tries again later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gitops_core.errors import GitError


class Line:
    """Places, and those who wait for one, first come first served.

    Args:
        name: what is waited for, for the message.
        size: how many places there are.
        patience: seconds without an answer after which nobody waits any longer.
    """

    def __init__(self, name: str, size: int, patience: float) -> None:
        self._name, self._size, self._patience = name, size, patience
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_silent = False  # the last that left was not answered
        self._since = 0.0  # of the last answer, or the last beginning that an answer made room for

    @property
    def is_idle(self) -> bool:
        return not self._running

    async def enter(self, longest: float) -> None:
        """Wait for a place, at most `longest` seconds.

        Raises:
            GitError: nobody was answered for so long that it is not worth waiting, or it took too long.
        """
        if self._running < self._size:
            self._is_silent &= self._running > 0
            self._running += 1
            self._begin()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await self._wait(turn, _now() + longest)
        except BaseException:
            if turn.done():
                self._make_room()
            else:
                self._waiting.remove(turn)
            raise

    def leave(self, *, answered: bool | None) -> None:
        """Give the place free. `answered`: whether the remote did; None when that is not known."""
        if answered is not None:
            self._is_silent = not answered
        if answered:
            self._since = _now()
        self._make_room()

    async def _wait(self, turn: asyncio.Future[None], end: float) -> None:
        while not turn.done():
            left = min(end, self._since + self._patience) - _now()
            if left <= 0:
                taken = f"all {self._size} places are taken"
                if _now() >= end:
                    raise GitError(f"waiting for {self._name}: {taken}, and it answers too slowly")
                raise GitError(f"waiting for {self._name}: {taken}, and none was answered within {self._patience:g} s")
            await asyncio.wait({turn}, timeout=left)

    def _make_room(self) -> None:
        if not self._waiting:
            self._running -= 1
            return
        self._waiting.popleft().set_result(None)
        self._begin()

    def _begin(self) -> None:
        # a place that a time-out made free says nothing new about the host
        if not self._is_silent:
            self._since = _now()


class Places:
    """The lines of all hosts, of all remotes together, and of this machine.

    Args:
        remote: commands that talk to any remote; several times `per_host`, so that some hosts may hang.
        per_host: commands that talk to one host.
        local: commands that touch no network.
        patience: seconds, see Line.
    """

    def __init__(self, *, remote: int = 64, per_host: int = 8, local: int = 8, patience: float = 10.0) -> None:
        self._per_host, self._patience = per_host, patience
        self._hosts: dict[str, Line] = {}
        self._remote = Line("any remote", remote, patience)
        self._local = asyncio.Semaphore(local)

    @asynccontextmanager
    async def taken(self, host: str, longest: float) -> AsyncIterator[None]:
        """A place while the block runs; a TimeoutError out of it says that the host did not answer.

        Args:
            host: "" for a command that touches no network.
            longest: seconds to wait for each place.

        Raises:
            GitError: see Line.enter.
        """
        if not host:
            async with self._local:
                yield
            return
        line = self._hosts.setdefault(host, Line(host, self._per_host, self._patience))
        try:
            async with _entered(line, longest), _entered(self._remote, longest):
                yield
        finally:
            if line.is_idle:
                self._hosts.pop(host, None)


@asynccontextmanager
async def _entered(line: Line, longest: float) -> AsyncIterator[None]:
    await line.enter(longest)
    answered: bool | None = None
    try:
        yield
        answered = True
    except TimeoutError:
        answered = False
        raise
    finally:
        line.leave(answered=answered)


def _now() -> float:
    return asyncio.get_running_loop().time()
