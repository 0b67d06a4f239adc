"""/metrics for Prometheus, /healthz and /readyz for the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import click
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gitops_core.runtime.process import Health


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
async def serving(listen: str, registry: CollectorRegistry, health: Health) -> AsyncIterator[None]:
    """Answers while it is open.

    Raises:
        ClickException: the address cannot be had.
    """

    async def show(request: web.Request) -> web.Response:
        body = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def alive(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readiness(request: web.Request) -> web.Response:
        return web.Response(status=200 if health.is_ready else 503, text=f"{health.told}\n")

    application = web.Application()
    application.add_routes([web.get("/metrics", show), web.get("/healthz", alive), web.get("/readyz", readiness)])
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
