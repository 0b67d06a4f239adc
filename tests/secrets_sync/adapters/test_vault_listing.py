"""Vault as it is listed: engines of both versions, tokens that may not, servers that list too much or nonsense."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import GitOpsError
from secrets_sync.adapters import VaultFactory
from secrets_sync.domain.provider.finding import MAX_DEPTH, MAX_FOLDERS, MAX_NAMES, MAX_TAGGED, Listing, Search
from secrets_sync.domain.provider.openings import make_opening
from secrets_sync.domain.provider.payload import Payload
from secrets_sync.domain.provider.reading import Absent
from secrets_sync.errors import AccessDenied, FindInvalid, FindTooWide, NotSupported, ProviderUnavailable
from secrets_sync.ports import Finder
from tests.secrets_sync.world import FixedClock, payload_at, prepare, vault_store, vault_token
from tests.servers.vault import VaultServer


@pytest.fixture
async def cluster(local_cluster: LocalCluster) -> LocalCluster:
    await prepare(local_cluster)
    return local_cluster


@pytest.fixture
async def factory() -> AsyncIterator[VaultFactory]:
    factory = VaultFactory(FixedClock())
    yield factory
    await factory.close()


async def opened(factory: VaultFactory, cluster: LocalCluster, url: str, token: str, **settings: Any) -> Finder:
    await vault_token(cluster, token)
    provider = await factory.open(make_opening(vault_store(url, **settings)), cluster)
    assert isinstance(provider, Finder)
    return provider


async def names_at(provider: Finder, path: str = "") -> list[str]:
    listing = await provider.list_names(Search(path))
    assert isinstance(listing, Listing)
    return sorted(one.name for one in listing.names)


@pytest.mark.parametrize(
    ("settings", "path", "names"),
    [
        ({"path": "kv1", "version": "v1"}, "listed", ["listed/a", "listed/b/c"]),
        ({"path": None, "version": "v1"}, "kv1/listed", ["kv1/listed/a", "kv1/listed/b/c"]),
        ({}, "listed", ["listed/data/x", "listed/y"]),
        ({"path": None}, "secret/listed", ["secret/listed/data/x", "secret/listed/y"]),
        ({"path": None}, "secret/data/listed", ["secret/data/listed/data/x", "secret/data/listed/y"]),
    ],
    ids=str,
)
async def test_what_is_listed_is_read_by_what_it_is_listed_as(
    cluster: LocalCluster,
    factory: VaultFactory,
    vault_server: VaultServer,
    settings: dict[str, Any],
    path: str,
    names: list[str],
) -> None:
    for key in ("a", "b/c"):
        vault_server.put_v1(f"listed/{key}", {"at": key})
    for key in ("data/x", "y"):
        vault_server.put(f"listed/{key}", {"at": key})
    provider = await opened(factory, cluster, vault_server.url, vault_server.token, **settings)

    listing = await provider.list_names(Search(path))

    assert isinstance(listing, Listing)
    assert sorted(one.name for one in listing.names) == names
    for one in listing.names:
        payload = await provider.fetch(one.ref)
        assert isinstance(payload, Payload)
        assert one.name.endswith(json.loads(payload.value.reveal())["at"])


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_store_without_an_engine_has_to_be_told_where(
    cluster: LocalCluster, factory: VaultFactory, version: str
) -> None:
    provider = await opened(factory, cluster, "http://127.0.0.1:1", "t", path=None, version=version)

    with pytest.raises(FindInvalid, match="the store names no engine, so path has to begin with one"):
        await provider.list_names(Search())
    with pytest.raises(FindInvalid, match="no name"):
        await provider.list_names(Search("secret/../sys"))


async def test_version_1_has_no_tags(cluster: LocalCluster, factory: VaultFactory) -> None:
    provider = await opened(factory, cluster, "http://127.0.0.1:1", "t", path="kv1", version="v1")

    with pytest.raises(NotSupported, match="version 1 have no tags"):
        await provider.list_names(Search(has_tags=True))


async def test_a_deleted_version_is_listed_and_absent_and_other_names_go_with_their_metadata(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer
) -> None:
    for key in ("kept", "deleted", "gone"):
        vault_server.put(f"half/{key}", {"x": 1})
    vault_server.delete("half/deleted")
    vault_server.call("DELETE", "secret/metadata/half/gone")
    provider = await opened(factory, cluster, vault_server.url, vault_server.token)

    listing = await provider.list_names(Search("half"))

    assert isinstance(listing, Listing)
    answers = {one.name: type(await provider.fetch(one.ref)) for one in listing.names}
    assert answers == {"half/kept": Payload, "half/deleted": Absent}


RULES = """
path "secret/metadata/open/*" { capabilities = ["list"] }
path "secret/metadata/open/closed/*" { capabilities = ["deny"] }
path "secret/data/open/*" { capabilities = ["read"] }
"""


async def test_whoever_may_list_a_folder_needs_no_other_right_and_one_that_is_closed_fails_the_whole(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer
) -> None:
    """What a token does not see would look like keys that are gone."""
    vault_server.policy("open", RULES)
    for key in ("open/sub/a", "open/closed/b", "elsewhere/c"):
        vault_server.put(key, {"x": 1})
    provider = await opened(factory, cluster, vault_server.url, vault_server.token_for("open"))

    assert await names_at(provider, "open/sub") == ["open/sub/a"]
    with pytest.raises(AccessDenied, match="the token may not list 'open/closed'"):
        await provider.list_names(Search("open"))
    with pytest.raises(AccessDenied, match="the token may not list '/'"):
        await provider.list_names(Search())
    with pytest.raises(AccessDenied, match="may not read the metadata of key 'open/sub/a'"):
        await provider.list_names(Search("open/sub", has_tags=True))


@pytest.mark.parametrize("name", ["with space/ä", "per%2Fcent", "question?list=false", "hash#a", "semi;colon"])
async def test_names_of_any_spelling(
    cluster: LocalCluster, factory: VaultFactory, vault_server: VaultServer, name: str
) -> None:
    vault_server.put(quote(f"spelled/{name}/{name}"), {"x": 1})
    provider = await opened(factory, cluster, vault_server.url, vault_server.token)
    listing = await provider.list_names(Search(f"spelled/{name}"))

    assert isinstance(listing, Listing)
    (found,) = listing.names
    assert found.name == f"spelled/{name}/{name}"
    assert (await payload_at(provider, found.ref.key)).value.reveal() == b'{"x":1}'
    vault_server.call("DELETE", quote(f"secret/metadata/spelled/{name}/{name}"))


# servers


class Lister:
    """Lists what `level` says of a folder; is a key-value engine otherwise."""

    def __init__(self, level: Any, metadata: Any = None) -> None:
        self.level, self.metadata = level, metadata
        self.listed: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/v1/")
        if path.startswith("sys/"):
            return web.json_response({"data": {"path": "secret/", "type": "kv", "options": {"version": "2"}}})
        if request.query.get("list") != "true":
            status, body = self.metadata
            return web.json_response(body, status=status)
        self.listed.append(path)
        level = self.level(path) if callable(self.level) else self.level
        if isinstance(level, list):
            return web.json_response({"data": {"keys": level}})
        status, body = level
        return web.json_response(body, status=status)


@asynccontextmanager
async def served(lister: Lister) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{any:.*}", lister.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("level", "excess", "requests"),
    [
        (["a", "deeper/"], f"more than {MAX_DEPTH} levels of folders", MAX_DEPTH + 1),
        ([f"f{number}/" for number in range(MAX_FOLDERS + 1)], f"more than {MAX_FOLDERS} folders", 1),
        ([f"k{number}" for number in range(MAX_NAMES + 1)], f"more than {MAX_NAMES} names", 1),
        ([f"{number}" + "x" * 2000 for number in range(600)], "more than 1048576 bytes of names", 1),
    ],
    ids=["depth", "folders", "names", "bytes"],
)
async def test_who_lists_without_end_is_left(
    cluster: LocalCluster, factory: VaultFactory, level: list[str], excess: str, requests: int
) -> None:
    lister = Lister(level)
    async with served(lister) as url:
        provider = await opened(factory, cluster, url, "t")

        with pytest.raises(FindTooWide) as refusal:
            await provider.list_names(Search("shop"))

    assert str(refusal.value) == f"{provider.where}: {excess} below 'shop': narrow path or name.regexp"
    assert len(lister.listed) == requests


async def test_tags_are_asked_for_of_so_many_names_and_no_more(cluster: LocalCluster, factory: VaultFactory) -> None:
    lister = Lister([f"k{number}" for number in range(MAX_TAGGED + 1)], (500, {}))
    async with served(lister) as url:
        provider = await opened(factory, cluster, url, "t")

        with pytest.raises(FindTooWide, match="more than 1000 names whose tags are to be read below '/'"):
            await provider.list_names(Search(has_tags=True))


async def test_a_folder_or_a_key_that_goes_meanwhile_is_not_there(cluster: LocalCluster, factory: VaultFactory) -> None:
    gone: tuple[int, Any] = (404, {"errors": []})
    async with served(Lister(lambda path: gone if path.endswith("sub") else ["a", "sub/"], gone)) as url:
        provider = await opened(factory, cluster, url, "t")

        assert await names_at(provider) == ["a"]
        tagged = await provider.list_names(Search(has_tags=True))

    assert isinstance(tagged, Listing)
    assert tagged.names == ()


@pytest.mark.parametrize("below", ["", "sub"], ids=["top", "below"])
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, {"data": None}), "not what a key-value engine says"),
        ((200, {"data": {"keys": ["marked-4711/x"]}}), "not what a key-value engine says"),
        ((200, {"data": {"keys": ["../"]}}), "has a part that is no name"),
        ((200, ["marked-4711"]), "not what a key-value engine says"),
        ((404, {"errors": ["marked-4711"]}), "no secrets engine answers there"),
        ((404, {"data": None, "warnings": ["marked-4711"]}), "of the other version"),
        ((404, "marked-4711"), "HTTP 404 that is not Vault's"),
        ((500, {"errors": ["marked-4711"]}), "HTTP 500"),
        ((307, {}), "redirects elsewhere"),
    ],
    ids=str,
)
async def test_bad_answers(
    cluster: LocalCluster, factory: VaultFactory, answer: tuple[int, Any], message: str, below: str
) -> None:
    async with served(Lister(lambda path: answer if path.endswith(below) else ["a", "sub/"])) as url:
        provider = await opened(factory, cluster, url, "t")

        with pytest.raises(ProviderUnavailable, match=message) as failure:
            await provider.list_names(Search())

    assert "marked-4711" not in f"{failure.value} {failure.value!r}"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, {"data": None}), "the metadata of key 'a' is not what"),
        ((200, {"data": {"custom_metadata": ["marked-4711"]}}), "the metadata of key 'a' is not what"),
        ((404, {"errors": ["marked-4711"]}), "cannot tell whether there is a key 'a': no secrets engine"),
        ((503, {}), "HTTP 503"),
    ],
    ids=str,
)
async def test_bad_answers_about_tags(
    cluster: LocalCluster, factory: VaultFactory, answer: tuple[int, Any], message: str
) -> None:
    async with served(Lister(["a"], answer)) as url:
        provider = await opened(factory, cluster, url, "t")

        with pytest.raises(GitOpsError, match=message) as failure:
            await provider.list_names(Search(has_tags=True))

    assert "marked-4711" not in f"{failure.value} {failure.value!r}"
