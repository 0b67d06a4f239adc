"""Folders of sources as values, shared by all that read them.

A hundred Kustomizations of one revision have it read once. A folder is read alone where it stands for itself; where
its kustomization files reach above it, it comes with all files of the source.
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from gitops_core.domain.render import folders
from gitops_core.domain.sources.ignore import IgnoreRules, SelectedTree, list_ignore_files, parse_ignore_rules
from gitops_core.domain.sources.links import resolve_path
from gitops_core.errors import PathNotFound
from gitops_core.meta import Resource, Tree
from gitops_core.ports import Compute
from gitops_core.recent import Recent
from gitops_core.reconcilers.sources import SourceKinds
from gitops_core.runtime.sharing.computing import IN_PLACE, READING, on_account_of
from gitops_core.runtime.sharing.flights import Flights

REMEMBERED_FOLDERS = 64 << 20
REMEMBERED_ROOTS = 64 << 20
TREE_WEIGHT, PATH_WEIGHT = 2000, 130
"""Bytes that a tree takes, and each of its paths beside its characters."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Folder:
    """What to render: folder `path` of `tree`, which may hold that folder alone."""

    tree: Tree
    path: str


@dataclass(frozen=True)
class _Root:
    """All files of a source at a revision, and which of them count."""

    files: SelectedTree
    rules: IgnoreRules


@dataclass
class Folders:
    kinds: SourceKinds
    compute: Compute = IN_PLACE
    _roots: Recent[Key, _Root] = field(default_factory=lambda: Recent(REMEMBERED_ROOTS))
    _folders: Recent[Key, tuple[Key, Folder | None]] = field(default_factory=lambda: Recent(REMEMBERED_FOLDERS))
    """With None where the folder comes with all files of the source, which are kept for themselves."""
    _under_way: Flights[_Root] = field(default_factory=Flights)

    async def read_files(self, source: Resource, revision: str) -> SelectedTree:
        """Read the source's files at `revision`, without what is ignored."""
        return (await self._read_root(source, revision)).files

    async def read_folder(self, source: Resource, revision: str, path: str, *, beside: Iterable[str] = ()) -> Folder:
        """Read the folder `path` at `revision`. Raises PathNotFound and what the kind of source raises.

        Args:
            beside: paths, seen from the folder, of what is rendered with it; some may be outside of it.
        """
        inside, is_alone = confine_path(path), not any(".." in name for name in beside)
        place, version = (str(source.ref), inside, str(is_alone)), self._make_version(source, revision)
        known = self._folders.get(place)
        if known is None or known[0] != version:
            own = await self._read_own(source, revision, inside, is_alone=is_alone) if inside else None
            known = version, own
            weight = await self.compute.run(READING, _weigh, own.tree if own is not None else ())
            self._folders.put(place, known, weight)
        return known[1] or Folder(await self.read_files(source, revision), inside)

    async def _read_own(self, source: Resource, revision: str, inside: str, *, is_alone: bool) -> Folder | None:
        """Read the folder alone; None where it does not stand for itself."""
        root = await self._read_root(source, revision)
        if resolve_path(inside, root.files.links) != inside:
            return None
        try:
            tree = await self.kinds[source.KIND.kind].read_tree(source, revision, inside)
        except PathNotFound:
            raise PathNotFound(f"kustomization path not found: {inside} is not a folder of {revision}") from None
        return await self.compute.run(READING, _make_folder, tree, root, inside) if is_alone else None

    async def _read_root(self, source: Resource, revision: str) -> _Root:
        version = self._make_version(source, revision)
        if (known := self._roots.get(version)) is not None:
            return known
        tree = await self.kinds[source.KIND.kind].read_tree(source, revision)  # asked once, whoever waits for it
        if (known := self._roots.get(version)) is not None:
            return known
        return await self._under_way.join(version, lambda: self._select(source, version, tree))

    async def _select(self, source: Resource, version: Key, tree: Tree) -> _Root:
        """Select the files of `tree` that count; on the account of the source, as all that read it share them."""
        with on_account_of(source.ref):
            ignore = self.kinds[source.KIND.kind].get_ignore(source)
            rules = await self.compute.run(READING, read_rules, tree, ignore)
            kept = self._find_kept(version, rules)
            found = await self.compute.run(READING, lambda: _Root(SelectedTree(tree, rules, kept=kept), rules))
            weight = await self.compute.run(READING, _weigh, found.files)
        self._roots.put(version, found, min(weight, REMEMBERED_ROOTS))
        return found

    def _make_version(self, source: Resource, revision: str) -> Key:
        kind = self.kinds[source.KIND.kind]
        ignore = kind.get_ignore(source)
        told = f"+{ignore}" if isinstance(ignore, str) else "-"
        return str(source.ref), source.metadata.uid, kind.get_origin(source), told, revision

    def _find_kept(self, version: Key, rules: IgnoreRules) -> Container[str]:
        """Find what the same rules kept of an earlier revision: twenty thousand paths take 0.1 s to match."""
        for known, root in reversed(self._roots.list_items()):
            if known[:-1] == version[:-1] and root.rules.fingerprint == rules.fingerprint:
                return root.files
        return ()


async def select_files(tree: Tree, ignore: str | None, compute: Compute) -> SelectedTree:
    """Select the files of a source that count, which nothing is remembered of."""
    rules = await compute.run(READING, read_rules, tree, ignore)
    return await compute.run(READING, SelectedTree, tree, rules)


def read_rules(tree: Tree, ignore: str | IgnoreRules | None) -> IgnoreRules:
    if isinstance(ignore, IgnoreRules):
        return ignore
    texts = {posixpath.dirname(path): tree[path].decode("utf-8", "replace") for path in list_ignore_files(tree)}
    return parse_ignore_rules(texts, ignore)


def _make_folder(tree: Tree, root: _Root, inside: str) -> Folder | None:
    own = SelectedTree(tree, root.rules, inside, kept=root.files)
    return None if reaches_out(own) else Folder(folders.PlacedTree(own, inside), inside)


def _weigh(paths: Iterable[str]) -> int:
    return TREE_WEIGHT + sum(PATH_WEIGHT + sys.getsizeof(path) for path in paths)


def confine_path(path: str) -> str:
    """Confine spec.path to the source: what climbs above the root stays at the root.

    >>> [confine_path(path) for path in ("./apps/web/", "", "/apps", "../../etc")]
    ['apps/web', '', 'apps', 'etc']
    """
    return posixpath.normpath(f"/{path}").lstrip("/")


def reaches_out(folder: Tree) -> bool:
    """Tell whether a kustomization file of `folder` may name something outside of it, or a link may lead there."""
    own = [folder[path] for path in folder if path.rpartition("/")[2] in folders.NAMES]
    words = (b"..", b"\\", b"generators", b"transformers", b"validators")
    return bool(folder.links) or any(word in text for text in own for word in words)
