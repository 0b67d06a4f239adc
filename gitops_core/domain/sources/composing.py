"""A source's files where they are not one commit's alone: some of its folders, submodules and includes at their places.

sparseCheckout [apps]       apps/a.yaml             of the commit, and nothing else of it
submodule vendor/lib        vendor/lib/b.yaml       of another repository's commit
include toPath shared       shared/c.yaml           of another GitRepository's artifact
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from gitops_core.meta import Tree


class PlaceTaken(ValueError):
    """There is something where another tree is to be; the message is that place."""


class FolderMissing(ValueError):
    """There is no such folder or file."""


class TooManyFiles(ValueError):
    """Together the trees hold more than one may."""


MOST_FILES = 200_000


class PickedTree(Tree):
    """Files of other trees, under paths of its own."""

    def __init__(
        self, oid: str, files: Mapping[str, tuple[Tree, str]], links: Mapping[str, str], modules: Mapping[str, str]
    ) -> None:
        self.oid = oid
        self._files, self._links, self._modules = files, links, modules

    def __getitem__(self, path: str) -> bytes:
        tree, inner = self._files[path]
        return tree[inner]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, path: object) -> bool:
        return path in self._files

    def find_blob(self, path: str) -> str:
        tree, inner = self._files.get(path, (None, ""))
        return tree.find_blob(inner) if tree is not None else ""

    @property
    def links(self) -> Mapping[str, str]:
        return self._links

    @property
    def submodules(self) -> Mapping[str, str]:
        return self._modules


def take_folder(tree: Tree, path: str) -> Tree:
    """Return what is below `path`, by paths from there. Raises FolderMissing: nothing is."""
    prefix = f"{path}/"
    files = {name.removeprefix(prefix): (tree, name) for name in tree if name.startswith(prefix)}
    links, modules = _drop_prefix(tree.links, prefix), _drop_prefix(tree.submodules, prefix)
    if not files and not links and not modules:
        raise FolderMissing(path)
    return PickedTree(_hash("folder", tree.oid, path), files, links, modules)


def take_sparse(tree: Tree, folders: Iterable[str]) -> Tree:
    """Return the files that are in `folders`, or are named there themselves, at their own paths.

    Its id is that of these files: what changes elsewhere does not change it.

    Raises:
        FolderMissing: one of them is not there.
    """
    wanted = {_clean(folder): folder for folder in folders}
    if "" in wanted:
        return tree
    files, links, modules = (
        {path: value for path, value in every.items() if not wanted.keys().isdisjoint(_list_above(path))}
        for every in ({path: path for path in tree}, tree.links, tree.submodules)
    )
    found = {above for path in (*files, *links, *modules) for above in _list_above(path)}
    if missing := next((folder for clean, folder in wanted.items() if clean not in found), None):
        raise FolderMissing(missing)
    blobs = [(path, tree.find_blob(path)) for path in sorted(files)]
    of_files = blobs if all(blob for _, blob in blobs) else [tree.oid, sorted(wanted)]
    about = repr((of_files, sorted(links.items()), sorted(modules.items())))
    return PickedTree(_hash("sparse", about), {path: (tree, path) for path in files}, links, modules)


def compose(base: Tree, mounted: Iterable[tuple[str, Tree]]) -> Tree:
    """Put each tree of `mounted` at its place below `base`, one after another.

    Raises:
        PlaceTaken: there is something; TooManyFiles.
    """
    files: dict[str, tuple[Tree, str]] = {path: (base, path) for path in base}
    links, ids = dict(base.links), ["composed", base.oid]
    taken = {above for path in (*files, *links) for above in _list_above(path)}
    for place, tree in mounted:
        above = _list_above(place)
        if not place or place in taken or any(folder in files or folder in links for folder in above):
            raise PlaceTaken(place)
        if len(files) + len(links) + len(tree) + len(tree.links) > MOST_FILES:
            raise TooManyFiles(f"there are more than {MOST_FILES} files")
        files |= {f"{place}/{path}": (tree, path) for path in tree}
        links |= {f"{place}/{path}": target for path, target in tree.links.items()}
        taken |= {f"{place}/{folder}" for path in (*tree, *tree.links) for folder in _list_above(path)} | {*above}
        ids += [place, tree.oid]
    return PickedTree(_hash(*ids), files, links, base.submodules)


def _list_above(path: str) -> tuple[str, ...]:
    """List a path and the folders that it is in.

    >>> _list_above("a/b/c")
    ('a', 'a/b', 'a/b/c')
    """
    parts = path.split("/")
    return tuple("/".join(parts[: end + 1]) for end in range(len(parts)))


def _drop_prefix(paths: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {path.removeprefix(prefix): value for path, value in paths.items() if path.startswith(prefix)}


def _clean(folder: str) -> str:
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise FolderMissing(folder)
    return "/".join(parts)


def _hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogateescape")
        digest.update(b"%d " % len(encoded) + encoded)
    return digest.hexdigest()
