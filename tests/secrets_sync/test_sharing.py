"""Two that read the same from a real Vault: what they share, and what they never do."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster
from gitops_core.runtime.authority.bounded import NamespaceBound
from gitops_core.schema import read_manifest
from secrets_sync.adapters import VaultFactory
from secrets_sync.api import ExternalSecret, SecretStore
from secrets_sync.domain.secret.live import SECRET
from secrets_sync.runtime.reads import Reads
from tests.secrets_sync.world import (
    NAMESPACE,
    FixedClock,
    World,
    external_secret,
    prepare,
    put_secret,
    store,
    vault_token,
)
from tests.servers.vault import VaultServer

RULES = 'path "secret/data/sharing/*" { capabilities = ["read"] }\npath "kv1/sharing/*" { capabilities = ["read"] }'
KEY = "GET /v1/secret/data/sharing/db"


class CountingProxy:
    """A Vault on a port of its own that passes everything on and counts it. `requests` are by method and path."""

    def __init__(self, server: VaultServer) -> None:
        self._server = server
        self.requests: Counter[str] = Counter()
        self.url = ""

    async def __aenter__(self) -> CountingProxy:
        self._session = aiohttp.ClientSession()
        application = web.Application()
        application.router.add_route("*", "/{any:.*}", self._pass_on)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.Response:
        self.requests[f"{request.method} {request.path}"] += 1
        headers = {name: text for name, text in request.headers.items() if name.startswith(("X-", "Content-Type"))}
        url, body = f"{self._server.url}{request.path_qs}", await request.read()
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)


@pytest.fixture
async def proxy(vault_server: VaultServer) -> AsyncIterator[CountingProxy]:
    async with CountingProxy(vault_server) as proxy:
        yield proxy


@pytest.fixture
async def world(local_cluster: LocalCluster, vault_server: VaultServer) -> AsyncIterator[World]:
    await prepare(local_cluster)
    factory = VaultFactory(FixedClock())
    world = World(local_cluster, {"vault": factory})
    vault_server.policy("sharing", RULES)
    vault_server.put("sharing/db", {"password": "v1"})
    yield world
    await factory.close()


def vault(url: str, **more: Any) -> dict[str, Any]:
    auth = {"tokenSecretRef": {"name": "vault-token", "key": "token"}}
    return {"vault": {"server": url, "path": "secret", "auth": auth} | more}


def app_role(server: VaultServer, name: str, secret: str) -> tuple[dict[str, Any], str]:
    """How a store logs in with a Secret that holds the secret id, and that id."""
    role, secret_id = server.app_role(name, "sharing")
    return {"appRole": {"path": "approle", "roleId": role, "secretRef": {"name": secret, "key": "id"}}}, secret_id


def reading(name: str, of: str) -> dict[str, Any]:
    data = [{"secretKey": "password", "remoteRef": {"key": "sharing/db", "property": "password"}}]
    return external_secret(name, secretStoreRef={"name": of}, data=data)


class Meeting:
    """The cluster, in which those who read this Secret wait for each other."""

    def __init__(self, inner: Cluster, secret: str, parties: int) -> None:
        self._inner, self._secret, self._barrier = inner, secret, asyncio.Barrier(parties)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def get(self, ref: ObjectRef) -> Manifest | None:
        if (ref.kind, ref.key.name) == (SECRET, self._secret):
            await self._barrier.wait()
        return await self._inner.get(ref)


async def step_at_once(world: World, secret: str, *names: str) -> None:
    """Reconcile these; each has come by the time that the first has read the credentials of its store."""
    meeting: Any = Meeting(world.cluster, secret, len(names))
    world.secrets = replace(world.secrets, cluster=meeting)
    await asyncio.gather(*(world.step(name) for name in names))
    world.secrets = replace(world.secrets, cluster=world.cluster)


async def test_two_stores_of_one_identity_make_one_login_and_two_that_read_one_key_at_once_one_request(
    world: World, proxy: CountingProxy, vault_server: VaultServer
) -> None:
    auth, secret_id = app_role(vault_server, "sharing", "app-role")
    await put_secret(world.cluster, "app-role", id=secret_id)
    await world.create(store("one", vault(proxy.url, auth=auth)), store("two", vault(proxy.url, auth=auth)))
    await world.create(reading("a", "one"), reading("b", "two"))

    await step_at_once(world, "app-role", "a", "b")

    assert (await world.data("a"), await world.data("b")) == ({"password": "v1"}, {"password": "v1"})
    assert proxy.requests["POST /v1/auth/approle/login"] == 1
    assert proxy.requests[KEY] == 1


async def test_an_edited_external_secret_reads_what_was_stored_before_the_edit(
    world: World, proxy: CountingProxy, vault_server: VaultServer
) -> None:
    world.secrets = replace(world.secrets, reads=Reads(life=3600))
    await vault_token(world.cluster, vault_server.token)
    await world.create(store("one", vault(proxy.url)), reading("a", "one"))
    await world.step("a")

    vault_server.put("sharing/db", {"password": "v2"})
    await world.patch(ExternalSecret.KIND, "a", {"metadata": {"annotations": {"force-sync": "1"}}})
    await world.step("a")

    assert await world.data("a") == {"password": "v2"}


async def test_an_external_secret_that_looks_again_may_have_what_another_has_just_read(
    world: World, proxy: CountingProxy, vault_server: VaultServer
) -> None:
    await vault_token(world.cluster, vault_server.token)
    await world.create(store("one", vault(proxy.url)), reading("a", "one"), reading("b", "one"))
    for name in ("a", "b"):
        await world.step(name)
    world.secrets = replace(world.secrets, reads=Reads(life=3600))
    before = proxy.requests[KEY]

    await world.clock.sleep(3600)
    for name in ("a", "b"):
        await world.step(name)

    assert proxy.requests[KEY] - before == 1


async def test_a_changed_credential_gets_nothing_that_the_old_one_read(
    world: World, proxy: CountingProxy, vault_server: VaultServer
) -> None:
    world.secrets = replace(world.secrets, reads=Reads(life=3600))
    await vault_token(world.cluster, vault_server.token_for("sharing"))
    await world.create(store("one", vault(proxy.url)), reading("a", "one"))
    await world.step("a")

    weak = base64.b64encode(vault_server.token_for("default").encode()).decode()
    await world.patch(SECRET, "vault-token", {"data": {"token": weak}})
    await world.step_store("one")
    await world.clock.sleep(3600)
    await world.step("a")

    status, _, message = await world.ready("a")
    assert (status, message.endswith("the token may not read key 'sharing/db'")) == ("False", True), message


@pytest.mark.parametrize("life", [0.0, 3600.0])
async def test_another_namespaces_store_with_other_credentials_never_gets_the_value(
    world: World, proxy: CountingProxy, vault_server: VaultServer, life: float
) -> None:
    """At the same server, of the same name, with a Secret of the same name, at the same time and later."""
    world.secrets = replace(world.secrets, reads=Reads(life=life))
    await vault_token(world.cluster, vault_server.token_for("sharing"))
    await put_secret(world.cluster, "vault-token", namespace="other", token=vault_server.token_for("default"))
    theirs = reading("a", "one")
    theirs["metadata"]["namespace"] = "other"
    await world.create(store("one", vault(proxy.url)), reading("a", "one"))
    for manifest in (store("one", vault(proxy.url), "other"), theirs):
        await world.cluster.create(manifest, field_manager="tests")
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Valid", "message": ""}]}}
    there = ObjectRef(SecretStore.KIND, ObjectKey("other", "one"))
    await world.cluster.patch(there, ready, field_manager="tests", subresource="status")
    keys = [ObjectRef(ExternalSecret.KIND, ObjectKey(namespace, "a")) for namespace in (NAMESPACE, "other")]
    mine, wanted = [read_manifest(ExternalSecret, await world.cluster.get(key) or {}) for key in keys]
    meeting: Any = Meeting(world.cluster, "vault-token", 2)
    at_once = replace(world.secrets, cluster=meeting)

    answers = await asyncio.gather(at_once.reconcile(mine), at_once.reconcile(wanted), return_exceptions=True)
    later = await asyncio.gather(world.secrets.reconcile(wanted), return_exceptions=True)

    assert await world.data("a") == {"password": "v1"}
    assert [type(answer).__name__ for answer in answers] == ["Outcome", "TransientError"]
    assert {getattr(answer, "reason", "") for answer in (answers[1], *later)} == {"AccessDenied"}
    assert await NamespaceBound(world.cluster, "other").get(ObjectRef(SECRET, ObjectKey("other", "a"))) is None


async def test_a_name_in_two_engines_and_in_two_vault_namespaces_is_four_values(
    world: World, proxy: CountingProxy, vault_server: VaultServer
) -> None:
    world.secrets = replace(world.secrets, reads=Reads(life=3600))
    await vault_token(world.cluster, vault_server.token)
    vault_server.put_v1("sharing/db", {"password": "of version 1"})
    vault_server.call("POST", "sys/namespaces/sharing")
    for version in (1, 2):
        vault_server.mount(f"kv{version}", version=version, namespace="sharing")
    vault_server.call("POST", "sharing/kv1/sharing/db", '{"password": "theirs, of version 1"}')
    vault_server.call("POST", "sharing/kv2/data/sharing/db", '{"data": {"password": "theirs"}}')
    places: dict[str, dict[str, Any]] = {
        "v1": {},
        "of version 1": {"path": "kv1", "version": "v1"},
        "theirs": {"path": "kv2", "namespace": "sharing"},
        "theirs, of version 1": {"path": "kv1", "version": "v1", "namespace": "sharing"},
    }
    for number, more in enumerate(places.values()):
        await world.create(store(f"s{number}", vault(proxy.url, **more)), reading(f"e{number}", f"s{number}"))

    await step_at_once(world, "vault-token", *(f"e{number}" for number in range(4)))

    assert [(await world.data(f"e{number}") or {})["password"] for number in range(4)] == list(places)
    vault_server.call("DELETE", "sharing/sys/mounts/kv1")
    vault_server.call("DELETE", "sharing/sys/mounts/kv2")
    vault_server.call("DELETE", "sys/namespaces/sharing")
