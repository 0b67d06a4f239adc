"""Whether a push would be taken: found out over every transport, without one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.git.answers import judge_write_access
from gitops_core.adapters.git.commands import Result
from gitops_core.adapters.git.remote import keep_access
from gitops_core.ports import GitRef, WriteAccess
from gitops_core.runtime.sharing.remembered import Kept, Remembered
from sealoop.embedded.githttp import GitServer, create_repository
from tests.servers.git import PLACES
from tests.simulation.loop import in_virtual_time

MAIN = GitRef(branch="main")
GRANTED, REFUSED = WriteAccess(granted=True), WriteAccess(granted=False)


@pytest.mark.parametrize("kind", ["http", "http-basic", "http-bearer", "https", "https-client-certificate", "ssh"])
async def test_it_is_asked_for_and_nothing_is_pushed(kind: str, tmp_path: Path) -> None:
    async with PLACES[kind](tmp_path) as place:
        repository = await place.repository(files={"a": b"1"})
        before = await repository.git("for-each-ref")
        said = []
        for state in ("one", "two"):  # each process asks for itself
            mirrors = GitMirrors(tmp_path / state)
            remote = mirrors.get_remote(f"{place.url}/apps.git", place.access)
            said.append(await remote.find_write_access(await remote.resolve(MAIN)))
            await repository.refuse_pushes()
            assert await remote.find_write_access(await remote.resolve(MAIN)) == said[-1]
            await mirrors.close()

        assert said == [GRANTED, REFUSED]
        assert await repository.git("for-each-ref") == before


async def test_the_server_is_asked_once_and_for_its_refs_only(tmp_path: Path) -> None:
    await create_repository(tmp_path / "apps.git", {"a": b"1"})
    mirrors = GitMirrors(tmp_path / "state")
    async with GitServer(tmp_path) as server:
        for _ in range(3):  # each time a new handle
            remote = mirrors.get_remote(f"{server.url}/apps.git")
            await remote.find_write_access(await remote.resolve(MAIN))
        await mirrors.close()

        asked = [(method, path) for method, path in server.requests if "receive-pack" in path]
        assert asked == [("GET", "/apps.git/info/refs?service=git-receive-pack")]


async def test_many_who_begin_at_once_ask_once(tmp_path: Path) -> None:
    await create_repository(tmp_path / "apps.git", {"a": b"1"})
    mirrors = GitMirrors(tmp_path / "state")
    async with GitServer(tmp_path) as server:
        revision = await mirrors.get_remote(f"{server.url}/apps.git").resolve(MAIN)
        remotes = [mirrors.get_remote(f"{server.url}/apps.git") for _ in range(5)]
        said = await asyncio.gather(*(remote.find_write_access(revision) for remote in remotes))
        await mirrors.close()

        assert said == [GRANTED] * 5
        assert sum("receive-pack" in path for _, path in server.requests) == 1


class _SilentToPushes(GitServer):
    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if "receive-pack" in request.path_qs:
            await asyncio.sleep(3)
        return await super()._serve(request)


async def test_a_server_that_does_not_answer_is_given_up_and_not_asked_again_at_once(tmp_path: Path) -> None:
    await create_repository(tmp_path / "apps.git", {"a": b"1"})
    mirrors = GitMirrors(tmp_path / "state")
    async with _SilentToPushes(tmp_path) as server:
        remote = mirrors.get_remote(f"{server.url}/apps.git", timeout=1)
        revision = await remote.resolve(MAIN)

        said = await remote.find_write_access(revision)
        async with asyncio.timeout(0.5):
            assert await remote.find_write_access(revision) == said

        assert said.granted is None
        assert "took longer than 1 s" in said.why
        await mirrors.close()


@pytest.mark.parametrize(
    ("said", "seconds"), [(REFUSED, 3600), (WriteAccess(granted=None, why="silence"), 3600), (GRANTED, 300)]
)
@in_virtual_time
async def test_an_answer_holds_for_an_hour_and_one_that_is_to_be_mended_for_minutes(
    said: WriteAccess, seconds: int
) -> None:
    asked = list[bytes]()
    remembered: Remembered[bytes, WriteAccess] = Remembered(1000, lambda _: 1)

    async def get(who: bytes) -> WriteAccess:
        async def ask() -> Kept[WriteAccess]:
            asked.append(who)
            return keep_access(said)

        return await remembered.get(who, ask)

    assert await get(b"me") == said
    await asyncio.sleep(seconds - 1)
    assert await get(b"me") == said
    assert await get(b"you") == said
    assert asked == [b"me", b"you"]
    await asyncio.sleep(1)
    assert await get(b"me") == said
    assert asked == [b"me", b"you", b"me"]


@pytest.mark.parametrize(
    ("said", "granted"),
    [
        ("ERROR: The key you are authenticating with has been marked as read only.", False),  # GitHub
        ("remote: Write access to repository not granted.\nfatal: ... The requested URL returned error: 403", False),
        ("remote: ERROR: This deploy key does not have write access to this project.", False),  # GitLab
        ("Forgejo: Unauthorized\nfatal: Could not read from remote repository.", False),
        ("Access deined: DeployKey does not support push code", False),  # Gitee, as it writes it
        ("[FATAL] Cannot push with deployment key: 7", False),  # Gogs
        ("FATAL: W any fleet alice DENIED by fallthru", False),  # gitolite
        ("fatal: remote error: service not enabled: /fleet.git", False),  # git daemon
        ("fatal: repository 'https://example.org/fleet.git/' not found", False),
        ("fatal: could not read Username for 'https://github.com': terminal prompts disabled", False),
        ("ssh: connect to host example.org port 22: Connection timed out", None),
        ("fatal: unable to access 'https://example.org/': The requested URL returned error: 500", None),
        ("fatal: could not create work: Read-only file system", None),
        ("", None),
    ],
)
def test_what_servers_say(said: str, granted: bool | None) -> None:
    judged = judge_write_access(Result(128, b"", said))

    assert judged.granted is granted
    assert bool(judged.why) == (granted is None)
