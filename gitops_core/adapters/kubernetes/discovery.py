"""How the API server serves each kind: its plural, and whether it lives in namespaces.

One request tells of all groups (aggregated discovery, Kubernetes 1.27 and newer); a server that does not speak it is
asked for one group and version at a time. Answers are kept; a kind that is not among them is looked up again, because
its CRD may have come since.

That a kind is not served is believed of its own group and version only: the list of all of them is served before it is
whole, while a server starts or an aggregated API is down, and the inventory forgets what is not served.

Everything is asked for as ourselves, whoever is impersonated; so what is no group or version (of an inventory that
anybody wrote, say) is not asked for: with a slash in it, it would be another path.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import msgspec

from gitops_core.adapters.kubernetes.transport import Answer, Request, Transport
from gitops_core.decoding import decode_json
from gitops_core.errors import ClusterUnavailable, KindUnknown
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import ApiResource
from gitops_core.runtime.sharing.flights import Flights

T = TypeVar("T")

SMALL = 1 << 16
"""Bytes of an answer that are read in the loop."""

_VERSION = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_GROUP = re.compile(r"([a-z0-9][-a-z0-9]*(\.[a-z0-9][-a-z0-9]*)*)?")
_ACCEPT = ",".join(
    [
        *(f"application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList" for v in ("v2", "v2beta1")),
        "application/json",
    ]
)


class _ResponseKind(msgspec.Struct):
    group: str = ""
    version: str = ""
    kind: str = ""


class _Resource(msgspec.Struct, rename="camel"):
    resource: str
    scope: str = ""
    short_names: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    response_kind: _ResponseKind | None = None


class _Version(msgspec.Struct):
    version: str
    resources: tuple[_Resource, ...] | None = None


class _Name(msgspec.Struct, frozen=True):
    name: str = ""


class _Group(msgspec.Struct):
    metadata: _Name = _Name()
    versions: tuple[_Version, ...] | None = None


class _Aggregated(msgspec.Struct):
    kind: str = ""
    items: tuple[_Group, ...] | None = None


class _LegacyResource(msgspec.Struct, rename="camel"):
    name: str
    kind: str
    namespaced: bool = False
    group: str = ""
    version: str = ""
    short_names: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None


class _Legacy(msgspec.Struct):
    resources: tuple[_LegacyResource, ...] | None = None


class _LegacyVersion(msgspec.Struct):
    version: str


class _LegacyGroup(msgspec.Struct):
    name: str
    versions: tuple[_LegacyVersion, ...] = ()


class _LegacyRoot(msgspec.Struct):
    """APIVersions at /api, APIGroupList at /apis."""

    versions: tuple[str, ...] = ()
    groups: tuple[_LegacyGroup, ...] = ()


Root = Literal["/api", "/apis"]

_ROOTS: tuple[Root, ...] = ("/api", "/apis")
_ABOUT = ObjectRef(Kind("", "", "APIResource"), ObjectKey("", ""))


class Discovery:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._known: dict[Kind, ApiResource] = {}  # of each group, the preferred version first
        self._etags: dict[Root, str] = {}
        self._looking: Flights[bool] = Flights()

    async def find(self, kind: Kind) -> ApiResource:
        """Find how a kind is served. Raises KindUnknown, and what a request raises."""
        if (known := self._known.get(kind)) is not None:
            return known
        if not (_GROUP.fullmatch(kind.group) and _VERSION.fullmatch(kind.version)):
            raise KindUnknown(kind.api_version, kind.kind)  # it is part of a path that is asked for as ourselves
        root: Root = "/apis" if kind.group else "/api"
        is_listed = await self._looking.join(root, lambda: self._look(root))
        if not is_listed or kind not in self._known:
            await self._looking.join(kind[:2], lambda: self._look_at_version(*kind[:2]))
        try:
            return self._known[kind]
        except KeyError:
            raise KindUnknown(kind.api_version, kind.kind) from None

    async def find_all(self) -> tuple[ApiResource, ...]:
        """Find every kind that is served, in its group's preferred version of it; everything is asked for again."""
        for root in _ROOTS:
            if not await self._look(root):
                versions = await self._ask_versions(root)
                self._forget_below(root)
                for group, version in versions:
                    await self._look_at_version(group, version)
        preferred: dict[tuple[str, str], ApiResource] = {}
        for kind, resource in self._known.items():
            preferred.setdefault((kind.group, kind.kind), resource)
        return tuple(preferred.values())

    def forget(self, kind: Kind) -> None:
        """Forget a kind that the server does not serve (any more)."""
        self._known.pop(kind, None)
        self._etags.clear()

    async def _look(self, root: Root) -> bool:
        """Renew what is known below a root by one request; False when the server speaks no aggregated discovery."""
        etag = self._etags.get(root)
        answer = await self._ask(root, (("Accept", _ACCEPT), *((("If-None-Match", etag),) if etag else ())))
        if answer.code == 304:
            return True
        found = await _read_beside(answer, _list_aggregated) if answer.code == 200 else None
        if found is None:
            return False
        self._etags[root] = answer.headers.get("ETag", "")
        self._forget_below(root)
        for resource in found:
            self._keep(resource)
        return True

    async def _look_at_version(self, group: str, version: str) -> bool:
        """Ask for one version; tell whether it is served."""
        answer = await self._ask(f"/apis/{group}/{version}" if group else f"/api/{version}", ())
        if answer.code == 200:
            for resource in await _read_beside(answer, lambda answer: _list_legacy(answer, group, version)):
                self._keep(resource)
        return answer.code == 200

    async def _ask_versions(self, root: Root) -> list[tuple[str, str]]:
        answer = await self._ask(root, ())
        found = _decode(answer, _LegacyRoot) if answer.code == 200 else _LegacyRoot()
        grouped = [(group.name, version.version) for group in found.groups for version in group.versions]
        return [("", version) for version in found.versions] + grouped

    def _forget_below(self, root: Root) -> None:
        self._known = {kind: known for kind, known in self._known.items() if bool(kind.group) != (root == "/apis")}

    def _keep(self, resource: ApiResource) -> None:
        self._known.setdefault(resource.kind, resource)

    async def _ask(self, path: str, headers: tuple[tuple[str, str], ...]) -> Answer:
        request = Request("GET", path, _ABOUT, headers)
        answer = await self._transport.exchange(request)
        if answer.code not in (200, 304, 404, 406):
            self._transport.refuse(answer, request)
        return answer


