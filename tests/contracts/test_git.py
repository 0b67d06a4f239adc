"""What every Git port does: the one in memory, and the mirrors over each transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.git.objects import make_object
from gitops_core.errors import GitError, PathNotFound, PushConflict, PushDenied, RefNotFound, StalledError
from gitops_core.meta import Revision, Sensitive
from gitops_core.ports import Commit, Git, GitRef, GitRemote, Signature
from tests.servers.git import PLACES, BareRepository, GitPlace
from tests.simulation.fakes.git import FakeGit, FakeRepository

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
BOT = Signature("Bot", "bot@example.com", WHEN)
NOWHERE = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "deploy/app.yaml": b"image: web:1.0\n",
    "deploy/base/config.yaml": b"a: 1\r\nb: \xff\n",
    "readme.md": b"web:1.0 it is\n",
    "run.sh": b"#!/bin/sh\n",
    "current": b"deploy/app.yaml",
}
MODES = {"run.sh": "100755", "current": "120000"}


@dataclass(frozen=True)
class World:
    """One Git port, and a way to make repositories that it can reach."""

    git: Git
    place: GitPlace | None = None

    async def repository(self, name: str = "apps.git") -> tuple[BareRepository | FakeRepository, GitRemote]:
        if self.place is not None:
            return await self.place.repository(name), self.git.get_remote(f"{self.place.url}/{name}", self.place.access)
        assert isinstance(self.git, FakeGit)
        repository = self.git.repositories[f"https://git.example.com/{name}"] = FakeRepository()
        return repository, self.git.get_remote(f"https://git.example.com/{name}")


@pytest.fixture(params=["fake", "file", "http", "ssh"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "fake":
        yield World(FakeGit())
        return
    served = tmp_path / "served"
    served.mkdir()
    mirrors = GitMirrors(tmp_path / "state", allow_file=True)
    async with PLACES[request.param](served) as place:
        yield World(mirrors, place)
        await mirrors.close()


def change(parent: str, edits: Mapping[str, bytes | None], message: str = "Change it") -> Commit:
    return Commit(parent, edits, message, BOT, BOT)


async def test_a_ref_is_resolved_as_flux_writes_it(world: World) -> None:
    repository, remote = await world.repository()
    first = await repository.commit({"a": b"1"})
    await repository.tag("v1", first)
    await repository.tag("v1-annotated", first, annotated=True)
    second = await repository.commit({"a": b"2"}, branch="main")
    await repository.set_branch("feature/x", first)
    await repository.set_branch("master", second)

    async def resolved(ref: GitRef) -> str:
        return str(await remote.resolve(ref))

    assert await resolved(GitRef()) == f"master@sha1:{second}"
    assert await resolved(GitRef(branch="main")) == f"main@sha1:{second}"
    assert await resolved(GitRef(branch="feature/x")) == f"feature/x@sha1:{first}"
    assert await resolved(GitRef(branch="main", tag="v1")) == f"v1@sha1:{first}"
    assert await resolved(GitRef(tag="v1-annotated")) == f"v1-annotated@sha1:{first}"
    assert await resolved(GitRef(tag="v1", name="refs/heads/main")) == f"refs/heads/main@sha1:{second}"
    assert await resolved(GitRef(name="refs/tags/v1-annotated")) == f"refs/tags/v1-annotated@sha1:{first}"
    assert await resolved(GitRef(commit=first)) == f"sha1:{first}"
    assert await resolved(GitRef(tag="v1", branch="main", commit=first)) == f"main@sha1:{first}"
    assert await resolved(GitRef(name="refs/heads/main", commit=first)) == f"refs/heads/main@sha1:{first}"


async def test_a_missing_ref_is_named(world: World) -> None:
    repository, remote = await world.repository()
    with pytest.raises(RefNotFound, match=r"apps\.git is empty"):
        await remote.resolve(GitRef(branch="main"))
    await repository.commit({"a": b"1"})

    with pytest.raises(RefNotFound, match=r"apps\.git has no .* 'nope'"):
        await remote.resolve(GitRef(branch="nope"))
    with pytest.raises(RefNotFound, match=r"apps\.git has no .* 'nope'"):
        await remote.resolve(GitRef(tag="nope"))
    with pytest.raises(RefNotFound, match=r"apps\.git has no .* 'refs/pull/1/head'"):
        await remote.resolve(GitRef(name="refs/pull/1/head"))
    with pytest.raises(RefNotFound):  # the end of another branch's name is not its name
        await remote.resolve(GitRef(branch="ain"))


async def test_a_name_that_cannot_be_a_ref_is_not_found(world: World) -> None:
    repository, remote = await world.repository()
    first = await repository.commit({"a": b"1"})

    for name in ["-x", "--upload-pack=sh", "a b", "a..b", "a\nb", "a:b", "*", "a^{}", "x.lock", "/a"]:
        for ref in (GitRef(branch=name), GitRef(tag=name), GitRef(name=name), GitRef(commit=name)):
            with pytest.raises(RefNotFound):
                await remote.resolve(ref)
        with pytest.raises(RefNotFound):
            await remote.push(change(first, {"a": b"2"}), name)
    assert await repository.log() == (first,)


async def test_a_range_means_the_newest_tag_that_it_accepts(world: World) -> None:
    repository, remote = await world.repository()
    first = await repository.commit({"a": b"1"})
    for tag in ("v0.9.0", "v1.0.0", "nightly", "v1.3", "v2.0.0-rc.1"):
        await repository.tag(tag, first)
    second = await repository.commit({"a": b"2"})
    await repository.tag("1.1.5", second, annotated=True)

    async def resolved(ref: GitRef) -> str:
        return str(await remote.resolve(ref))

    assert await resolved(GitRef(branch="main", tag="v0.9.0", semver="1.x")) == f"1.1.5@sha1:{second}"
    assert await resolved(GitRef(semver="<1.1")) == f"v1.0.0@sha1:{first}"
    assert await resolved(GitRef(semver=">=1.0.0-0")) == f"v2.0.0-rc.1@sha1:{first}"
    assert await resolved(GitRef(semver="1.x", name="refs/tags/nightly")) == f"refs/tags/nightly@sha1:{first}"
    assert await resolved(GitRef(semver="1.x", branch="main", commit=first)) == f"main@sha1:{first}"
    with pytest.raises(RefNotFound, match="no tag in the range '>2'"):
        await remote.resolve(GitRef(semver=">2"))
    with pytest.raises(StalledError, match='no range of versions: improper constraint: "not a range"'):
        await remote.resolve(GitRef(semver="not a range"))


async def test_of_tags_that_are_equally_new_the_one_of_the_latest_commit_counts(world: World) -> None:
    repository, remote = await world.repository()
    later = await repository.commit({"a": b"1"}, when=WHEN + timedelta(hours=1))
    earlier = await repository.commit({"a": b"2"}, when=WHEN)
    for tag, commit in {"1.0.0+5": later, "v1.0.0+9": earlier, "2.0.0+a": later, "2.0.0+b": later}.items():
        await repository.tag(tag, commit)

    assert str(await remote.resolve(GitRef(semver="1.x"))) == f"1.0.0+5@sha1:{later}"
    assert str(await remote.resolve(GitRef(semver="2.x"))) == f"2.0.0+b@sha1:{later}"


async def test_commits_and_annotated_tags_are_read_as_they_are(world: World) -> None:
    repository, remote = await world.repository()
    first = await repository.commit({"a": b"1"}, message="first")
    second = await repository.commit({"a": b"2"})
    await repository.tag("light", first)
    await repository.tag("heavy", first, annotated=True)

    body = await remote.read_commit(await remote.resolve(GitRef(branch="main", commit=first)))
    assert body == await repository.raw(first)
    assert make_object("commit", body).oid == first
    for _ in range(2):  # resolved before, or not
        assert await remote.read_tag("refs/tags/light", first) is None
        tag = await remote.read_tag("refs/tags/heavy", first)
        assert tag is not None
        assert tag.startswith(f"object {first}\ntype commit\ntag heavy\ntagger Somebody <".encode())
        await remote.resolve(GitRef(tag="light"))
        await remote.resolve(GitRef(tag="heavy"))
    for ref in ("refs/tags/heavy", "refs/tags/light", "refs/tags/none"):
        with pytest.raises(RefNotFound):
            await remote.read_tag(ref, second)
    await repository.tag("heavier", second, annotated=True)
    assert await remote.read_tag("refs/tags/heavier", second)


async def test_a_tree_holds_the_regular_files(world: World) -> None:
    repository, remote = await world.repository()
    commit = await repository.commit(FILES, modes=MODES)

    tree = await remote.fetch_tree(Revision("main", commit))

    assert dict(tree) == {path: content for path, content in FILES.items() if path != "current"}
    assert list(tree) == ["deploy/app.yaml", "deploy/base/config.yaml", "readme.md", "run.sh"]
    assert len(tree) == 4
    assert tree.links == {"current": "deploy/app.yaml"}
    assert tree.explain_absence("current").startswith("is a symbolic link to deploy/app.yaml;")
    assert tree.explain_absence("current/x").startswith(
        "is below current, which is a symbolic link to deploy/app.yaml;"
    )
    assert tree.explain_absence("nope") == ""
    assert "deploy/app.yaml" in tree
    assert "deploy" not in tree
    assert "current" not in tree
    for path in ("deploy", "current", "deploy/app.yaml/x", "nope", "", "/readme.md", "./readme.md"):
        with pytest.raises(KeyError):
            tree[path]


async def test_a_folder_is_a_tree_of_its_own(world: World) -> None:
    repository, remote = await world.repository()
    first = await repository.commit(FILES, modes=MODES)
    second = await repository.commit({"readme.md": b"else"})

    trees = [await remote.fetch_tree(Revision("main", first), path) for path in ("deploy", "./deploy/", "/deploy")]
    later = await remote.fetch_tree(Revision("main", second), "deploy")
    whole = await remote.fetch_tree(Revision("main", second))

    assert [list(tree) for tree in trees] == [["app.yaml", "base/config.yaml"]] * 3
    assert later.oid == trees[0].oid
    assert whole.oid != later.oid
    for path in ("nope", "readme.md", "deploy/nope", "current", "../x"):
        with pytest.raises(PathNotFound, match=r"apps\.git has no folder"):
            await remote.fetch_tree(Revision("main", second), path)


async def test_a_commit_that_is_nowhere_is_not_found(world: World) -> None:
    repository, remote = await world.repository()
    await repository.commit({"a": b"1"})

    with pytest.raises(RefNotFound):
        await remote.fetch_tree(Revision("main", NOWHERE))
    with pytest.raises(RefNotFound):
        await remote.describe(Revision("", NOWHERE))


async def test_search_finds_text_in_regular_files(world: World) -> None:
    repository, remote = await world.repository()
    first = await repository.commit(FILES, modes=MODES)
    assert await remote.search(Revision("main", first), "web:1.0") == ("deploy/app.yaml", "readme.md")
    edits = {"readme.md": b"no more\n", "deploy/base/new.yaml": b"x web:1.0", "run.sh": None}

    second = await repository.commit(edits, modes={})

    revision = Revision("main", second)
    assert await remote.search(revision, "web:1.0") == ("deploy/app.yaml", "deploy/base/new.yaml")
    assert await remote.search(revision, "web:1.0", "deploy") == ("app.yaml", "base/new.yaml")
    assert await remote.search(revision, "web.1") == ()
    assert await remote.search(revision, "-e", "deploy/") == ()
    assert await remote.search(Revision("main", first), "web:1.0") == ("deploy/app.yaml", "readme.md")
    for text in ("", "a\nb", "a\0"):
        with pytest.raises(ValueError, match="one line"):
            await remote.search(revision, text)


async def test_a_commit_says_who_and_why(world: World) -> None:
    repository, remote = await world.repository()
    commit = await repository.commit({"a": b"1"}, message="Say why\n\nAt length.\n")

    said = await remote.describe(Revision("main", commit))

    assert said.commit == commit
    assert said.message == "Say why\n\nAt length.\n"
    assert (said.author.name, said.author.email) == ("Somebody", "somebody@example.com")
    assert said.author.when == datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_push_changes_what_was_edited_and_nothing_else(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES, modes=MODES)
    edits = {"run.sh": b"#!/bin/bash\n", "deploy/base/config.yaml": None, "new/deep/file": b"\0\xff", "readme.md": b""}

    pushed = await remote.push(change(parent, edits, "Change it"), "main")

    files = await repository.files(pushed.commit)
    assert pushed.name == "main"
    assert await repository.log() == (pushed.commit, parent)
    assert files == {
        "current": ("120000", b"deploy/app.yaml"),
        "deploy/app.yaml": ("100644", b"image: web:1.0\n"),
        "new/deep/file": ("100644", b"\0\xff"),
        "readme.md": ("100644", b""),
        "run.sh": ("100755", b"#!/bin/bash\n"),
    }
    said = await remote.describe(pushed)
    assert said.message == "Change it"
    assert said.author == BOT
    assert dict(await remote.fetch_tree(pushed)) == {
        path: body for path, (mode, body) in files.items() if mode != "120000"
    }


async def test_the_ids_are_those_of_git(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES, modes=MODES, message="A change")

    pushed = await remote.push(change(parent, {"run.sh": b"x"}), "main")

    assert parent == "909a7c799cfdb7bbf31963cdaa55401826600ed2"
    assert pushed.commit == "40eac6545467caeffb8993afce6970546ea82c5b"


async def test_a_branch_that_moved_is_a_conflict(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES)
    other = await repository.commit({"readme.md": b"somebody was quicker"})

    with pytest.raises(PushConflict):
        await remote.push(change(parent, {"run.sh": b"x"}), "main")

    assert await repository.log() == (other, parent)


async def test_a_branch_that_was_set_back_is_a_conflict(world: World) -> None:
    repository, remote = await world.repository()
    first = await repository.commit(FILES)
    second = await remote.push(change(first, {"run.sh": b"1"}), "main")
    await repository.set_branch("main", first)

    with pytest.raises(PushConflict):
        await remote.push(change(second.commit, {"run.sh": b"2"}), "main")

    assert await repository.log() == (first,)


async def test_the_first_push_makes_the_branch(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES)

    pushed = await remote.push(change(parent, {"run.sh": b"x"}), "bumps/web")

    assert await repository.log("bumps/web") == (pushed.commit, parent)
    assert await repository.log("main") == (parent,)
    assert str(pushed) == f"bumps/web@sha1:{pushed.commit}"
    with pytest.raises(PushConflict):
        await remote.push(change(parent, {"run.sh": b"y"}), "bumps/web")


async def test_a_branch_can_be_made_again_from_its_base(world: World) -> None:
    repository, remote = await world.repository()
    base = await repository.commit(FILES)
    old = await remote.push(change(base, {"run.sh": b"1"}), "bumps", expected="")
    moved = await repository.commit({"readme.md": b"meanwhile"})

    new = await remote.push(change(moved, {"run.sh": b"2"}), "bumps", expected=old.commit)

    assert await repository.log("bumps") == (new.commit, moved, base)
    with pytest.raises(PushConflict):
        await remote.push(change(moved, {"run.sh": b"3"}), "bumps", expected=old.commit)
    with pytest.raises(PushConflict):
        await remote.push(change(moved, {"run.sh": b"3"}), "bumps", expected="")
    assert await repository.log("bumps") == (new.commit, moved, base)


async def test_a_preview_is_the_tree_that_a_push_makes(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES, modes=MODES)
    wanted = change(parent, {"run.sh": b"x", "readme.md": None})

    tree = await remote.preview(wanted)

    assert await repository.log() == (parent,)
    said = await remote.describe(await remote.push(wanted, "main"))
    assert (said.tree, said.parents) == (tree, (parent,))


async def test_a_refspec_moves_a_second_ref_too(world: World) -> None:
    repository, remote = await world.repository()
    first = await repository.commit(FILES)

    second = await remote.push(change(first, {"run.sh": b"1"}), "main", refspec="refs/heads/main:refs/heads/auto")
    await repository.commit({"readme.md": b"one"})
    tip = await repository.commit({"readme.md": b"two"})
    with pytest.raises(PushConflict):  # the same author alone proves nothing
        await remote.push(change(tip, {"run.sh": b"2"}), "main", refspec="HEAD:auto")
    third = await remote.push(
        change(tip, {"run.sh": b"2"}), "main", refspec="HEAD:auto", ours=lambda info: info.commit == second.commit
    )
    fourth = await remote.push(change(third.commit, {"run.sh": b"3"}), "main", refspec="refs/heads/main")

    assert (await repository.log())[0] == fourth.commit
    assert await repository.log("auto") == (await repository.log())[1:]
    assert second.commit in await repository.log("auto")


async def test_two_refs_move_together_or_not_at_all(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES)
    await repository.set_branch("auto", parent)
    other = await repository.commit({"readme.md": b"somebody's own"}, branch="auto")

    with pytest.raises(PushConflict):
        await remote.push(change(parent, {"run.sh": b"1"}), "main", refspec="HEAD:refs/heads/auto")
    assert (await repository.log(), await repository.log("auto")) == ((parent,), (other, parent))

    newer = await repository.commit({"run.sh": b"quicker"})
    with pytest.raises(PushConflict):
        await remote.push(change(parent, {"run.sh": b"1"}), "main", refspec="HEAD:refs/heads/new")
    assert await repository.log() == (newer, parent)
    with pytest.raises(RefNotFound):
        await remote.resolve(GitRef(branch="new"))


async def test_a_refspec_or_an_option_that_cannot_be_is_refused(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES)

    for refspec in ("refs/heads/other:refs/heads/auto", "main:", ":auto", "main:a b", "HEAD"):
        with pytest.raises(StalledError, match="refspec"):
            await remote.push(change(parent, {"run.sh": b"1"}), "main", refspec=refspec)
    with pytest.raises(StalledError, match="push option"):
        await remote.push(change(parent, {"run.sh": b"1"}), "main", options={"a\nb": "c"})
    assert await repository.log() == (parent,)


async def test_push_options_reach_the_hooks(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES)
    await repository.take_options()

    await remote.push(
        change(parent, {"run.sh": b"1"}), "main", options={"merge_request.create": "", "ci.variable": "A=b c"}
    )

    assert await repository.told() == ("ci.variable=A=b c", "merge_request.create")


async def test_a_signature_is_of_the_commit_without_it(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    signer = await world.git.load_signer("ssh", {"identity": Sensitive(pem)}, "Secret key")

    pushed = await remote.push(replace(change(parent, {"run.sh": b"1"}), signer=signer), "main")

    signed = await repository.raw(pushed.commit)
    head, _, rest = signed.partition(b"gpgsig ")
    armor, _, message = rest.partition(b"\n\n")
    assert (await remote.describe(pushed)).message == message.decode() == "Change it"
    assert armor.replace(b"\n ", b"\n") + b"\n" == await signer.sign(head + b"\n" + message)


async def test_the_same_push_again_is_no_second_commit(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES)
    first = await remote.push(change(parent, {"run.sh": b"x"}), "main")

    again = await remote.push(change(parent, {"run.sh": b"x"}), "main")

    assert again == first
    assert await repository.log() == (first.commit, parent)


async def test_a_declined_push_says_why(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES)
    await repository.refuse("only on Sundays")

    with pytest.raises(PushDenied, match="only on Sundays"):
        await remote.push(change(parent, {"run.sh": b"x"}), "main")

    assert await repository.log() == (parent,)


async def test_an_edit_stays_inside_the_repository(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES)

    for path in ("../x", "/etc/x", "a//b", ".git/config", "a/.GIT/x", "", "a/", "nul\0"):
        with pytest.raises(GitError, match="not a path"):
            await remote.push(change(parent, {path: b"x"}), "main")
    assert await repository.log() == (parent,)


async def test_an_edit_never_replaces_what_is_not_a_file(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES, modes=MODES)

    for path in ("deploy", "current", "readme.md/x", "current/x"):
        with pytest.raises(GitError, match="cannot edit"):
            await remote.push(change(parent, {path: b"x"}), "main")
    assert await repository.log() == (parent,)


async def test_ten_writers_lose_nothing_and_double_nothing(world: World) -> None:
    repository, remote = await world.repository()
    await repository.commit({"lines": b""})

    async def add_line(number: int) -> None:
        while True:
            tip = await remote.resolve(GitRef(branch="main"))
            lines = (await remote.fetch_tree(tip))["lines"] + f"{number}\n".encode()
            try:
                await remote.push(change(tip.commit, {"lines": lines, f"by/{number}": b""}, f"Line {number}"), "main")
            except PushConflict:
                continue
            return

    await asyncio.gather(*(add_line(number) for number in range(10)))

    commits = await repository.log()
    lines = (await repository.files(commits[0]))["lines"][1].split()
    assert len(commits) == 11
    assert sorted(int(line) for line in lines) == list(range(10))
    assert [(await remote.describe(Revision("", c))).message for c in reversed(commits[:-1])] == [
        f"Line {line.decode()}" for line in lines
    ]


async def test_two_repositories_do_not_mix(world: World) -> None:
    one, one_remote = await world.repository("one.git")
    two, two_remote = await world.repository("two.git")
    first, second = await one.commit({"a": b"1"}), await two.commit({"b": b"2"})

    assert list(await one_remote.fetch_tree(Revision("main", first))) == ["a"]
    assert list(await two_remote.fetch_tree(Revision("main", second))) == ["b"]
    with pytest.raises(RefNotFound):
        await one_remote.fetch_tree(Revision("main", second))


async def test_a_thousand_files_are_one_commit(world: World) -> None:
    repository, remote = await world.repository()
    parent = await repository.commit(FILES, modes=MODES)
    edits: dict[str, bytes | None] = {f"many/{number % 9}/{number}.yaml": b"%d\n" % number for number in range(1000)}

    pushed = await remote.push(change(parent, edits), "main")

    tree = await remote.fetch_tree(pushed, "many")
    assert dict(tree) == {path.removeprefix("many/"): body for path, body in edits.items()}
    assert len(await repository.log()) == 2


async def test_a_tree_tells_its_submodules_and_holds_none_of_them(world: World) -> None:
    repository, remote = await world.repository()
    modes = {"vendor/lib": "160000"}
    commit = await repository.commit({"a": b"1", "vendor/b": b"2", "vendor/lib": NOWHERE.encode()}, modes=modes)

    tree = await remote.fetch_tree(Revision("main", commit))

    assert dict(tree.submodules) == {"vendor/lib": NOWHERE}
    assert set(tree) == {"a", "vendor/b"}
    assert dict((await remote.fetch_tree(Revision("main", commit), "vendor")).submodules) == {"lib": NOWHERE}
