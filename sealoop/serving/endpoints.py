"""/metrics for Prometheus, /healthz and /readyz for the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gitops_core.runtime.process import Health
from sealoop.serving.listening import listening


@contextlib.asynccontextmanager
async def serving(listen: str, registry: CollectorRegistry, health: Health) -> AsyncIterator[None]:
    """Answer requests while the block runs.

    Raises:
        ClickException: the address cannot be had.
    """

    async def show(request: web.Request) -> web.Response:
        body = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def tell_alive(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def tell_ready(request: web.Request) -> web.Response:
        return web.Response(status=200 if health.is_ready else 503, text=f"{health.told}\n")

    application = web.Application()
    application.add_routes([web.get("/metrics", show), web.get("/healthz", tell_alive), web.get("/readyz", tell_ready)])
    async with listening(application, listen, "--listen"):
        yield