async def _read_beside(answer: Answer, read: Callable[[Answer], T]) -> T:
    """Read an answer: in a thread, where that takes more than some milliseconds."""
    return read(answer) if len(answer.body) <= SMALL else await asyncio.to_thread(read, answer)


def _list_aggregated(answer: Answer) -> list[ApiResource] | None:
    """List what is served; None when the server speaks no aggregated discovery."""
    found = _decode(answer, _Aggregated)
    if found.kind != "APIGroupDiscoveryList":
        return None
    entries = (_read_entry(group, v.version, item) for group, v in _list_versions(found) for item in v.resources or ())
    return [entry for entry in entries if entry is not None]


def _list_legacy(answer: Answer, group: str, version: str) -> list[ApiResource]:
    return [
        ApiResource(
            Kind(item.group or group, item.version or version, item.kind),
            item.name,
            item.namespaced,
            item.short_names or (),
            item.categories or (),
        )
        for item in _decode(answer, _Legacy).resources or ()
        if "/" not in item.name  # else a subresource
    ]


def _list_versions(found: _Aggregated) -> Iterator[tuple[str, _Version]]:
    for group in found.items or ():
        for version in group.versions or ():
            yield group.metadata.name, version


def _read_entry(group: str, version: str, item: _Resource) -> ApiResource | None:
    """Read an entry, None for one with subresources only. Without group or version it has those of its list."""
    if item.response_kind is None:
        return None
    kind = Kind(item.response_kind.group or group, item.response_kind.version or version, item.response_kind.kind)
    return ApiResource(kind, item.resource, item.scope == "Namespaced", item.short_names or (), item.categories or ())


def _decode(answer: Answer, type_: type[T]) -> T:
    try:
        return decode_json(answer.body, type_)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ClusterUnavailable("the API server's list of kinds cannot be read") from None
