"""What the registry client asks for, counted where it is asked: sharing, tokens, conditions, pauses."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest
from aiohttp import web

from gitops_core.adapters.oci import OciRegistry
from gitops_core.adapters.oci.transport import Limits
from gitops_core.errors import RegistryDenied, RegistryError, RegistryUnavailable
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import Credentials, RegistryAccess
from gitops_core.oci.references import Repository
from sealoop.embedded.registry import Account, RegistryServer

ACCESS = RegistryAccess(Credentials("bob", Sensitive("hunter2")))
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Counting:
    """A registry written for one test.

    Attributes:
        asked: (path without query) -> how often; `statuses` likewise by status.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.host = ""
        self.asked: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        response = await self.answer(request)
        self.statuses[response.status] += 1
        return response

    def repository(self, path: str = "apps/app") -> Repository:
        return Repository(self.host, path, insecure=True)


@asynccontextmanager
async def counting(answer: Answer) -> AsyncIterator[Counting]:
    registry = Counting(answer)
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", registry.serve)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    registry.host = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield registry
    finally:
        await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[OciRegistry]:
    async with OciRegistry(Limits(read=2.0, total=5.0)) as registry:
        yield registry


class Tagged:
    """Pages of `size` tags with an ETag each, which a 304 answers when it is sent back.

    Attributes:
        bare: a 304 has no header but ETag.
    """

    def __init__(self, tags: list[str], size: int, *, bare: bool = False) -> None:
        self.tags, self.size, self.bare = tags, size, bare

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        ordered = sorted(self.tags)
        rest = [tag for tag in ordered if tag > request.query.get("last", "")]
        page, more = rest[: self.size], len(rest) > self.size
        body = json.dumps({"tags": page}).encode()
        headers = {"ETag": f'"{sha256(body).hexdigest()}"'}
        link = {"Link": f'<{request.path}?last={page[-1]}&n={self.size}>; rel="next"'} if more else {}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers if self.bare else {**headers, **link})
        return web.Response(body=body, headers={**headers, **link})


@pytest.mark.parametrize("bare", [False, True])
async def test_pages_that_did_not_change_are_not_sent_again(client: OciRegistry, bare: bool) -> None:
    pages = Tagged([f"1.0.{number:05}" for number in range(4513)], 1000, bare=bare)
    async with counting(pages) as registry:
        first = await client.list_tags(registry.repository())
        assert registry.statuses == {200: 5}

        assert await client.list_tags(registry.repository()) == first
        assert registry.statuses == {200: 5, 304: 5}

        pages.tags.append("1.0.99999")
        assert await client.list_tags(registry.repository()) == (*first, "1.0.99999")
        assert registry.statuses == {200: 6, 304: 9}


async def test_a_page_that_follows_a_full_one_is_found(client: OciRegistry) -> None:
    """Its ETag is of the body alone, and a 304 does not repeat the Link."""
    pages = Tagged([f"1.0.{number}" for number in range(10, 60)], 50, bare=True)
    async with counting(pages) as registry:
        assert len(await client.list_tags(registry.repository())) == 50

        pages.tags.append("2.0.0")

        assert len(await client.list_tags(registry.repository())) == 51


