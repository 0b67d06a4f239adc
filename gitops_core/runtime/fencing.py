"""Cluster and Git as a reconciler gets them: every write asks first whether this process still leads.

The adapter below asks once more, right before the bytes leave (see leave.py). The fence also notes what each
reconciliation wrote, so that the echo of a write does not wake the writer again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from gitops_core.meta import Kind, Manifest, ObjectRef, Revision, Sensitive, Tree
from gitops_core.ports import (
    ApiResource,
    Cluster,
    Commit,
    CommitInfo,
    Git,
    GitAccess,
    GitRef,
    GitRemote,
    Page,
    Query,
    Signer,
    WatchEvent,
    no_commit,
)
from gitops_core.runtime.informers import version_of
from gitops_core.runtime.leave import Fence, behind

T = TypeVar("T")

_ANONYMOUS = GitAccess()

WRITTEN: ContextVar[dict[ObjectRef, int] | None] = ContextVar("WRITTEN", default=None)
"""Where the running reconciliation's writes are noted: the resourceVersion by object. Tasks it starts inherit it."""


def _note(manifest: Manifest, dry_run: bool) -> Manifest:
    written = WRITTEN.get()
    if written is not None and not dry_run:
        written[ObjectRef.of(manifest)] = version_of(manifest["metadata"].get("resourceVersion", ""))
    return manifest


@dataclass(frozen=True)
class FencedCluster:
    """Implements gitops_core.ports.Cluster."""

    inner: Cluster
    fence: Fence

    async def resource(self, kind: Kind) -> ApiResource:
        return await self.inner.resource(kind)

    async def resources(self) -> Sequence[ApiResource]:
        return await self.inner.resources()

    async def get(self, ref: ObjectRef) -> Manifest | None:
        return await self.inner.get(ref)

    async def list(self, query: Query, type_: type[T], *, limit: int = 500, continue_token: str = "") -> Page[T]:
        return await self.inner.list(query, type_, limit=limit, continue_token=continue_token)

    def watch(self, query: Query, type_: type[T], resource_version: str) -> AsyncIterator[WatchEvent[T]]:
        return self.inner.watch(query, type_, resource_version)

    async def create(self, manifest: Manifest, *, field_manager: str, dry_run: bool = False) -> Manifest:
        with behind(self.fence):
            return _note(await self.inner.create(manifest, field_manager=field_manager, dry_run=dry_run), dry_run)

    async def replace(
        self, manifest: Manifest, *, field_manager: str, subresource: str = "", dry_run: bool = False
    ) -> Manifest:
        with behind(self.fence):
            stored = await self.inner.replace(
                manifest, field_manager=field_manager, subresource=subresource, dry_run=dry_run
            )
        return _note(stored, dry_run)

    async def apply(
        self, manifest: Manifest, *, field_manager: str, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        with behind(self.fence):
            stored = await self.inner.apply(manifest, field_manager=field_manager, force=force, dry_run=dry_run)
        return _note(stored, dry_run)

    async def patch(
        self,
        ref: ObjectRef,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        field_manager: str,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Manifest:
        with behind(self.fence):
            stored = await self.inner.patch(
                ref, patch, field_manager=field_manager, subresource=subresource, dry_run=dry_run
            )
        return _note(stored, dry_run)

    async def delete(
        self,
        ref: ObjectRef,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        dry_run: bool = False,
    ) -> None:
        with behind(self.fence):
            await self.inner.delete(
                ref, uid=uid, resource_version=resource_version, propagation=propagation, dry_run=dry_run
            )

    def impersonate(self, user: str, groups: Iterable[str] = ()) -> Cluster:
        return FencedCluster(self.inner.impersonate(user, groups), self.fence)

    def apart(self) -> Cluster:
        return FencedCluster(self.inner.apart(), self.fence)


@dataclass(frozen=True)
class FencedRemote:
    """Implements gitops_core.ports.GitRemote."""

    inner: GitRemote
    fence: Fence

    async def resolve(self, ref: GitRef) -> Revision:
        return await self.inner.resolve(ref)

    async def tree(self, revision: Revision, path: str = "") -> Tree:
        return await self.inner.tree(revision, path)

    async def search(self, revision: Revision, text: str, path: str = "") -> tuple[str, ...]:
        return await self.inner.search(revision, text, path)

    async def describe(self, revision: Revision) -> CommitInfo:
        return await self.inner.describe(revision)

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
        ours: Callable[[CommitInfo], bool] = no_commit,
    ) -> Revision:
        with behind(self.fence):
            return await self.inner.push(commit, branch, expected=expected, refspec=refspec, options=options, ours=ours)


@dataclass(frozen=True)
class FencedGit:
    """Implements gitops_core.ports.Git."""

    inner: Git
    fence: Fence

    def remote(self, url: str, access: GitAccess = _ANONYMOUS, *, timeout: float = 60.0) -> GitRemote:
        return FencedRemote(self.inner.remote(url, access, timeout=timeout), self.fence)

    async def signer(self, kind: Literal["gpg", "ssh"], values: Mapping[str, Sensitive], about: str) -> Signer:
        return await self.inner.signer(kind, values, about)
