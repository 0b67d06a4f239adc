"""What every implementation of Artifacts does: the one that asks registries, on a real one and on the demo's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gitops_core.adapters.oci import OciRegistry, RegistryArtifacts
from gitops_core.errors import ImageUnknown, ImageUnreadable, RegistryUnavailable, RepositoryUnknown
from gitops_core.oci.references import Repository
from gitops_core.ports import ArtifactLayer, Artifacts, NoArtifacts
from sealoop.embedded.registry import RegistryServer
from tests.servers.artifacts import CONTENT, Description, describe, layer, name_by_digest, pack, push
from tests.servers.registry import RealRegistry

BODY = pack({"a.yaml": "kind: List\n"})
ONE: Description = {"layers": [layer(BODY), layer(b"text", "text/plain")], "annotations": {"who": "me"}}


@pytest.fixture(params=["distribution", "embedded"])
async def host(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    if request.param == "distribution":
        registry: RealRegistry = request.getfixturevalue("open_registry")
        yield registry.host
        return
    async with RegistryServer() as server:
        yield server.host


@pytest.fixture
async def artifacts() -> AsyncIterator[Artifacts]:
    async with OciRegistry() as registry:
        reader = RegistryArtifacts(registry)
        yield reader
        await reader.close()


async def put(host: str, repository: str, artifact: Description, *tags: str) -> str:
    return await asyncio.to_thread(push, host, repository, artifact, *tags)


async def read(artifacts: Artifacts, repository: Repository, wanted: ArtifactLayer, limit: int = 1 << 20) -> bytes:
    parts = list[bytes]()

    async def take(part: bytes) -> None:
        parts.append(part)

    await artifacts.stream_layer(repository, wanted, take, limit=limit, seconds=30)
    return b"".join(parts)


async def test_a_tag_names_a_manifest_whose_layers_are_read(host: str, artifacts: Artifacts) -> None:
    repository = Repository(host, "contract/one")
    digest = await put(host, "contract/one", ONE, "v1", "v2")

    assert sorted(await artifacts.list_tags(repository)) == ["v1", "v2"]
    assert await artifacts.resolve_digest(repository, "v1") == digest
    found = await artifacts.read_artifact(repository, digest)
    assert found.annotations == {"who": "me"}
    first, second = found.layers
    assert first == ArtifactLayer(CONTENT, name_by_digest(BODY), len(BODY))
    assert await read(artifacts, repository, first) == BODY
    assert (second.media_type, await read(artifacts, repository, second)) == ("text/plain", b"text")


async def test_of_an_index_the_entry_for_linux_on_amd64_is_read(host: str, artifacts: Artifacts) -> None:
    def entry(name: str, os: str, architecture: str) -> Description:
        return {
            **describe({name: "x"}),
            "platform": {"os": os, "architecture": architecture},
            "annotations": {"is": name},
        }

    both = [entry("arm", "linux", "arm64"), entry("windows", "windows", "amd64"), entry("amd", "linux", "amd64")]
    repository = Repository(host, "contract/index")
    digest = await put(host, "contract/index", {"index": both}, "v1")
    lonely = await put(host, "contract/index", {"index": both[:2]}, "v2")

    assert (await artifacts.read_artifact(repository, digest)).annotations == {"is": "amd"}
    with pytest.raises(ImageUnreadable, match="no child with platform linux/amd64"):
        await artifacts.read_artifact(repository, lonely)


async def test_what_is_not_there_is_told(host: str, artifacts: Artifacts) -> None:
    repository, none = Repository(host, "contract/none"), "sha256:" + "0" * 64

    with pytest.raises(RepositoryUnknown):
        await artifacts.list_tags(repository)
    with pytest.raises(ImageUnknown):
        await artifacts.resolve_digest(repository, "v1")
    with pytest.raises(ImageUnknown):
        await artifacts.read_artifact(repository, none)
    with pytest.raises(ImageUnknown):
        await read(artifacts, repository, ArtifactLayer(CONTENT, none, 1))
    assert await artifacts.list_claims(repository, none) == ()


async def test_a_layer_longer_than_it_may_be_is_not_read_to_its_end(host: str, artifacts: Artifacts) -> None:
    digest = await put(host, "contract/long", {"layers": [layer(b"x" * 5000)]}, "v1")
    repository = Repository(host, "contract/long")
    found = await artifacts.read_artifact(repository, digest)

    with pytest.raises(RegistryUnavailable, match="longer than 4999 bytes"):
        await read(artifacts, repository, found.layers[0], limit=4999)
    assert len(await read(artifacts, repository, found.layers[0], limit=5000)) == 5000


async def test_what_the_taker_raises_ends_the_reading(host: str, artifacts: Artifacts) -> None:
    digest = await put(host, "contract/taken", ONE, "v1")
    repository = Repository(host, "contract/taken")
    found = await artifacts.read_artifact(repository, digest)

    async def refuse(part: bytes) -> None:
        raise ImageUnreadable("enough")

    with pytest.raises(ImageUnreadable, match="enough"):
        await artifacts.stream_layer(repository, found.layers[0], refuse, limit=1 << 20, seconds=30)


async def test_where_no_registry_is_asked_everything_fails() -> None:
    artifacts, repository = NoArtifacts(), Repository("ghcr.io", "org/app")

    for asked in (
        artifacts.list_tags(repository),
        artifacts.resolve_digest(repository, "v1"),
        artifacts.read_artifact(repository, "sha256:" + "0" * 64),
        read(artifacts, repository, ArtifactLayer(CONTENT, "sha256:" + "0" * 64, 1)),
        artifacts.list_claims(repository, "sha256:" + "0" * 64),
    ):
        with pytest.raises(RegistryUnavailable, match=r"registry ghcr\.io is not asked"):
            await asked
