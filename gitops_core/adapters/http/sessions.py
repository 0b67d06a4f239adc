"""Sessions with limits, bodies with bounds, and what Retry-After means.

A session knows no proxy variables, no .netrc and no cookies (`trust_env=False` also makes a request three times
cheaper); who needs a proxy resolves it once with `find_proxy` and passes it to each request. Sockets send keep-alive
probes, so a peer that vanished is noticed within a minute, also by a connection that only listens. A request that
writes asks for leave when its connection is there and nothing is left to wait for: see runtime/authority/leave.py.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from gitops_core.adapters.http.lookups import Lookups
from gitops_core.adapters.http.socks import make_socks_connector
from gitops_core.runtime.authority.leave import check_again

CHUNK = 256 * 1024
LONGEST_RETRY_AFTER = 3600.0
READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""


class BodyTooLarge(Exception):
    """A peer sent more than we are willing to hold. The message names the limit, never the content."""


def open_session(
    *,
    total: float | None = 60.0,
    connect: float = 10.0,
    read: float | None = 30.0,
    connections: int = 32,
    idle: float = 60.0,
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | bool = True,
    socks: str = "",
) -> aiohttp.ClientSession:
    """Open a session whose every request ends, one way or another. To be made where an event loop runs, and closed.

    Args:
        total: seconds for a whole request with its body; None for streams.
        connect: seconds to get a connected socket, TLS included.
        read: seconds without a single byte.
        connections: at the same time to all hosts together; 0 for no limit.
        idle: seconds that an unused connection is kept.
        socks: the URL of a SOCKS proxy that all connections go by; "" for none.

    Raises:
        StalledError: `socks` needs what is not installed.
    """
    options: dict[str, Any] = {"limit": connections, "keepalive_timeout": idle, "ssl": ssl_context}
    if socks:
        connector = make_socks_connector(socks, _Connector, **options)
    else:
        connector = _Connector(socket_factory=_make_probing_socket, resolver=Lookups(), **options)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=total, connect=None, sock_connect=connect, sock_read=read),
        trust_env=False,
        read_bufsize=CHUNK,
    )


class _Connector(aiohttp.TCPConnector):
    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's signature
    ) -> aiohttp.connector.Connection:
        connection = await super().connect(req, traces, timeout)
        if req.method not in READING:
            try:
                check_again()
            except BaseException:
                connection.release()
                raise
        return connection


def _make_probing_socket(address: aiohttp.connector.AddrInfoType) -> socket.socket:
    family, type_, protocol, _, _ = address
    created = socket.socket(family, type_, protocol)
    created.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if number := getattr(socket, option, None):  # spelled differently, or missing, outside Linux
            created.setsockopt(socket.IPPROTO_TCP, number, value)
    return created


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read the whole body, decompressed. Raises BodyTooLarge as soon as it is longer than `limit` bytes."""
    if response.content_length is not None and response.content_length > limit:
        raise BodyTooLarge(f"the answer is longer than {limit} bytes")
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise BodyTooLarge(f"the answer is longer than {limit} bytes")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def pass_body(response: aiohttp.ClientResponse, limit: int, take: Callable[[bytes], Awaitable[object]]) -> None:
    """Pass the body on in parts, as it comes. Raises BodyTooLarge before the part that is beyond `limit` bytes."""
    if response.content_length is not None and response.content_length > limit:
        raise BodyTooLarge(f"the answer is longer than {limit} bytes")
    size = 0
    async for part in response.content.iter_chunked(CHUNK):
        size += len(part)
        if size > limit:
            raise BodyTooLarge(f"the answer is longer than {limit} bytes")
        await take(part)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Parse a Retry-After header, a number of seconds or a date, into seconds to wait; None without one that can be
    read.

    Never negative and never more than an hour: a peer must not be able to put us to sleep for good.

    >>> parse_retry_after("7", datetime(2026, 1, 1, tzinfo=UTC))
    7.0
    >>> parse_retry_after("Thu, 01 Jan 2026 00:01:30 GMT", datetime(2026, 1, 1, tzinfo=UTC))
    90.0
    >>> parse_retry_after("soon", datetime(2026, 1, 1, tzinfo=UTC)) is None
    True

    Source: RFC 9110, 10.2.3.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        delay = float(text[:9])
    else:
        try:
            moment = parsedate_to_datetime(text)
        except (TypeError, ValueError):
            return None
        delay = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(delay, 0.0), LONGEST_RETRY_AFTER)
