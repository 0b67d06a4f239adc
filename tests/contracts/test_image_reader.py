"""What every ImageReader port does: the one in memory, and the one on the client of real registries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

import pytest

from gitops_core.adapters.oci import OciRegistry
from gitops_core.errors import ImageUnknown, RegistryDenied
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import Credentials, RegistryAccess
from gitops_core.oci.references import Repository
from image_updater.adapters.inspecting import RegistryReader
from image_updater.ports import ImageReader, SignedClaim
from sealoop.embedded.registry import RegistryServer
from tests.servers.images import Pusher
from tests.servers.registry import PASSWORD, USER, RealRegistry
from tests.simulation.fakes.registry import FakeRegistry

NUMBERS = count()
CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LABELS = {"org.opencontainers.image.source": "https://git.example.com/shop/web", "by": "tests"}


@dataclass(frozen=True)
class World:
    """One ImageReader port, and how somebody pushes to what it can read.

    Attributes:
        push: (path, tag, labels by platform) -> digest.
        sign: (path, digest, claims).
    """

    reader: ImageReader
    host: str
    push: Callable[[str, str, Mapping[str, Mapping[str, str]]], str]
    sign: Callable[[str, str, tuple[SignedClaim, ...]], None]

    def repository(self) -> Repository:
        return Repository(self.host, f"contract/image{next(NUMBERS)}", insecure=True)


def in_memory() -> World:
    fake, host = FakeRegistry(), "registry.example.com"

    def push(path: str, tag: str, platforms: Mapping[str, Mapping[str, str]]) -> str:
        digest = fake.push(f"{host}/{path}", tag)
        first = next(iter(platforms.values()))
        fake.describe(f"{host}/{path}", digest, platforms=tuple(platforms), labels=first, created=CREATED)
        return digest

    def sign(path: str, digest: str, claims: tuple[SignedClaim, ...]) -> None:
        for claim in claims:
            fake.sign(f"{host}/{path}", digest, claim)

    return World(fake, host, push, sign)


def on(reader: RegistryReader, host: str) -> World:
    def push(path: str, tag: str, platforms: Mapping[str, Mapping[str, str]]) -> str:
        with Pusher(host, path) as pusher:
            if len(platforms) > 1:
                return pusher.images(tag, platforms)
            ((platform, labels),) = platforms.items()
            return str(pusher.image(tag, platform, labels)["digest"])

    def sign(path: str, digest: str, claims: tuple[SignedClaim, ...]) -> None:
        with Pusher(host, path) as pusher:
            pusher.sign_by_tag(digest, claims)

    return World(reader, host, push, sign)


@pytest.fixture(params=["fake", "embedded", "open"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        yield in_memory()
        return
    async with OciRegistry() as registry:
        reader = RegistryReader(registry)
        try:
            if request.param == "embedded":
                async with RegistryServer() as server:
                    yield on(reader, server.host)
                return
            real: RealRegistry = request.getfixturevalue("open_registry")
            yield on(reader, real.host)
        finally:
            await reader.close()


async def test_an_index_has_platforms_and_the_first_ones_labels(world: World) -> None:
    repository = world.repository()
    platforms = {"linux/amd64": LABELS, "linux/arm64": {"by": "somebody else"}, "linux/arm/v7": {}}
    digest = await asyncio.to_thread(world.push, repository.path, "1.0.0", platforms)

    for reference in ("1.0.0", digest):
        image = await world.reader.read_image(repository, reference)

        assert image.digest == digest
        assert image.platforms == ("linux/amd64", "linux/arm64", "linux/arm/v7")
        assert image.labels == LABELS
        assert image.created == CREATED


async def test_a_single_manifest_has_its_configs_platform(world: World) -> None:
    repository = world.repository()
    digest = await asyncio.to_thread(world.push, repository.path, "1.0.0", {"linux/arm64/v8": LABELS})

    image = await world.reader.read_image(repository, "1.0.0")

    assert (image.digest, image.platforms, image.labels) == (digest, ("linux/arm64/v8",), LABELS)


async def test_a_tag_that_moved_is_another_image(world: World) -> None:
    repository = world.repository()
    await asyncio.to_thread(world.push, repository.path, "latest", {"linux/amd64": {"version": "1"}})
    await world.reader.read_image(repository, "latest")

    digest = await asyncio.to_thread(world.push, repository.path, "latest", {"linux/arm64": {"version": "2"}})

    image = await world.reader.read_image(repository, "latest")
    assert (image.digest, image.platforms, image.labels) == (digest, ("linux/arm64",), {"version": "2"})


async def test_a_missing_image_is_unknown(world: World) -> None:
    repository = world.repository()
    await asyncio.to_thread(world.push, repository.path, "1.0.0", {"linux/amd64": {}})

    with pytest.raises(ImageUnknown):
        await world.reader.read_image(repository, "9.9.9")
    with pytest.raises(ImageUnknown):
        await world.reader.read_image(repository, f"sha256:{'0' * 64}")
    with pytest.raises(ImageUnknown):
        await world.reader.read_image(world.repository(), "1.0.0")


async def test_signatures_are_told_as_they_were_attached(world: World) -> None:
    repository = world.repository()
    signed = await asyncio.to_thread(world.push, repository.path, "1.0.0", {"linux/amd64": {"n": "1"}})
    unsigned = await asyncio.to_thread(world.push, repository.path, "1.1.0", {"linux/amd64": {"n": "2"}})
    claims = (SignedClaim(b'{"critical": 1}', b"\x01\x02"), SignedClaim(b'{"critical": 2}', b"\xff"))
    await asyncio.to_thread(world.sign, repository.path, signed, claims)

    assert await world.reader.list_claims(repository, signed) == claims
    assert await world.reader.list_claims(repository, unsigned) == ()
    assert await world.reader.list_claims(world.repository(), signed) == ()


async def test_many_that_ask_at_once_get_one_answer(world: World) -> None:
    repository = world.repository()
    await asyncio.to_thread(world.push, repository.path, "1.0.0", {"linux/amd64": LABELS, "linux/arm64": {}})

    images = await asyncio.gather(*(world.reader.read_image(repository, "1.0.0") for _ in range(50)))

    assert set(map(len, (image.platforms for image in images))) == {2}


async def test_a_bundle_of_cosign_3_is_found_by_the_tag_of_referrers(open_registry: RealRegistry) -> None:
    """The real registry has no referrers API, so its index of them is a tag."""
    repository = Repository(open_registry.host, f"contract/image{next(NUMBERS)}", insecure=True)

    def push() -> str:
        with Pusher(open_registry.host, repository.path) as pusher:
            digest = str(pusher.image("1.0.0")["digest"])
            provenance = pusher.bundle(digest, b"provenance", b"xyz", predicate="https://slsa.dev/provenance/v1")
            pusher.refer(digest, [provenance, pusher.bundle(digest, b"statement", b"abc")])
            pusher.sign_by_tag(digest, [(b"payload", b"def")])
            return digest

    digest = await asyncio.to_thread(push)
    async with OciRegistry() as registry:
        claims = await RegistryReader(registry).list_claims(repository, digest)

    envelope = b"DSSEv1 28 application/vnd.in-toto+json 9 statement"
    assert claims == (SignedClaim(b"payload", b"def"), SignedClaim(envelope, b"abc"))


async def test_credentials_that_may_not_read_get_nothing_that_others_read(password_registry: RealRegistry) -> None:
    path = f"contract/image{next(NUMBERS)}"
    digest = await asyncio.to_thread(password_registry.push, path, "1.0.0")
    repository = Repository(password_registry.host, path, insecure=True)
    allowed = RegistryAccess(Credentials(USER, Sensitive(PASSWORD)))
    async with OciRegistry() as registry:
        reader = RegistryReader(registry)
        assert (await reader.read_image(repository, digest, allowed)).digest == digest

        with pytest.raises(RegistryDenied):
            await reader.read_image(repository, digest)
        with pytest.raises(RegistryDenied):
            await reader.list_claims(repository, digest)
