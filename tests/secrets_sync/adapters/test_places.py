"""A Vault that accepts connections and says nothing keeps few threads and few workers, and only for its own sake."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.schema import read_manifest
from sealoop.embedded.vault import EmbeddedVault
from secrets_sync.adapters import VaultFactory
from secrets_sync.adapters.threads import PATIENCE, PLACES
from secrets_sync.api import SecretStore
from secrets_sync.component import AT_ONCE, component, make_controllers
from secrets_sync.domain.provider.openings import make_opening
from secrets_sync.domain.provider.payload import SecretRef
from secrets_sync.domain.secret.live import SECRET
from secrets_sync.errors import NoAnswer, ProviderUnavailable
from secrets_sync.ports import SecretProvider
from tests.gitops_core.runtime.world import World
from tests.secrets_sync.world import (
    NAMESPACE,
    FixedClock,
    external_secret,
    payload_of,
    prepare,
    store,
    vault_store,
    vault_token,
)

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class Moody:
    """A server on a port of its own that answers every request, or none.

    Attributes:
        silent: it only listens now.
        delay: seconds before it answers.
        open_requests: how many wait for an answer.
        given_up: how many clients went while it was silent.
    """

    def __init__(self) -> None:
        self.silent = False
        self.delay = 0.0
        self.open_requests = self.given_up = 0
        self.url = ""
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        try:
            yield
        finally:
            server.close()
            self.hang_up()

    def hang_up(self) -> None:
        for writer in tuple(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.open_requests += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            if self.silent:
                await reader.read()  # until the client gives up
                self.given_up += 1
            await asyncio.sleep(self.delay)
            writer.write(ANSWER)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self._writers.discard(writer)
            self.open_requests -= 1
            writer.close()


async def test_a_silent_server_takes_no_places_of_another(local_cluster: LocalCluster) -> None:
    await prepare(local_cluster)
    moody = Moody()
    moody.silent = True
    async with EmbeddedVault() as vault, moody.running():
        vault.put("db", {"a": "1"})
        await vault_token(local_cluster, vault.token.reveal_text())
        factory = VaultFactory(FixedClock(), timeout=6.0)
        hanging = await factory.open(make_opening(vault_store(moody.url)), local_cluster)
        asked = [asyncio.ensure_future(hanging.fetch(SecretRef("db"))) for _ in range(50)]
        await _until(lambda: moody.open_requests == PLACES)
        good = await _opened(factory, vault, local_cluster)

        payload = await payload_of(good, "db")
        taken, given_up = moody.open_requests, moody.given_up
        results = await asyncio.gather(*asked, return_exceptions=True)
        await factory.close()

    assert payload.reveal() == b'{"a":"1"}'
    assert (taken, given_up) == (PLACES, 0)  # it was answered while they waited
    assert [type(result) for result in results].count(NoAnswer) == PLACES
    assert all(isinstance(result, ProviderUnavailable) for result in results)
    assert {str(result) for result in results} == {
        f"vault {moody.url}: no answer in time",
        f"vault {moody.url}: too many requests wait for an answer",
    }


async def test_the_threads_end_with_the_requests(local_cluster: LocalCluster) -> None:
    await prepare(local_cluster)
    async with EmbeddedVault() as vault:
        vault.put("db", {"a": "1"})
        await vault_token(local_cluster, vault.token.reveal_text())
        factory = VaultFactory(FixedClock())
        good = await _opened(factory, vault, local_cluster)

        await asyncio.gather(*(good.fetch(SecretRef("db")) for _ in range(100)))
        await _ended()

        assert not _ours()
        await factory.close()


async def test_a_server_that_answers_again_is_asked_again(local_cluster: LocalCluster) -> None:
    await prepare(local_cluster)
    moody = Moody()
    moody.silent = True
    async with moody.running():
        await vault_token(local_cluster, "t")
        factory = VaultFactory(FixedClock(), timeout=1.0)
        provider = await factory.open(make_opening(vault_store(moody.url)), local_cluster)
        for _ in range(2):
            results = await asyncio.gather(*(provider.validate() for _ in range(6)), return_exceptions=True)
            assert all(isinstance(result, ProviderUnavailable) for result in results)

        await _ended()

        moody.silent = False

        await asyncio.gather(*(provider.validate() for _ in range(30)))
        await factory.close()


async def test_a_slow_server_has_requests_wait_for_their_turns(local_cluster: LocalCluster) -> None:
    """The last ones wait for longer than a server may be silent."""
    await prepare(local_cluster)
    moody = Moody()
    moody.delay = 0.3
    async with moody.running():
        await vault_token(local_cluster, "t")
        factory = VaultFactory(FixedClock())
        provider = await factory.open(make_opening(vault_store(moody.url)), local_cluster)

        began = time.monotonic()
        await asyncio.gather(*(provider.validate() for _ in range(10 * PLACES)))

        assert time.monotonic() - began > PATIENCE
        await factory.close()


async def test_many_secrets_of_a_store_that_hangs_delay_no_other() -> None:
    """More ExternalSecrets than workers, all of a store that was fine a moment ago."""
    world, moody = World(), Moody()
    await world.install(*component.kinds)
    async with EmbeddedVault() as vault, moody.running():
        vault.put("db", {"password": "v1"})
        await vault_token(world.local, vault.token.reveal_text())
        for name, url in (("hanging", moody.url), ("good", vault.url)):
            await world.local.create(_store(name, url), field_manager="tests")
        factories = {"vault": VaultFactory(world.clock, timeout=120.0)}  # longer than any machine is busy
        async with world.process(
            lambda platform: make_controllers(platform, factories)[0],
            lambda platform: make_controllers(platform, factories)[1],
        ):
            for name in ("hanging", "good"):
                await _until_stored(world, SecretStore.KIND, name, _is_ready)
            moody.silent = True
            for number in range(AT_ONCE + 50):
                await world.local.create(_wanted(f"bad-{number}", "hanging"), field_manager="tests")
            await _until(lambda: moody.open_requests > 0)

            await world.local.create(_wanted("db", "good"), field_manager="tests")

            await _until_stored(world, SECRET, "db", _has_password)
            await _until(lambda: moody.open_requests >= PLACES - 1)
            # nobody had to give up for it; the last place is for other namespaces
            assert (moody.open_requests, moody.given_up) == (PLACES - 1, 0)
            moody.silent = False
            moody.hang_up()
        for factory in factories.values():
            await factory.close()


def _store(name: str, url: str) -> Manifest:
    auth = {"tokenSecretRef": {"name": "vault-token", "key": "token"}}
    return store(name, {"vault": {"server": url, "path": "secret", "auth": auth}})


def _wanted(name: str, store_name: str) -> Manifest:
    ref = {"key": "db", "property": "password"}
    data = [{"secretKey": "password", "remoteRef": ref}]
    return external_secret(name, secretStoreRef={"name": store_name, "kind": "SecretStore"}, data=data)


async def _until_stored(world: World, kind: Kind, name: str, holds: Callable[[Manifest], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds(await world.local.get(ObjectRef(kind, ObjectKey(NAMESPACE, name))) or {}):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def _is_ready(live: Manifest) -> bool:
    return any(c["status"] == "True" for c in (live.get("status") or {}).get("conditions") or ())


def _has_password(live: Manifest) -> bool:
    return "password" in (live.get("data") or {})


async def _opened(factory: VaultFactory, vault: EmbeddedVault, cluster: LocalCluster) -> SecretProvider:
    manifest = await cluster.create(_store("good", vault.url), field_manager="tests")
    return await factory.open(make_opening(read_manifest(SecretStore, manifest)), cluster)


async def _ended() -> None:
    for thread in _ours():
        await asyncio.to_thread(thread.join, 5)


async def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def _ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("secrets_")]
