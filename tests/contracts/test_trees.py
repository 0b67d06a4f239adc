"""What every store of files that come from no commit does: the one in memory, and bare repositories."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitops_core.adapters.git import GitMirrors
from gitops_core.errors import GitError, PathNotFound, TreeLost
from gitops_core.ports import Git
from tests.simulation.fakes.git import FakeGit

FILES = {
    "app.yaml": b"kind: List\n",
    "base/a/one.yaml": b"a: 1\r\n",
    "base/two.yaml": b"\xff",
    "base.yaml": b"",
    "\N{SNOWMAN}": b"snow",
}
HOSTILE = {"git~1/config": b"[core]", ".gitmodules": b'[submodule "../x"]\npath = -u', ".gitattributes": b"* filter=x"}
MANY = {f"apps/{number // 20}/{number}.yaml": b"n: %d" % number for number in range(120)}


@pytest.fixture(params=["fake", "repository"])
async def git(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Git]:
    if request.param == "fake":
        yield FakeGit()
        return
    mirrors = GitMirrors(tmp_path / "state")
    yield mirrors
    await mirrors.close()


@pytest.mark.parametrize(
    "files", [FILES, {}, MANY, MANY | HOSTILE, HOSTILE], ids=["few", "none", "many", "bad", "few bad"]
)
async def test_added_files_are_read_again(git: Git, files: dict[str, bytes]) -> None:
    trees = git.get_trees("one")

    oid = await trees.add(files)

    tree = await trees.get_tree(oid)
    assert dict(tree) == files
    assert tree.oid == oid
    assert tree.links == {}


async def test_a_folder_is_a_tree_of_its_own(git: Git) -> None:
    trees = git.get_trees("one")
    oid = await trees.add(FILES)
    same = await trees.add({"a/one.yaml": b"a: 1\r\n", "two.yaml": b"\xff"})

    for path in ("base", "./base/", "/base"):
        folder = await trees.get_tree(oid, path)
        assert dict(folder) == {"a/one.yaml": b"a: 1\r\n", "two.yaml": b"\xff"}
        assert folder.oid == same

    for path in ("nope", "app.yaml", "base/a/one.yaml", "bas"):
        with pytest.raises(PathNotFound):
            await trees.get_tree(oid, path)


async def test_equal_files_have_equal_ids_whoever_adds_them(git: Git) -> None:
    one = await git.get_trees("one").add(FILES)

    assert await git.get_trees("two").add(dict(reversed(FILES.items()))) == one
    assert await git.get_trees("one").add(FILES) == one
    assert await git.get_trees("one").add({**FILES, "app.yaml": b"kind: List"}) != one


async def test_files_kept_under_another_name_are_not_shown(git: Git) -> None:
    oid = await git.get_trees("one").add(FILES)

    for name, id_ in (("two", oid), ("one", "0" * 64), ("one", "")):
        with pytest.raises(TreeLost):
            await git.get_trees(name).get_tree(id_)


@pytest.mark.parametrize("path", ["../a", "/etc/passwd", "a//b", "a/./b", "", ".git/config", "a/.GIT/hooks/x", "a\0b"])
async def test_a_path_that_leaves_the_folder_is_refused(git: Git, path: str) -> None:
    trees = git.get_trees("one")

    with pytest.raises(GitError, match="not a path"):
        await trees.add({"fine": b"", path: b""})


async def test_a_file_that_is_a_folder_too_is_refused(git: Git) -> None:
    with pytest.raises(GitError, match="not a folder"):
        await git.get_trees("one").add({"a": b"", "a/b": b""})


@pytest.mark.parametrize("files", [FILES, MANY | HOSTILE], ids=["few", "many"])
async def test_files_outlive_the_process(tmp_path: Path, files: dict[str, bytes]) -> None:
    before = GitMirrors(tmp_path / "state")
    oid = await before.get_trees("one").add(files)
    await before.close()

    after = GitMirrors(tmp_path / "state")
    try:
        assert dict(await after.get_trees("one").get_tree(oid)) == files
        assert await after.get_trees("one").add(files) == oid
    finally:
        await after.close()


async def test_files_are_in_a_bare_repository_that_git_reads(tmp_path: Path) -> None:
    mirrors = GitMirrors(tmp_path / "state")
    oid = await mirrors.get_trees("one").add(FILES)
    await mirrors.close()
    (repository,) = (tmp_path / "state" / "0").glob("*.git")

    command = ["git", f"--git-dir={repository}", "ls-tree", "-r", "-z", "--name-only", oid]
    listing = (await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)).stdout
    assert {name.decode() for name in listing.split(b"\0") if name} == set(FILES)


async def test_a_repository_that_is_lost_or_damaged_says_so_and_takes_the_files_again(tmp_path: Path) -> None:
    mirrors = GitMirrors(tmp_path / "state")
    trees = mirrors.get_trees("one")
    try:
        oid = await trees.add(MANY)
        (repository,) = (tmp_path / "state" / "0").glob("*.git")
        for pack in repository.glob("objects/pack/*"):
            pack.unlink()
        await mirrors.close()

        mirrors = GitMirrors(tmp_path / "state")
        trees = mirrors.get_trees("one")
        with pytest.raises(TreeLost):
            await trees.get_tree(oid)
        assert await trees.add(MANY) == oid
        assert dict(await trees.get_tree(oid)) == MANY
    finally:
        await mirrors.close()
