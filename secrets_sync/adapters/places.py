"""Whose request runs in a thread now: a server that hangs keeps a few places of its own and nobody else's.

    request ──► one of its server's places ──► one of all the threads ──► answer
                └── all taken, and no answer for a while: refused at once, and retried by backoff

A place is taken until its thread has ended, however long ago everybody lost patience with it. A server's threads end
with its last request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gitops_core.adapters.http import Line, PlacesTaken, Pulse
from secrets_sync.errors import NoAnswer, ProviderUnavailable

T = TypeVar("T")

PLACES = 4
"""Requests to one server at the same time."""
THREADS = 64
"""Requests to all servers at the same time."""
PATIENCE = 2.0
"""Seconds without any answer after which a server whose places are all taken counts as one that hangs."""
LONGEST_WAIT = 15.0
"""Seconds that a request waits for its turn at a server that does answer, but slowly."""


def all_threads() -> Line:
    """The line that the requests to all servers share."""
    return Line("any server", THREADS, PATIENCE)


class Places:
    """The turns at one server, whoever asks it. The threads are all servers'."""

    def __init__(self, server: str, threads: Line) -> None:
        self.server = server
        self._pulse = Pulse()
        self._threads, self._places = threads, Line(server, PLACES, PATIENCE, self._pulse)
        self._jobs: set[asyncio.Future[Any]] = set()
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[], T], limit: float) -> T:
        """What `work` returns, which asks the server and blocks; raises what it raises.

        Args:
            limit: seconds until it is given up.

        Raises:
            NoAnswer: it took longer.
            ProviderUnavailable: there was no place for it.
        """
        await self._enter(self._places)
        try:
            await self._enter(self._threads)
        except BaseException:
            self._places.leave(answered=None)
            raise
        job = self._begun(work)
        done, _ = await asyncio.wait({job}, timeout=limit)  # which leaves the job alone: its thread cannot be stopped
        if not done:
            raise NoAnswer(f"{self.server}: no answer in time")
        return job.result()

    def alone(self) -> Line:
        """A line of one place for those who ask this server one after the other."""
        return Line(self.server, 1, PATIENCE, self._pulse)

    @asynccontextmanager
    async def taken(self, line: Line) -> AsyncIterator[None]:
        """A place in a line of this server while the block runs. Raises ProviderUnavailable: it hangs."""
        await self._enter(line)
        try:
            yield
        finally:
            line.leave(answered=None)

    def close(self) -> None:
        """Forget what is under way."""
        for job in tuple(self._jobs):
            job.cancel()

    async def _enter(self, line: Line) -> None:
        try:
            await line.enter(LONGEST_WAIT)
        except PlacesTaken:
            raise ProviderUnavailable(f"{self.server}: too many requests wait for an answer") from None

    def _begun(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(PLACES, thread_name_prefix="secrets")
        job = asyncio.get_running_loop().run_in_executor(self._executor, work)
        self._jobs.add(job)
        job.add_done_callback(self._ended)
        return job

    def _ended(self, job: asyncio.Future[Any]) -> None:
        self._jobs.discard(job)
        answered = None if job.cancelled() else not isinstance(job.exception(), NoAnswer)
        self._places.leave(answered=answered)
        self._threads.leave(answered=answered)
        if not self._jobs and self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None
