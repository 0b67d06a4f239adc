"""Registries whose token server is elsewhere, or that want another scope than pull: who is told what."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from gitops_core.adapters.oci import OciRegistry
from gitops_core.errors import RegistryDenied, RegistryError
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import Credentials, RegistryAccess
from gitops_core.oci.references import Repository

DIGEST = f"sha256:{'a' * 64}"
BOB = RegistryAccess(Credentials("bob", Sensitive("hunter2")))
BOBS = f"Basic {base64.b64encode(b'bob:hunter2').decode()}"


@dataclass
class Registry:
    """A registry and its token server, which is reached at `token_host`.

    Attributes:
        wants: the scope of a request, by the last but one part of its path; it is the challenge's, too.
        private: whether only bob gets a token.
        asked: Authorization, scopes and form of every request to the token server.
        tries: paths that were asked for, in order.
    """

    token_host: str = "127.0.0.1"
    wants: dict[str, str] = field(default_factory=dict)
    private: bool = True
    port: int = 0
    asked: list[tuple[str, list[str], dict[str, str]]] = field(default_factory=list)
    tries: list[str] = field(default_factory=list)

    def repository(self, path: str = "app") -> Repository:
        return Repository(f"127.0.0.1:{self.port}", path, insecure=True)

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        scopes = request.query.getall("scope", []) or form.get("scope", "").split()
        self.asked.append((request.headers.get("Authorization", ""), scopes, form))
        if self.private and BOBS not in self.asked[-1] and form.get("refresh_token") != "refresh":
            return web.json_response({"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]}, status=401)
        given = json.dumps(scopes[:1]).encode()  # some read no other than the first
        return web.json_response({"token": base64.urlsafe_b64encode(given).decode()})

    async def answer(self, request: web.Request) -> web.Response:
        self.tries.append(request.path)
        _, _, path, kind, _ = request.path.split("/", 4)
        scope = self.wants.get(kind, f"repository:{path}:pull")
        if request.headers.get("Authorization", "") not in (f"Bearer {_token([scope])}",):
            realm = f"http://{self.token_host}:{self.port}/token"
            challenge = f'Bearer realm="{realm}",service="here",scope="{scope}",error="insufficient_scope"'
            return web.json_response({}, status=401, headers={"WWW-Authenticate": challenge})
        if kind == "tags":
            return web.json_response({"tags": ["1.0.0"]})
        return web.Response(headers={"Docker-Content-Digest": DIGEST})


def _token(scopes: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(scopes).encode()).decode()


@asynccontextmanager
async def running(registry: Registry) -> AsyncIterator[Registry]:
    application = web.Application()
    application.router.add_route("*", "/token", registry.token)
    application.router.add_route("*", "/v2/{rest:.*}", registry.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    registry.port = runner.addresses[0][1]
    try:
        yield registry
    finally:
        await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[OciRegistry]:
    async with OciRegistry() as client:
        yield client


async def test_a_token_server_of_another_owner_is_asked_without_the_credentials(client: OciRegistry) -> None:
    async with running(Registry("localhost", private=False)) as registry:
        assert await client.list_tags(registry.repository(), BOB) == ("1.0.0",)

        assert registry.asked == [("", ["repository:app:pull"], {})]


async def test_a_denial_says_that_the_credentials_were_not_sent(client: OciRegistry) -> None:
    async with running(Registry("localhost")) as registry:
        with pytest.raises(RegistryDenied) as caught:
            await client.list_tags(registry.repository(), BOB)

        assert [authorization for authorization, _, _ in registry.asked] == [""]
    assert "UNAUTHORIZED: who are you" in str(caught.value)
    assert str(caught.value).endswith(
        "; the registry names a token server of another owner ('localhost'), which was not given the credentials"
    )


async def test_a_refresh_token_stays_here_too(client: OciRegistry) -> None:
    access = RegistryAccess(Credentials(identity_token=Sensitive("refresh")))
    async with running(Registry("localhost")) as registry:
        with pytest.raises(RegistryDenied):
            await client.list_tags(registry.repository(), access)

        assert registry.asked == [("", ["repository:app:pull"], {})]


@pytest.mark.parametrize("host", ["user:pw@127.0.0.1", "10.255.255.1", "[::ffff:127.0.0.1]", "[::1", ""])
async def test_a_realm_that_cannot_be_a_token_server_is_not_asked(client: OciRegistry, host: str) -> None:
    async with running(Registry(host, private=False)) as registry:
        with pytest.raises(RegistryError, match="names a token server that is not asked anything"):
            await client.list_tags(registry.repository(), BOB)

        assert registry.asked == []


@pytest.mark.parametrize("credentials", [BOB.credentials, Credentials(identity_token=Sensitive("refresh"))])
async def test_the_scope_that_the_registry_named_comes_first(client: OciRegistry, credentials: Credentials) -> None:
    """A token of an ACR scope map may list (metadata_read) and pull, and each is wanted for another request."""
    access = RegistryAccess(credentials)
    async with running(Registry(wants={"tags": "repository:app:metadata_read"})) as registry:
        assert await client.list_tags(registry.repository(), access) == ("1.0.0",)

        assert [scopes for _, scopes, _ in registry.asked] == [["repository:app:metadata_read", "repository:app:pull"]]


async def test_a_scope_that_a_registry_wants_for_a_repository_is_not_asked_for_another(client: OciRegistry) -> None:
    async with running(Registry(wants={"tags": "repository:app:metadata_read"})) as registry:
        await client.list_tags(registry.repository(), BOB)
        registry.wants = {}
        await client.list_tags(registry.repository("other"), BOB)

        assert registry.asked[1:] == [(BOBS, ["repository:other:pull"], {})]


async def test_a_scope_is_learnt_once(client: OciRegistry) -> None:
    async with running(Registry(wants={"tags": "repository:app:metadata_read"})) as registry:
        for _ in range(3):
            await client.list_tags(registry.repository(), BOB)

        assert len(registry.asked) == 1
        assert len(registry.tries) == 4  # the first was challenged
