"""Names whose name servers are silent hold up nobody but who named them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gitops_core.adapters.http import open_session
from gitops_core.adapters.http.lookups import THREADS, Lookups, find_addresses
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.runtime.sharing.computing import on_account_of


class NameServers:
    """The system's lookup, which waits for ever for names in `silent.example`.

    Attributes:
        asked: the silent names that are looked up now.
    """

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.mended = threading.Event()
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).endswith("silent.example"):
            self.asked.add(host)
            self.mended.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._real(host, *arguments, **options)


@pytest.fixture
def name_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServers]:
    servers = NameServers()
    monkeypatch.setattr(socket, "getaddrinfo", servers.getaddrinfo)
    yield servers
    servers.mended.set()


async def _get(session: aiohttp.ClientSession, url: str, namespace: str) -> int:
    with on_account_of(ObjectRef(Kind("", "v1", "Thing"), ObjectKey(namespace, "x"))):
        async with session.get(url) as response:
            return response.status


async def test_names_that_are_not_answered_stop_neither_others_lookups_nor_other_work(
    name_servers: NameServers,
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    session = open_session(connections=0)
    hanging = [
        asyncio.create_task(_get(session, f"http://{number}.silent.example/", "theirs")) for number in range(100)
    ]
    try:
        async with asyncio.timeout(60):
            while len(name_servers.asked) < THREADS * 3 // 4:
                assert not any(task.done() for task in hanging)
                await asyncio.sleep(0.01)

            assert await _get(session, f"http://localhost:{port}/", "ours") == 200
            assert await asyncio.to_thread(len, "abc") == 3
        assert len(name_servers.asked) < THREADS
    finally:
        name_servers.mended.set()
    failures = await asyncio.gather(*hanging, return_exceptions=True)
    assert {type(failure) for failure in failures} == {aiohttp.ClientConnectorDNSError}
    await session.close()
    await runner.cleanup()


async def test_a_name_has_the_addresses_that_the_system_knows() -> None:
    found = await Lookups().resolve("localhost", 80, socket.AF_UNSPEC)

    assert {result["port"] for result in found} == {80}
    assert all(ipaddress.ip_address(result["host"]).is_loopback for result in found)
    assert found == find_addresses("localhost", 80, socket.AF_UNSPEC)


async def test_a_name_that_nobody_has_is_an_error_as_of_the_system() -> None:
    with pytest.raises(socket.gaierror):
        await Lookups().resolve("no such name.invalid", 80)


async def test_no_thread_is_left_when_nothing_is_looked_up() -> None:
    lookups = Lookups()

    await asyncio.gather(*(lookups.resolve("localhost", port) for port in range(10)))

    for thread in threading.enumerate():
        if thread.name.startswith("lookup"):
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()
