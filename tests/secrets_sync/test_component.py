"""Secrets under the real runtime, in virtual time: who wakes whom, how many requests, and that nothing leaks."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gitops_core.errors import BadRequest, ClusterError, ClusterUnavailable, FieldFault, Forbidden, Invalid
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Query
from gitops_core.runtime.authority.forwarding import Request
from gitops_core.runtime.reconciling import Controller, Platform
from secrets_sync.adapters import FakeFactory, make_provider_factories
from secrets_sync.api import ExternalSecret, SecretStore
from secrets_sync.component import component, make_controllers
from secrets_sync.domain.secret.live import MANAGED, SECRET
from secrets_sync.errors import AccessDenied, ProviderUnavailable
from secrets_sync.ports import ProviderFactories
from tests.gitops_core.runtime.world import EVENT, Send, World, kind_of
from tests.secrets_sync.world import NAMESPACE, external_secret, fake, store
from tests.servers.vault import VaultServer
from tests.simulation.fakes.provider import MemoryFactory, MemoryProvider
from tests.simulation.loop import in_virtual_time

MARKED = "marked-4711-value"


def assembled(factories: ProviderFactories) -> list[Callable[[Platform], Controller[Any]]]:
    return [
        lambda platform: make_controllers(platform, factories)[0],
        lambda platform: make_controllers(platform, factories)[1],
    ]


async def installed() -> World:
    world = World()
    await world.install(*component.kinds)
    return world


async def create(world: World, *manifests: Manifest) -> None:
    for manifest in manifests:
        await world.local.create(manifest, field_manager="tests")


async def ready(world: World, kind: Kind = ExternalSecret.KIND, name: str = "db") -> tuple[str, str]:
    live = await world.local.get(ObjectRef(kind, ObjectKey(NAMESPACE, name)))
    assert live is not None
    conditions = (live.get("status") or {}).get("conditions") or []
    return next(((c["status"], c["message"]) for c in conditions if c["type"] == "Ready"), ("", ""))


async def password(world: World) -> str | None:
    secret = await world.local.get(ObjectRef(SECRET, ObjectKey(NAMESPACE, "db")))
    return base64.b64decode(secret["data"]["password"]).decode() if secret else None


async def edit(world: World, kind: Kind, name: str, patch: dict[str, Any]) -> None:
    await world.local.patch(ObjectRef(kind, ObjectKey(NAMESPACE, name)), patch, field_manager="tests")


@in_virtual_time
async def test_in_whatever_order_they_appear() -> None:
    world = await installed()
    async with world.process(*assembled({"fake": FakeFactory()})):
        await create(world, external_secret())
        await asyncio.sleep(5)
        assert await ready(world) == (
            "False",
            'could not get secret data from provider: could not get SecretStore "fake", '
            'SecretStore.external-secrets.io "fake" not found',
        )
        await create(world, fake(db="v1"))
        await asyncio.sleep(2)

        assert await ready(world, SecretStore.KIND, "fake") == ("True", "store validated")
        assert await ready(world) == ("True", "secret synced")
        assert await password(world) == "v1"


@in_virtual_time
async def test_objects_applied_together_cause_no_warning() -> None:
    """The ExternalSecret may be looked at first: its store is not validated yet, and nothing is wrong."""

    world, provider = await installed(), MemoryProvider({"db": "v1"})
    reached, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryFactory):
        async def open(self, opening: Any, cluster: Any) -> Any:
            reached.set()
            await goes_on.wait()
            return await super().open(opening, cluster)

    await create(world, fake(x="y"), external_secret())
    async with world.process(*assembled({"fake": Slow(provider)})):
        await reached.wait()
        await asyncio.sleep(5)
        assert await ready(world) == (
            "False",
            'could not get secret data from provider: SecretStore "fake" is not ready',
        )
        goes_on.set()
        await asyncio.sleep(5)
        assert await ready(world) == ("True", "secret synced")
        assert {event["type"] for event in await world.events()} == {"Normal"}


@in_virtual_time
async def test_an_edited_store_and_an_edited_secret_are_answered_at_once() -> None:
    world = await installed()
    await create(world, fake(db="v1"), external_secret())
    async with world.process(*assembled({"fake": FakeFactory()})):
        await asyncio.sleep(3)
        await edit(world, SECRET, "db", {"data": {"password": "aGFja2Vk"}})
        await asyncio.sleep(1)
        assert await password(world) == "v1"
        await edit(world, SECRET, "db", {"metadata": {"labels": {MANAGED: None}}})
        await asyncio.sleep(1)
        await world.local.delete(ObjectRef(SECRET, ObjectKey(NAMESPACE, "db")))
        await asyncio.sleep(1)
        assert await password(world) == "v1"
        data = [{"key": "db", "value": "v2"}]
        await edit(world, SecretStore.KIND, "fake", {"spec": {"provider": {"fake": {"data": data}}}})
        await asyncio.sleep(1)

        assert await password(world) == "v2"


@in_virtual_time
async def test_a_store_that_heals_wakes_its_external_secrets() -> None:
    world, provider = await installed(), MemoryProvider({"db": "v1"})
    provider.fails = AccessDenied("memory: wrong password")
    await create(world, fake(x="y"), external_secret())
    async with world.process(*assembled({"fake": MemoryFactory(provider)})):
        await asyncio.sleep(20)
        assert (await ready(world))[0] == "False"
        provider.fails = None
        await edit(world, SecretStore.KIND, "fake", {"metadata": {"annotations": {"look": "again"}}})
        await asyncio.sleep(2)

        assert await ready(world) == ("True", "secret synced")


@in_virtual_time
async def test_a_store_that_fails_disturbs_no_secret_in_order() -> None:
    world, provider = await installed(), MemoryProvider({"db": "v1"})
    await create(world, fake(x="y"), external_secret())
    async with world.process(*assembled({"fake": MemoryFactory(provider)})):
        await asyncio.sleep(5)
        provider.fails = ProviderUnavailable("memory: HTTP 503")
        await asyncio.sleep(900)
        assert (await ready(world, SecretStore.KIND, "fake"))[0] == "False"
        assert await ready(world) == ("True", "secret synced")
        await asyncio.sleep(3600)
        assert (await ready(world))[0] == "False"

        assert await password(world) == "v1"


@in_virtual_time
async def test_a_credential_that_is_mended_wakes_its_store() -> None:
    world = await installed()
    auth = {"tokenSecretRef": {"name": "token", "key": "token"}}
    await create(world, store("vault", {"vault": {"server": "http://127.0.0.1:1", "auth": auth}}))
    opened: list[str] = []

    class Opening(MemoryFactory):
        async def open(self, opening: Any, cluster: Any) -> Any:
            opened.append(opening.key.name)
            return await super().open(opening, cluster)

    async with world.process(*assembled({"vault": Opening()})):
        await asyncio.sleep(2)
        before = len(opened)
        await create(world, secret("token", token="t"))
        await asyncio.sleep(2)

        assert len(opened) == before + 1


@in_virtual_time
async def test_deleting_takes_the_finalizer_and_the_secret_along() -> None:
    world = await installed()
    await create(world, fake(db="v1"), external_secret())
    ref = ObjectRef(ExternalSecret.KIND, ObjectKey(NAMESPACE, "db"))
    async with world.process(*assembled({"fake": FakeFactory()})):
        await asyncio.sleep(3)
        await edit(world, SecretStore.KIND, "fake", {"metadata": {"annotations": {"gone": "soon"}}})
        await world.local.delete(ObjectRef(SecretStore.KIND, ObjectKey(NAMESPACE, "fake")))
        await world.local.delete(ref)
        await asyncio.sleep(3)

        assert await world.local.get(ref) is None
        assert await password(world) is None


@in_virtual_time
async def test_a_refresh_that_changes_nothing_takes_two_requests() -> None:
    """The original takes four: LIST, GET twice, PUT."""

    world = await installed()
    await create(world, fake(db="v1"), external_secret(refreshInterval="10m"))
    async with world.process(*assembled({"fake": FakeFactory()})):
        await asyncio.sleep(30)
        before = Counter(world.cluster.requests)
        await asyncio.sleep(601 * 1.2)
        made = world.cluster.requests - before

    about = {kind: count for kind, count in made.items() if "Secret" in kind and "SecretStore" not in kind}
    assert about == {"get Secret": 1, "patch ExternalSecret": 1}


@in_virtual_time
async def test_vault_from_a_wrong_token_to_a_rotated_value(vault_server: VaultServer) -> None:
    world = await installed()
    vault_server.put("journey/db", {"password": "v1"})
    auth = {"tokenSecretRef": {"name": "token", "key": "token"}}
    settings = {"server": vault_server.url, "path": "secret", "auth": auth}
    ref = {"key": "journey/db", "property": "password"}
    wanted = external_secret(
        secretStoreRef={"name": "vault"},
        refreshInterval="1m",
        data=[{"secretKey": "password", "remoteRef": ref}],
    )
    await create(world, secret("token", token="wrong"), store("vault", {"vault": settings}), wanted)
    factories = make_provider_factories(world.clock)
    async with world.process(*assembled(factories)):
        await asyncio.sleep(5)
        assert await ready(world, SecretStore.KIND, "vault") == (
            "False",
            f"unable to validate store: vault {vault_server.url}: the credentials are wrong or may not do this",
        )
        token = base64.b64encode(vault_server.token.encode()).decode()
        await edit(world, SECRET, "token", {"data": {"token": token}})
        await asyncio.sleep(2)
        assert await ready(world) == ("True", "secret synced")
        assert await password(world) == "v1"
        vault_server.put("journey/db", {"password": "v2"})
        await asyncio.sleep(65)
        assert await password(world) == "v2"
    for factory in factories.values():
        await factory.close()


def secret(name: str, **data: str) -> Manifest:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


@in_virtual_time
async def test_a_value_is_seen_in_the_secret_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    world, provider = await installed(), MemoryProvider({"db": MARKED, "json": f'{{"a":"{MARKED}"'})
    bad = [
        external_secret(
            "undecodable", data=[{"secretKey": "a", "remoteRef": {"key": "db", "decodingStrategy": "Base64"}}]
        ),
        external_secret("no-object", data=[], dataFrom=[{"extract": {"key": "db"}}]),
        external_secret("broken", data=[], dataFrom=[{"extract": {"key": "json"}}]),
        external_secret("no-property", data=[{"secretKey": "a", "remoteRef": {"key": "json", "property": "zz"}}]),
        external_secret("taken", target={"name": "db"}),
    ]
    await create(world, fake(x="y"), external_secret(), *bad)
    async with world.process(*assembled({"fake": MemoryFactory(provider)})):
        await asyncio.sleep(10)
        await edit(world, SECRET, "db", {"immutable": True})
        provider.put("db", MARKED + "2")
        await edit(world, ExternalSecret.KIND, "db", {"metadata": {"annotations": {"force-sync": "1"}}})
        await asyncio.sleep(5)
        assert (await ready(world))[1].startswith("could not update secret, target is immutable")
        provider.fails = ProviderUnavailable("memory: HTTP 503")
        await edit(world, ExternalSecret.KIND, "db", {"metadata": {"annotations": {"force-sync": "2"}}})
        await asyncio.sleep(30)
    assert await password(world) == MARKED
    kinds = (EVENT, ExternalSecret.KIND, SecretStore.KIND)
    pages = [await world.local.list(Query(kind), dict) for kind in kinds]
    failures = [await ready(world, name=manifest["metadata"]["name"]) for manifest in bad]
    assert {status for status, _ in failures} == {"False"}
    stored = json.dumps([page.items for page in pages])

    formatter = logging.Formatter("%(message)s")
    logged = "\n".join(f"{formatter.format(record)} {record.__dict__!r}" for record in caplog.records)
    assert logged
    for text in (stored, logged):
        assert MARKED not in text
        assert base64.b64encode(MARKED.encode()).decode()[:16] not in text


def quoting(world: World, deed: str, failure: Callable[[str], ClusterError]) -> None:
    """From now on the API server refuses to do this to Secrets, and repeats the value, as a webhook may."""

    async def refuse(request: Request, send: Send) -> Any:
        if kind_of(request) != "Secret":
            return await send()
        raise failure(f"password {MARKED} ({base64.b64encode(MARKED.encode()).decode()}) is too weak")

    world.cluster.override[deed] = refuse


FAILURES: dict[str, Callable[[str], ClusterError]] = {
    "Forbidden": Forbidden,
    "BadRequest": BadRequest,
    "ClusterUnavailable": ClusterUnavailable,
    "Invalid": lambda text: Invalid(
        ObjectRef(SECRET, ObjectKey(NAMESPACE, "db")), text, [FieldFault(text, text, text)]
    ),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("deed", ["create", "replace", "delete", "rename", "finalize"])
@in_virtual_time
async def test_a_refusal_that_quotes_the_value_is_told_without_it(
    deed: str, failure: Callable[[str], ClusterError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    name = failure("").reason

    world, provider = await installed(), MemoryProvider({"db": MARKED})
    if deed == "create":
        quoting(world, "create", failure)
    await create(world, fake(x="y"), external_secret(target={"name": "db", "deletionPolicy": "Delete"}))
    async with world.process(*assembled({"fake": MemoryFactory(provider)})):
        await asyncio.sleep(10)
        if deed != "create":
            assert await password(world) == MARKED
            quoting(world, "replace" if deed == "replace" else "delete", failure)
        if deed == "finalize":
            await world.local.delete(ObjectRef(ExternalSecret.KIND, ObjectKey(NAMESPACE, "db")))
        elif deed == "rename":
            await edit(world, ExternalSecret.KIND, "db", {"spec": {"target": {"name": "db2"}}})
        elif deed == "replace":
            provider.put("db", MARKED + "2")
        elif deed == "delete":
            provider.remove("db")
        await edit(world, ExternalSecret.KIND, "db", {"metadata": {"annotations": {"force-sync": "1"}}})
        await asyncio.sleep(10)
    pages = [await world.local.list(Query(kind), dict) for kind in (EVENT, ExternalSecret.KIND)]
    (status, message), stored = await ready(world), json.dumps([page.items for page in pages])

    assert (status, message.endswith(f": {name}")) == ("False", True), message
    formatter = logging.Formatter()
    logged = "\n".join(f"{formatter.format(record)} {record.__dict__!r}" for record in caplog.records)
    for text in (stored, logged):
        assert MARKED not in text
        assert base64.b64encode(MARKED.encode()).decode()[:16] not in text


@in_virtual_time
async def test_the_old_secret_stays_until_the_new_one_is_there() -> None:
    world = await installed()
    await create(world, fake(db="v1"), external_secret())
    async with world.process(*assembled({"fake": FakeFactory()})):
        await asyncio.sleep(5)
        quoting(world, "create", Forbidden)
        await edit(world, ExternalSecret.KIND, "db", {"spec": {"target": {"name": "db2"}}})
        await asyncio.sleep(5)
        assert (await ready(world))[0] == "False"
        assert await password(world) == "v1"
        world.cluster.override.clear()
        await asyncio.sleep(60)

        assert await ready(world) == ("True", "secret synced")
        assert await password(world) is None


@in_virtual_time
async def test_two_exchange_their_secrets_as_soon_as_both_want_to() -> None:
    world = await installed()
    named = {name: [{"secretKey": "password", "remoteRef": {"key": name}}] for name in ("a", "b")}
    await create(world, fake(a="of a", b="of b"), *(external_secret(n, data=data) for n, data in named.items()))

    async def passwords() -> list[str]:
        found = [await world.local.get(ObjectRef(SECRET, ObjectKey(NAMESPACE, name))) or {} for name in named]
        return [base64.b64decode(secret["data"]["password"]).decode() for secret in found]

    async with world.process(*assembled({"fake": FakeFactory()})):
        await asyncio.sleep(5)
        await edit(world, ExternalSecret.KIND, "a", {"spec": {"target": {"name": "b"}}})
        await asyncio.sleep(5)
        assert (await ready(world, name="a"))[1].startswith("target is owned by another ExternalSecret")
        assert await passwords() == ["of a", "of b"]

        await edit(world, ExternalSecret.KIND, "b", {"spec": {"target": {"name": "a"}}})
        await asyncio.sleep(5)

        assert await passwords() == ["of b", "of a"]
        assert {(await ready(world, name=name))[1] for name in named} == {"secret synced"}
