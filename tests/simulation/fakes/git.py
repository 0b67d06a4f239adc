"""Git in memory: repositories as objects in a dict, remotes that answer on virtual time, faults by a callable.

The object ids are Git's own (the formats are gitops_core.adapters.git.objects), so a commit made here has the id that
the git command would give it. It passes tests/contracts/test_git.py like the real adapter. No thread, no process, no
clock: whatever takes time is awaited from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, TypeVar

from gitops_core.adapters.git.address import check_commit_id, parse_address, write_full_ref
from gitops_core.adapters.git.objects import (
    FOLDER,
    LINK,
    REGULAR,
    SUBMODULE,
    Entries,
    Entry,
    GitObject,
    clean_folder_path,
    edit_tree,
    encode_commit,
    encode_tree,
    make_commit,
    make_object,
    parse_commit,
    parse_tree,
)
from gitops_core.adapters.git.remote import get_target, write_push_options
from gitops_core.adapters.git.signing import SigningKey, load_signer
from gitops_core.domain.sources.versions import list_newest, parse_range
from gitops_core.errors import PathNotFound, PushConflict, PushDenied, RefNotFound, TreeLost
from gitops_core.meta import FixedTree, Revision, Sensitive, Tree
from gitops_core.ports import (
    Commit,
    CommitInfo,
    GitAccess,
    GitRef,
    GitRemote,
    Signature,
    Signer,
    WriteAccess,
    is_never_ours,
)

T = TypeVar("T")
Fault = Callable[[str, str], Awaitable[None]]
"""(deed, "before" or "after") -> may sleep or raise. A push that fails "after" was accepted: its answer got lost."""

SOMEBODY = Signature("Somebody", "somebody@example.com", datetime(2026, 1, 1, tzinfo=UTC))


async def no_fault(deed: str, moment: str) -> None:
    """Do nothing: everything works, at once."""


@dataclass(frozen=True, eq=False)
class LinkedTree(FixedTree):
    """A Tree held in memory, with symbolic links."""

    linked: Mapping[str, str]
    modules: Mapping[str, str] = field(default_factory=dict)

    def find_blob(self, path: str) -> str:
        return make_object("blob", self.files[path]).oid if path in self.files else ""

    @property
    def submodules(self) -> Mapping[str, str]:
        return self.modules

    @property
    def links(self) -> Mapping[str, str]:
        return self.linked


class FakeRepository:
    """A repository on the other side: what others do to it, and what it holds."""

    def __init__(self) -> None:
        self.objects: dict[str, GitObject] = {}
        self.refs: dict[str, str] = {}
        self.annotated: dict[str, bytes] = {}  # what annotated tags say, by ref
        self.refusal = ""
        self.takes_pushes: bool | None = False  # what it says of that to who only asks
        self.options: tuple[str, ...] = ()  # what the last push told the hooks

    async def commit(
        self,
        files: Mapping[str, bytes | None],
        *,
        branch: str = "main",
        modes: Mapping[str, str] | None = None,
        message: str = "A change",
        when: datetime = SOMEBODY.when,
    ) -> str:
        """Commit `files` on top of a branch, as somebody; None removes one."""
        ref, who = f"refs/heads/{branch}", replace(SOMEBODY, when=when)
        parent = self.refs.get(ref, "")
        root = self.tree_of(parent) if parent else self.add(make_object("tree", b""))
        tree, objects = edit_tree(self.entries, root, files, "sha1")
        for item in objects:
            self.add(item)
        for path, mode in (modes or {}).items():
            tree = self._with_mode(tree, path, mode)
        body = encode_commit(Commit(parent, {}, message, who, who), tree)
        self.refs[ref] = self.add(make_object("commit", body if parent else body.replace(b"parent \n", b"")))
        return self.refs[ref]

    async def tag(self, name: str, commit: str, *, annotated: bool = False) -> None:
        self.refs[f"refs/tags/{name}"] = commit
        self.annotated.pop(f"refs/tags/{name}", None)
        if annotated:
            who = f"{SOMEBODY.name} <{SOMEBODY.email}> 0 +0000"
            said = f"object {commit}\ntype commit\ntag {name}\ntagger {who}\n\n{name}\n"
            self.annotated[f"refs/tags/{name}"] = said.encode()

    async def set_branch(self, branch: str, commit: str) -> None:
        self.refs[f"refs/heads/{branch}"] = commit

    async def refuse(self, reason: str) -> None:
        """Decline pushes from now on."""
        self.refusal = reason

    async def take_options(self) -> None:
        """Push options are always taken."""

    async def told(self) -> tuple[str, ...]:
        """Return the options of the last push."""
        return self.options

    async def raw(self, commit: str) -> bytes:
        return self.objects[commit].body

    async def log(self, branch: str = "main") -> tuple[str, ...]:
        """Return the commits of a branch, newest first."""
        commits = [self.refs[f"refs/heads/{branch}"]]
        while parent := self.parent_of(commits[-1]):
            commits.append(parent)
        return tuple(commits)

    async def files(self, commit: str) -> dict[str, tuple[str, bytes]]:
        """Return mode and contents by path."""
        return {path: (entry.mode, self.objects[entry.oid].body) for path, entry in self.walk(self.tree_of(commit))}

    def add(self, item: GitObject) -> str:
        self.objects[item.oid] = item
        return item.oid

    def entries(self, oid: str) -> Entries:
        return parse_tree(self.objects[oid].body, 20)

    def tree_of(self, commit: str) -> str:
        return parse_commit(commit, self.objects[commit].body).tree

    def parent_of(self, commit: str) -> str:
        lines = self.objects[commit].body.split(b"\n\n")[0].decode().split("\n")
        return next((line.removeprefix("parent ") for line in lines if line.startswith("parent ")), "")

    def walk(self, root: str) -> Iterable[tuple[str, Entry]]:
        for name, entry in self.entries(root).items():
            if entry.mode == FOLDER:
                yield from ((f"{name}/{path}", below) for path, below in self.walk(entry.oid))
            else:
                yield name, entry

    def _with_mode(self, root: str, path: str, mode: str) -> str:
        name, _, rest = path.partition("/")
        entries = dict(self.entries(root))
        old = entries[name]
        entries[name] = Entry(FOLDER, self._with_mode(old.oid, rest, mode)) if rest else Entry(mode, old.oid)
        if mode == SUBMODULE and not rest:
            entries[name] = Entry(mode, self.objects[old.oid].body.decode())
        return self.add(make_object("tree", encode_tree(entries)))


class FakeGit:
    """Implements Git.

    Attributes:
        repositories: by URL.
        accesses: what the remotes were opened with, each once.
        kept: trees that come from no commit, by the name they are kept under.
        fault: called before and after each deed: resolve, tree, search, describe, preview, push.
    """

    def __init__(self, fault: Fault = no_fault) -> None:
        self.repositories: dict[str, FakeRepository] = {}
        self.accesses: list[GitAccess] = []
        self.kept: dict[str, FakeTrees] = {}
        self.fault = fault

    def get_remote(self, url: str, access: GitAccess = GitAccess(), *, timeout: float = 60.0) -> GitRemote:  # noqa: B008
        address = parse_address(url, allow_file=True)
        if access not in self.accesses:
            self.accesses.append(access)
        return FakeRemote(self, address.url)

    def get_trees(self, name: str) -> FakeTrees:
        return self.kept.setdefault(name, FakeTrees(name))

    async def load_signer(self, kind: Literal["gpg", "ssh"], values: Mapping[str, Sensitive], about: str) -> Signer:
        return FakeSigner(load_signer(kind, values, about))


@dataclass
class FakeTrees:
    """Implements Trees."""

    name: str
    roots: dict[str, Mapping[str, bytes]] = field(default_factory=dict)

    async def add(self, files: Mapping[str, bytes]) -> str:
        root, _ = edit_tree(lambda _: {}, "", files, "sha256")
        self.roots[root] = dict(files)
        return root

    async def get_tree(self, oid: str, path: str = "") -> Tree:
        if oid not in self.roots:
            raise TreeLost(f"the files {oid} of {self.name} are not kept any more")
        inside = clean_folder_path(path)
        below = f"{inside}/" if inside else ""
        files = {name.removeprefix(below): c for name, c in self.roots[oid].items() if name.startswith(below)}
        if inside and not files:
            raise PathNotFound(f"{self.name} has no folder {path!r} in {oid}")
        folder, _ = edit_tree(lambda _: {}, "", files, "sha256")
        return FixedTree(folder, dict(sorted(files.items())))


@dataclass(frozen=True)
class FakeSigner:
    """Implements Signer, without the thread that virtual time would not wait for."""

    key: SigningKey

    async def sign(self, payload: bytes) -> bytes:
        return self.key.make_signature(payload)


@dataclass(frozen=True)
class FakeRemote:
    """Implements GitRemote."""

    git: FakeGit
    url: str

    @property
    def repository(self) -> FakeRepository:
        return self.git.repositories.setdefault(self.url, FakeRepository())

    async def resolve(self, ref: GitRef) -> Revision:
        return await self._deed("resolve", lambda: self._resolve(ref))

    async def fetch_tree(self, revision: Revision, path: str = "") -> Tree:
        return await self._deed("tree", lambda: self._tree(revision, path))

    async def search(self, revision: Revision, text: str, path: str = "") -> tuple[str, ...]:
        return await self._deed("search", lambda: self._search(revision, text, path))

    async def describe(self, revision: Revision) -> CommitInfo:
        return await self._deed("describe", lambda: self._commit(revision))

    async def read_commit(self, revision: Revision) -> bytes:
        return await self._deed("read commit", lambda: self.repository.objects[self._commit(revision).commit].body)

    async def read_tag(self, ref: str, commit: str) -> bytes | None:
        return await self._deed("read tag", lambda: self._read_tag(ref, commit))

    async def find_write_access(self, revision: Revision) -> WriteAccess:
        said = self.repository.takes_pushes
        return WriteAccess(granted=said, why="silence" if said is None else "")

    async def preview(self, commit: Commit) -> str:
        return await self._deed("preview", lambda: self._edit(commit)[0])

    async def push(
        self,
        commit: Commit,
        branch: str,
        *,
        expected: str | None = None,
        refspec: str = "",
        options: Mapping[str, str] = {},
        ours: Callable[[CommitInfo], bool] = is_never_ours,
    ) -> Revision:
        tree, objects = self._edit(commit)
        made = await make_commit(commit, tree)
        ref, target, told = write_full_ref(branch, "heads"), get_target(refspec, branch), write_push_options(options)

        def push() -> Revision:
            self._move(commit, made, ref, expected, target, ours)
            for item in (*objects, made):
                self.repository.add(item)
            self.repository.options = told
            return Revision(branch, made.oid)

        return await self._deed("push", push)

    async def _deed(self, name: str, work: Callable[[], T]) -> T:
        await asyncio.sleep(0)  # others get their turn here, as they would while a process runs
        await self.git.fault(name, "before")
        done = work()
        await self.git.fault(name, "after")
        await asyncio.sleep(0)
        return done

    def _resolve(self, ref: GitRef) -> Revision:
        if ref.commit:
            return Revision(ref.name or ref.branch, check_commit_id(ref.commit))
        if ref.semver and not ref.name:
            return self._resolve_range(ref.semver)
        if ref.name:
            shown, name = ref.name, write_full_ref(ref.name)
        elif ref.tag:
            shown, name = ref.tag, write_full_ref(ref.tag, "tags")
        else:
            shown = ref.branch or "master"
            name = write_full_ref(shown, "heads")
        if not any(known.startswith("refs/heads/") for known in self.repository.refs) and name.startswith(
            "refs/heads/"
        ):
            raise RefNotFound(f"{self.url} is empty: it has no branch yet", reason="EmptyGitRepository")
        if name not in self.repository.refs:
            raise RefNotFound(f"{self.url} has no ref {shown!r}")
        return Revision(shown, self.repository.refs[name])

    def _resolve_range(self, text: str) -> Revision:
        tags = {ref.removeprefix("refs/tags/"): oid for ref, oid in self.repository.refs.items() if "/tags/" in ref}
        found = [Revision(tag, tags[tag]) for tag in list_newest(tags, parse_range(text))]
        if not found:
            raise RefNotFound(f"{self.url} has no tag in the range {text!r}")
        return max(found, key=lambda revision: self._commit(revision).committer.when)

    def _read_tag(self, ref: str, commit: str) -> bytes | None:
        if self.repository.refs.get(ref) != commit:
            raise RefNotFound(f"{self.url}: {ref} is not at {commit}")
        return self.repository.annotated.get(ref)

    def _commit(self, revision: Revision) -> CommitInfo:
        stored = self.repository.objects.get(check_commit_id(revision.commit))
        if stored is None or stored.type != "commit":
            raise RefNotFound(f"{self.url}: the remote has no such commit")
        return parse_commit(stored.oid, stored.body)

    def _tree(self, revision: Revision, path: str) -> LinkedTree:
        root = self._commit(revision).tree
        for part in filter(None, clean_folder_path(path).split("/")):
            entry = self.repository.entries(root).get(part)
            if entry is None or entry.mode != FOLDER:
                raise PathNotFound(f"{self.url} has no folder {path!r} at {revision}")
            root = entry.oid
        objects, entries = self.repository.objects, dict(self.repository.walk(root))
        files = {path: objects[entry.oid].body for path, entry in sorted(entries.items()) if entry.mode in REGULAR}
        links = {path: objects[entry.oid].body.decode() for path, entry in entries.items() if entry.mode == LINK}
        modules = {path: entry.oid for path, entry in entries.items() if entry.mode == SUBMODULE}
        return LinkedTree(root, files, links, modules)

    def _search(self, revision: Revision, text: str, path: str) -> tuple[str, ...]:
        if not text or "\n" in text or "\0" in text:
            raise ValueError("search looks for one line of text")
        files = self._tree(revision, path).files
        return tuple(sorted(name for name, content in files.items() if text.encode() in content))

    def _edit(self, commit: Commit) -> tuple[str, tuple[GitObject, ...]]:
        parent = self._commit(Revision("", commit.parent))
        return edit_tree(self.repository.entries, parent.tree, commit.edits, "sha1")

    def _move(
        self,
        commit: Commit,
        made: GitObject,
        ref: str,
        expected: str | None,
        target: str,
        ours: Callable[[CommitInfo], bool],
    ) -> None:
        """Move all refs that the push moves, or none."""
        repository, what = self.repository, f"push to {ref} of {self.url}"
        refs = repository.refs
        allowed: dict[str, tuple[str, ...]] = {ref: ("", commit.parent) if expected is None else (expected,)}
        if target and target != ref:
            tip = refs.get(target, "")
            is_ours = tip and ours(self._commit(Revision("", tip)))
            allowed[target] = (tip,) if is_ours else ("", commit.parent, expected or "")
        for name, tips in allowed.items():
            if refs.get(name, "") not in (*tips, made.oid):
                raise PushConflict(f"{what}: the branch is no longer where it was")
        if repository.refusal and refs.get(ref) != made.oid:
            raise PushDenied(f"{what}: {repository.refusal}")
        refs.update(dict.fromkeys(allowed, made.oid))
