"""What every Registry port does: the one in memory, and the client of real registries and of the embedded one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from itertools import count

import pytest

from gitops_core.adapters.oci import OciRegistry
from gitops_core.errors import ImageUnknown, RegistryDenied, RegistryUnavailable, RepositoryUnknown
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import ANONYMOUS, OPEN, Credentials, RegistryAccess
from gitops_core.oci.references import Repository
from image_updater.adapters.images import RegistryImages
from image_updater.ports import Registry
from sealoop.embedded.registry import Account, RegistryServer
from tests.servers.proxy import forward_proxy
from tests.servers.registry import PASSWORD, USER, RealRegistry, TlsRegistry
from tests.simulation.fakes.registry import FakeRegistry

GOOD = RegistryAccess(Credentials(USER, Sensitive(PASSWORD)))
WRONG = Credentials(USER, Sensitive("guess"))
NUMBERS = count()


@dataclass(frozen=True)
class World:
    """One Registry port, and how somebody pushes to what it can reach.

    Attributes:
        push: (path, tag) -> digest.
        access: how it is reached; it has credentials where they are needed.
    """

    registry: Registry
    host: str
    push: Callable[[str, str], str]
    access: RegistryAccess = OPEN
    insecure: bool = True

    def repository(self) -> Repository:
        return Repository(self.host, f"contract/app{next(NUMBERS)}", self.insecure)

    @property
    def guarded(self) -> bool:
        return self.access.credentials != ANONYMOUS


@pytest.fixture(
    params=[
        *("fake", "fake-password", "embedded", "embedded-basic", "embedded-bearer"),
        *("open", "password", "token", "tls", "mutual", "proxy"),
    ]
)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    kind, _, way = request.param.partition("-")
    if kind == "fake":
        fake = FakeRegistry()
        fake.account = (USER, PASSWORD) if way else None
        host = "registry.example.com"
        yield World(fake, host, lambda path, tag: fake.push(f"{host}/{path}", tag), GOOD if way else OPEN)
        return
    async with OciRegistry() as registry:
        if kind == "embedded":
            account = Account(USER, PASSWORD, "bearer" if way == "bearer" else "basic") if way else None
            async with RegistryServer(page=2, account=account) as server:
                yield World(registry, server.host, server.add, GOOD if way else OPEN)
        elif kind in ("tls", "mutual"):
            yield _with_certificates(registry, request.getfixturevalue(f"{kind}_registry"), mutual=kind == "mutual")
        elif kind == "proxy":
            async with forward_proxy("carol:secret") as proxy:
                guarded: RealRegistry = request.getfixturevalue("password_registry")
                access = replace(GOOD, proxy=Sensitive(f"http://carol:secret@{proxy.host}"))
                yield World(registry, guarded.host, guarded.push, access)
        else:
            real: RealRegistry = request.getfixturevalue(f"{kind}_registry")
            yield World(registry, real.host, real.push, GOOD if real.guarded else OPEN)


def _with_certificates(registry: Registry, server: TlsRegistry, *, mutual: bool) -> World:
    access = RegistryAccess(ca=server.ca)
    if mutual:
        key = Sensitive(server.client.key.read_bytes())
        access = replace(access, client_certificate=server.client.certificate.read_bytes(), client_key=key)
    return World(registry, server.host, server.registry.push, access, insecure=False)


async def pushed(world: World, *tags: str) -> tuple[Repository, list[str]]:
    repository = world.repository()
    digests = [await asyncio.to_thread(world.push, repository.path, tag) for tag in tags]
    return repository, digests


async def test_every_tag_is_listed_once(world: World) -> None:
    tags = ("1.0.0", "1.1.0", "1.10.0", "latest", "main-1")
    repository, _ = await pushed(world, *tags)

    assert sorted(await world.registry.list_tags(repository, world.access)) == sorted(tags)


async def test_a_new_tag_is_seen_at_once(world: World) -> None:
    repository, _ = await pushed(world, "1.0.0")
    await world.registry.list_tags(repository, world.access)

    await asyncio.to_thread(world.push, repository.path, "1.1.0")

    assert sorted(await world.registry.list_tags(repository, world.access)) == ["1.0.0", "1.1.0"]


async def test_a_digest_names_what_the_tag_names(world: World) -> None:
    repository, (first, second) = await pushed(world, "1.0.0", "1.1.0")

    assert await world.registry.resolve_digest(repository, "1.0.0", world.access) == first
    assert await world.registry.resolve_digest(repository, second, world.access) == second


async def test_a_missing_tag_or_repository_is_unknown(world: World) -> None:
    repository, _ = await pushed(world, "1.0.0")

    with pytest.raises(ImageUnknown):
        await world.registry.resolve_digest(repository, "9.9.9", world.access)
    with pytest.raises(RepositoryUnknown, match="NAME_UNKNOWN: repository name not known to registry"):
        await world.registry.list_tags(world.repository(), world.access)


async def test_credentials_are_needed_where_they_are_needed(world: World) -> None:
    repository, _ = await pushed(world, "1.0.0")
    if not world.guarded:
        assert await world.registry.list_tags(repository, replace(world.access, credentials=WRONG)) == ("1.0.0",)
        return

    for credentials in (ANONYMOUS, WRONG):
        with pytest.raises(RegistryDenied, match=r"UNAUTHORIZED|who are you") as caught:
            await world.registry.list_tags(repository, replace(world.access, credentials=credentials))
        assert "guess" not in str(caught.value)
    assert await world.registry.list_tags(repository, world.access) == ("1.0.0",)


async def test_many_ask_at_the_same_time(world: World) -> None:
    repository, _ = await pushed(world, "1.0.0", "1.1.0", "1.2.0")

    answers = await asyncio.gather(*(world.registry.list_tags(repository, world.access) for _ in range(20)))

    assert {tuple(sorted(answer)) for answer in answers} == {("1.0.0", "1.1.0", "1.2.0")}


async def test_workloads_learn_whether_an_image_exists(world: World) -> None:
    repository, _ = await pushed(world, "1.0.0")
    images = RegistryImages(world.registry)
    if not world.insecure:
        with pytest.raises(RegistryUnavailable, match="certificate is not trusted"):  # theirs is nobody's access
            await images.exists(f"{repository}:1.0.0")
        return
    if world.guarded:
        assert not await images.exists(f"{repository}:1.0.0")
        return

    assert await images.exists(f"{repository}:1.0.0")
    assert not await images.exists(f"{repository}:9.9.9")
    assert not await images.exists(f"{world.repository()}:1.0.0")
    assert not await images.exists("not an image")
