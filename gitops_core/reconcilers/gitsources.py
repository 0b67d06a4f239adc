"""The files of a GitRepository: those of its commit, or what its spec composes of them, submodules and includes.

What was composed is read again as the status tells it, for as long as the artifact is that one: the spec may be another
by then, and so may an included repository, which is told by the digest of its files.

Source: Flux, spec.include, spec.sparseCheckout, spec.recurseSubmodules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from gitops_core.api import Artifact, GitRepository
from gitops_core.api.gitrepository import GitInclude
from gitops_core.domain.sources.composing import (
    FolderMissing,
    PickedTree,
    PlaceTaken,
    TooManyFiles,
    compose,
    take_folder,
    take_sparse,
)
from gitops_core.domain.sources.submodules import SubmoduleInvalid, is_same_place, list_urls, resolve_url
from gitops_core.errors import GitError, PathNotFound, SourceFailed, StalledError, StorageFailed
from gitops_core.meta import ObjectKey, Revision, Tree, parse_duration
from gitops_core.ports import NO_CLOUDS, Clouds, Cluster, Compute, Git, GitAccess, GitRemote, Objects
from gitops_core.recent import Recent
from gitops_core.reconcilers.folders import confine_path, select_files
from gitops_core.reconcilers.telling import is_ours
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.remotes.credentials import read_repository_access
from gitops_core.runtime.sharing.computing import READING

MOST_SUBMODULES, MOST_INCLUDES, MOST_LEVELS = 100, 100, 10
REMEMBERED = 32 << 20
TREE_WEIGHT, PATH_WEIGHT = 2000, 300


class IncludeUnavailable(SourceFailed):
    """What is included is not there, or has fetched nothing yet."""

    condition = "IncludeUnavailable"


class IncludeCycle(StalledError):
    """Something includes itself, by others or at once."""

    reason = "IncludeCycle"


class CopyFailed(StorageFailed):
    """An include has no place, or nothing to copy."""

    reason = "CopyFailure"


@dataclass(frozen=True)
class _Place:
    """A repository with submodules, as a source leads to it.

    Attributes:
        access: what the source proves itself with, where it may.
        level: how many repositories are above it.
        fetched: the submodules of the source so far, at all levels.
    """

    source: GitRepository
    url: str
    access: GitAccess
    level: int = 0
    fetched: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class GitSource:
    """Implements SourceKind for GitRepository: a commit, read from the mirror of its repository."""

    cluster: Cluster
    git: Git
    objects: Objects
    compute: Compute
    clouds: Clouds = NO_CLOUDS
    policy: Policy = DEFAULT_POLICY
    type_: ClassVar[type[GitRepository]] = GitRepository
    _composed: Recent[tuple[str, ...], Tree] = field(default_factory=lambda: Recent(REMEMBERED))

    def find_artifact(self, source: GitRepository) -> Artifact | None:
        return source.status.artifact

    def get_origin(self, source: GitRepository) -> str:
        status = source.status
        if not _is_composed(source):
            return source.spec.url
        named = [(i.repository.name, i.from_path, i.to_path) for i in status.observed_include]
        included = [(artifact.revision, artifact.digest) for artifact in status.included_artifacts]
        parts = (status.observed_sparse_checkout, status.observed_recurse_submodules, named, included)
        return f"{source.spec.url} {parts!r}"

    def get_ignore(self, source: GitRepository) -> str | None:
        return source.spec.ignore

    async def read_tree(self, source: GitRepository, revision: str, path: str = "") -> Tree:
        return await self._read_tree(source, revision, path, 0)

    async def open_remote(self, source: GitRepository) -> GitRemote:
        """Open the repository with the credentials that `source` names. Raises GitAccessDenied, StalledError."""
        return self._open(source, source.spec.url, await self._read_access(source))

    async def _read_access(self, source: GitRepository) -> GitAccess:
        return await read_repository_access(
            self.cluster, source, clouds=self.clouds, default_account=self.policy.default_service_account
        )

    async def find_includes(self, wanted: GitRepository) -> tuple[Artifact, ...]:
        """Find what `wanted` includes now. Raises IncludeUnavailable, IncludeCycle."""
        found = []
        for include in wanted.spec.include:
            other = await self._get_included(wanted, include)
            if other.status.artifact is None:
                cause = f"no artifact available for include '{include.repository.name}'"
                raise IncludeUnavailable(cause, reason="NoArtifact")
            await self._refuse_cycle(wanted, other)
            found.append(other.status.artifact)
        return tuple(found)

    async def _get_included(self, source: GitRepository, include: GitInclude) -> GitRepository:
        key = ObjectKey(source.metadata.namespace, include.repository.name)
        other = await self.objects.get(GitRepository, key)
        if other is None:
            cause = f"could not get resource for include '{key.name}': GitRepository '{key}' not found"
            raise IncludeUnavailable(cause, reason="NotFound")
        return other

    async def _refuse_cycle(self, wanted: GitRepository, first: GitRepository) -> None:
        seen, open_ = set[ObjectKey](), [first]
        while open_:
            other = open_.pop()
            if other.key == wanted.key:
                raise IncludeCycle(f"{wanted.ref} includes itself by {first.ref}: take one include away")
            if other.key in seen:
                continue
            seen.add(other.key)
            for include in other.spec.include:
                key = ObjectKey(other.metadata.namespace, include.repository.name)
                open_ += [further] if (further := await self.objects.get(GitRepository, key)) is not None else []

    def _open(self, source: GitRepository, url: str, access: GitAccess) -> GitRemote:
        return self.git.get_remote(url, access, timeout=parse_duration(source.spec.timeout))

    async def _read_tree(self, source: GitRepository, revision: str, path: str, level: int) -> Tree:
        if not _is_composed(source):
            return await (await self.open_remote(source)).fetch_tree(Revision.parse(revision), path)
        if level > MOST_LEVELS:
            raise CopyFailed(f"{source.ref} includes more than {MOST_LEVELS} repositories in one another")
        whole = await self._read_composed(source, revision, level)
        if not path:
            return whole
        try:
            return await self.compute.run(READING, take_folder, whole, path)
        except FolderMissing:
            raise PathNotFound(f"{source.spec.url} has no folder {path!r} at {revision}") from None

    async def _read_composed(self, source: GitRepository, revision: str, level: int) -> Tree:
        version = (str(source.ref), source.metadata.uid, self.get_origin(source), revision)
        if (known := self._composed.get(version)) is not None:
            return known
        made = await self._compose(source, revision, level)
        weight = TREE_WEIGHT + await self.compute.run(READING, lambda: sum(PATH_WEIGHT + len(path) for path in made))
        self._composed.put(version, made, min(weight, REMEMBERED))
        return made

    async def _compose(self, source: GitRepository, revision: str, level: int) -> Tree:
        status = source.status
        access = await self._read_access(source)
        whole = await self._open(source, source.spec.url, access).fetch_tree(Revision.parse(revision))
        base = await self._take_sparse(whole, status.observed_sparse_checkout)
        if status.observed_recurse_submodules:
            base = await self._add_submodules(_Place(source, source.spec.url, access), base, whole)
        return await self._add_includes(source, base, level)

    async def _take_sparse(self, whole: Tree, folders: Iterable[str]) -> Tree:
        if not folders:
            return whole
        try:
            return await self.compute.run(READING, take_sparse, whole, folders)
        except FolderMissing as error:
            cause = f"sparse checkout dir '{error}' does not exist in repository"
            raise GitError(f"failed to sparse checkout directories : {cause}") from None

    async def _add_submodules(self, at: _Place, base: Tree, whole: Tree) -> Tree:
        """Put the submodules of `base`, part of a repository's `whole`, at their places, and theirs at theirs."""
        try:
            urls = await self.compute.run(READING, lambda: list_urls(whole))
        except SubmoduleInvalid as error:
            raise GitError(f"{at.url}: {error}") from None
        mounted = []
        for place, commit in sorted((await self.compute.run(READING, lambda: base.submodules)).items()):
            if place in urls:  # else it was never added as a submodule
                mounted.append((place, await self._fetch_submodule(at, place, urls[place], commit)))
        try:
            return await self.compute.run(READING, compose, base, mounted) if mounted else base
        except (PlaceTaken, TooManyFiles) as error:
            raise GitError(f"the submodules of {at.url}: {error}") from None

    async def _fetch_submodule(self, at: _Place, place: str, written: str, commit: str) -> Tree:
        what = f"submodule {place!r} of {at.url}"
        at.fetched.append(place)
        if len(at.fetched) > MOST_SUBMODULES or at.level == MOST_LEVELS:
            raise GitError(f"{what}: more than {MOST_SUBMODULES} submodules, or {MOST_LEVELS} levels of them")
        try:
            url = resolve_url(written, at.url)
            # credentials are for the place that they were given for; how it is reached is not a secret of that place
            own = at.access if is_same_place(url, at.source.spec.url) else at.access.without_credentials()
            tree = await self._open(at.source, url, own).fetch_tree(Revision("", commit))
        except (SubmoduleInvalid, StalledError, GitError) as error:  # an edit of the repository heals it, too
            raise GitError(f"{what}: {error}") from None
        return await self._add_submodules(replace(at, url=url, level=at.level + 1), tree, tree)

    async def _add_includes(self, source: GitRepository, base: Tree, level: int) -> Tree:
        status = source.status
        if len(status.observed_include) > MOST_INCLUDES:
            raise CopyFailed(f"{source.ref} includes more than {MOST_INCLUDES} repositories")
        if len(status.observed_include) != len(status.included_artifacts):
            raise IncludeUnavailable(
                f"{source.ref} tells includes and artifacts that do not fit", reason="IncludeChange"
            )
        mounted: dict[str, Tree] = {}
        for include, artifact in zip(status.observed_include, status.included_artifacts, strict=True):
            to = confine_path(include.to_path or include.repository.name)
            if to in mounted:
                raise CopyFailed(
                    f"failed to copy '{include.repository.name}' include to {to}: it is included there twice"
                )
            mounted[to] = await self._read_include(source, include, artifact, level)
        try:
            return await self.compute.run(READING, compose, base, mounted.items()) if mounted else base
        except PlaceTaken as error:
            raise CopyFailed(f"failed to copy an include to {error}: something is there already") from None
        except TooManyFiles as error:
            raise CopyFailed(f"failed to copy the includes of {source.ref}: {error}") from None

    async def _read_include(self, source: GitRepository, include: GitInclude, artifact: Artifact, level: int) -> Tree:
        name, start = include.repository.name, include.from_path
        other = await self._get_included(source, include)
        whole = await self._read_tree(other, artifact.revision, "", level + 1)
        files = await select_files(whole, other.spec.ignore, self.compute)
        # what Flux recorded before we took over is told by its revision alone: its digests are of archives
        if is_ours(artifact) and make_digest(files) != artifact.digest:
            raise IncludeUnavailable(f"the files of include '{name}' are others by now", reason="IncludeChange")
        # a link of it leads nowhere else than to its own files, as which it is among them
        own = PickedTree(files.oid, {path: (files, path) for path in files}, {}, {})
        try:
            return await self.compute.run(READING, take_folder, own, inner) if (inner := confine_path(start)) else own
        except FolderMissing:
            raise CopyFailed(f"failed to copy '{name}' include from {start}: there is no such folder") from None


def make_digest(files: Tree) -> str:
    return f"sha256:{hashlib.sha256(files.oid.encode()).hexdigest()}"


def _is_composed(source: GitRepository) -> bool:
    status = source.status
    return bool(status.observed_sparse_checkout or status.observed_recurse_submodules or status.observed_include)