async def test_an_answer_to_one_identity_is_not_given_to_another(client: OciRegistry) -> None:
    pages = Tagged(["1.0.0"], 10)

    async def guarded(request: web.Request) -> web.StreamResponse:
        if "Authorization" not in request.headers:
            return web.json_response({}, status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return await pages(request)

    async with counting(guarded) as registry:
        assert await client.list_tags(registry.repository(), ACCESS) == ("1.0.0",)
        with pytest.raises(RegistryDenied):
            await client.list_tags(registry.repository())


async def test_a_hundred_who_ask_at_once_cost_one_listing_and_one_token(client: OciRegistry) -> None:
    async with RegistryServer(page=10, account=Account("bob", "hunter2", "bearer")) as server:
        for number in range(35):
            server.add("apps/app", f"1.0.{number}")
        repository = Repository(server.host, "apps/app", insecure=True)

        listings = await asyncio.gather(*(client.list_tags(repository, ACCESS) for _ in range(100)))

        assert {len(tags) for tags in listings} == {35}
        asked = Counter(path.partition("?")[0] for _, path in server.requests)
        assert asked == {"/v2/apps/app/tags/list": 1 + 4, "/token": 1}  # the first one was challenged


async def test_the_token_of_a_scope_is_asked_for_once_however_many_need_it(client: OciRegistry) -> None:
    async with RegistryServer(account=Account("bob", "hunter2", "bearer")) as server:
        for number in range(5):
            for tag in range(20):
                server.add(f"apps/app{number}", f"1.0.{tag}")
        repositories = [Repository(server.host, f"apps/app{number}", insecure=True) for number in range(5)]

        await asyncio.gather(
            *(client.resolve_digest(each, f"1.0.{tag}", ACCESS) for tag in range(20) for each in repositories)
        )

        tokens = Counter(path for _, path in server.requests if path.startswith("/token"))
        assert len(tokens) == 5
        assert set(tokens.values()) == {1}


async def test_a_token_is_used_until_it_expires_and_not_after_it_was_refused(client: OciRegistry) -> None:
    life, valid = 3600, ["t1"]
    tokens = iter(f"t{number}" for number in range(1, 100))

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            valid.append(next(tokens))
            return web.json_response({"access_token": valid[-1], "expires_in": life})
        if request.headers.get("Authorization") not in [f"Bearer {token}" for token in valid]:
            realm = f'Bearer realm="http://{request.host}/token",service="x"'
            return web.json_response({}, status=401, headers={"WWW-Authenticate": realm})
        return web.json_response({"tags": ["1.0.0"]})

    async with counting(answer) as registry:
        for _ in range(5):
            await client.list_tags(registry.repository(), ACCESS)
        assert registry.asked["/token"] == 1

        valid.clear()  # the registry forgot them all
        await client.list_tags(registry.repository(), ACCESS)
        await client.list_tags(registry.repository(), ACCESS)

        assert registry.asked["/token"] == 2


async def test_a_token_server_that_fails_fails_everybody_once(client: OciRegistry) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            await asyncio.sleep(0.05)
            return web.Response(status=500, text="<html>hunter2")
        realm = f'Bearer realm="http://{request.host}/token",service="x"'
        return web.json_response({}, status=401, headers={"WWW-Authenticate": realm})

    async with counting(answer) as registry:
        asking = (client.resolve_digest(registry.repository(), f"1.{n}", ACCESS) for n in range(8))
        results = await asyncio.gather(*asking, return_exceptions=True)

        assert {type(result) for result in results} == {RegistryUnavailable}
        assert all("500 Internal Server Error" in str(result) and "hunter2" not in str(result) for result in results)
        assert registry.asked["/token"] <= 2


@pytest.mark.parametrize(("status", "kind"), [(401, RegistryDenied), (403, RegistryDenied), (404, RegistryUnavailable)])
async def test_a_token_servers_refusal_is_an_error_of_its_kind(
    client: OciRegistry, status: int, kind: type[RegistryError]
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        realm = f'Bearer realm="http://{request.host}/token",service="x"'
        challenge = {} if request.path == "/token" else {"WWW-Authenticate": realm}
        return web.json_response({}, status=status if request.path == "/token" else 401, headers=challenge)

    async with counting(answer) as registry:
        with pytest.raises(RegistryError, match=rf"^GET http://{registry.host}/token\?service=x&scope=") as caught:
            await client.list_tags(registry.repository(), ACCESS)

        assert type(caught.value) is kind
        assert registry.asked == {"/v2/apps/app/tags/list": 1, "/token": 1}


@pytest.mark.parametrize(
    "body", ["<html>", '{"token": "a', "{}", '{"token": ""}', '{"token": "a\\nb"}', "x" * (2 << 20)]
)
async def test_a_token_server_that_gives_no_token(client: OciRegistry, body: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return web.Response(text=body)
        realm = f'Bearer realm="http://{request.host}/token",service="x"'
        return web.json_response({}, status=401, headers={"WWW-Authenticate": realm})

    async with counting(answer) as registry:
        with pytest.raises(RegistryUnavailable, match=rf"^the token server {registry.host} "):
            await client.list_tags(registry.repository(), ACCESS)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_host_that_names_a_time_to_wait_is_left_alone_and_others_are_not(
    client: OciRegistry, status: int
) -> None:
    async def busy(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Retry-After": "60"})

    async with counting(busy) as registry, RegistryServer() as other:
        other.add("apps/app", "1.0.0")
        with pytest.raises(RegistryUnavailable) as first:
            await client.list_tags(registry.repository())
        with pytest.raises(RegistryUnavailable, match="is not asked anything now") as second:
            await client.list_tags(registry.repository("apps/another"))
        with pytest.raises(RegistryUnavailable, match="is not asked anything now"):
            await client.resolve_digest(registry.repository(), "1.0.0", ACCESS)

        assert await client.list_tags(Repository(other.host, "apps/app", insecure=True)) == ("1.0.0",)
        assert first.value.retry_after == 60
        assert 55 < (second.value.retry_after or 0) <= 60
        assert sum(registry.asked.values()) == 1


async def test_a_host_is_asked_again_when_its_time_is_over(client: OciRegistry) -> None:
    waits = ["1"]

    async def answer(request: web.Request) -> web.StreamResponse:
        if waits:
            return web.Response(status=429, headers={"Retry-After": waits.pop()})
        return web.json_response({"tags": ["1.0.0"]})

    async with counting(answer) as registry:
        with pytest.raises(RegistryUnavailable):
            await client.list_tags(registry.repository())
        await asyncio.sleep(1.05)

        assert await client.list_tags(registry.repository()) == ("1.0.0",)


async def test_a_caller_that_gives_up_does_not_end_the_listing_of_another(client: OciRegistry) -> None:
    go_on = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.json_response({"tags": ["1.0.0"]})

    async with counting(slow) as registry:
        impatient, patient = (asyncio.create_task(client.list_tags(registry.repository())) for _ in range(2))
        while not registry.asked:  # noqa: ASYNC110  # a counter has no Event
            await asyncio.sleep(0.01)
        impatient.cancel()
        await asyncio.wait({impatient})
        go_on.set()

        assert await patient == ("1.0.0",)
        assert registry.asked == {"/v2/apps/app/tags/list": 1}


async def test_credentials_do_not_follow_a_redirect_to_another_host(client: OciRegistry) -> None:
    """Registries keep blobs elsewhere."""
    told: list[str | None] = []
    digest = f"sha256:{hashlib.sha256(b'blob').hexdigest()}"

    async def store(request: web.Request) -> web.StreamResponse:
        told.append(request.headers.get("Authorization"))
        return web.Response(body=b"blob")

    async def answer(request: web.Request) -> web.StreamResponse:
        if "Authorization" not in request.headers:
            return web.json_response({}, status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        raise web.HTTPTemporaryRedirect(f"http://{elsewhere.host}/signed")

    async with counting(store) as elsewhere, counting(answer) as registry:
        body = await client.fetch_blob(registry.repository(), digest, ACCESS, limit=10)

        assert body == b"blob"
        assert told == [None]
        with pytest.raises(RegistryUnavailable, match="longer than 3 bytes"):
            await client.fetch_blob(registry.repository(), digest, ACCESS, limit=3)


async def test_a_listing_without_end_is_given_up_and_leaves_nothing_behind(client: OciRegistry) -> None:
    async def crawl(request: web.Request) -> web.StreamResponse:
        last = int(request.query.get("last", "0"))
        headers = {"Link": f'<{request.path}?last={last + 1}>; rel="next"'}
        return web.json_response({"tags": [f"1.0.{last}"]}, headers=headers)

    async with counting(crawl) as registry:
        listing = asyncio.create_task(client.list_tags(registry.repository()))
        while registry.asked.total() <= 5:  # noqa: ASYNC110  # a counter has no Event
            await asyncio.sleep(0.01)
        listing.cancel()
        await asyncio.wait({listing})
        asked = registry.asked.total()
        await asyncio.sleep(0.2)

        assert listing.cancelled()
        assert registry.asked.total() <= asked + 1  # one was on its way


async def test_fifty_thousand_tags_cost_fifty_requests(client: OciRegistry) -> None:
    ordered = sorted(f"1.{number // 1000}.{number % 1000}" for number in range(49_999))
    pages = {}
    for start in range(0, 50_000, 1000):
        page = ordered[start : start + 1000]
        query = f"?last={page[-1]}&n=1000"
        headers = {"Link": f'</v2/apps/app/tags/list{query}>; rel="next"'} if start < 49_000 else {}
        pages[ordered[start - 1] if start else ""] = (json.dumps({"tags": page}).encode(), headers)

    async def answer(request: web.Request) -> web.StreamResponse:
        body, headers = pages[request.query.get("last", "")]
        return web.Response(body=body, headers=headers)

    async with counting(answer) as registry:
        assert len(await client.list_tags(registry.repository())) == 49_999
        assert sum(registry.asked.values()) == 50

        for _ in range(5):
            await client.list_tags(registry.repository())
        assert sum(registry.asked.values()) == 300
