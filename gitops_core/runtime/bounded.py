"""A cluster handle for one namespace: what works for a tenant's object cannot reach another tenant's.

Every request names its namespace, and one that names another (or none) is refused before it leaves the process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from gitops_core.errors import StalledError
from gitops_core.meta import Kind, Manifest, ObjectRef
from gitops_core.ports import ApiResource, Cluster, Page, Query, WatchEvent

T = TypeVar("T")


class OutsideNamespace(StalledError):
    """Something asked for an object that its namespace-bound handle must not touch."""

    reason = "AccessDenied"


@dataclass(frozen=True)
class NamespaceBound:
    """Implements gitops_core.ports.Cluster. Raises OutsideNamespace beside what that raises."""

    inner: Cluster
    namespace: str

    async def resource(self, kind: Kind) -> ApiResource:
        return await self.inner.resource(kind)

    async def resources(self) -> Sequence[ApiResource]:
        return await self.inner.resources()

    async def get(self, ref: ObjectRef) -> Manifest | None:
        return await self.inner.get(self._within(ref))

    async def list(self, query: Query, type_: type[T], *, limit: int = 500, continue_token: str = "") -> Page[T]:
        self._within_query(query)
        return await self.inner.list(query, type_, limit=limit, continue_token=continue_token)

    def watch(self, query: Query, type_: type[T], resource_version: str) -> AsyncIterator[WatchEvent[T]]:
        self._within_query(query)
        return self.inner.watch(query, type_, resource_version)

    async def create(self, manifest: Manifest, *, field_manager: str, dry_run: bool = False) -> Manifest:
        self._within(ObjectRef.of(manifest))
        return await self.inner.create(manifest, field_manager=field_manager, dry_run=dry_run)

    async def replace(
        self, manifest: Manifest, *, field_manager: str, subresource: str = "", dry_run: bool = False
    ) -> Manifest:
        self._within(ObjectRef.of(manifest))
        return await self.inner.replace(manifest, field_manager=field_manager, subresource=subresource, dry_run=dry_run)

    async def apply(
        self, manifest: Manifest, *, field_manager: str, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        self._within(ObjectRef.of(manifest))
        return await self.inner.apply(manifest, field_manager=field_manager, force=force, dry_run=dry_run)

    async def patch(
        self,
        ref: ObjectRef,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        field_manager: str,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Manifest:
        return await self.inner.patch(
            self._within(ref), patch, field_manager=field_manager, subresource=subresource, dry_run=dry_run
        )

    async def delete(
        self,
        ref: ObjectRef,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        dry_run: bool = False,
    ) -> None:
        await self.inner.delete(
            self._within(ref), uid=uid, resource_version=resource_version, propagation=propagation, dry_run=dry_run
        )

    def impersonate(self, user: str, groups: Iterable[str] = ()) -> Cluster:
        return NamespaceBound(self.inner.impersonate(user, groups), self.namespace)

    def apart(self) -> Cluster:
        return NamespaceBound(self.inner.apart(), self.namespace)

    def _within(self, ref: ObjectRef) -> ObjectRef:
        if not self.namespace or ref.key.namespace != self.namespace:
            raise OutsideNamespace(f"{ref} is outside namespace {self.namespace!r}, to which this work is bound")
        return ref

    def _within_query(self, query: Query) -> None:
        if not self.namespace or query.namespace != self.namespace:
            where = f"namespace {query.namespace!r}" if query.namespace else "all namespaces"
            asked = f"{query.kind.kind} objects of {where}"
            raise OutsideNamespace(f"{asked} are outside namespace {self.namespace!r}, to which this work is bound")
