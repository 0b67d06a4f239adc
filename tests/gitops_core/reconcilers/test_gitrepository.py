"""What becomes of a GitRepository, seen from outside."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

from gitops_core.api import GitRepository
from gitops_core.errors import GitError
from gitops_core.ports import GitAccess, GitRemote
from tests.gitops_core.reconcilers.world import URL, World, condition, config_map
from tests.simulation.fakes.git import FakeGit
from tests.simulation.loop import in_virtual_time


@in_virtual_time
async def test_the_commit_is_told_with_an_event() -> None:
    world = World()
    commit = await world.begin({"a.yaml": config_map("a")}, message="first\n\nwith a body")
    async with world.running():
        await asyncio.sleep(5)

        live = await world.repository_object()
        revision = f"main@sha1:{commit}"
        text = f"stored artifact for revision '{revision}'"
        assert condition(live, "Ready") == ("True", "Succeeded", text)
        assert condition(live, "ArtifactInStorage") == ("True", "Succeeded", text)
        artifact = live["status"]["artifact"]
        assert artifact["revision"] == revision
        assert artifact["path"] == f"gitrepository/default/r/{commit}.tar.gz"
        assert artifact["digest"].startswith("sha256:")
        assert await world.events("r") == [("Normal", "NewArtifact", "stored artifact for commit 'first'")]


@in_virtual_time
async def test_the_remote_is_asked_once_an_interval_and_nothing_is_written_while_nothing_changes() -> None:
    world = World()
    deeds: Counter[str] = Counter()

    async def count(deed: str, moment: str) -> None:
        deeds[deed] += moment == "before"

    world.git.fault = count
    await world.begin({"a.yaml": config_map("a")})
    async with world.running():
        await asyncio.sleep(5)
        deeds.clear()
        before = len(world.cluster.requests)

        await asyncio.sleep(600)

        assert set(deeds) == {"resolve"}
        assert 9 <= deeds["resolve"] <= 11
        assert world.cluster.since(before) == []


@in_virtual_time
async def test_a_new_commit_is_a_new_artifact_and_its_digest_follows_the_files() -> None:
    world = World()
    await world.begin({"a.yaml": config_map("a")})
    async with world.running():
        await asyncio.sleep(5)
        first = (await world.repository_object())["status"]["artifact"]

        await world.commit({"photo.png": "ignored"}, message="a picture")
        await asyncio.sleep(90)
        second = (await world.repository_object())["status"]["artifact"]
        await world.commit({"a.yaml": config_map("a", "2")}, message="x" * 60)
        await asyncio.sleep(90)
        third = (await world.repository_object())["status"]["artifact"]

        assert first["revision"] != second["revision"] != third["revision"]
        assert second["digest"] != third["digest"]
        long = f"stored artifact for commit '{'x' * 47}...'"
        assert ("Normal", "NewArtifact", long) in await world.events("r")


@in_virtual_time
async def test_a_missing_branch_is_told_and_what_is_there_stays() -> None:
    world = World()
    await world.begin({"a.yaml": config_map("a")})
    async with world.running():
        await asyncio.sleep(5)
        await world.put(GitRepository, "r", interval="1m", url=URL, ref={"branch": "gone"})
        await asyncio.sleep(5)

        live = await world.repository_object()
        assert condition(live, "Ready")[:2] == ("False", "GitOperationFailed")
        assert condition(live, "FetchFailed")[:2] == ("True", "GitOperationFailed")
        assert condition(live, "ArtifactInStorage")[0] == "True"
        assert live["status"]["artifact"]["revision"].startswith("main@")
        await world.put(GitRepository, "r", interval="1m", url=URL, ref={"branch": "main"})
        await asyncio.sleep(5)
        live = await world.repository_object()
        assert condition(live, "Ready")[0] == "True"
        assert condition(live, "FetchFailed") == ("", "", "")


@in_virtual_time
async def test_an_empty_repository_and_a_missing_secret_have_their_own_reasons() -> None:
    world = World()
    await world.begin({"a.yaml": config_map("a")})
    empty = "http://git.example.com/team/empty.git"
    await world.put(GitRepository, "empty", interval="1m", url=empty, ref={"branch": "main"})
    await world.put(GitRepository, "locked", interval="1m", url=URL, secretRef={"name": "nope"})
    async with world.running():
        await asyncio.sleep(5)

        assert condition(await world.repository_object("empty"), "Ready")[:2] == ("False", "EmptyGitRepository")
        expected = ("False", "AuthenticationFailed", "failed to get secret 'default/nope': not found")
        assert condition(await world.repository_object("locked"), "Ready") == expected


@in_virtual_time
async def test_a_cloud_s_repository_in_a_process_without_clouds_says_so() -> None:
    world = World()
    await world.begin({"a.yaml": config_map("a")})
    await world.put(GitRepository, "v", interval="1m", url=URL, provider="aws")
    async with world.running():
        await asyncio.sleep(5)

        live = await world.repository_object("v")
        cause = "no identity of provider 'aws' is set up in this process"
        told = f"failed to configure authentication options: {cause}"
        assert condition(live, "Ready") == ("False", "AuthenticationFailed", told)
        assert "artifact" not in live["status"]


class _OneSilentHost(FakeGit):
    """Implements Git: the repositories of one host never answer."""

    def get_remote(self, url: str, access: GitAccess = GitAccess(), *, timeout: float = 60.0) -> GitRemote:  # noqa: B008
        async def hang(deed: str, moment: str) -> None:
            await asyncio.sleep(timeout)
            raise GitError(f"git ls-remote of {url} took longer than {timeout:g} s")

        return FakeGit(hang).get_remote(url) if "silent" in url else super().get_remote(url, access)


@in_virtual_time
async def test_repositories_on_a_host_that_hangs_keep_no_other_waiting() -> None:
    world = World()
    world.git = _OneSilentHost()
    await world.begin({"a.yaml": config_map("a")})
    for number in range(40):
        url = f"http://silent.example.com/{number}.git"
        await world.put(GitRepository, f"a{number}", interval="1m", url=url, ref={"branch": "main"})
    async with world.running():
        for _ in range(30):
            await asyncio.sleep(20)
            commit = await world.commit({"a.yaml": config_map("a", f"{asyncio.get_running_loop().time()}")})
            await world.request(GitRepository, "r", commit)
            await asyncio.sleep(2)
            assert commit in (await world.repository_object())["status"]["artifact"]["revision"]
        assert condition(await world.repository_object("a7"), "Ready")[1] == "GitOperationFailed"


@in_virtual_time
async def test_an_ignore_pattern_that_cannot_be_matched_is_told_and_a_commit_heals_it() -> None:
    world = World()
    await world.begin({"a.yaml": config_map("a"), ".sourceignore": "x" * 5000})
    async with world.running():
        await asyncio.sleep(5)
        ready = condition(await world.repository_object(), "Ready")
        assert ready[:2] == ("False", "SourceIgnoreError")
        assert ready[2].startswith(".sourceignore: line 1 is longer than")

        await world.commit({".sourceignore": "x"})
        await asyncio.sleep(3600)
        assert condition(await world.repository_object(), "Ready")[0] == "True"


@in_virtual_time
async def test_a_source_that_fails_is_looked_at_no_less_often_than_its_interval() -> None:
    """However long the remote was away, a commit comes within an interval once it is back."""
    world = World()
    asked: list[float] = []

    async def away(deed: str, moment: str) -> None:
        if deed == "resolve" and moment == "before":
            asked.append(asyncio.get_running_loop().time())
            raise GitError("the remote is away")

    await world.begin({"a.yaml": config_map("a")})
    world.git.fault = away
    async with world.running():
        await asyncio.sleep(2 * 3600)

    waits = [after - before for before, after in pairwise(asked)]
    assert max(waits) <= 60
    assert waits[0] < waits[3] < 30  # and soon at first
