"""A cluster handle that forwards everything: who wraps a cluster overrides one of two hooks, and no signature again.

request ── check: may refuse ── carry: around the sending ── inner cluster
watch   ── check: may refuse ─────────────────────────────── inner cluster
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Self, TypeVar

from gitops_core.meta import SERVICE_ACCOUNT, Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import AccountToken, ApiResource, Cluster, Page, Query, WatchEvent

A = TypeVar("A")
T = TypeVar("T")

Reading = Literal["get", "list", "watch", "request_token"]
"""A token is no object: who is given one changed nothing."""

Writing = Literal["create", "replace", "apply", "patch", "delete"]


class Request(NamedTuple):
    """One call of the port's methods that are about objects.

    Attributes:
        about: what the caller named: a Query for lists and watches, the manifest that is to be stored, or an object.
    """

    method: Reading | Writing
    about: ObjectRef | Query | Manifest
    dry_run: bool = False

    @property
    def is_write(self) -> bool:
        """Tell whether it may change something: a dry run is a write too, as the API server sees it."""
        return self.method not in ("get", "list", "watch", "request_token")


@dataclass(frozen=True)
class Forwarding:
    """Implements gitops_core.ports.Cluster: handles that it makes (`impersonate`, `connect_apart`) are wrapped too."""

    inner: Cluster

    def check(self, request: Request) -> None:
        """Check `request`, and raise to refuse it: asked about every request, and about a watch when it is made."""

    async def carry(self, request: Request, send: Callable[[], Awaitable[A]]) -> A:
        """Send a request that is no watch, and return what is to be answered."""
        return await send()

    async def find_api_resource(self, kind: Kind) -> ApiResource:
        return await self.inner.find_api_resource(kind)

    async def list_api_resources(self) -> Sequence[ApiResource]:
        return await self.inner.list_api_resources()

    async def get(self, ref: ObjectRef) -> Manifest | None:
        return await self._send(Request("get", ref), partial(self.inner.get, ref))

    async def list(self, query: Query, type_: type[T], *, limit: int = 500, continue_token: str = "") -> Page[T]:
        async def send() -> Page[T]:
            return await self.inner.list(query, type_, limit=limit, continue_token=continue_token)

        return await self._send(Request("list", query), send)

    def watch(
        self, query: Query, type_: type[T], resource_version: str, *, seconds: int | None = None
    ) -> AsyncIterator[WatchEvent[T]]:
        self.check(Request("watch", query))
        return self.inner.watch(query, type_, resource_version, seconds=seconds)

    async def create(self, manifest: Manifest, *, field_manager: str, dry_run: bool = False) -> Manifest:
        send = partial(self.inner.create, manifest, field_manager=field_manager, dry_run=dry_run)
        return await self._send(Request("create", manifest, dry_run), send)

    async def replace(
        self, manifest: Manifest, *, field_manager: str, subresource: str = "", dry_run: bool = False
    ) -> Manifest:
        send = partial(
            self.inner.replace, manifest, field_manager=field_manager, subresource=subresource, dry_run=dry_run
        )
        return await self._send(Request("replace", manifest, dry_run), send)

    async def apply(
        self, manifest: Manifest, *, field_manager: str, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        send = partial(self.inner.apply, manifest, field_manager=field_manager, force=force, dry_run=dry_run)
        return await self._send(Request("apply", manifest, dry_run), send)

    async def patch(
        self,
        ref: ObjectRef,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        field_manager: str,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Manifest:
        send = partial(
            self.inner.patch, ref, patch, field_manager=field_manager, subresource=subresource, dry_run=dry_run
        )
        return await self._send(Request("patch", ref, dry_run), send)

    async def delete(
        self,
        ref: ObjectRef,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        dry_run: bool = False,
    ) -> None:
        send = partial(
            self.inner.delete,
            ref,
            uid=uid,
            resource_version=resource_version,
            propagation=propagation,
            dry_run=dry_run,
        )
        await self._send(Request("delete", ref, dry_run), send)

    async def request_token(self, account: ObjectKey, audiences: Sequence[str] = ()) -> AccountToken:
        about = ObjectRef(SERVICE_ACCOUNT, account)
        return await self._send(Request("request_token", about), partial(self.inner.request_token, account, audiences))

    def impersonate(self, user: str, groups: Iterable[str] = ()) -> Cluster:
        return self._wrap(self.inner.impersonate(user, groups))

    def connect_apart(self) -> Cluster:
        return self._wrap(self.inner.connect_apart())

    def _wrap(self, inner: Cluster) -> Self:
        return dataclasses.replace(self, inner=inner)

    async def _send(self, request: Request, send: Callable[[], Awaitable[A]]) -> A:
        self.check(request)
        return await self.carry(request, send)
