"""Clusters and Git as a reconciler gets them: every write asks first whether this process still leads.

The adapter below asks once more, right before the bytes leave (see leave.py). The fence also notes what each
reconciliation wrote, so that the echo of a write does not wake the writer again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeVar

from gitops_core.meta import ObjectKey, ObjectRef, Revision, Sensitive, Tree
from gitops_core.ports import (
    Clusters,
    Commit,
    CommitInfo,
    Git,
    GitAccess,
    GitRef,
    GitRemote,
    RemoteCluster,
    Signer,
    Target,
    Trees,
    WriteAccess,
    is_never_ours,
)
from gitops_core.runtime.authority.forwarding import Forwarding, Request
from gitops_core.runtime.authority.leave import Fence, behind
from gitops_core.runtime.watching.informers import parse_resource_version

A = TypeVar("A")

_ANONYMOUS = GitAccess()

WRITTEN: ContextVar[dict[tuple[str, ObjectRef], int] | None] = ContextVar("WRITTEN", default=None)
"""Where the running reconciliation's writes are noted: the resourceVersion by target and object, for two clusters have
objects of one name, and count for themselves. Tasks it starts inherit it."""


@dataclass(frozen=True)
class FencedCluster(Forwarding):
    """Implements gitops_core.ports.Cluster.

    Attributes:
        target: the `Target.id` of a cluster that is not our own.
    """

    fence: Fence
    target: str = ""

    async def carry(self, request: Request, send: Callable[[], Awaitable[A]]) -> A:
        if not request.is_write:
            return await send()
        with behind(self.fence):
            answer = await send()
        if isinstance(answer, Mapping) and not request.dry_run and (written := WRITTEN.get()) is not None:
            version = parse_resource_version(answer["metadata"].get("resourceVersion", ""))
            written[self.target, ObjectRef.of(answer)] = version
        return answer


@dataclass(frozen=True)
class FencedClusters:
    """Implements gitops_core.ports.Clusters."""

    inner: Clusters
    fence: Fence

    @asynccontextmanager
    async def open(
        self, cluster: Sensitive | RemoteCluster | None, service_account: ObjectKey | None, *, about: str = ""
    ) -> AsyncIterator[Target]:
        async with self.inner.open(cluster, service_account, about=about) as target:
            yield Target(target.id, FencedCluster(target.cluster, self.fence, target.id))


@dataclass(frozen=True)
class FencedRemote:
    """Implements gitops_core.ports.GitRemote."""

    inner: GitRemote
    fence: Fence

    async def resolve(self, ref: GitRef) -> Revision:
        return await self.inner.resolve(ref)

    async def fetch_tree(self, revision: Revision, path: str = "") -> Tree:
        return await self.inner.fetch_tree(revision, path)

    async def search(self, revision: Revision, text: str, path: str = "") -> tuple[str, ...]:
        return await self.inner.search(revision, text, path)

    async def describe(self, revision: Revision) -> CommitInfo:
        return await self.inner.describe(revision)

    async def read_commit(self, revision: Revision) -> bytes:
        return await self.inner.read_commit(revision)

    async def read_tag(self, ref: str, commit: str) -> bytes | None:
        return await self.inner.read_tag(ref, commit)

    async def find_write_access(self, revision: Revision) -> WriteAccess:
        return await self.inner.find_write_access(revision)

    async def preview(self, commit: Commit) -> str:
        return await self.inner.preview(commit)

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
        with behind(self.fence):
            return await self.inner.push(commit, branch, expected=expected, refspec=refspec, options=options, ours=ours)


@dataclass(frozen=True)
class FencedGit:
    """Implements gitops_core.ports.Git."""

    inner: Git
    fence: Fence

    def get_remote(self, url: str, access: GitAccess = _ANONYMOUS, *, timeout: float = 60.0) -> GitRemote:
        return FencedRemote(self.inner.get_remote(url, access, timeout=timeout), self.fence)

    def get_trees(self, name: str) -> Trees:
        return self.inner.get_trees(name)

    async def load_signer(self, kind: Literal["gpg", "ssh"], values: Mapping[str, Sensitive], about: str) -> Signer:
        return await self.inner.load_signer(kind, values, about)
