"""The files of sources that come from no commit: kept as trees, and brought again by who reads one that was lost.

The digest of the artifact in a source's status is the id of its tree, so that what is brought again must be the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gitops_core.api import Artifact, Bucket, OCIRepository
from gitops_core.errors import GitError, SourceFailed, StalledError, StorageFailed, TransientError, TreeLost
from gitops_core.meta import Resource, Tree
from gitops_core.ports import Git
from gitops_core.runtime.sharing.computing import on_account_of
from gitops_core.runtime.sharing.flights import Flights


@dataclass(frozen=True)
class KeptTrees:
    git: Git
    _brought: Flights[None] = field(default_factory=Flights)

    async def keep(self, source: Resource, files: Mapping[str, bytes]) -> str:
        """Keep the files of a source, and return the id of their tree. Raises StorageFailed."""
        try:
            return await self.git.get_trees(str(source.ref)).add(files)
        except GitError as error:
            raise StorageFailed(f"unable to archive artifact to storage: {error}") from None

    async def read(
        self,
        source: Bucket | OCIRepository,
        revision: str,
        path: str,
        bring: Callable[[Artifact], Awaitable[None]],
    ) -> Tree:
        """Read the folder `path` of the artifact that the source's status tells, which is at `revision`.

        Args:
            bring: has the files kept again; asked once, whoever waits for it.

        Raises:
            PathNotFound: there is no such folder.
            TreeLost: the status tells another artifact by now, or the files are others.
            TransientError: they cannot be had.
        """
        artifact = source.status.artifact
        if artifact is None or artifact.revision != revision:
            raise TreeLost(f"{source.ref} does not have {revision} any more")
        known, tree, trees = artifact, artifact.digest.removeprefix("sha256:"), self.git.get_trees(str(source.ref))
        try:
            return await trees.get_tree(tree, path)
        except TreeLost:
            pass

        async def bring_it() -> None:
            with on_account_of(source.ref):
                await bring(known)

        try:
            await self._brought.join((source.ref, tree), bring_it)
        except (SourceFailed, StalledError) as error:  # whoever reads it has nothing to mend
            cause = f"the files of {source.ref} cannot be had: {error}"
            raise TransientError(cause, reason="ArtifactFailed") from error
        return await trees.get_tree(tree, path)
