"""Whose request runs in a thread now: a server that hangs keeps a few places of its own and nobody else's.

    request ──► one of its server's places ──► one of all the threads ──► answer
                └── all taken, and no answer for a while: refused at once, and retried by backoff

A place is taken until its thread has ended, however long ago everybody lost patience with it. A server's threads end
with its last request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

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


class Places:
    """The turns at one server, whoever asks it. The threads are all servers'."""

    def __init__(self, server: str, threads: asyncio.Semaphore) -> None:
        self.server = server
        self._threads = threads
        self._places = asyncio.Semaphore(PLACES)
        self._jobs: set[asyncio.Future[Any]] = set()
        self._executor: ThreadPoolExecutor | None = None
        self._heard = 0.0
        self._waits: dict[asyncio.Timeout, float] = {}

    async def run(self, work: Callable[[], T], limit: float) -> T:
        """What `work` returns, which asks the server and blocks; raises what it raises.

        Args:
            limit: seconds until it is given up.

        Raises:
            NoAnswer: it took longer.
            ProviderUnavailable: there was no place for it.
        """
        if not self._jobs:
            self._heard = asyncio.get_running_loop().time()
        await self.turn(self._places)
        try:
            await self.turn(self._threads)
        except BaseException:
            self._places.release()
            raise
        job = self._begun(work)
        done, _ = await asyncio.wait({job}, timeout=limit)  # which leaves the job alone: its thread cannot be stopped
        if not done:
            raise NoAnswer(f"{self.server}: no answer in time")
        return job.result()

    async def turn(self, gate: asyncio.Lock | asyncio.Semaphore) -> None:
        """Acquire `gate`, which requests to this server hold. Raises ProviderUnavailable: it hangs."""
        last = asyncio.get_running_loop().time() + LONGEST_WAIT
        limit = asyncio.timeout_at(min(last, self._heard + PATIENCE))
        try:
            async with limit:
                self._waits[limit] = last
                await gate.acquire()
        except TimeoutError:
            raise ProviderUnavailable(f"{self.server}: too many requests wait for an answer") from None
        finally:
            self._waits.pop(limit, None)

    def close(self) -> None:
        """Forget what is under way."""
        for job in tuple(self._jobs):
            job.cancel()

    def _begun(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(PLACES, thread_name_prefix="secrets")
        job = asyncio.get_running_loop().run_in_executor(self._executor, work)
        self._jobs.add(job)
        job.add_done_callback(self._ended)
        return job

    def _ended(self, job: asyncio.Future[Any]) -> None:
        self._jobs.discard(job)
        self._places.release()
        self._threads.release()
        if not job.cancelled() and not isinstance(job.exception(), NoAnswer):
            self._answered()
        if not self._jobs and self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None

    def _answered(self) -> None:
        """Who waits may wait on: the server does answer."""
        self._heard = asyncio.get_running_loop().time()
        for limit, last in self._waits.items():
            if not limit.expired():
                limit.reschedule(min(last, self._heard + PATIENCE))
