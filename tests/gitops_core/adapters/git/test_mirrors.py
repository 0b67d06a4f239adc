"""Mirrors that were damaged, are full, hang on to old commits, or meet repositories that are too large."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import shutil
import signal
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gitops_core.adapters.git import GitMirrors, Limits
from gitops_core.adapters.git.commands import GitCommands
from gitops_core.adapters.git.mirror import KEPT, MOST_KEPT
from gitops_core.adapters.git.reading import Readers
from gitops_core.errors import GitError, NotLeader, PushConflict, RefNotFound, TreeLost
from gitops_core.meta import Revision
from gitops_core.ports import GitRef
from gitops_core.runtime.authority.leave import FENCE
from gitops_core.runtime.sharing.places import Places
from sealoop.embedded.githttp import GitServer
from tests.contracts.test_git import change
from tests.processes import children
from tests.servers.git import BareRepository, GitPlace, file_place

MAIN = GitRef(branch="main")
FILES = {f"apps/{number}.yaml": b"image: web:%d\n" % number * 50 for number in range(40)}


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[GitPlace]:
    served = tmp_path / "served"
    served.mkdir()
    async with file_place(served) as place:
        yield place


def mirrors_in(tmp_path: Path, limits: Limits | None = None) -> GitMirrors:
    return GitMirrors(tmp_path / "state", allow_file=True, limits=limits or Limits())


def mirror_of(tmp_path: Path) -> Path:
    (directory,) = (tmp_path / "state" / "0").glob("*.git")
    return directory


def packs(directory: Path) -> list[Path]:
    return sorted(directory.glob("objects/pack/*.pack"))


def truncate_packs(directory: Path) -> None:
    for pack in packs(directory):
        pack.chmod(0o600)
        os.truncate(pack, pack.stat().st_size // 2)


def empty_loose_objects(directory: Path) -> None:
    for path in directory.glob("objects/??/*"):
        path.chmod(0o600)
        os.truncate(path, 0)


def lose_objects(directory: Path) -> None:
    shutil.rmtree(directory / "objects")
    (directory / "objects").mkdir()


def leave_locks(directory: Path) -> None:
    for name in ("shallow.lock", "packed-refs.lock", "config.lock", "HEAD.lock"):
        (directory / name).touch()
    (directory / "objects/pack").mkdir(exist_ok=True)
    (directory / "objects/pack/tmp_pack_x7").write_bytes(b"half")


def halve_shallow(directory: Path) -> None:
    (directory / "shallow").write_text((directory / "shallow").read_text()[:17])


def empty_head(directory: Path) -> None:
    (directory / "HEAD").write_text("")


def empty_config(directory: Path) -> None:
    (directory / "config").write_text("[core\n")


def lose_everything(directory: Path) -> None:
    shutil.rmtree(directory)


DAMAGES = [
    truncate_packs,
    empty_loose_objects,
    lose_objects,
    leave_locks,
    halve_shallow,
    empty_head,
    empty_config,
    lose_everything,
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("restarted", [True, False], ids=["found at the start", "while running"])
@pytest.mark.parametrize("pushed", [True, False], ids=["with a commit of our own", "as fetched"])
async def test_a_damaged_mirror_is_made_anew_within_the_call(
    damage: Callable[[Path], None], restarted: bool, pushed: bool, tmp_path: Path, place: GitPlace
) -> None:
    repository = await place.repository(files=FILES)
    mirrors = mirrors_in(tmp_path)
    url = f"{place.url}/apps.git"
    remote = mirrors.get_remote(url)
    first = await remote.resolve(MAIN)
    await remote.fetch_tree(first)
    if pushed:  # its objects are files of their own
        await remote.push(change(first.commit, {"apps/3.yaml": b"ours"}), "main")
    second = await repository.commit({"apps/1.yaml": b"image: web:new\n"})

    damage(mirror_of(tmp_path))
    if restarted:
        await mirrors.close()
        mirrors = mirrors_in(tmp_path)
        remote = mirrors.get_remote(url)

    after = dict(await remote.fetch_tree(await remote.resolve(MAIN)))
    third = await remote.push(change(second, {"apps/2.yaml": b"x"}), "main")
    found = await remote.search(third, "web:new")
    await mirrors.close()
    ours = {"apps/3.yaml": b"ours"} if pushed else {}
    assert after == {**FILES, **ours, "apps/1.yaml": b"image: web:new\n"}
    assert found == ("apps/1.yaml",)
    assert (await repository.log())[:2] == (third.commit, second)


async def test_objects_that_get_lost_under_a_tree_are_an_error_then_come_back(tmp_path: Path, place: GitPlace) -> None:
    await place.repository(files=FILES)
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    revision = await remote.resolve(MAIN)
    tree = await remote.fetch_tree(revision)
    truncate_packs(mirror_of(tmp_path))

    with pytest.raises(GitError):
        dict(tree)

    assert dict(await remote.fetch_tree(revision)) == FILES
    await mirrors.close()


async def test_a_killed_reader_is_started_again(tmp_path: Path, place: GitPlace) -> None:
    await place.repository(files=FILES)
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    tree = await remote.fetch_tree(await remote.resolve(MAIN))
    assert tree["apps/1.yaml"] == FILES["apps/1.yaml"]

    killed = _kill_children("cat-file")

    assert killed == 1
    assert tree["apps/2.yaml"] == FILES["apps/2.yaml"]
    await mirrors.close()
    assert _kill_children("cat-file") == 0


def _kill_children(word: str) -> int:
    killed = 0
    for pid in children(word):
        os.kill(pid, signal.SIGKILL)
        killed += 1
    return killed


async def test_a_reader_that_hangs_stops_neither_the_loop_nor_the_readers_of_other_mirrors(
    tmp_path: Path, place: GitPlace
) -> None:
    await place.repository("apps.git", files=FILES)
    await place.repository("other.git", files=FILES)
    mirrors = mirrors_in(tmp_path)
    hanging, other = (mirrors.get_remote(f"{place.url}/{name}.git") for name in ("apps", "other"))
    revision = await hanging.resolve(MAIN)
    await hanging.fetch_tree(revision)
    (reader,) = children("cat-file")
    os.kill(reader, signal.SIGSTOP)

    waiting = asyncio.create_task(hanging.fetch_tree(revision))

    tree = await other.fetch_tree(await other.resolve(MAIN))
    found = await asyncio.to_thread(lambda: dict(tree))

    assert found == FILES
    assert not waiting.done()

    await mirrors.close()  # which does not wait for it
    with pytest.raises(GitError):
        await waiting
    assert children("cat-file") == []


async def test_a_reader_that_answers_while_the_mirrors_close_is_ended_too(tmp_path: Path, place: GitPlace) -> None:
    await place.repository(files=FILES)
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    revision = await remote.resolve(MAIN)
    await remote.fetch_tree(revision)
    await mirrors.close()
    directory = mirror_of(tmp_path)

    def read_on(readers: Readers) -> None:
        while True:
            readers.read(directory, revision.commit, 1 << 20)

    def read_until_closed(readers: Readers) -> None:
        with pytest.raises(GitError):
            read_on(readers)

    for _ in range(30):
        readers = Readers()
        readers.read(directory, revision.commit, 1 << 20)
        reading = asyncio.create_task(asyncio.to_thread(read_until_closed, readers))
        await asyncio.sleep(0.002)
        readers.close()
        await reading
        assert children("cat-file") == []


async def test_two_processes_do_not_share_a_mirror(tmp_path: Path, place: GitPlace) -> None:
    """One that starts while another one fetches would take its locks for stale ones."""
    await place.repository(files=FILES)
    one, two = mirrors_in(tmp_path), mirrors_in(tmp_path)
    remotes = [mirrors.get_remote(f"{place.url}/apps.git") for mirrors in (one, two)]

    for remote in remotes:
        assert dict(await remote.fetch_tree(await remote.resolve(MAIN))) == FILES

    assert len(list((tmp_path / "state").glob("?/*.git"))) == 2
    await one.close()
    three = mirrors_in(tmp_path)
    remote = three.get_remote(f"{place.url}/apps.git")
    await remote.fetch_tree(await remote.resolve(MAIN))
    assert len(list((tmp_path / "state").glob("?/*.git"))) == 2
    await two.close()
    await three.close()


async def test_ten_callers_mend_a_mirror_once(tmp_path: Path, place: GitPlace) -> None:
    await place.repository(files=FILES)
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    revision = await remote.resolve(MAIN)
    await remote.fetch_tree(revision)
    lose_objects(mirror_of(tmp_path))

    trees = await asyncio.gather(*(remote.fetch_tree(revision, "apps") for _ in range(10)))

    assert [len(tree) for tree in trees] == [40] * 10
    await mirrors.close()


async def test_a_fetch_killed_at_any_moment_leaves_nothing_that_matters(tmp_path: Path, place: GitPlace) -> None:
    """Cancelled later and later, until one gets through: each time the next call starts from what is left."""
    repository = await place.repository()
    await repository.commit({str(number): os.urandom(2000) for number in range(300)})
    revision = Revision("main", (await repository.log())[0])
    pause = 0.0
    while True:
        mirrors = mirrors_in(tmp_path)
        fetching = asyncio.create_task(mirrors.get_remote(f"{place.url}/apps.git").fetch_tree(revision))
        done, _ = await asyncio.wait([fetching], timeout=pause)
        if done:
            assert len(fetching.result()) == 300
            await mirrors.close()
            return
        fetching.cancel()
        await asyncio.wait([fetching])
        await mirrors.close()
        pause += 0.02


async def test_a_full_disk_is_named_and_healed_by_space(tmp_path: Path, place: GitPlace) -> None:
    """The limit on the size of a file stands for a full disk: git fails to write in the same places."""
    repository = await place.repository()
    await repository.commit({str(number): os.urandom(2000) for number in range(300)})
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    revision = await remote.resolve(MAIN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(GitError):
            await remote.fetch_tree(revision)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert not list(mirror_of(tmp_path).rglob("tmp_*"))  # else each attempt would take more of the disk
    assert len(await remote.fetch_tree(revision)) == 300
    await mirrors.close()


async def test_a_state_folder_that_vanished_is_made_again_or_named(tmp_path: Path, place: GitPlace) -> None:
    await place.repository(files=FILES)
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    revision = await remote.resolve(MAIN)
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "state").write_text("not a folder")

    with pytest.raises(GitError, match=r"mirror .* cannot be used: Not a directory"):
        await remote.fetch_tree(revision)

    (tmp_path / "state").unlink()
    assert dict(await remote.fetch_tree(revision)) == FILES
    await mirrors.close()


async def test_old_commits_are_pruned_and_trees_in_use_are_not(tmp_path: Path, place: GitPlace) -> None:
    repository = await place.repository()
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    first = Revision("main", await repository.commit({"a": b"the first"}))
    held = await remote.fetch_tree(first)
    second = Revision("main", await repository.commit({"a": b"the second"}))
    await remote.fetch_tree(second)

    for number in range(MOST_KEPT):
        await remote.fetch_tree(Revision("main", await repository.commit({"a": b"%d" % number})))

    mirror = BareRepository(mirror_of(tmp_path))
    kept = await _commits_in(mirror)
    while len(kept) > KEPT + 2:  # pruning is a chore for quiet moments
        kept = await _commits_in(mirror)
    assert first.commit in kept
    assert second.commit not in kept
    assert held["a"] == b"the first"
    assert dict(await remote.fetch_tree(second)) == {"a": b"the second"}
    await mirrors.close()


async def test_old_files_of_no_commit_are_pruned_and_trees_in_use_are_not(tmp_path: Path) -> None:
    mirrors = mirrors_in(tmp_path)
    trees = mirrors.get_trees("OCIRepository/shop/app")
    first, second = await trees.add({"a": b"the first"}), await trees.add({"a": b"the second"})
    held = await trees.get_tree(first)

    for number in range(MOST_KEPT):
        await trees.add({"a": b"%d" % number})

    mirror = BareRepository(mirror_of(tmp_path))
    kept = await _commits_in(mirror)
    while len(kept) > KEPT + 2:  # pruning is a chore for quiet moments
        kept = await _commits_in(mirror)
    assert first in kept
    assert held["a"] == b"the first"
    assert dict(await trees.get_tree(first)) == {"a": b"the first"}
    with pytest.raises(TreeLost):
        await trees.get_tree(second)
    await mirrors.close()


async def _commits_in(mirror: BareRepository) -> list[str]:
    return (await mirror.git("for-each-ref", "--format=%(objectname)")).decode().split()


async def test_only_what_is_new_is_fetched(tmp_path: Path, place: GitPlace) -> None:
    repository = await place.repository(files={"large": os.urandom(1_000_000), "small": b"1"})
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    await remote.fetch_tree(await remote.resolve(MAIN))
    before = _size(mirror_of(tmp_path))
    await repository.commit({"small": b"2"})

    tree = await remote.fetch_tree(await remote.resolve(MAIN))

    assert tree["small"] == b"2"
    assert _size(mirror_of(tmp_path)) - before < 100_000
    await mirrors.close()


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*"))


async def test_a_commit_that_is_here_needs_no_remote(tmp_path: Path, place: GitPlace) -> None:
    repository = await place.repository(files=FILES)
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    revision = await remote.resolve(MAIN)
    await remote.fetch_tree(revision)
    await mirrors.close()
    repository.directory.rename(tmp_path / "gone")

    again = mirrors_in(tmp_path)
    assert dict(await again.get_remote(f"{place.url}/apps.git").fetch_tree(revision)) == FILES
    with pytest.raises(GitError):
        await again.get_remote(f"{place.url}/apps.git").resolve(MAIN)
    await again.close()


async def test_a_branch_that_moved_under_a_push_is_looked_at_and_fetched_in_one(tmp_path: Path) -> None:
    served = tmp_path / "served"
    async with GitServer(served) as server:
        repository = await GitPlace(served, server.url).repository(files=FILES)
        git = GitMirrors(tmp_path / "state")
        remote = git.get_remote(f"{server.url}/apps.git")
        base = await remote.resolve(MAIN)
        theirs = await repository.commit({"apps/1.yaml": b"theirs"})
        with pytest.raises(PushConflict):
            await remote.push(change(base.commit, {"apps/2.yaml": b"ours"}), "main", expected=base.commit)
        server.requests.clear()

        found = await remote.resolve(MAIN)
        tree = await remote.fetch_tree(found)

        assert (found.commit, tree["apps/1.yaml"]) == (theirs, b"theirs")
        assert len(server.requests) == 3  # what the server can do, where the branch is, its commit
        pushed = await remote.push(change(theirs, {"apps/2.yaml": b"ours"}), "main", expected=theirs)
        assert await remote.resolve(MAIN) == pushed
        assert await repository.log() == (pushed.commit, theirs, base.commit)
        await git.close()


async def test_a_branch_that_went_away_under_a_push_is_not_found(tmp_path: Path, place: GitPlace) -> None:
    repository = await place.repository(files=FILES)
    git = mirrors_in(tmp_path)
    remote = git.get_remote(f"{place.url}/apps.git")
    base = await remote.resolve(MAIN)
    await repository.git("update-ref", "refs/heads/other", base.commit)
    await repository.git("update-ref", "-d", "refs/heads/main")
    with pytest.raises(PushConflict):
        await remote.push(change(base.commit, {"apps/2.yaml": b"ours"}), "main", expected=base.commit)

    with pytest.raises(RefNotFound, match="has no branch 'main'"):
        await remote.resolve(MAIN)
    await git.close()


async def test_a_tree_has_limits(tmp_path: Path, place: GitPlace) -> None:
    await place.repository(files={**FILES, "large": bytes(5001), "fits": bytes(5000)})
    mirrors = mirrors_in(tmp_path, Limits(files=41, file_bytes=5000))
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    revision = await remote.resolve(MAIN)
    whole, apps = await remote.fetch_tree(revision), await remote.fetch_tree(revision, "apps")

    assert len(apps) == 40
    assert whole["fits"] == bytes(5000)
    with pytest.raises(GitError, match="file large has 5001 bytes, the limit is 5000"):
        whole["large"]
    with pytest.raises(GitError, match="more than 41 files"):
        list(whole)
    assert whole["fits"] == bytes(5000)
    await mirrors.close()


async def test_strange_names_and_submodules(tmp_path: Path, place: GitPlace) -> None:
    repository = await place.repository(files={"a": b"1"})
    blob = (await repository.git("hash-object", "-w", "--stdin", stdin=b"x")).strip()
    sub = await repository.commit({"b": b"2"})
    entries = b"".join(
        b"100644 blob %s\t%s\0" % (blob, name)
        for name in (b"new\nline", b'quo"te', b"latin\xe9", b" lead", b"-x", b"*")
    )
    tree = (await repository.git("mktree", "-z", stdin=entries + b"160000 commit %s\tsub\0" % sub.encode())).strip()
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    commit = (await repository.git(*who, "commit-tree", "-m", "x", tree.decode())).decode().strip()
    await repository.set_branch("main", commit)
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")

    held = await remote.fetch_tree(await remote.resolve(MAIN))
    pushed = await remote.push(change(commit, {"-x": b"y"}), "main")

    assert list(held) == [" lead", "*", "-x", "latin\udce9", "new\nline", 'quo"te']
    assert set(held.values()) == {b"x"}
    why = "is a submodule, and those are fetched with spec.recurseSubmodules only"
    assert held.explain_absence("sub") == why
    assert held.explain_absence("sub/b") == f"is below sub, which {why}"
    assert await remote.search(pushed, "x") == (" lead", "*", "latin\udce9", "new\nline", 'quo"te')
    listing = await repository.git("ls-tree", "-z", pushed.commit)
    assert len(listing.split(b"\0")) == 8
    assert b"160000 commit" in listing
    await mirrors.close()


async def test_a_sha256_repository_works_the_same(tmp_path: Path, place: GitPlace) -> None:
    directory = place.root / "apps.git"
    repository = BareRepository(directory)
    await repository.git("init", "--quiet", "--bare", "--object-format=sha256", str(directory))
    first = await repository.commit({"a": b"1", "b/c": b"2"})
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")

    revision = await remote.resolve(MAIN)
    tree = await remote.fetch_tree(revision)
    pushed = await remote.push(change(first, {"b/c": b"3"}), "main")

    assert str(revision) == f"main@sha256:{first}"
    assert dict(tree) == {"a": b"1", "b/c": b"2"}
    assert await repository.log() == (pushed.commit, first)
    assert (await repository.files(pushed.commit))["b/c"] == ("100644", b"3")
    await mirrors.close()


# leading


class Deposed:
    def check(self) -> None:
        raise NotLeader("deposed")


async def test_a_push_asks_for_leave_where_git_is_started_and_reading_does_not(tmp_path: Path, place: GitPlace) -> None:
    repository = await place.repository(files=FILES)
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    FENCE.set(Deposed())

    first = await remote.resolve(MAIN)
    assert await remote.fetch_tree(first)
    with pytest.raises(NotLeader):
        await remote.push(change(first.commit, {"new": b"1"}), "main")

    assert await repository.log() == (first.commit,)
    await mirrors.close()


async def test_a_push_that_waits_for_its_place_when_the_leader_is_deposed_is_not_started(tmp_path: Path) -> None:
    program = tmp_path / "git"
    program.write_text('#!/bin/sh\necho "$1" >> "$(dirname "$0")/started"\nsleep 0.3\n')
    program.chmod(0o755)
    commands = GitCommands(str(program), Places(per_host=1))
    first = asyncio.create_task(commands.run("fetch", timeout=10, host="git.example"))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(_deposed_while_waiting(commands))

    with pytest.raises(NotLeader):
        await second
    await first

    assert (tmp_path / "started").read_text() == "fetch\n"


async def test_a_large_input_reaches_git_whole_and_is_not_copied_as_a_whole() -> None:
    data = bytes(range(256)) * (1 << 17)  # 32 MiB

    tracemalloc.start()
    try:
        result = await GitCommands().run("hash-object", "--stdin", timeout=60, stdin=data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert result.stdout.decode().strip() == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    assert most < 4 << 20


async def _deposed_while_waiting(commands: GitCommands) -> None:
    fence = Reign()
    FENCE.set(fence)
    pushing = asyncio.create_task(commands.run("push", timeout=10, host="git.example", writes=True))
    await asyncio.sleep(0.05)
    fence.lasts = False
    await pushing


class Reign(Deposed):
    lasts = True

    def check(self) -> None:
        if not self.lasts:
            super().check()


async def test_a_tag_of_a_file_is_told_and_no_mirror_is_thrown_away_for_it(tmp_path: Path, place: GitPlace) -> None:
    repository = await place.repository("apps.git", {"a": b"1"})
    blob = (await repository.git("rev-parse", "main:a")).decode().strip()
    await repository.git("update-ref", "refs/tags/v1.0.0", blob)
    mirrors = mirrors_in(tmp_path)
    remote = mirrors.get_remote(f"{place.url}/apps.git")
    await remote.fetch_tree(await remote.resolve(MAIN))
    kept = packs(mirror_of(tmp_path))

    for ref in (GitRef(tag="v1.0.0"), GitRef(semver="1.x"), GitRef(commit=blob)):
        with pytest.raises(GitError, match="is a blob and no commit"):
            await remote.fetch_tree(await remote.resolve(ref))

    assert set(kept) <= set(packs(mirror_of(tmp_path)))
    await mirrors.close()


async def test_a_crowd_of_equally_new_tags_is_not_fetched(tmp_path: Path, place: GitPlace) -> None:
    repository = await place.repository()
    for number in range(17):
        await repository.tag(f"1.0.0+{number}", await repository.commit({"a": b"%d" % number}))
    mirrors = mirrors_in(tmp_path)

    with pytest.raises(RefNotFound, match=r"has 17 commits whose tags are equally new for '1\.x', as '1\.0\.0\+9' is"):
        await mirrors.get_remote(f"{place.url}/apps.git").resolve(GitRef(semver="1.x"))

    assert not list((tmp_path / "state").rglob("*.pack"))
    await mirrors.close()
