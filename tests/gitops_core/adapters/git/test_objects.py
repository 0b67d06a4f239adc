"""Laws of Git's object formats as we write them, and the same histories made by git and by the fake."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.git.objects import (
    EXECUTABLE,
    FILE,
    FOLDER,
    LINK,
    Entry,
    GitObject,
    edit_tree,
    encode_commit,
    encode_loose,
    encode_tree,
    make_object,
    parse_commit,
    parse_tree,
)
from gitops_core.errors import GitError, GitOpsError
from gitops_core.ports import Commit, GitRemote, Signature
from tests.servers.git import file_place, git
from tests.simulation.fakes.git import FakeGit, FakeRepository

names = st.sampled_from(["a", "a.b", "a-b", "b", "é", "A", "a b", "file.yaml"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
contents = st.binary(max_size=20)
ids = st.binary(min_size=20, max_size=20).map(bytes.hex)
file_entries = st.builds(Entry, st.sampled_from([FILE, EXECUTABLE, LINK, FOLDER]), ids)
edits = st.dictionaries(paths, st.none() | contents, min_size=1, max_size=5)
moments = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001  # hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.dictionaries(names, file_entries))
def test_a_tree_is_read_as_it_was_written(entries: dict[str, Entry]) -> None:
    assert parse_tree(encode_tree(entries), 20) == entries


@given(st.dictionaries(names, file_entries))
def test_a_tree_does_not_depend_on_the_order_of_its_entries(entries: dict[str, Entry]) -> None:
    assert encode_tree(dict(reversed(entries.items()))) == encode_tree(entries)


@settings(max_examples=5, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["sha1", "sha256"]))
def test_git_reads_the_file_of_an_object(content: bytes, algorithm: str) -> None:
    blob = make_object("blob", content, algorithm)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(git("init", "--quiet", "--bare", f"--object-format={algorithm}", folder))
        place = Path(folder, "objects", blob.oid[:2])
        place.mkdir()
        (place / blob.oid[2:]).write_bytes(encode_loose(blob))

        assert asyncio.run(git(f"--git-dir={folder}", "cat-file", "blob", blob.oid)) == content
        asyncio.run(git(f"--git-dir={folder}", "fsck", "--strict"))


@given(texts, texts, moments, texts)
def test_a_commit_says_what_it_was_told(name: str, email: str, when: datetime, message: str) -> None:
    signature = Signature(name, email, when)
    body = encode_commit(Commit("1" * 40, {}, message, signature, signature), "2" * 40)

    said = parse_commit("3" * 40, body)

    assert (said.tree, said.parents) == ("2" * 40, ("1" * 40,))
    assert said.message == message.replace("\0", "")
    assert said.author.when == when.replace(microsecond=0)
    assert said.author.when.utcoffset() == when.utcoffset()
    assert not set("<>\n\0") & set(said.author.name + said.author.email)


def test_a_name_cannot_add_a_line_to_a_commit() -> None:
    evil = Signature("x>\nparent 0000", "y>\ntree 1", datetime(2026, 1, 1, tzinfo=UTC))

    body = encode_commit(Commit("1" * 40, {}, "m", evil, evil), "2" * 40)

    assert [line.split(b" ")[0] for line in body.split(b"\n")] == [
        b"tree",
        b"parent",
        b"author",
        b"committer",
        b"",
        b"m",
    ]


class _Store:
    """Trees and blobs in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, GitObject] = {}
        self.empty = self.add(make_object("tree", b""))

    def add(self, item: GitObject) -> str:
        self.objects[item.oid] = item
        return item.oid

    def read(self, oid: str) -> dict[str, Entry]:
        return dict(parse_tree(self.objects[oid].body, 20))

    def edit(self, root: str, changes: dict[str, bytes | None]) -> str:
        root, objects = edit_tree(self.read, root, changes, "sha1")
        for item in objects:
            self.add(item)
        return root

    def files(self, root: str, where: str = "") -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for name, entry in self.read(root).items():
            if entry.mode == FOLDER:
                found |= self.files(entry.oid, f"{where}{name}/")
            else:
                found[where + name] = self.objects[entry.oid].body
        return found


@given(edits, edits)
def test_only_what_is_edited_differs(first: dict[str, bytes | None], second: dict[str, bytes | None]) -> None:
    store = _Store()
    try:
        before = store.edit(store.empty, first)
        after = store.edit(before, second)
    except GitError:  # a path is both a file and a folder
        return

    wanted = {**store.files(before), **second}
    assert store.files(after) == {path: content for path, content in wanted.items() if content is not None}
    assert store.edit(after, second) == after


@given(edits)
def test_undoing_an_edit_gives_the_same_tree(changes: dict[str, bytes | None]) -> None:
    store = _Store()
    try:
        edited = store.edit(store.empty, changes)
    except GitError:
        return

    assert store.edit(edited, dict.fromkeys(changes)) == store.empty


@given(st.lists(edits, min_size=1, max_size=4))
@settings(max_examples=12, deadline=None)
def test_git_and_the_fake_make_the_same_history(history: list[dict[str, bytes | None]]) -> None:
    asyncio.run(_compare(history))


async def _compare(history: list[dict[str, bytes | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with file_place(Path(folder)) as place:
            real = await place.repository()
            parent = await real.commit({"file.yaml": b"1", "run": b"2"}, modes={"run": EXECUTABLE})
            mirrors, fake, copy = GitMirrors(Path(folder) / "state", allow_file=True), FakeGit(), FakeRepository()
            fake.repositories["https://git.example.com/apps.git"] = copy
            assert await copy.commit({"file.yaml": b"1", "run": b"2"}, modes={"run": EXECUTABLE}) == parent
            remotes: list[GitRemote] = [
                mirrors.get_remote(f"{place.url}/apps.git"),
                fake.get_remote("https://git.example.com/apps.git"),
            ]
            for changes in history:
                mine, theirs = [await _push(remote, parent, changes) for remote in remotes]
                assert mine == theirs
                parent = mine if len(mine) == 40 else parent
            assert await real.files(parent) == await copy.files(parent)
            await real.git("fsck", "--strict")
            await mirrors.close()


async def _push(remote: GitRemote, parent: str, changes: dict[str, bytes | None]) -> str:
    """The commit, or the sentence of the error."""
    who = Signature("Bot", "bot@example.com", datetime(2026, 1, 1, tzinfo=UTC))
    try:
        return (await remote.push(Commit(parent, changes, "x", who, who), "main")).commit
    except GitOpsError as error:
        return str(error)


@pytest.mark.parametrize("body", [b"100644 a", b"100644 a\0", b"100644 a\0" + bytes(19), b"garbage"])
def test_half_a_tree_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_tree(body, 20)
