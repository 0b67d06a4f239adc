"""Whose request runs in a thread now: a server that hangs keeps a few places of its own and nobody else's.

    request ──► one of its server's places ──► one of all the threads ──► answer
                └── all taken, and no answer for a while: refused at once, and retried by backoff

A place is taken until its thread has ended, however long ago everybody lost patience with it. The threads end with the
last request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

from gitops_core.runtime.sharing.places import Line, Place, Places, PlacesTaken
from secrets_sync.errors import NoAnswer, NoPlace

T = TypeVar("T")

PLACES = 4
"""Requests to one server at the same time."""
THREADS = 64
"""Requests to all servers at the same time."""
PATIENCE = 2.0
"""Seconds without any answer after which a server whose places are all taken counts as one that hangs."""
LONGEST_WAIT = 15.0
"""Seconds that a request waits for its turn at a server that does answer, but slowly."""


class Threads:
    """What asks servers and blocks, whoever wants the answers."""

    def __init__(self) -> None:
        self._places = Places(remote=THREADS, per_host=PLACES, patience=PATIENCE)
        self._jobs: set[asyncio.Future[Any]] = set()
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, server: str, work: Callable[[], T], limit: float) -> T:
        """Return what `work` returns, which asks `server` and blocks; raises what it raises.

        Args:
            limit: seconds until it is given up.

        Raises:
            NoAnswer: it took longer.
            NoPlace: there was none for it.
        """
        with _in_words_of(server):
            place = await self._places.enter(server, LONGEST_WAIT)
        job = self._begin(work, place)
        done, _ = await asyncio.wait({job}, timeout=limit)  # which leaves the job alone: its thread cannot be stopped
        if not done:
            raise NoAnswer(f"{server}: no answer in time")
        return job.result()

    def make_line(self, server: str) -> Line:
        """Make a line of one place for those who ask this server one after the other; see `turn`."""
        return Line(server, 1, PATIENCE, self._places.get_line(server))

    def close(self) -> None:
        """Forget what is under way."""
        for job in tuple(self._jobs):
            job.cancel()

    def _begin(self, work: Callable[[], T], place: Place) -> asyncio.Future[T]:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="secrets")
        job = asyncio.get_running_loop().run_in_executor(self._executor, work)
        self._jobs.add(job)
        job.add_done_callback(partial(self._end, place))
        return job

    def _end(self, place: Place, job: asyncio.Future[Any]) -> None:
        self._jobs.discard(job)
        place.leave(answered=None if job.cancelled() else not isinstance(job.exception(), NoAnswer))
        if not self._jobs and self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None


@asynccontextmanager
async def turn(line: Line, server: str) -> AsyncIterator[None]:
    """Hold a place in a line of `server` while the block runs. Raises NoPlace: it hangs."""
    with _in_words_of(server):
        owner = await line.enter(LONGEST_WAIT)
    try:
        yield
    finally:
        line.leave(owner, answered=None)


@contextmanager
def _in_words_of(server: str) -> Iterator[None]:
    try:
        yield
    except PlacesTaken:
        raise NoPlace(f"{server}: too many requests wait for an answer") from None
