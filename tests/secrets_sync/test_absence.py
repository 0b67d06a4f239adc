"""A Secret is deleted when its secret is gone, and by no mistake: the reconciler on a real Vault API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gitops_core.adapters.local import LocalCluster
from secrets_sync.adapters import VaultFactory
from secrets_sync.api import ExternalSecret, SecretStore
from tests.secrets_sync.world import FixedClock, World, external_secret, prepare, store, vault_token
from tests.servers.vault import VaultServer

KEYS = [
    {"secretKey": "password", "remoteRef": {"key": "absence/db", "property": "password"}},
    {"secretKey": "other", "remoteRef": {"key": "absence/other", "property": "password"}},
]
FIND = {"path": "absence", "name": {"regexp": "/(db|other)$"}}


def settings(server: VaultServer) -> dict[str, Any]:
    auth = {"tokenSecretRef": {"name": "vault-token", "key": "token"}}
    return {"server": server.url, "path": "secret", "version": "v2", "auth": auth}


@pytest.fixture
async def world(local_cluster: LocalCluster, vault_server: VaultServer) -> AsyncIterator[World]:
    """A ready store `fake` that is a Vault, with two keys."""
    await prepare(local_cluster)
    await vault_token(local_cluster, vault_server.token)
    factory = VaultFactory(FixedClock())
    world = World(local_cluster, {"vault": factory})
    for name in ("db", "other"):
        vault_server.put(f"absence/{name}", {"password": name})
    await world.create(store("fake", {"vault": settings(vault_server)}))
    yield world
    await factory.close()


async def refresh(world: World) -> None:
    await world.clock.sleep(3600)
    await world.step()


@pytest.mark.parametrize(
    "mistake",
    [
        {"version": "v1"},
        {"path": "sceret"},
        {"path": "secret/absence"},
        {"path": "secret/data"},
        {"path": None},
        {"path": "kv1"},
        {"path": "cubbyhole", "version": "v1"},
    ],
    ids=str,
)
@pytest.mark.parametrize("policy", ["Delete", "Merge"])
async def test_a_mistake_in_the_store_takes_nothing_from_the_secret(
    world: World, policy: str, mistake: dict[str, Any]
) -> None:
    await world.create(external_secret(data=KEYS, target={"deletionPolicy": policy}))
    await world.step()
    before = await world.secret()
    assert before is not None

    await world.patch(SecretStore.KIND, "fake", {"spec": {"provider": {"vault": mistake}}})
    await world.step_store()
    await world.step()

    assert await world.secret() == before
    status, reason, message = await world.ready()
    assert (status, reason) == ("False", "SecretSyncedError")
    assert "cannot tell whether there is a key 'absence/db'" in message


@pytest.mark.parametrize(
    "mistake",
    [
        {"version": "v1"},
        {"path": "sceret"},
        {"path": "secret/absence"},
        {"path": "secret/metadata", "version": "v1"},
        {"path": None},
        {"path": "kv1"},
        {"path": "cubbyhole", "version": "v1"},
    ],
    ids=str,
)
@pytest.mark.parametrize("policy", ["Delete", "Merge", "Retain"])
async def test_nor_does_it_where_keys_are_found(world: World, policy: str, mistake: dict[str, Any]) -> None:
    await world.create(external_secret(data=[], dataFrom=[{"find": FIND}], target={"deletionPolicy": policy}))
    await world.step()
    before = await world.secret()
    assert before is not None

    await world.patch(SecretStore.KIND, "fake", {"spec": {"provider": {"vault": mistake}}})
    await world.step_store()
    await world.step()

    assert await world.secret() == before
    status, reason, message = await world.ready()
    assert (status, reason) == ("False", "SecretSyncedError")
    assert "error processing spec.dataFrom[0].find, err: " in message
    assert "cannot tell what is below 'absence'" in message


async def test_keys_that_are_no_longer_found_leave_one_after_the_other(world: World, vault_server: VaultServer) -> None:
    await world.create(external_secret(data=[], dataFrom=[{"find": FIND}], target={"deletionPolicy": "Delete"}))
    await world.step()
    assert set(await world.data() or {}) == {"absence_db", "absence_other"}

    vault_server.delete("absence/db")
    await refresh(world)
    assert set(await world.data() or {}) == {"absence_other"}
    vault_server.call("DELETE", "secret/metadata/absence/other")
    await refresh(world)

    assert await world.secret() is None
    assert await world.ready() == ("True", "SecretDeleted", "secret deleted due to DeletionPolicy=Delete")


async def test_a_folder_that_is_gone_takes_the_secret_along_and_is_missed_with_retain(
    world: World, vault_server: VaultServer
) -> None:
    vault_server.put("vanishing/db", {"password": "db"})
    entries = [{"find": {"path": "vanishing"}}]
    for name, policy in (("keep", "Retain"), ("go", "Delete")):
        await world.create(external_secret(name, data=[], dataFrom=entries, target={"deletionPolicy": policy}))
        await world.step(name)

    vault_server.call("DELETE", "secret/metadata/vanishing/db")
    await world.clock.sleep(3600)
    for name in ("keep", "go"):
        await world.step(name)

    assert await world.data("keep") == {"vanishing_db": '{"password":"db"}'}
    assert (
        "no key 'vanishing/' (HTTP 404, said by the engine at 'secret/' of version v2)"
        in (await world.ready("keep"))[2]
    )
    assert await world.secret("go") is None
    assert "secret does not exist at provider using spec.dataFrom[0]" in [n.message for n in world.notices]


async def test_keys_that_are_gone_leave_one_after_the_other(world: World, vault_server: VaultServer) -> None:
    await world.create(external_secret(data=KEYS, target={"deletionPolicy": "Delete"}))
    await world.step()
    assert await world.data() == {"password": "db", "other": "other"}

    vault_server.delete("absence/db")
    await refresh(world)
    assert await world.data() == {"other": "other"}
    vault_server.call("DELETE", "secret/metadata/absence/other")
    await refresh(world)

    assert await world.secret() is None
    assert await world.ready() == ("True", "SecretDeleted", "secret deleted due to DeletionPolicy=Delete")


async def test_a_property_that_is_missing_is_no_secret_that_is_gone(world: World, vault_server: VaultServer) -> None:
    await world.create(external_secret(data=KEYS, target={"deletionPolicy": "Delete"}))
    await world.step()

    for name in ("db", "other"):
        vault_server.put(f"absence/{name}", {"passwrod": name})
    await refresh(world)

    assert await world.data() == {"password": "db", "other": "other"}
    assert "has no property 'password'" in (await world.ready())[2]


async def test_secrets_that_hold_nothing_are_not_gone(world: World, vault_server: VaultServer) -> None:
    extract = [{"extract": {"key": f"absence/{name}"}} for name in ("db", "other")]
    await world.create(external_secret(data=[], dataFrom=extract, target={"deletionPolicy": "Delete"}))
    await world.step()

    for name in ("db", "other"):
        vault_server.put(f"absence/{name}", {})
    await refresh(world)

    assert await world.data() == {"password": "other"}
    assert (await world.ready())[0] == "True"


async def test_an_external_secret_without_entries_deletes_nothing(world: World) -> None:
    await world.create(external_secret(data=KEYS, target={"deletionPolicy": "Delete"}))
    await world.step()

    await world.patch(ExternalSecret.KIND, "db", {"spec": {"data": None}})
    await world.step()

    assert await world.data() == {"password": "db", "other": "other"}
