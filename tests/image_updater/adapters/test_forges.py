"""Where a forge's API is, and what is made of answers that are none: no message has the token, which never leaves."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from aiohttp import web

from gitops_core.errors import GitOpsError, NotLeader, StalledError
from gitops_core.meta import Sensitive
from gitops_core.ports import GitAccess
from gitops_core.runtime.authority.leave import FENCE
from image_updater.adapters.forges import HttpForges
from image_updater.adapters.forges.addresses import Endpoint, find_endpoint
from image_updater.errors import ForgeDenied, ForgeUnavailable
from image_updater.ports import Forge, ForgeAddress
from tests.servers.certificates import Authority
from tests.servers.git import answer_with, bad_server, hang
from tests.servers.registry import hostile_registry

Kind = Literal["gitea", "github", "gitlab"]
TOKEN = "s3cret-token-0123456789"
DEEP = b'{"message":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
ACCESS = GitAccess(username="robot", password=Sensitive(TOKEN))


@pytest.mark.parametrize(
    ("kind", "url", "api", "path"),
    [
        ("github", "https://github.com/org/app.git", "https://api.github.com", "org/app"),
        ("github", "https://github.com/org/app/", "https://api.github.com", "org/app"),
        ("github", "ssh://git@github.com/org/app.git", "https://api.github.com", "org/app"),
        ("github", "ssh://git@ssh.github.com:443/org/app.git", "https://api.github.com", "org/app"),
        ("github", "https://org.ghe.com/org/app", "https://api.org.ghe.com", "org/app"),
        ("github", "https://ghes.example:8443/org/app", "https://ghes.example:8443/api/v3", "org/app"),
        ("gitlab", "https://gitlab.com/group/sub/app.git", "https://gitlab.com/api/v4", "group/sub/app"),
        ("gitlab", "ssh://git@gitlab.example:2222/group/app", "https://gitlab.example/api/v4", "group/app"),
        ("gitea", "https://codeberg.org/org/app.git", "https://codeberg.org/api/v1", "org/app"),
        ("gitea", "https://example.com/git/org/app.git", "https://example.com/git/api/v1", "org/app"),
        ("gitea", "ssh://git@example.com:2222/org/app.git", "https://example.com/api/v1", "org/app"),
        ("gitea", "http://[::1]:3000/org/app.git", "http://[::1]:3000/api/v1", "org/app"),
        ("gitea", "https://user:pass@example.com/org/app.git", "https://example.com/api/v1", "org/app"),
    ],
)
def test_the_api_follows_from_the_clone_url(kind: Kind, url: str, api: str, path: str) -> None:
    assert find_endpoint(ForgeAddress(kind, url)) == Endpoint(api, path)


def test_an_api_that_is_given_wins() -> None:
    gitea = ForgeAddress("gitea", "ssh://git@git.example/org/app.git", "https://forge.example/gitea/api/v1/")
    gitlab = ForgeAddress("gitlab", "https://example.com/gitlab/group/app.git", "https://example.com/gitlab/api/v4")

    assert find_endpoint(gitea) == Endpoint("https://forge.example/gitea/api/v1", "org/app")
    assert find_endpoint(gitlab) == Endpoint("https://example.com/gitlab/api/v4", "group/app")


@pytest.mark.parametrize(
    ("kind", "url", "api"),
    [
        ("github", "https://github.com/org", ""),
        ("github", "https://github.com/group/sub/app", ""),
        ("gitlab", "https://gitlab.com/", ""),
        ("gitea", "file:///srv/git/app.git", ""),
        ("gitea", "https://example.com/org/..", ""),
        ("gitea", "https://example.com/org/a%2Fb", ""),
        ("gitea", "https://user:hunter2@example.com/app.git", ""),
        ("gitea", "https://example.com/org/app", "ftp://example.com"),
        ("gitea", "https://example.com/org/app", "https://user:hunter2@example.com/api/v1"),
        ("gitea", "https://example.com/org/app", "https://[example.com/api/v1"),
        ("gitea", "https://example.com:99999/org/app", ""),
    ],
)
def test_a_url_that_names_no_repository_is_for_somebody_to_edit(kind: Kind, url: str, api: str) -> None:
    with pytest.raises(StalledError) as caught:
        find_endpoint(ForgeAddress(kind, url, api))

    assert "hunter2" not in str(caught.value)


@pytest.fixture
async def forges() -> AsyncIterator[HttpForges]:
    async with HttpForges({}, total=2.0, read=1.0) as opened:
        yield opened


def at(forges: HttpForges, url: str, kind: Kind = "github", access: GitAccess = ACCESS) -> Forge:
    return forges.make_forge(ForgeAddress(kind, f"{url}/org/app.git", access=access))


async def failure(forge: Forge) -> GitOpsError:
    with pytest.raises((ForgeDenied, ForgeUnavailable)) as caught:
        await forge.find("bumps", "main")
    text = str(caught.value)
    assert TOKEN not in text
    assert base64.b64encode(f"robot:{TOKEN}".encode()).decode() not in text
    assert "\n" not in text
    assert len(text) < 600
    return caught.value


@pytest.mark.parametrize("kind", ["gitea", "github", "gitlab"])
@pytest.mark.parametrize(
    ("status", "body", "headers", "expected", "said"),
    [
        ("401 Unauthorized", b'{"message": "Bad credentials"}', "", ForgeDenied, "401 Bad credentials: the token is"),
        ("403 Forbidden", b'{"message": "no scope"}', "", ForgeDenied, "403 no scope: the token may not"),
        ("404 Not Found", b'{"message": "404 Project Not Found"}', "", ForgeDenied, "there is no such repository"),
        ("403 Forbidden", b'{"message": "API rate limit exceeded"}', "", ForgeUnavailable, "403 API rate limit"),
        ("403 Forbidden", b"{}", "Retry-After: 7\r\n", ForgeUnavailable, "403 forbidden"),
        ("429 Too Many Requests", b"slow down", "Retry-After: 7\r\n", ForgeUnavailable, "429 too many requests"),
        ("500 Internal Server Error", b"<html>oops</html>", "", ForgeUnavailable, "500 internal server error"),
        ("503 Service Unavailable", b"", "Retry-After: 7\r\n", ForgeUnavailable, "503 service unavailable"),
        ("200 OK", b"<html>sign in</html>", "", ForgeUnavailable, "not what a forge's API says"),
        ("200 OK", b'[{"number": "\xff"}]', "", ForgeUnavailable, "not what a forge's API says"),
        ("200 OK", DEEP, "", ForgeUnavailable, "not what a forge's API says"),
        ("500 Internal Server Error", DEEP, "", ForgeUnavailable, "500 internal server error"),
        ("200 OK", b'[{"number": 1', "", ForgeUnavailable, "not what a forge's API says"),
        ("200 OK", b'{"message": "hello"}', "", ForgeUnavailable, "not what a forge's API says"),
        ("200 OK", b'[{"number": "one"}]', "", ForgeUnavailable, "not what a forge's API says"),
    ],
)  # fmt: skip
async def test_a_bad_answer_is_an_error_that_says_what_it_was(
    forges: HttpForges, kind: Kind, status: str, body: bytes, headers: str, expected: type[Exception], said: str
) -> None:
    async with bad_server(answer_with(status, body, headers=headers)) as url:
        error = await failure(at(forges, url, kind))

    assert isinstance(error, expected)
    assert said in str(error)
    assert isinstance(error, (ForgeDenied, ForgeUnavailable))
    assert error.retry_after == (7.0 if "Retry-After" in headers else None)


async def test_a_rate_limit_says_when_it_ends(forges: HttpForges) -> None:
    end = int(datetime.now(UTC).timestamp()) + 90
    headers = f"X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: {end}\r\n"
    async with bad_server(answer_with("403 Forbidden", b'{"message": "limit"}', headers=headers)) as url:
        error = await failure(at(forges, url))

    assert isinstance(error, ForgeUnavailable)
    assert error.retry_after == pytest.approx(90, abs=3)


async def test_a_forge_that_repeats_the_token_does_not_bring_it_into_a_message(forges: HttpForges) -> None:
    said = json.dumps({"message": f"bad token {TOKEN}", "errors": [{"message": TOKEN}, {"field": [TOKEN]}]}).encode()
    async with bad_server(answer_with("403 Forbidden", said)) as url:
        error = await failure(at(forges, url))

    assert "bad token ***" in str(error)


async def test_a_forge_that_repeats_the_header_does_not_bring_it_into_a_message(forges: HttpForges) -> None:
    header = base64.b64encode(f"robot:{TOKEN}".encode()).decode()
    said = json.dumps({"message": f"not Basic {header}"}).encode()
    async with bad_server(answer_with("403 Forbidden", said)) as url:
        error = await failure(at(forges, url, "gitea"))

    assert "not Basic ***" in str(error)


@pytest.mark.parametrize("kind", ["gitea", "github", "gitlab"])
async def test_the_newline_at_a_tokens_end_is_none_of_it(forges: HttpForges, kind: Kind) -> None:
    said = json.dumps({"message": f"bad token {TOKEN}"}).encode()
    async with bad_server(answer_with("401 Unauthorized", said)) as url:
        error = await failure(at(forges, url, kind, GitAccess(password=Sensitive(f"{TOKEN}\n"))))

    assert isinstance(error, ForgeDenied)
    assert "bad token ***" in str(error)


async def test_a_password_that_is_no_text_says_so(forges: HttpForges) -> None:
    access = GitAccess(username="robot", password=Sensitive(b"\xff\xfe"))
    with pytest.raises(StalledError, match=r"^the password for .* is not text$"):
        at(forges, "http://127.0.0.1:1", "gitea", access)


async def test_a_forge_that_hangs_or_hangs_up_is_unavailable(forges: HttpForges) -> None:
    async with bad_server(hang) as url:
        assert isinstance(await failure(at(forges, url)), ForgeUnavailable)
    assert isinstance(await failure(at(forges, url)), ForgeUnavailable)  # nobody listens any more


async def test_more_than_anybody_should_read_is_unavailable(forges: HttpForges) -> None:
    async with hostile_registry() as host:  # its flood never ends
        forge = forges.make_forge(ForgeAddress("github", f"http://{host}/a/b", f"http://{host}/v2/flood", ACCESS))
        assert isinstance(await failure(forge), ForgeUnavailable)


async def test_the_token_follows_no_redirect_to_another_site(forges: HttpForges) -> None:
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.json_response([])

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", elsewhere)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        target = f"http://127.0.0.1:{runner.addresses[0][1]}/api"
        async with bad_server(answer_with("302 Found", b"", headers=f"Location: {target}\r\n")) as url:
            error = await failure(at(forges, url))
    finally:
        await runner.cleanup()

    assert isinstance(error, ForgeDenied)
    assert "redirects to '127.0.0.1', where the token must not go" in str(error)
    assert seen == []


async def test_a_renamed_repository_is_followed_on_the_same_site(forges: HttpForges) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path.startswith("/api/v3/repos/"):
            return web.Response(
                status=301, headers={"Location": f"/api/v3/repositories/1/pulls?{request.query_string}"}
            )
        return web.json_response([])

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        assert await at(forges, url).find("bumps", "main") == ()
    finally:
        await runner.cleanup()


async def test_a_circle_of_redirects_ends(forges: HttpForges) -> None:
    async with bad_server(answer_with("307 Temporary Redirect", b"", headers="Location: /again\r\n")) as url:
        assert "redirects without end" in str(await failure(at(forges, url)))


async def test_a_private_authority_is_trusted_where_it_is_named(forges: HttpForges, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "authority")
    pair = authority.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    async def answer(request: web.Request) -> web.Response:
        return web.json_response([])

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/org/app"
    try:
        trusted = GitAccess(password=Sensitive(TOKEN), ca=authority.certificate.read_bytes())
        assert await forges.make_forge(ForgeAddress("github", url, access=trusted)).find("bumps", "main") == ()
        error = await failure(forges.make_forge(ForgeAddress("github", url, access=ACCESS)))
    finally:
        await runner.cleanup()

    assert "certificate is not trusted" in str(error)


async def test_certificates_that_are_none_are_for_somebody_to_edit(forges: HttpForges) -> None:
    with pytest.raises(StalledError, match="not PEM"):
        forges.make_forge(ForgeAddress("github", "https://github.com/org/app", access=GitAccess(ca=b"nonsense")))


async def test_the_proxy_of_the_environment_is_used() -> None:
    async with (
        bad_server(answer_with("502 Bad Gateway", b"by the proxy")) as proxy,
        HttpForges({"https_proxy": proxy, "http_proxy": proxy}, total=2.0) as forges,
    ):
        forge = forges.make_forge(ForgeAddress("gitea", "http://gitea.invalid/org/app", access=ACCESS))

        assert "502 bad gateway" in str(await failure(forge))


class Deposed:
    def check(self) -> None:
        raise NotLeader("deposed")


@pytest.mark.parametrize("kind", ["gitea", "github", "gitlab"])
async def test_a_process_that_was_deposed_opens_and_closes_no_pull_request(forges: HttpForges, kind: Kind) -> None:
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n")).decode().partition(" ")[0])
        await answer_with("200 OK", b"[]", "application/json")(reader, writer)

    FENCE.set(Deposed())
    async with bad_server(answer) as url:
        forge = at(forges, url, kind)
        assert await forge.find("bumps", "main") == ()
        with pytest.raises(NotLeader):
            await forge.open("bumps", "main", "Bump", "")
        with pytest.raises(NotLeader):
            await forge.close(1, "no longer needed")

    assert set(seen) == {"GET"}
