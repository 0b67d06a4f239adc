"""Implements Trees: files that come from no commit, in a bare repository of their own.

The ids are of SHA-256: what is kept may be verified by its digest before, and two files must not be one here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gitops_core.adapters.git.mirror import Mirror
from gitops_core.adapters.git.objects import edit_tree
from gitops_core.errors import PathNotFound, TreeLost
from gitops_core.meta import Tree

ALGORITHM = "sha256"


@dataclass(frozen=True)
class MirrorTrees:
    mirror: Mirror
    later: Callable[[Mirror], None]

    async def add(self, files: Mapping[str, bytes]) -> str:
        return await self.mirror.run_healing(lambda: self._add(files))

    async def get_tree(self, oid: str, path: str = "") -> Tree:
        return await self.mirror.run_healing(lambda: self._get_tree(oid, path))

    async def _add(self, files: Mapping[str, bytes]) -> str:
        root, objects = await self.mirror.run_beside(lambda: edit_tree(lambda _: {}, "", files, ALGORITHM))
        if not self.mirror.has(root):
            async with self.mirror.growing():
                await self.mirror.prepare(ALGORITHM)
            await self.mirror.store(objects)
            await self.mirror.keep(root)
            self.later(self.mirror)
        return root

    async def _get_tree(self, oid: str, path: str) -> Tree:
        if not self.mirror.has(oid):
            raise TreeLost(f"the files {oid} of {self.mirror.url} are not kept any more")
        found = await self.mirror.run_beside(lambda: self.mirror.shelf.find_folder(oid, path))
        if not found:
            raise PathNotFound(f"{self.mirror.url} has no folder {path!r} in {oid}")
        return self.mirror.hold_tree(oid, found)
