"""A port of ours, and how many connections it may cost.

A connection waits until its request has come, works until it is answered, and waits again. Who waits longer than
PATIENCE is cut off, however slowly it goes on sending; when there are MOST connections, whoever waits longest makes
room. So half requests take no descriptor from anything else in the process, and keep nobody out who sends whole ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import click
from aiohttp import web
from aiohttp.typedefs import Handler

MOST = 256
PATIENCE = 10.0
"""Seconds."""


def parse_address(listen: str) -> tuple[str | None, int]:
    """Split `HOST:PORT`, `:PORT`, `PORT` or `[::1]:PORT` into host and port; no host for all interfaces.

    >>> parse_address("127.0.0.1:80"), parse_address(":80"), parse_address("80"), parse_address("[::1]:80")
    (('127.0.0.1', 80), (None, 80), (None, 80), ('::1', 80))

    Raises:
        ValueError: there is no port in it.
    """
    host, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"{port!r} is not a port")
    return host.removeprefix("[").removesuffix("]") or None, int(port)


@contextlib.asynccontextmanager
async def listening(
    application: web.Application, listen: str, option: str, *, most: int = MOST, patience: float = PATIENCE
) -> AsyncIterator[int]:
    """Serve the application while the block runs; yield the port.

    Args:
        option: what names another address.
        most, patience: connections, and seconds until a request has come.

    Raises:
        ClickException: the address cannot be had.
    """
    connections = Connections(most, patience)
    application.middlewares.append(connections.note_work)
    runner = web.AppRunner(application, access_log=None, max_field_size=8190, lingering_time=1.0)
    await runner.setup()
    try:
        try:
            host, port = parse_address(listen)
            served = runner.server
            if served is None:
                raise RuntimeError("a runner that is set up has a server")
            server = await asyncio.get_running_loop().create_server(
                lambda: _Connection(served(), connections), host, port, reuse_address=True
            )
        except (OSError, ValueError) as error:
            cause = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
            raise click.ClickException(f"cannot listen on {listen!r}: {cause}; name another with {option}") from None
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
    finally:
        await runner.cleanup()


class Connections:
    """The open connections of one port; of those that wait, the one that has waited longest comes first."""

    def __init__(self, most: int, patience: float) -> None:
        self._most, self._patience = most, patience
        self._waiting: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        self._working: set[asyncio.BaseTransport] = set()

    def admit(self, transport: asyncio.BaseTransport) -> None:
        if len(self._waiting) + len(self._working) >= self._most:
            longest = next(iter(self._waiting), transport)
            self.forget(longest)
            _abort(longest)
            if longest is transport:
                return
        self._wait(transport)

    def forget(self, transport: asyncio.BaseTransport) -> None:
        self._working.discard(transport)
        if (timer := self._waiting.pop(transport, None)) is not None:
            timer.cancel()

    @web.middleware
    async def note_work(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note, as middleware, that a request has come, and that it is answered."""
        transport = request.transport
        if transport is None or transport not in self._waiting:
            return await handler(request)
        self.forget(transport)
        self._working.add(transport)
        try:
            return await handler(request)
        finally:
            if transport in self._working:
                self._working.remove(transport)
                self._wait(transport)

    def _wait(self, transport: asyncio.BaseTransport) -> None:
        loop = asyncio.get_running_loop()
        self._waiting[transport] = loop.call_later(self._patience, _abort, transport)


class _Connection(asyncio.Protocol):
    """One connection of a server's: it is counted as long as it is open."""

    def __init__(self, served: asyncio.Protocol, connections: Connections) -> None:
        self._served, self._connections = served, connections
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._connections.admit(transport)
        self._served.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.forget(self._transport)
        self._served.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._served.data_received(data)

    def eof_received(self) -> bool | None:
        return self._served.eof_received()

    def pause_writing(self) -> None:
        self._served.pause_writing()

    def resume_writing(self) -> None:
        self._served.resume_writing()


def _abort(transport: asyncio.BaseTransport) -> None:
    """Close it at once: nothing that was not sent yet is waited for."""
    if isinstance(transport, asyncio.Transport):
        transport.abort()
