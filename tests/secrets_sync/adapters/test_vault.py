"""Vault as it is on bad days: wrong credentials, expiring logins, servers that hang, lie or send too much."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import GitOpsError
from gitops_core.meta import ObjectKey, ObjectMeta, ObjectRef
from gitops_core.ports import Cluster
from gitops_core.runtime.authority.bounded import NamespaceBound, OutsideNamespace
from secrets_sync.adapters import VaultFactory, bounded_http
from secrets_sync.adapters.vault import Vault
from secrets_sync.api import SecretStore, SecretStoreProvider
from secrets_sync.domain.provider.openings import make_opening
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.domain.provider.reading import Absent
from secrets_sync.domain.secret.live import SECRET
from secrets_sync.errors import AccessDenied, ProviderUnavailable, StoreInvalid, ValueUnusable
from tests.secrets_sync.world import (
    NAMESPACE,
    FixedClock,
    payload_at,
    payload_of,
    prepare,
    put_secret,
    vault_store,
    vault_token,
)
from tests.servers.certificates import Authority, KeyPair
from tests.servers.vault import VaultServer

RULES = 'path "secret/data/mine/*" { capabilities = ["read"] }'


@pytest.fixture
async def cluster(local_cluster: LocalCluster) -> LocalCluster:
    await prepare(local_cluster)
    return local_cluster


@pytest.fixture
async def factory() -> AsyncIterator[VaultFactory]:
    factory = VaultFactory(FixedClock())
    yield factory
    await factory.close()


def bound(cluster: LocalCluster) -> Cluster:
    return NamespaceBound(cluster, NAMESPACE)


async def test_a_wrong_token_is_denied(cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer) -> None:
    await vault_token(cluster, "s.wrong-4711")
    provider = await factory.open(make_opening(vault_store(vault_server.url)), bound(cluster))

    with pytest.raises(AccessDenied) as validation:
        await provider.validate()
    with pytest.raises(AccessDenied, match="may not read key 'mine/a'"):
        await provider.fetch(SecretRef("mine/a"))

    assert "wrong-4711" not in str(validation.value)


async def test_a_policy_decides_what_may_be_read(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer
) -> None:
    vault_server.policy("mine", RULES)
    vault_server.put("mine/a", {"x": 1})
    vault_server.put("theirs/a", {"x": 1})
    await vault_token(cluster, vault_server.token_for("mine"))
    provider = await factory.open(make_opening(vault_store(vault_server.url)), bound(cluster))

    assert (await payload_of(provider, "mine/a")).reveal() == b'{"x":1}'
    with pytest.raises(AccessDenied):
        await provider.fetch(SecretRef("theirs/a"))


async def test_a_deleted_version_is_not_found(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer
) -> None:
    vault_server.put("mine/deleted", {"x": 1})
    vault_server.delete("mine/deleted")
    await vault_token(cluster, vault_server.token)
    provider = await factory.open(make_opening(vault_store(vault_server.url)), bound(cluster))

    answer = await provider.fetch(SecretRef("mine/deleted"))

    assert isinstance(answer, Absent)
    assert answer.proof == "the version is deleted, said by the engine at 'secret/' of version v2"


async def test_whoever_may_read_a_key_is_told_that_it_is_gone(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer
) -> None:
    """No policy for sys/ is needed."""
    vault_server.policy("mine", RULES)
    await vault_token(cluster, vault_server.token_for("mine"))
    provider = await factory.open(make_opening(vault_store(vault_server.url)), bound(cluster))

    assert isinstance(await provider.fetch(SecretRef("mine/nope")), Absent)


@pytest.mark.parametrize("settings", [{"namespace": "team", "path": "kv"}, {"path": "team/kv"}, {"path": "/team/kv/"}])
async def test_a_key_of_a_namespace_is_absent_however_the_namespace_is_named(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer, settings: dict[str, Any]
) -> None:
    vault_server.call("POST", "sys/namespaces/team")
    if vault_server.status("team/kv/config") != 200:
        vault_server.mount("kv", version=2, namespace="team")
    await vault_token(cluster, vault_server.token)
    provider = await factory.open(make_opening(vault_store(vault_server.url, **settings)), bound(cluster))

    assert isinstance(await provider.fetch(SecretRef("mine/nope")), Absent)


async def test_a_destroyed_version_is_absent(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer
) -> None:
    vault_server.put("mine/destroyed", {"x": 1})
    vault_server.call("POST", "secret/destroy/mine/destroyed", '{"versions": [1]}')
    await vault_token(cluster, vault_server.token)
    provider = await factory.open(make_opening(vault_store(vault_server.url)), bound(cluster))

    assert isinstance(await provider.fetch(SecretRef("mine/destroyed")), Absent)


async def test_a_mistyped_mount_does_not_look_like_deleted_secrets(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer
) -> None:
    await vault_token(cluster, vault_server.token)
    provider = await factory.open(make_opening(vault_store(vault_server.url, path="sceret")), bound(cluster))

    with pytest.raises(ProviderUnavailable, match="no secrets engine"):
        await provider.fetch(SecretRef("mine/a"))


async def test_version_1_engines(cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer) -> None:
    vault_server.put_v1("old/a", {"x": "1", "n": 2})
    await vault_token(cluster, vault_server.token)
    provider = await factory.open(make_opening(vault_store(vault_server.url, path="kv1", version="v1")), bound(cluster))

    assert (await payload_of(provider, "old/a")).reveal() == b'{"n":2,"x":"1"}'
    assert isinstance(await provider.fetch(SecretRef("old/nope")), Absent)


@pytest.mark.parametrize("key", ["../../auth/token/lookup-self", "a/../../sys/health", "."])
async def test_a_key_stays_in_its_mount(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer, key: str
) -> None:
    await vault_token(cluster, vault_server.token)
    provider = await factory.open(make_opening(vault_store(vault_server.url)), bound(cluster))

    with pytest.raises(ValueUnusable):
        await provider.fetch(SecretRef(key))


@pytest.mark.parametrize("key", ["with space/ä", "per%2Fcent", "question?version=1", "hash#a", "semi;colon"])
async def test_keys_of_any_spelling(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer, key: str
) -> None:
    await vault_token(cluster, vault_server.token)
    provider = await factory.open(make_opening(vault_store(vault_server.url)), bound(cluster))

    assert isinstance(await provider.fetch(SecretRef(key)), Absent)


async def test_an_answer_says_which_version_it_is(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer
) -> None:
    for number in (1, 2):
        vault_server.put("mine/versions", {"x": number})
    await vault_token(cluster, vault_server.token)
    provider = await factory.open(make_opening(vault_store(vault_server.url)), bound(cluster))

    newest, first = await payload_at(provider, "mine/versions"), await payload_at(provider, "mine/versions", "1")

    assert (newest.metadata["version"], first.metadata["version"]) == ("2", "1")


# AppRole


async def edit_secret(cluster: LocalCluster, name: str, **data: str) -> None:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    await cluster.patch(ObjectRef(SECRET, ObjectKey(NAMESPACE, name)), {"data": encoded}, field_manager="tests")


async def app_role_store(
    cluster: LocalCluster, server: VaultServer, name: str, ttl: str = "1h", secret_id: str = ""
) -> Any:
    server.policy("mine", RULES)
    server.put("mine/a", {"x": 1})
    role, secret = server.app_role(name, "mine", ttl)
    await put_secret(cluster, "app-role", id=secret_id or secret)
    auth = {"appRole": {"path": "approle", "roleId": role, "secretRef": {"name": "app-role", "key": "id"}}}
    return vault_store(server.url, auth=auth)


async def test_a_login_serves_many_reconciliations(cluster: LocalCluster, vault_server: VaultServer) -> None:
    store = await app_role_store(cluster, vault_server, "many")
    factory = VaultFactory(FixedClock())
    before = vault_server.accessors()

    for _ in range(3):
        provider = await factory.open(make_opening(store), bound(cluster))
        await asyncio.gather(provider.validate(), provider.fetch(SecretRef("mine/a")))
    during = vault_server.accessors() - before
    await factory.close()

    assert len(during) == 1
    assert vault_server.accessors() & during == frozenset()  # revoked when closed


async def test_a_login_is_renewed_before_it_ends(cluster: LocalCluster, vault_server: VaultServer) -> None:
    store = await app_role_store(cluster, vault_server, "renewed")
    clock = FixedClock()
    factory = VaultFactory(clock)
    before = vault_server.accessors()

    await (await factory.open(make_opening(store), bound(cluster))).fetch(SecretRef("mine/a"))
    await clock.sleep(3000)
    await (await factory.open(make_opening(store), bound(cluster))).fetch(SecretRef("mine/a"))

    assert len(vault_server.accessors() - before) == 1
    await factory.close()


async def test_a_login_that_vault_forgot_is_replaced(cluster: LocalCluster, vault_server: VaultServer) -> None:
    store = await app_role_store(cluster, vault_server, "forgotten")
    factory = VaultFactory(FixedClock())
    before = vault_server.accessors()
    await (await factory.open(make_opening(store), bound(cluster))).fetch(SecretRef("mine/a"))
    (accessor,) = vault_server.accessors() - before

    vault_server.call("POST", "auth/token/revoke-accessor", f'{{"accessor": "{accessor}"}}')
    payload = await payload_of(await factory.open(make_opening(store), bound(cluster)), "mine/a")

    assert payload.reveal() == b'{"x":1}'
    await factory.close()


async def test_a_wrong_secret_id_is_denied(cluster: LocalCluster, vault_server: VaultServer) -> None:
    store = await app_role_store(cluster, vault_server, "denied", secret_id="wrong-4711")
    factory = VaultFactory(FixedClock())

    with pytest.raises(AccessDenied, match="wrong role id or secret id") as denied:
        await (await factory.open(make_opening(store), bound(cluster))).validate()

    assert "wrong-4711" not in str(denied.value)
    await factory.close()


async def test_a_key_that_is_forbidden_is_no_reason_to_log_in_again(
    cluster: LocalCluster, vault_server: VaultServer
) -> None:
    store = await app_role_store(cluster, vault_server, "forbidden")
    factory = VaultFactory(FixedClock())
    before = vault_server.accessors()
    provider = await factory.open(make_opening(store), bound(cluster))
    await provider.fetch(SecretRef("mine/a"))
    login = vault_server.accessors() - before

    for _ in range(5):
        with pytest.raises(AccessDenied, match="may not read key 'theirs/a'"):
            await provider.fetch(SecretRef("theirs/a"))

    assert vault_server.accessors() - before == login
    await factory.close()


async def test_a_role_that_may_read_more_by_now_is_noticed_and_the_old_login_ended(
    cluster: LocalCluster, vault_server: VaultServer
) -> None:
    """A token keeps the policies that its role had at the login."""
    store = await app_role_store(cluster, vault_server, "promoted")
    clock = FixedClock()
    factory = VaultFactory(clock)
    before = vault_server.accessors()
    provider = await factory.open(make_opening(store), bound(cluster))
    with pytest.raises(AccessDenied):
        await provider.fetch(SecretRef("more/a"))
    vault_server.put("more/a", {"x": 2})
    vault_server.policy("more", 'path "secret/data/more/*" { capabilities = ["read"] }')
    vault_server.call("POST", "auth/approle/role/promoted", '{"token_policies": ["mine", "more"]}')

    await clock.sleep(300)
    payload = await payload_of(provider, "more/a")

    assert payload.reveal() == b'{"x":2}'
    assert len(vault_server.accessors() - before) == 1
    await factory.close()


async def test_a_connection_is_not_closed_while_somebody_uses_it(
    cluster: LocalCluster, vault_server: VaultServer
) -> None:
    store = await app_role_store(cluster, vault_server, "in-use")
    factory = VaultFactory(FixedClock())
    before = vault_server.accessors()
    first = await factory.open(make_opening(store), bound(cluster))
    await first.fetch(SecretRef("mine/a"))
    used = vault_server.accessors() - before

    await edit_secret(cluster, "app-role", id=vault_server.app_role("in-use", "mine")[1])
    second = await factory.open(make_opening(store), bound(cluster))
    await second.fetch(SecretRef("mine/a"))
    assert used <= vault_server.accessors()
    await first.fetch(SecretRef("mine/a"))
    assert len(vault_server.accessors() - before) == 2
    await first.aclose()
    await until(lambda: not used & vault_server.accessors())

    assert len(vault_server.accessors() - before) == 1
    assert isinstance(await second.fetch(SecretRef("mine/a")), Payload)
    await factory.close()


async def test_two_stores_of_one_identity_make_one_login(cluster: LocalCluster, vault_server: VaultServer) -> None:
    """In two namespaces, with Secrets of their own, and with another engine at the same server."""
    store = await app_role_store(cluster, vault_server, "shared")
    secret = await cluster.get(ObjectRef(SECRET, ObjectKey(NAMESPACE, "app-role"))) or {}
    await cluster.create({**secret, "metadata": {"name": "app-role", "namespace": "other"}}, field_manager="tests")
    elsewhere = msgspec.structs.replace(store, metadata=ObjectMeta(name="theirs", namespace="other", uid="u2"))
    factory = VaultFactory(FixedClock(), unused=0.5)
    before = vault_server.accessors()

    first = await factory.open(make_opening(store), bound(cluster))
    second = await factory.open(make_opening(elsewhere), NamespaceBound(cluster, "other"))
    await asyncio.gather(*(provider.fetch(SecretRef("mine/a")) for provider in (first, second)))
    login = vault_server.accessors() - before
    await first.aclose()
    await asyncio.sleep(1)  # longer than a store holds what nobody uses
    assert len(login) == 1
    assert login <= vault_server.accessors()  # it is the other store's too
    await second.aclose()

    await until(lambda: not login & vault_server.accessors())
    await factory.close()


@pytest.mark.parametrize("change", [{"path": "kv1", "version": "v1"}, {}], ids=["engine", "nothing"])
async def test_an_edit_that_concerns_no_credential_makes_no_login(
    cluster: LocalCluster, vault_server: VaultServer, change: dict[str, Any]
) -> None:
    store = await app_role_store(cluster, vault_server, "edited")
    assert store.spec.provider.vault is not None
    factory = VaultFactory(FixedClock())
    before = vault_server.accessors()
    await (await factory.open(make_opening(store), bound(cluster))).validate()

    settings = msgspec.structs.replace(store.spec.provider.vault, **change)
    spec = msgspec.structs.replace(store.spec, provider=SecretStoreProvider(vault=settings))
    metadata = msgspec.structs.replace(store.metadata, generation=2)
    edited = msgspec.structs.replace(store, spec=spec, metadata=metadata)
    await (await factory.open(make_opening(edited), bound(cluster))).validate()

    assert len(vault_server.accessors() - before) == 1
    await factory.close()


@pytest.mark.parametrize("change", [{"namespace": "team"}, {"role": "another"}, {"secret": "another"}], ids=str)
async def test_whatever_an_identity_is_made_of_makes_another_login(
    cluster: LocalCluster, vault_server: VaultServer, change: dict[str, str]
) -> None:
    store = await app_role_store(cluster, vault_server, "one")
    factory = VaultFactory(FixedClock())
    first = await factory.open(make_opening(store), bound(cluster))
    role, secret = vault_server.app_role(change.get("role", "one"), "mine")
    if "role" in change or "secret" in change:
        await edit_secret(cluster, "app-role", id=secret)
    auth = {"appRole": {"path": "approle", "roleId": role, "secretRef": {"name": "app-role", "key": "id"}}}

    other = vault_store(vault_server.url, auth=auth, namespace=change.get("namespace", ""))
    second = await factory.open(make_opening(other), bound(cluster))

    assert isinstance(first, Vault)
    assert isinstance(second, Vault)
    assert first.connection is not second.connection
    assert first.connection.identity != second.connection.identity
    assert secret not in f"{second!r} {second.connection.identity!r}"
    await factory.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if await asyncio.to_thread(holds):
                return
            await asyncio.sleep(0.1)


async def test_the_connection_of_a_store_that_is_gone_is_given_back(
    cluster: LocalCluster, vault_server: VaultServer
) -> None:
    """Nobody tells: a store that is there is opened for its validation every five minutes."""
    store = await app_role_store(cluster, vault_server, "gone")
    factory = VaultFactory(FixedClock(), unused=0.5)
    before = vault_server.accessors()

    provider = await factory.open(make_opening(store), bound(cluster))
    await provider.fetch(SecretRef("mine/a"))
    await asyncio.sleep(1)
    assert len(vault_server.accessors() - before) == 1  # somebody uses it
    await provider.aclose()
    again = await factory.open(make_opening(store), bound(cluster))
    await asyncio.sleep(1)
    assert len(vault_server.accessors() - before) == 1  # somebody uses it again
    await again.aclose()

    await until(lambda: vault_server.accessors() <= before)
    await factory.close()


async def test_stores_that_trust_the_same_share_what_is_costly(cluster: LocalCluster, factory: VaultFactory) -> None:
    """A TLS context takes most of a megabyte."""
    await vault_token(cluster, "t")
    store = vault_store("https://vault.example")
    await factory.open(make_opening(store), bound(cluster))
    before = len([thing for thing in gc.get_objects() if isinstance(thing, ssl.SSLContext)])

    opened = [
        await factory.open(make_opening(msgspec.structs.replace(store, metadata=named(store, f"s{n}"))), bound(cluster))
        for n in range(20)
    ]

    assert len([thing for thing in gc.get_objects() if isinstance(thing, ssl.SSLContext)]) == before
    assert len(opened) == 20


def named(store: SecretStore, name: str) -> ObjectMeta:
    return msgspec.structs.replace(store.metadata, name=name)


# settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"auth": {"tokenSecretRef": {"name": "nope", "key": "token"}}}, "no Secret 'nope' in namespace 'shop'"),
        ({"auth": {"tokenSecretRef": {"name": "vault-token", "key": "x"}}}, "has no key 'x'"),
        ({"auth": {"tokenSecretRef": {"name": "vault-token", "key": "token", "namespace": "other"}}}, "own namespace"),
        ({"auth": {}}, "no way to log in"),
        ({"server": "file:///etc/passwd"}, "no http or https URL"),
        ({"caProvider": {"type": "ConfigMap", "name": "nope", "key": "ca"}}, "no ConfigMap 'nope'"),
    ],
)
async def test_settings_that_need_an_edit(
    cluster: LocalCluster, factory: VaultFactory, settings: dict[str, Any], message: str
) -> None:
    await vault_token(cluster, "t")

    with pytest.raises(StoreInvalid, match=message):
        await factory.open(make_opening(vault_store("http://127.0.0.1:1", **settings)), bound(cluster))


async def test_a_token_with_a_line_break_goes_into_no_header(cluster: LocalCluster, factory: VaultFactory) -> None:
    await vault_token(cluster, "4711\nX-Other: 1")

    with pytest.raises(StoreInvalid) as refusal:
        await factory.open(make_opening(vault_store("http://127.0.0.1:1")), bound(cluster))

    assert "X-Other" not in str(refusal.value)


async def test_the_handle_reaches_no_other_namespace(cluster: LocalCluster) -> None:
    with pytest.raises(OutsideNamespace):
        await bound(cluster).get(ObjectRef(SECRET, ObjectKey("other", "vault-token")))


# servers

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def served(handler: Handler) -> tuple[web.AppRunner, str]:
    application = web.Application()
    application.router.add_route("*", "/{any:.*}", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}"


async def redirect(request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/v1/secret/data/mine/a")


async def html(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>marked-4711</html>", content_type="text/html")


async def a_list(request: web.Request) -> web.StreamResponse:
    return web.json_response({"data": {"data": ["marked-4711"]}})


async def overloaded(request: web.Request) -> web.StreamResponse:
    return web.json_response({"errors": ["marked-4711"]}, status=503, headers={"Retry-After": "12"})


async def nothing_here(request: web.Request) -> web.StreamResponse:
    return web.Response(status=404, text="<html>marked-4711</html>", content_type="text/html")


async def nothing_anywhere(request: web.Request) -> web.StreamResponse:
    return web.json_response({"errors": []}, status=404)


async def no_word_about_mounts(request: web.Request) -> web.StreamResponse:
    if "/sys/" in request.path:
        return web.json_response({"errors": ["permission denied"]}, status=403)
    return web.json_response({"errors": []}, status=404)


async def no_version_in_sight(request: web.Request) -> web.StreamResponse:
    return web.json_response({"data": {"data": None}})


async def too_much(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b" " * (bounded_http.MAX_BODY + 1))


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (redirect, "redirects elsewhere"),
        (html, "not what a key-value engine says"),
        (a_list, "not what a key-value engine says"),
        (overloaded, "HTTP 503"),
        (nothing_here, "HTTP 404 that is not Vault's"),
        (nothing_anywhere, "does not say which secrets engine is there"),
        (no_word_about_mounts, "does not say which secrets engine is there"),
        (no_version_in_sight, "not what a key-value engine says"),
        (too_much, "too large"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_bad_answers(cluster: LocalCluster, factory: VaultFactory, handler: Handler, message: str) -> None:
    await vault_token(cluster, "t")
    runner, url = await served(handler)
    provider = await factory.open(make_opening(vault_store(url)), bound(cluster))

    with pytest.raises(ProviderUnavailable, match=message) as failure:
        await provider.fetch(SecretRef("mine/a"))

    assert "marked-4711" not in f"{failure.value} {failure.value!r}"
    if handler is overloaded:
        assert failure.value.retry_after == 12
    await runner.cleanup()


async def test_nobody_there(cluster: LocalCluster, factory: VaultFactory) -> None:
    await vault_token(cluster, "t")
    provider = await factory.open(make_opening(vault_store("http://127.0.0.1:1")), bound(cluster))

    with pytest.raises(ProviderUnavailable, match="cannot connect"):
        await provider.fetch(SecretRef("mine/a"))


async def test_a_server_that_drips_is_given_up(cluster: LocalCluster) -> None:
    """The deadline is for the whole answer: a byte now and then does not renew it."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b" ")
            await asyncio.sleep(0.1)
        return response

    await vault_token(cluster, "t")
    runner, url = await served(drip)
    factory = VaultFactory(FixedClock(), timeout=1.0)
    provider = await factory.open(make_opening(vault_store(url)), bound(cluster))

    with pytest.raises(ProviderUnavailable, match="no answer in time"):
        await asyncio.wait_for(provider.fetch(SecretRef("mine/a")), 60)

    await factory.close()
    await runner.cleanup()


