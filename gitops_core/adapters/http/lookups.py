"""Addresses of host names, looked up in threads of their own.

The system's lookup blocks until a name server answers or has been silent for long, and cannot be ended. In the event
loop's own threads, which are few, names whose servers are silent would stop everything else that needs one of them:
other lookups, builds, the reading of long answers. Here each session has its own, of which one namespace has its share.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult

from gitops_core.runtime.sharing.places import Place, Places, PlacesTaken

THREADS = 32
"""Names that one session looks up at the same time."""
PATIENCE = 5.0
"""Seconds without any answer after which nobody waits for a thread any longer."""
LONGEST_WAIT = 30.0

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

Job = asyncio.Future[list[ResolveResult]]


class Lookups(AbstractResolver):
    """Implements aiohttp's AbstractResolver. The threads end with the last lookup."""

    def __init__(self) -> None:
        self._places = Places(remote=THREADS, per_host=2, patience=PATIENCE)
        self._jobs: set[Job] = set()
        self._executor: ThreadPoolExecutor | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look a name up. Raises OSError, as the system does."""
        try:
            place = await self._places.enter(host, LONGEST_WAIT)
        except PlacesTaken as error:
            raise socket.gaierror(socket.EAI_AGAIN, f"its name is not looked up: {error}") from None
        job = self._begin(host, port, family, place)
        await asyncio.wait({job})  # which leaves the job alone when nobody waits any more: its thread goes on
        return job.result()

    async def close(self) -> None:
        """Do nothing: nothing is kept."""

    def _begin(self, host: str, port: int, family: socket.AddressFamily, place: Place) -> Job:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="lookup")
        job = asyncio.get_running_loop().run_in_executor(self._executor, find_addresses, host, port, family)
        self._jobs.add(job)
        job.add_done_callback(partial(self._note_end, place))
        return job

    def _note_end(self, place: Place, job: Job) -> None:
        self._jobs.discard(job)
        place.leave(answered=None if job.cancelled() else not _is_silence(job.exception()))
        if not self._jobs and self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None


def _is_silence(error: BaseException | None) -> bool:
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN


def find_addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """Ask the system for the addresses of a name. Blocks. Raises OSError."""
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    results: list[ResolveResult] = []
    for kind, _, protocol, _, address in found:
        numeric, number = str(address[0]), port
        if kind == socket.AF_INET6:
            if len(address) < 4:
                continue  # the system has no IPv6
            if address[3]:  # an address of one link names the link
                numeric, service = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
                number = int(service)
        results.append(
            ResolveResult(hostname=host, host=numeric, port=number, family=kind, proto=protocol, flags=_NUMERIC)
        )
    return results
