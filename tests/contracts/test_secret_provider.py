"""What every provider of secrets does: the in-memory one of the simulations, fake, and Vault in two makes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import GitOpsError
from gitops_core.meta import Sensitive
from gitops_core.runtime.clock import SystemClock
from gitops_core.schema import from_manifest
from sealoop.embedded.vault import EmbeddedVault
from secrets_sync.adapters import FakeFactory, VaultFactory
from secrets_sync.api import RemoteRef, SecretStore
from secrets_sync.domain.extract import map_of, value_of
from secrets_sync.errors import SecretNotFound
from secrets_sync.ports import SecretProvider
from tests.secrets_sync.world import fake, prepare, vault_store, vault_token
from tests.servers.vault import VaultServer
from tests.simulation.fakes.provider import MemoryProvider

MARKED = "marked-value-4711"


FIRST, SECOND = {"a": MARKED}, {"a": "2", "b": {"c": [1]}}
"""The versions of key `contract` that every provider here holds."""


async def memory(request: pytest.FixtureRequest) -> AsyncIterator[SecretProvider]:
    provider = MemoryProvider()
    provider.put("contract", json.dumps(FIRST))
    provider.put("contract", json.dumps(SECOND))
    yield provider


async def fake_store(request: pytest.FixtureRequest) -> AsyncIterator[SecretProvider]:
    cluster: LocalCluster = request.getfixturevalue("local_cluster")
    entries = [
        {"key": "contract", "value": json.dumps(SECOND)},
        {"key": "contract", "value": json.dumps(FIRST), "version": "1"},
        {"key": "contract", "value": json.dumps(SECOND), "version": "2"},
    ]
    manifest = fake()
    manifest["spec"]["provider"]["fake"]["data"] = entries
    yield await FakeFactory().open(from_manifest(SecretStore, manifest), cluster)


async def embedded_vault(request: pytest.FixtureRequest) -> AsyncIterator[SecretProvider]:
    cluster: LocalCluster = request.getfixturevalue("local_cluster")
    async with EmbeddedVault() as vault:
        vault.put("contract", FIRST)
        vault.put("contract", SECOND)
        await prepare(cluster)
        await vault_token(cluster, vault.token.text())
        factory = VaultFactory(SystemClock())
        yield await factory.open(vault_store(vault.url), cluster)
        await factory.close()


async def openbao(request: pytest.FixtureRequest) -> AsyncIterator[SecretProvider]:
    cluster: LocalCluster = request.getfixturevalue("local_cluster")
    server: VaultServer = request.getfixturevalue("vault_server")
    for data in (FIRST, SECOND):
        server.put("contract", data)
    await prepare(cluster)
    await vault_token(cluster, server.token)
    factory = VaultFactory(SystemClock())
    yield await factory.open(vault_store(server.url), cluster)
    await factory.close()
    server.call("DELETE", "secret/metadata/contract")


@pytest.fixture(params=[memory, fake_store, embedded_vault, openbao], ids=lambda make: make.__name__)
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[SecretProvider]:
    async for provider in request.param(request):
        yield provider


async def test_it_can_be_validated(provider: SecretProvider) -> None:
    await provider.validate()

    assert provider.capabilities == "ReadWrite"


async def test_the_newest_version_is_the_whole_payload(provider: SecretProvider) -> None:
    payload = await provider.fetch("contract")

    assert isinstance(payload, Sensitive)
    assert json.loads(payload.reveal()) == SECOND


async def test_a_version_can_be_named(provider: SecretProvider) -> None:
    assert json.loads((await provider.fetch("contract", "1")).reveal()) == FIRST


@pytest.mark.parametrize(("key", "version"), [("nope", ""), ("contract", "9"), ("con/tract", "")])
async def test_what_is_not_there_is_not_found(provider: SecretProvider, key: str, version: str) -> None:
    with pytest.raises(SecretNotFound, match="no key"):
        await provider.fetch(key, version)


async def test_property_and_map_follow_the_providers_rule(provider: SecretProvider) -> None:
    payload = await provider.fetch("contract")

    nested = value_of(payload, RemoteRef(key="contract", property="b.c.0"), provider.rule, provider.where)
    members = map_of(payload, RemoteRef(key="contract"), provider.rule, provider.where)

    assert nested == Sensitive("1")
    assert set(members) == {"a", "b"}
    assert json.loads(members["b"].reveal()) == {"c": [1]}


async def test_nothing_it_says_shows_a_value(provider: SecretProvider) -> None:
    payload = await provider.fetch("contract", "1")

    with pytest.raises(GitOpsError) as refusal:
        value_of(payload, RemoteRef(key="contract", property="nope"), provider.rule, provider.where)

    assert MARKED not in f"{refusal.value!r} {refusal.value} {payload!r} {payload} {provider!r} {provider.where}"