class NoVault(BaseHTTPRequestHandler):
    """Answers everything with an empty object."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        return None


class Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        request.close()  # a handshake that the client broke off


def secure_server(pair: KeyPair) -> tuple[Quiet, str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server = Quiet(("127.0.0.1", 0), NoVault)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"https://127.0.0.1:{server.server_address[1]}"


async def test_certificates(cluster: LocalCluster, factory: VaultFactory, tmp_path: Path) -> None:
    """Only the given authority is trusted, from the bundle or from a ConfigMap."""
    await vault_token(cluster, "t")
    ours, other = Authority.make(tmp_path / "ours"), Authority.make(tmp_path / "other")
    server, url = secure_server(ours.server())

    async def message(**settings: Any) -> str:
        with pytest.raises(GitOpsError) as failure:
            await (await factory.open(make_opening(vault_store(url, **settings)), bound(cluster))).fetch(
                SecretRef("mine/a")
            )
        return str(failure.value)

    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "ca", "namespace": NAMESPACE},
        "data": {"ca.crt": ours.certificate.read_text()},
    }
    await cluster.create(config_map, field_manager="tests")

    assert "not trusted" in await message()
    assert "not trusted" in await message(caBundle=base64.b64encode(other.certificate.read_bytes()).decode())
    assert "key-value" in await message(caBundle=base64.b64encode(ours.certificate.read_bytes()).decode())
    assert "key-value" in await message(caProvider={"type": "ConfigMap", "name": "ca", "key": "ca.crt"})
    assert "not PEM" in await message(caBundle=base64.b64encode(b"no certificate").decode())
    server.shutdown()
    server.server_close()


async def test_the_environment_plays_no_part(
    cluster: LocalCluster,
    factory: VaultFactory,
    vault_server: VaultServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No proxy, no token and no certificates from variables; and nothing of the token in the logs."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_TOKEN", "from-the-environment")
    monkeypatch.setenv("VAULT_NAMESPACE", "elsewhere")
    caplog.set_level(logging.DEBUG)
    await vault_token(cluster, vault_server.token)

    await (await factory.open(make_opening(vault_store(vault_server.url)), bound(cluster))).validate()

    assert vault_server.token not in caplog.text
