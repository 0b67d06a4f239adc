"""Small forward proxies on loopback, as companies run them: CONNECT and requests in absolute form, or SOCKS 5.

It shuffles bytes and reads no further than the request's head, so what runs through it is the client's own.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.servers.certificates import KeyPair


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        host: its address.
        account: `user:password` that it wants, or "".
        targets: the request lines that it let through.
        refused: how many it did not.
    """

    host: str = ""
    account: str = ""
    targets: list[str] = field(default_factory=list)
    refused: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while await self._make_request(reader, writer):
                    pass
        finally:
            self._open.discard(task)
            await _closed(writer)

    async def close(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _make_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        if self.account:
            wanted = f"Basic {base64.b64encode(self.account.encode()).decode()}"
            if headers.get("proxy-authorization") != wanted:
                self.refused += 1
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return True
        self.targets.append(line)
        method, target, version = line.split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            await self._tunnel(reader, writer, host, int(port), b"")
            return False
        parts = urlsplit(target)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        kept = [field for field in fields if not field.lower().startswith(("proxy-", "connection:"))]
        request = "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""])
        await self._tunnel(reader, writer, str(parts.hostname), parts.port or 80, request.encode("latin-1"))
        return False

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, first: bytes
    ) -> None:
        there, away = await asyncio.open_connection(host, port)
        try:
            if first:
                away.write(first)
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, away))
                group.create_task(_copy(there, writer))
        finally:
            await _closed(away)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def forward_proxy(account: str = "", pair: KeyPair | None = None) -> AsyncIterator[Proxy]:
    """Run a forward proxy that asks for `account` where one is given.

    Args:
        pair: its certificate, where it speaks TLS itself.
    """
    proxy, context = Proxy(account=account), None
    if pair is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.certificate, pair.key)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
    address, port = server.sockets[0].getsockname()
    proxy.host = f"{address}:{port}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


@dataclass
class SocksProxy:
    """A running SOCKS 5 proxy (RFC 1928, 1929); attributes as those of `Proxy`, targets as `host:port`."""

    host: str = ""
    account: str = ""
    targets: list[str] = field(default_factory=list)
    refused: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._connect(reader, writer)
        finally:
            self._open.discard(task)
            await _closed(writer)

    async def close(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        version, count = await reader.readexactly(2)
        methods, wanted = await reader.readexactly(count), 2 if self.account else 0
        assert version == 5
        if wanted not in methods:
            self.refused += 1
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, wanted]))
        if wanted:
            await reader.readexactly(1)
            user, password = [await reader.readexactly((await reader.readexactly(1))[0]) for _ in range(2)]
            if f"{user.decode()}:{password.decode()}" != self.account:
                self.refused += 1
                writer.write(b"\x01\x01")
                return
            writer.write(b"\x01\x00")
        _, _, _, kind = await reader.readexactly(4)
        assert kind in (1, 3)
        raw = await reader.readexactly(4 if kind == 1 else (await reader.readexactly(1))[0])
        host = ".".join(map(str, raw)) if kind == 1 else raw.decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.targets.append(f"{host}:{port}")
        there, away = await asyncio.open_connection(host, port)
        try:
            writer.write(b"\x05\x00\x00\x01" + bytes(6))
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, away))
                group.create_task(_copy(there, writer))
        finally:
            await _closed(away)


@asynccontextmanager
async def socks_proxy(account: str = "") -> AsyncIterator[SocksProxy]:
    """Run a SOCKS 5 proxy that asks for `account` where one is given."""
    proxy = SocksProxy(account=account)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    address, port = server.sockets[0].getsockname()
    proxy.host = f"{address}:{port}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
