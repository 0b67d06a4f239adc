"""/metrics for Prometheus, /healthz and /readyz for the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

import click
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


def address(listen: str) -> tuple[str | None, int]:
    """Host and port of `HOST:PORT`, `:PORT`, `PORT` or `[::1]:PORT`; no host for all interfaces.

    >>> address("127.0.0.1:80"), address(":80"), address("80"), address("[::1]:80")
    (('127.0.0.1', 80), (None, 80), (None, 80), ('::1', 80))

    Raises:
        ValueError: there is no port in it.
    """
    host, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"{port!r} is not a port")
    return host.removeprefix("[").removesuffix("]") or None, int(port)


@contextlib.asynccontextmanager
async def serving(listen: str, registry: CollectorRegistry, is_ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Answers while it is open.

    Raises:
        ClickException: the address cannot be had.
    """

    async def show(request: web.Request) -> web.Response:
        body = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def alive(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(request: web.Request) -> web.Response:
        return web.Response(text="ok\n") if is_ready() else web.Response(status=503, text="not synced yet\n")

    application = web.Application()
    application.add_routes([web.get("/metrics", show), web.get("/healthz", alive), web.get("/readyz", ready)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, *address(listen)).start()
        except (OSError, ValueError) as error:
            cause = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
            raise click.ClickException(f"cannot listen on {listen!r}: {cause}; name another with --listen") from None
        yield
    finally:
        await runner.cleanup()
