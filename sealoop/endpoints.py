"""/metrics for Prometheus, /healthz and /readyz for the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from sealoop.listening import listening


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
    async with listening(application, listen, "--listen"):
        yield
