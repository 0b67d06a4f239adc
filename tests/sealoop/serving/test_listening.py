"""What a port of ours may cost, whoever connects to it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from sealoop.serving.listening import listening

MOST = 8


@contextlib.asynccontextmanager
async def connected(port: int, count: int) -> AsyncIterator[list[tuple[asyncio.StreamWriter, asyncio.Task[None]]]]:
    """Connections, each with what ends when it does."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    ends = [asyncio.create_task(_end(reader)) for reader, _ in opened]
    try:
        yield [(writer, end) for (_, writer), end in zip(opened, ends, strict=True)]
    finally:
        for _, writer in opened:
            writer.transport.abort()
        await asyncio.gather(*ends)


async def _end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read()


def application() -> web.Application:
    async def hello(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text="hello")

    made = web.Application()
    made.router.add_get("/", hello)
    return made


async def ask(port: int) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
        return await answer.text()


@pytest.mark.parametrize(
    "half",
    [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Y: ", b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"],
    ids=["nothing", "half a header", "half a body"],
)
async def test_half_requests_take_no_more_than_their_places_and_keep_nobody_out(half: bytes) -> None:
    async with listening(application(), "127.0.0.1:0", "--hooks", most=MOST) as port, connected(port, 3 * MOST) as held:
        for writer, _ in held:
            writer.write(half)

        assert [await ask(port) for _ in range(3)] == ["hello"] * 3
        assert sum(not end.done() for _, end in held) <= MOST


async def test_a_working_connection_is_not_cut_off_for_a_waiting_one() -> None:
    working, go_on = asyncio.Event(), asyncio.Event()

    async def work(request: web.Request) -> web.Response:
        working.set()
        await go_on.wait()
        return web.Response(text="done")

    made = application()
    made.router.add_get("/work", work)
    async with (
        listening(made, "127.0.0.1:0", "--hooks", most=MOST, patience=0.3) as port,
        aiohttp.ClientSession() as session,
        asyncio.TaskGroup() as group,
    ):
        answer = group.create_task(_text(session, f"http://127.0.0.1:{port}/work"))
        await working.wait()
        async with connected(port, 2 * MOST):
            await asyncio.sleep(0.5)
            go_on.set()

            assert await answer == "done"


async def _text(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as answer:
        return await answer.text()


async def test_a_slow_sender_is_cut_off() -> None:
    async with listening(application(), "127.0.0.1:0", "--hooks", patience=0.3) as port, connected(port, 1) as held:
        ((writer, end),) = held
        began = time.monotonic()

        writer.write(b"GET / HTTP/1.1\r\nX: ")
        while not end.done():
            writer.write(b"x")
            await asyncio.sleep(0.02)
            assert time.monotonic() < began + 30

        assert time.monotonic() - began >= 0.3
