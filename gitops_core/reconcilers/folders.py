"""Folders of repositories as values, shared by all that read them.

A hundred Kustomizations of one commit ask Git once. A folder is read alone where it stands for itself; where its
kustomization files reach above it, it comes with the whole repository.
"""

from __future__ import annotations

import posixpath
from collections import OrderedDict
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from gitops_core.api import GitRepository
from gitops_core.domain import folders
from gitops_core.domain.ignore import IgnoreRules, SelectedTree, ignore_files, ignore_rules
from gitops_core.domain.links import resolved
from gitops_core.errors import PathNotFound
from gitops_core.meta import Revision, Tree, seconds
from gitops_core.ports import Cluster, Compute, Git, GitRemote
from gitops_core.runtime.computing import IN_PLACE, READING, on_account_of
from gitops_core.runtime.credentials import git_access
from gitops_core.runtime.flights import Flights

REMEMBERED_FOLDERS = 4096
REMEMBERED_ROOTS = 8

V = TypeVar("V")
Key = tuple[str, ...]


@dataclass(frozen=True)
class Folder:
    """What to render: folder `path` of `tree`, which may hold that folder alone."""

    tree: Tree
    path: str


@dataclass(frozen=True)
class _Root:
    """A whole repository at a revision, and which of its files count."""

    files: SelectedTree
    rules: IgnoreRules


@dataclass
class Folders:
    cluster: Cluster
    git: Git
    compute: Compute = IN_PLACE
    _roots: OrderedDict[Key, _Root] = field(default_factory=OrderedDict)
    _folders: OrderedDict[Key, tuple[Key, Folder]] = field(default_factory=OrderedDict)
    _under_way: Flights[_Root] = field(default_factory=Flights)

    async def remote(self, source: GitRepository) -> GitRemote:
        """The repository, with the credentials that `source` names. Raises GitAccessDenied, StalledError."""
        secret = source.spec.secret_ref.name if source.spec.secret_ref else ""
        access = await git_access(self.cluster, source.metadata.namespace, secret, source.spec.url)
        return self.git.remote(source.spec.url, access, timeout=seconds(source.spec.timeout))

    async def root(self, source: GitRepository, revision: Revision) -> SelectedTree:
        """The repository's files at `revision`, without what is ignored."""
        return (await self._root(source, revision)).files

    async def folder(
        self, source: GitRepository, revision: Revision, path: str, *, beside: Iterable[str] = ()
    ) -> Folder:
        """Folder `path` at `revision`. Raises PathNotFound and what Git raises.

        Args:
            beside: paths, seen from the folder, of what is rendered with it; some may be outside of it.
        """
        inside, is_alone = inside_repository(path), not any(".." in name for name in beside)
        place, version = (str(source.key), inside, str(is_alone)), _version(source, revision)
        known = self._folders.get(place)
        if known is not None and known[0] == version:
            return known[1]
        found = await self._read(source, revision, inside, is_alone=is_alone)
        _remember(self._folders, place, (version, found), REMEMBERED_FOLDERS)
        return found

    async def _read(self, source: GitRepository, revision: Revision, inside: str, *, is_alone: bool) -> Folder:
        root = await self._root(source, revision)
        if not inside or resolved(inside, root.files.links) != inside:
            return Folder(root.files, inside)
        remote = await self.remote(source)
        try:
            tree = await remote.tree(revision, inside)
        except PathNotFound:
            raise PathNotFound(f"kustomization path not found: {inside} is not a folder of {revision}") from None
        return await self.compute.run(READING, _folder_of, tree, root, inside, is_alone)

    async def _root(self, source: GitRepository, revision: Revision) -> _Root:
        version = _version(source, revision)
        if (known := self._roots.get(version)) is not None:
            return known
        remote = await self.remote(source)
        tree = await remote.tree(revision)  # Git is asked once, whoever waits for it
        if (known := self._roots.get(version)) is not None:
            return known
        return await self._under_way.join(version, lambda: self._selected(source, version, tree))

    async def _selected(self, source: GitRepository, version: Key, tree: Tree) -> _Root:
        """The files of `tree` that count; on the account of the source, as all that read it share them."""
        with on_account_of(source.ref):
            rules = await self.compute.run(READING, _rules_of, tree, source.spec.ignore)
            kept = self._kept(version, rules)
            found = await self.compute.run(READING, lambda: _Root(SelectedTree(tree, rules, kept=kept), rules))
        _remember(self._roots, version, found, REMEMBERED_ROOTS)
        return found

    def _kept(self, version: Key, rules: IgnoreRules) -> Container[str]:
        """What the same rules kept of an earlier revision: twenty thousand paths take 0.1 s to match."""
        for known, root in reversed(self._roots.items()):
            if known[:-1] == version[:-1] and root.rules.fingerprint == rules.fingerprint:
                return root.files
        return ()


def _rules_of(tree: Tree, spec_ignore: str | None) -> IgnoreRules:
    texts = {posixpath.dirname(path): tree[path].decode("utf-8", "replace") for path in ignore_files(tree)}
    return ignore_rules(texts, spec_ignore)


def _folder_of(tree: Tree, root: _Root, inside: str, is_alone: bool) -> Folder:
    own = SelectedTree(tree, root.rules, inside, kept=root.files)
    is_whole = is_alone and not reaches_out(own)
    return Folder(folders.PlacedTree(own, inside) if is_whole else root.files, inside)


def _version(source: GitRepository, revision: Revision) -> Key:
    ignore = "-" if source.spec.ignore is None else f"+{source.spec.ignore}"
    return str(source.key), source.metadata.uid, source.spec.url, ignore, str(revision)


def _remember(memory: OrderedDict[Key, V], key: Key, value: V, size: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > size:
        memory.popitem(last=False)


def inside_repository(path: str) -> str:
    """spec.path as a path inside the repository: what climbs above the root stays at the root.

    >>> [inside_repository(path) for path in ("./apps/web/", "", "/apps", "../../etc")]
    ['apps/web', '', 'apps', 'etc']
    """
    return posixpath.normpath(f"/{path}").lstrip("/")


def reaches_out(folder: Tree) -> bool:
    """Whether a kustomization file of `folder` may name something outside of it, or a link may lead there."""
    own = [folder[path] for path in folder if path.rpartition("/")[2] in folders.NAMES]
    words = (b"..", b"\\", b"generators", b"transformers", b"validators")
    return bool(folder.links) or any(word in text for text in own for word in words)
