"""Repositories that a GitHub App may read, with the API on loopback; the JWT is checked there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gitops_core.adapters.git import GitMirrors
from gitops_core.errors import GitAccessDenied, GitError, StalledError
from gitops_core.meta import Sensitive
from gitops_core.ports import GitAccess, GitHubApp, GitRef
from sealoop.embedded.githttp import GitServer, create_repository, make_basic
from tests.contracts.test_git import change
from tests.servers.git import BareRepository, bad_server, hang
from tests.servers.github import APP, INSTALLATION, GitHub, github
from tests.servers.proxy import forward_proxy, socks_proxy

MAIN = GitRef(branch="main")


class Guarded(GitServer):
    """Lets in who shows a token that the API gave and nobody took back."""

    def __init__(self, root: Path, api: GitHub) -> None:
        super().__init__(root)
        self.api = api
        self.revoked: set[str] = set()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        valid = [make_basic("x-access-token", token) for token in self.api.tokens if token not in self.revoked]
        if request.headers.get("Authorization") not in valid:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="github"'})
        return await super()._serve(request)


@pytest.fixture
async def mirrors(tmp_path: Path) -> AsyncIterator[GitMirrors]:
    mirrors = GitMirrors(tmp_path / "state")
    yield mirrors
    await mirrors.close()


def access(api: GitHub, **more: object) -> GitAccess:
    app = GitHubApp(APP, Sensitive(api.pem), INSTALLATION, "", api.api)
    return GitAccess(app=replace(app, **more))  # type: ignore[arg-type]


async def served(tmp_path: Path) -> BareRepository:
    await create_repository(tmp_path / "served" / "apps.git", {"a": b"1"})
    return BareRepository(tmp_path / "served" / "apps.git")


@pytest.mark.parametrize("owner", ["", "acme", "bob"])
async def test_an_app_fetches_and_pushes_with_one_token(owner: str, tmp_path: Path, mirrors: GitMirrors) -> None:
    repository = await served(tmp_path)
    async with github() as api, Guarded(tmp_path / "served", api) as server:
        own = access(api, owner=owner, installation_id=0 if owner else INSTALLATION)
        remote = mirrors.get_remote(f"{server.url}/apps.git", own)

        revisions = await asyncio.gather(*(remote.resolve(MAIN) for _ in range(5)))
        assert dict(await remote.fetch_tree(revisions[0])) == {"a": b"1"}
        pushed = await remote.push(change(revisions[0].commit, {"a": b"2"}), "main")

        assert (await repository.log())[0] == pushed.commit
        assert len(api.tokens) == 1
        asked = {"": [], "acme": ["GET orgs/acme/installation"]}
        asked["bob"] = ["GET orgs/bob/installation", "GET users/bob/installation"]
        assert api.requests == [*asked[owner], f"POST app/installations/{INSTALLATION}/access_tokens"]


async def test_a_token_that_is_taken_back_or_old_is_replaced(tmp_path: Path, mirrors: GitMirrors) -> None:
    await served(tmp_path)
    async with github() as api, Guarded(tmp_path / "served", api) as server:
        remote = mirrors.get_remote(f"{server.url}/apps.git", access(api))
        await remote.resolve(MAIN)
        server.revoked.update(api.tokens)

        with pytest.raises(GitAccessDenied) as denied:
            await remote.resolve(MAIN)
        assert api.tokens[0] not in str(denied.value)
        await remote.resolve(MAIN)
        assert len(api.tokens) == 2


async def test_another_key_is_not_let_in_by_the_token_of_the_first(tmp_path: Path, mirrors: GitMirrors) -> None:
    await served(tmp_path)
    other = rsa.generate_private_key(65537, 2048)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    async with github() as api, Guarded(tmp_path / "served", api) as server:
        remote = mirrors.get_remote(f"{server.url}/apps.git", access(api))
        revision = await remote.resolve(MAIN)
        await remote.fetch_tree(revision)

        for wrong in (access(api, key=Sensitive(pem)), access(api, app_id=APP + 1), access(api, installation_id=1)):
            stranger = mirrors.get_remote(f"{server.url}/apps.git", wrong)
            with pytest.raises(GitAccessDenied, match=r"GitHub App \d+: POST http.* answers 40[14]: ") as denied:
                await stranger.fetch_tree(revision)
            assert denied.value.reason == "AuthenticationFailed"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (201, b'{"token": "a\\nhost=evil", "expires_at": "2030-01-01T00:00:00Z"}'),
        (201, b'{"token": "", "expires_at": "2030-01-01T00:00:00Z"}'),
        (201, b'{"token": "t", "expires_at": "soon"}'),
        (201, b"[]"),
        (201, b"\xff"),
        (201, b'{"token": "%s", "expires_at": "2030-01-01T00:00:00Z"}' % (b"x" * 100_000)),
        (302, b""),
        (500, b"<html>"),
        (401, b'{"message": "line\\u0000\\nbreak %s"}' % (b"y" * 1000)),
    ],
)
async def test_an_answer_that_is_none_is_told_and_no_token(
    status: int, body: bytes, tmp_path: Path, mirrors: GitMirrors
) -> None:
    async with github() as api:
        api.answers[f"app/installations/{INSTALLATION}/access_tokens"] = status, body

        with pytest.raises(GitAccessDenied) as denied:
            await mirrors.get_remote("http://127.0.0.1:9/apps.git", access(api)).resolve(MAIN)

        message = str(denied.value)
        assert message.startswith("failed to configure authentication options: GitHub App 1234: ")
        assert message.isprintable()
        assert len(message) < 500
        assert "evil" not in message


async def test_what_proves_the_app_goes_along_no_redirect(mirrors: GitMirrors) -> None:
    path = f"app/installations/{INSTALLATION}/access_tokens"
    async with github() as api, github() as other:
        for status in (301, 302, 307, 308):
            api.answers[path], api.elsewhere = (status, b""), f"{other.api}/{path}"
            with pytest.raises(GitAccessDenied, match=f"answers {status}"):
                await mirrors.get_remote("http://127.0.0.1:9/apps.git", access(api)).resolve(MAIN)

        assert other.requests == []


async def test_a_key_that_is_none_is_told_without_being_quoted(mirrors: GitMirrors) -> None:
    small = rsa.generate_private_key(65537, 1024)
    edwards = ed25519.Ed25519PrivateKey.generate()
    large = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"A" * 5000 + b"\n-----END RSA PRIVATE KEY-----\n"
    pems = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in (small, edwards)]
    async with github() as api:
        for pem in (
            b"",
            b"secret words",
            b"-----BEGIN RSA PRIVATE KEY-----\nsecret\n-----END RSA PRIVATE KEY-----\n",
            *pems,
        ):
            with pytest.raises(GitAccessDenied, match=r"githubAppPrivateKey is no") as denied:
                await mirrors.get_remote("http://127.0.0.1:9/a.git", access(api, key=Sensitive(pem))).resolve(MAIN)
            assert "secret" not in str(denied.value)
        with pytest.raises(GitAccessDenied, match="has more than 4096 bits"):
            await mirrors.get_remote("http://127.0.0.1:9/a.git", access(api, key=Sensitive(large))).resolve(MAIN)
        assert api.requests == []


async def test_the_api_is_asked_by_the_proxy_that_the_object_names(tmp_path: Path, mirrors: GitMirrors) -> None:
    await served(tmp_path)
    async with github() as api, Guarded(tmp_path / "served", api) as server, forward_proxy("u:p") as proxy:
        own = replace(access(api), proxy=Sensitive(f"http://u:p@{proxy.host}"))
        await mirrors.get_remote(f"{server.url}/apps.git", own).resolve(MAIN)

        assert proxy.targets[0].startswith(f"POST {api.api}/app/installations/")


async def test_the_api_is_asked_by_the_socks_proxy_that_the_object_names(tmp_path: Path, mirrors: GitMirrors) -> None:
    await served(tmp_path)
    async with github() as api, Guarded(tmp_path / "served", api) as server, socks_proxy("u:p") as proxy:
        own = replace(access(api), proxy=Sensitive(f"socks5://u:p@{proxy.host}"))
        await mirrors.get_remote(f"{server.url}/apps.git", own).resolve(MAIN)
        assert proxy.targets[0] == api.api.partition("://")[2].partition("/")[0]

        wrong = replace(own, proxy=Sensitive(f"socks5://u:hunter2@{proxy.host}"))
        with pytest.raises(GitAccessDenied, match=f"the proxy {proxy.host} does not connect: ") as caught:
            await mirrors.get_remote(f"{server.url}/other.git", wrong).resolve(MAIN)
        assert "hunter2" not in str(caught.value)


async def test_an_api_that_hangs_keeps_nobody_waiting_who_does_not_name_it(tmp_path: Path, mirrors: GitMirrors) -> None:
    await create_repository(tmp_path / "served" / "apps.git", {"a": b"1"})
    async with GitServer(tmp_path / "served") as server:
        url = f"{server.url}/apps.git"
        remote = mirrors.get_remote(url)
        revision = await remote.resolve(MAIN)
        async with bad_server(hang) as hanging:
            api = GitHub(api=hanging)
            deeds = [mirrors.get_remote(url, access(api, app_id=number)).fetch_tree(revision) for number in range(9)]
            waiting = [asyncio.create_task(deed) for deed in deeds]
            await asyncio.sleep(0.05)

            assert dict(await remote.fetch_tree(revision)) == {"a": b"1"}

            assert not all(task.done() for task in waiting)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, GitError) for result in results)


def test_a_token_goes_over_https_unless_plain_http_is_allowed(tmp_path: Path) -> None:
    strict = GitMirrors(tmp_path, plain_http_credentials=False)
    app = GitHubApp(APP, Sensitive(b"key"), INSTALLATION)

    strict.get_remote("https://github.com/a/b", GitAccess(app=app))
    for url, api in (("http://github.com/a/b", app.api), ("https://github.com/a/b", "http://api.example.com")):
        with pytest.raises(StalledError, match="plain http"):
            strict.get_remote(url, GitAccess(app=replace(app, api=api)))
    with pytest.raises(StalledError, match="https alone"):
        strict.get_remote("ssh://git@github.com/a/b", GitAccess(app=app, identity=Sensitive(b"i"), known_hosts=b"h"))
