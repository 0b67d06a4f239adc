"""What a GitRepository tells of its credential, and what --require-read-only-git makes of it."""

from __future__ import annotations

import asyncio
import base64

import pytest

from gitops_core.api import GitRepository
from gitops_core.errors import GitError
from gitops_core.runtime.policy import Policy
from tests.gitops_core.reconcilers.world import URL, World, condition, config_map
from tests.simulation.loop import in_virtual_time

TYPE = "ReadOnlyCredential"


@pytest.mark.parametrize(
    ("takes_pushes", "status", "reason", "message"),
    [
        (False, "True", "ReadOnly", "the remote takes no pushes {how}"),
        (True, "False", "WritableCredential", "the remote takes pushes {how}: {cure}"),
        (None, "Unknown", "NotTold", "the remote does not tell whether it takes pushes {how}: silence"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
@in_virtual_time
async def test_it_tells_what_the_credential_could_do(
    takes_pushes: bool | None, status: str, reason: str, message: str, named: bool
) -> None:
    world = World()
    await world.begin({"a.yaml": config_map("a")})
    world.repository.takes_pushes = takes_pushes
    login = {"username": base64.b64encode(b"a").decode(), "password": base64.b64encode(b"b").decode()}
    metadata = {"name": "login", "namespace": "default"}
    held = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": login}
    await world.local.create(held, field_manager="test")
    await world.put(
        GitRepository,
        "r",
        interval="1m",
        url=URL,
        ref={"branch": "main"},
        **({"secretRef": {"name": "login"}} if named else {}),
    )
    async with world.running():
        await asyncio.sleep(5)
        live = await world.repository_object()

        how = "with the credentials of Secret default/login" if named else "without credentials"
        cure = "give one that can only read" if named else "have it refuse them"
        assert condition(live, TYPE) == (status, reason, message.format(how=how, cure=cure))
        assert condition(live, "Ready")[0] == "True"
        assert world.metrics.registry.get_sample_value("sealoop_git_read_only_total", {"read_only": status}) == 1


@in_virtual_time
async def test_a_writable_one_is_refused_until_it_can_only_read() -> None:
    world = World(Policy(writable_git=False))
    commit = await world.begin({"a.yaml": config_map("a")})
    world.repository.takes_pushes = True
    async with world.running():
        await asyncio.sleep(5)
        live = await world.repository_object()
        assert condition(live, "Ready") == (
            "False",
            "WritableCredential",
            "--require-read-only-git: the remote takes pushes without credentials: have it refuse them",
        )
        assert condition(live, TYPE)[:2] == ("False", "WritableCredential")
        assert "artifact" not in live["status"]

        world.repository.takes_pushes = False  # which nobody tells us
        await asyncio.sleep(3600)
        live = await world.repository_object()
        assert condition(live, "Ready")[0] == "True"
        assert commit in live["status"]["artifact"]["revision"]

        world.repository.takes_pushes = True
        later = await world.commit({"a.yaml": config_map("a", "2")})
        await asyncio.sleep(3600)
        live = await world.repository_object()
        assert condition(live, "Ready")[:2] == ("False", "WritableCredential")
        assert condition(live, "ArtifactInStorage")[0] == "True"
        assert later not in live["status"]["artifact"]["revision"]


@in_virtual_time
async def test_credentials_in_the_url_count_and_are_not_shown() -> None:
    world = World()
    url = URL.replace("://", "://bob:s3cr3t@")
    world.git.repositories[url] = world.repository
    await world.begin({"a.yaml": config_map("a")})
    await world.put(GitRepository, "r", interval="1m", url=url, ref={"branch": "main"})
    async with world.running():
        await asyncio.sleep(5)
        told = condition(await world.repository_object(), TYPE)[2]
        assert told == "the remote takes no pushes with the credentials in its URL"


@in_virtual_time
async def test_what_was_found_is_told_while_the_remote_is_away() -> None:
    world = World()
    await world.begin({"a.yaml": config_map("a")})
    world.repository.takes_pushes = True
    async with world.running():
        await asyncio.sleep(5)

        async def fail(deed: str, moment: str) -> None:
            raise GitError("away")

        world.git.fault = fail
        await asyncio.sleep(300)
        live = await world.repository_object()
        assert condition(live, "Ready")[0] == "False"
        assert condition(live, TYPE)[:2] == ("False", "WritableCredential")
