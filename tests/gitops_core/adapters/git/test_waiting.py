"""A remote that hangs: who waits for it, for how long, and how often it is asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.git.commands import GitCommands
from gitops_core.adapters.git.mirror import Mirror, place_mirror
from gitops_core.adapters.git.reading import Limits, Readers
from gitops_core.adapters.git.remote import Proven
from gitops_core.errors import GitError
from gitops_core.meta import Revision
from gitops_core.ports import GitRef
from gitops_core.runtime.reconciling import Outcome, Platform
from tests.gitops_core.runtime.kinds import Widget
from tests.gitops_core.runtime.world import World, controller, outcome
from tests.servers.git import file_place
from tests.simulation.loop import in_virtual_time

COMMITS = [f"{number:040x}" for number in range(30)]


def mirror(folder: Path) -> Mirror:
    return Mirror(folder / "apps.git", "https://silent.example/apps.git", GitCommands(), Readers(), Limits())


@pytest.mark.parametrize("revisions", [1, 30])
@in_virtual_time
async def test_a_repository_that_hangs_after_a_restart_delays_nobody_else(revisions: int, tmp_path: Path) -> None:
    world, silent = World(), mirror(tmp_path)

    async def hangs() -> None:
        async with silent.lock:
            await asyncio.sleep(60)
            raise GitError("git fetch took longer than 60 s")

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        number = int(wanted.key.name[1:])
        if wanted.key.name.startswith("a"):
            await silent.bring(number % revisions, hangs, 60.0)
        done.setdefault(wanted.key.name, world.clock.monotonic())
        return outcome(wanted)

    done: dict[str, float] = {}
    await world.install()
    for number in range(40):
        await world.put(Widget, f"a{number}", size=1)
    for number in range(5):
        await world.put(Widget, f"b{number}", size=1)
    async with world.process(controller(script, concurrency=16)):
        await asyncio.sleep(15)
        assert sorted(done) == [f"b{number}" for number in range(5)]
        for number in range(4):
            await world.put(Widget, f"c{number}", size=1)
            before = world.clock.monotonic()
            await asyncio.sleep(31)
            assert done[f"c{number}"] - before <= 11
        assert not any(name.startswith("a") for name in done)


@in_virtual_time
async def test_a_repository_that_answers_again_is_read_by_all_who_gave_up(tmp_path: Path) -> None:
    world, moody = World(), mirror(tmp_path)

    async def asks() -> None:
        asked.append(world.clock.monotonic())
        await asyncio.sleep(60 if asked[-1] < 100 else 1)
        if asked[-1] < 100:
            raise GitError("git fetch took longer than 60 s")

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        await moody.bring("main", asks, 60.0)
        done.add(wanted.key.name)
        return outcome(wanted)

    asked: list[float] = []
    done: set[str] = set()
    await world.install()
    for number in range(40):
        await world.put(Widget, f"a{number}", size=1)
    async with world.process(controller(script, concurrency=16)):
        await asyncio.sleep(900)

    assert len(done) == 40


async def counting_server(connections: list[float]) -> asyncio.Server:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.get_running_loop().time())
        await reader.read()
        writer.close()

    return await asyncio.start_server(hang, "127.0.0.1", 0)


@pytest.mark.parametrize("restarted", [False, True], ids=["that is not here", "that is here"])
async def test_two_who_wait_for_the_same_commit_get_the_same_answer(restarted: bool, tmp_path: Path) -> None:
    """After a restart the commit is on the disk, but nobody has been let in yet."""
    connections: list[float] = []
    server = await counting_server(connections)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/apps.git"
        if restarted:
            (tmp_path / "served").mkdir()
            commit = await fetched(tmp_path, url)
        else:
            commit = COMMITS[7]
        mirrors = GitMirrors(tmp_path / "state")
        remote = mirrors.get_remote(url, timeout=6.0)
        results = await asyncio.gather(
            *(remote.fetch_tree(Revision("main", commit)) for _ in range(4)), return_exceptions=True
        )
        await mirrors.close()

    assert {type(result) for result in results} == {GitError}
    assert len(connections) == 1  # the others waited for its answer


async def fetched(folder: Path, url: str) -> str:
    """A commit in the mirror of `url`, as an earlier process left it that could still reach it."""
    async with file_place(folder / "served") as place:
        repository = await place.repository(files={"a": b"1"})
        mirrors = GitMirrors(folder / "state", allow_file=True)
        revision = await mirrors.get_remote(f"{place.url}/apps.git").resolve(GitRef(branch="main"))
        await mirrors.get_remote(f"{place.url}/apps.git").fetch_tree(revision)
        await mirrors.close()
        (made,) = (folder / "state" / "0").glob("*.git")
        made.rename(place_mirror(made.parent, url))
        return (await repository.log())[0]


async def test_a_remote_that_fails_is_asked_again_by_who_comes_later(tmp_path: Path) -> None:
    connections: list[float] = []
    server = await counting_server(connections)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/apps.git"
        mirrors = GitMirrors(tmp_path / "state")
        remote = mirrors.get_remote(url, timeout=1.5)
        for _ in range(2):
            with pytest.raises(GitError):
                await remote.fetch_tree(Revision("main", COMMITS[7]))
        await mirrors.close()

    assert len(connections) == 2


def test_identities_that_were_let_in_do_not_pile_up() -> None:
    proven = Proven(capacity=64 << 10)
    for number in range(10_000):
        proven.add(number.to_bytes(32, "big"))
        assert number.to_bytes(32, "big") in proven

    assert len(proven) <= 256
    assert (0).to_bytes(32, "big") not in proven
