"""Bounds hold against a peer that ignores them, and settings of the machine are read as other programs read them."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.adapters.http import (
    BodyTooLarge,
    find_proxy,
    open_session,
    parse_retry_after,
    read_body,
)
from gitops_core.adapters.http.sessions import LONGEST_RETRY_AFTER

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def _zeros(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Encoding": "gzip"} if "gzip" in request.path else {})
    await response.prepare(request)
    if "gzip" in request.path:
        await response.write(gzip.compress(bytes(5_000_000)))
    else:
        for _ in range(500):
            await response.write(bytes(10_000))
    return response


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    application = web.Application()
    application.router.add_get("/{kind}", _zeros)
    server = TestServer(application)
    async with server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as session:
        yield session


@pytest.mark.parametrize("kind", ["chunked", "gzip"])
async def test_an_endless_body_is_given_up(server: TestServer, session: ClientSession, kind: str) -> None:
    async with session.get(server.make_url(f"/{kind}")) as response:
        with pytest.raises(BodyTooLarge, match="longer than 1000000 bytes"):
            await read_body(response, 1_000_000)


@pytest.mark.parametrize("kind", ["chunked", "gzip"])
async def test_a_body_within_bounds_is_whole(server: TestServer, session: ClientSession, kind: str) -> None:
    async with session.get(server.make_url(f"/{kind}")) as response:
        assert await read_body(response, 5_000_000) == bytes(5_000_000)


@given(st.text())
def test_no_header_makes_us_wait_for_ever(text: str) -> None:
    delay = parse_retry_after(text, NOW)

    assert delay is None or 0 <= delay <= LONGEST_RETRY_AFTER


@given(st.integers(min_value=0, max_value=3600))
def test_a_date_and_its_distance_mean_the_same(seconds: int) -> None:
    date = (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    assert parse_retry_after(date, NOW) == parse_retry_after(str(seconds), NOW) == seconds


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxied"),
    [
        ("https://api.example:6443", "", True),
        ("https://api.example:6443", "*", False),
        ("https://api.example:6443", "other,example", False),
        ("https://api.example:6443", "api.example:443", True),
        ("https://api.example:6443", "api.example:6443", False),
        ("https://notexample:6443", ".example", True),
        ("https://10.1.2.3:6443", "10.0.0.0/8", False),
        ("https://10.1.2.3:6443", "11.0.0.0/8, 10.1.2.3", False),
        ("https://127.0.0.1:6443", "", False),
        ("https://[::1]:6443", "", False),
        ("https://localhost:6443", "", False),
        ("http://api.example", "", False),
    ],
)
def test_proxies_are_chosen_as_other_programs_choose_them(url: str, no_proxy: str, proxied: bool) -> None:
    environment = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": no_proxy}

    assert find_proxy(url, environment) == ("http://proxy:3128" if proxied else None)
