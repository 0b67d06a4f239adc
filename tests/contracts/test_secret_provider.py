"""What every provider of secrets does: the in-memory one of the simulations, fake, and Vault in two makes.

A provider to come adds a function that yields `Stores`, with every mistake that its settings allow.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import GitOpsError
from gitops_core.meta import Sensitive
from gitops_core.runtime.clock import SystemClock
from gitops_core.schema import read_manifest
from sealoop.embedded.vault import EmbeddedVault
from secrets_sync.adapters import FakeFactory, VaultFactory
from secrets_sync.api import RemoteRef, SecretStore
from secrets_sync.domain.provider.extract import extract_map, extract_value
from secrets_sync.domain.provider.finding import Listing, Search
from secrets_sync.domain.provider.openings import make_opening
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.domain.provider.reading import Absent
from secrets_sync.errors import NotSupported
from secrets_sync.ports import Finder, SecretProvider
from tests.secrets_sync.world import fake, payload_at, payload_of, prepare, vault_store, vault_token
from tests.servers.vault import VaultServer
from tests.simulation.fakes.provider import MemoryProvider

MARKED = "marked-value-4711"


FIRST, SECOND = {"a": MARKED}, {"a": "2", "b": {"c": [1]}}
"""The versions of key `contract` that every provider here holds."""


SHELF = ("shelf/a", "shelf/box/a", "shelf/box/lid/secret", "shelf/box", "shelf/data/x", "secret/own")
"""Other keys, for what can list; what the last one begins with is also the name of the mount."""
TAGS = {"team": "a", "tier": "1"}
"""The tags of `shelf/box/a`, where there are tags."""


@dataclass(frozen=True)
class Stores:
    """A store that is right, and the same store with one mistake each: all hold or mean key `contract`."""

    right: SecretProvider
    mistaken: Mapping[str, SecretProvider]


V2_MISTAKES: Mapping[str, Mapping[str, Any]] = {
    "version 1": {"version": "v1"},
    "another mount": {"path": "sceret"},
    "a level below": {"path": "secret/contract"},
    "the mount's data": {"path": "secret/data"},
    "the mount's data as version 1": {"path": "secret/data", "version": "v1"},
    "the mount's metadata as version 1": {"path": "secret/metadata", "version": "v1"},
    "no mount": {"path": None},
    "no mount, version 1": {"path": None, "version": "v1"},
    "no engine": {"path": "sys"},
}
V1_MISTAKES: Mapping[str, Mapping[str, Any]] = {
    "version 2 of an engine of version 1": {"path": "kv1"},
    "a level below an engine of version 1": {"path": "kv1/contract", "version": "v1"},
    "an engine of another type": {"path": "cubbyhole", "version": "v1"},
    "an engine that was upgraded": {"path": "upgraded", "version": "v1"},
    "another namespace": {"namespace": "nowhere"},
}


async def memory(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    provider = MemoryProvider()
    provider.put("contract", json.dumps(FIRST))
    provider.put("contract", json.dumps(SECOND))
    yield Stores(provider, {})  # it is no server, and has no settings


async def fake_store(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    cluster: LocalCluster = request.getfixturevalue("local_cluster")
    entries = [
        {"key": "contract", "value": json.dumps(SECOND)},
        {"key": "contract", "value": json.dumps(FIRST), "version": "1"},
        {"key": "contract", "value": json.dumps(SECOND), "version": "2"},
        *({"key": key, "value": json.dumps(SECOND), "version": "2"} for key in SHELF),
        *({"key": key, "value": json.dumps(FIRST), "version": "1"} for key in SHELF),
    ]
    manifest = fake()
    manifest["spec"]["provider"]["fake"]["data"] = entries
    provider = await FakeFactory().open(make_opening(read_manifest(SecretStore, manifest)), cluster)
    yield Stores(provider, {})  # its settings are its secrets


@asynccontextmanager
async def vault_stores(
    cluster: LocalCluster, url: str, mistakes: Mapping[str, Mapping[str, Any]]
) -> AsyncIterator[Stores]:
    async with AsyncExitStack() as stack:

        async def opened(**settings: Any) -> SecretProvider:
            factory = VaultFactory(SystemClock())
            stack.push_async_callback(factory.close)
            return await factory.open(make_opening(vault_store(url, **settings)), cluster)

        yield Stores(await opened(), {name: await opened(**settings) for name, settings in mistakes.items()})


async def embedded_vault(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    cluster: LocalCluster = request.getfixturevalue("local_cluster")
    async with EmbeddedVault() as vault:
        vault.put("contract", FIRST)
        vault.put("contract", SECOND)
        for key in SHELF:
            vault.put(key, SECOND)
        vault.tag("shelf/box/a", TAGS)
        await prepare(cluster)
        await vault_token(cluster, vault.token.reveal_text())
        async with vault_stores(cluster, vault.url, V2_MISTAKES) as stores:
            yield stores


async def openbao(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    cluster: LocalCluster = request.getfixturevalue("local_cluster")
    server: VaultServer = request.getfixturevalue("vault_server")
    for data in (FIRST, SECOND):
        server.put("contract", data)
    for key in SHELF:
        server.put(key, SECOND)
    server.call("POST", "secret/metadata/shelf/box/a", json.dumps({"custom_metadata": TAGS}))
    await prepare(cluster)
    await vault_token(cluster, server.token)
    server.put_v1("contract", FIRST)
    server.mount("upgraded", version=1)
    server.call("POST", "upgraded/contract", json.dumps(FIRST))
    server.upgrade("upgraded")
    async with vault_stores(cluster, server.url, {**V2_MISTAKES, **V1_MISTAKES}) as stores:
        yield stores
    for key in ("contract", *SHELF):
        server.call("DELETE", f"secret/metadata/{key}")
    server.call("DELETE", "kv1/contract")
    server.call("DELETE", "sys/mounts/upgraded")


@pytest.fixture(params=[memory, fake_store, embedded_vault, openbao], ids=lambda make: make.__name__)
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    async for stores in request.param(request):
        yield stores


@pytest.fixture
def provider(stores: Stores) -> SecretProvider:
    return stores.right


async def answer_of(provider: SecretProvider, key: str) -> Payload | Absent | GitOpsError:
    try:
        return await provider.fetch(SecretRef(key))
    except GitOpsError as error:
        return error


async def test_a_store_with_good_credentials_is_valid(provider: SecretProvider) -> None:
    await provider.validate()

    assert provider.capabilities == "ReadWrite"


async def test_the_newest_version_is_the_whole_payload(provider: SecretProvider) -> None:
    payload = await payload_of(provider, "contract")

    assert json.loads(payload.reveal()) == SECOND


async def test_a_version_can_be_named(provider: SecretProvider) -> None:
    assert json.loads((await payload_of(provider, "contract", "1")).reveal()) == FIRST


@pytest.mark.parametrize(("key", "version"), [("nope", ""), ("contract", "9"), ("con/tract", "")])
async def test_a_key_that_is_not_there_is_absent_with_its_proof(
    provider: SecretProvider, key: str, version: str
) -> None:
    answer = await provider.fetch(SecretRef(key, version))

    assert isinstance(answer, Absent)
    assert (answer.where, answer.key, answer.version) == (provider.where, key, version)
    assert answer.proof


async def test_through_a_mistake_in_the_store_nothing_is_absent(stores: Stores) -> None:
    """Neither a key that is there nor one that is not: a Secret would be deleted for it."""
    asked = [(name, key) for name in stores.mistaken for key in ("contract", "nope")]

    answers = [await answer_of(stores.mistaken[name], key) for name, key in asked]

    assert [where for where, answer in zip(asked, answers, strict=True) if isinstance(answer, Absent)] == []
    assert all(MARKED not in str(answer) for answer in answers)


async def test_property_and_map_follow_the_providers_rule(provider: SecretProvider) -> None:
    payload = await payload_at(provider, "contract")

    nested = extract_value(payload, RemoteRef(key="contract", property="b.c.0"), provider.where)
    members = extract_map(payload, RemoteRef(key="contract"), provider.where)

    assert nested == Sensitive("1")
    assert set(members) == {"a", "b"}
    assert json.loads(members["b"].reveal()) == {"c": [1]}


async def test_nothing_it_says_shows_a_value(provider: SecretProvider) -> None:
    payload = await payload_at(provider, "contract", "1")

    with pytest.raises(GitOpsError) as refusal:
        extract_value(payload, RemoteRef(key="contract", property="nope"), provider.where)

    assert MARKED not in f"{refusal.value!r} {refusal.value} {payload!r} {payload} {provider!r} {provider.where}"


# finding


@pytest.fixture
async def finders(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    async for stores in request.param(request):
        yield stores


def as_finder(provider: SecretProvider) -> Finder:
    assert isinstance(provider, Finder)
    return provider


async def listing_of(provider: SecretProvider, search: Search) -> Listing | Absent | GitOpsError:
    try:
        return await as_finder(provider).list_names(search)
    except GitOpsError as error:
        return error


async def names_of(provider: SecretProvider, search: Search) -> set[str]:
    listing = await listing_of(provider, search)
    assert isinstance(listing, Listing)
    assert listing.proof
    assert len({one.name for one in listing.names}) == len(listing.names)
    return {one.name for one in listing.names}


FINDERS = pytest.mark.parametrize(
    "finders", [fake_store, embedded_vault, openbao], ids=lambda make: make.__name__, indirect=True
)


@FINDERS
async def test_a_secret_below_a_path_is_listed_by_its_whole_name(finders: Stores) -> None:
    everything = await names_of(finders.right, Search())

    assert {"contract", *SHELF} <= everything
    assert await names_of(finders.right, Search("shelf/box")) == {"shelf/box/a", "shelf/box/lid/secret"}
    assert await names_of(finders.right, Search("shelf")) == {key for key in SHELF if key.startswith("shelf/")}


@FINDERS
async def test_a_listed_secret_is_read_in_its_newest_version(finders: Stores) -> None:
    listing = await listing_of(finders.right, Search())
    assert isinstance(listing, Listing)
    refs = {one.name: one.ref for one in listing.names if one.name in ("contract", *SHELF)}

    payloads = {name: await finders.right.fetch(ref) for name, ref in refs.items()}

    values = {name: json.loads(p.value.reveal()) for name, p in payloads.items() if isinstance(p, Payload)}
    assert values == dict.fromkeys(("contract", *SHELF), SECOND)


@FINDERS
async def test_a_path_that_is_not_there_is_absent_or_has_no_names(finders: Stores) -> None:
    answer = await listing_of(finders.right, Search("nowhere/at/all"))

    assert isinstance(answer, Absent | Listing)
    assert answer.proof
    assert isinstance(answer, Absent) or not answer.names


@FINDERS
async def test_through_a_mistake_in_the_store_no_listing_lacks_what_is_there(finders: Stores) -> None:
    """Not even that of a path that is not there: a Secret would be deleted for it."""
    asked = [(name, path) for name in finders.mistaken for path in ("", "shelf", "nowhere")]

    answers = [await listing_of(finders.mistaken[name], Search(path)) for name, path in asked]

    wrong = [where for where, answer in zip(asked, answers, strict=True) if not isinstance(answer, GitOpsError)]
    assert wrong == []


@pytest.mark.parametrize("finders", [embedded_vault, openbao], ids=lambda make: make.__name__, indirect=True)
async def test_tags_are_listed_where_they_are_asked_for(finders: Stores) -> None:
    listing = await listing_of(finders.right, Search("shelf/box", has_tags=True))

    assert isinstance(listing, Listing)
    assert {one.name: one.tags for one in listing.names} == {"shelf/box/a": TAGS, "shelf/box/lid/secret": {}}


@pytest.mark.parametrize("finders", [fake_store], indirect=True)
async def test_a_provider_without_tags_refuses_to_look_for_them(finders: Stores) -> None:
    assert isinstance(await listing_of(finders.right, Search(has_tags=True)), NotSupported)
