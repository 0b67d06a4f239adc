"""How the API server serves each kind: its plural, and whether it lives in namespaces.

One request tells of all groups (aggregated discovery, Kubernetes 1.27 and newer); a server that does not speak it is
asked for one group and version at a time. Answers are kept; a kind that is not among them is looked up again, because
its CRD may have come since.

That a kind is not served is believed of its own group and version only: the list of all of them is served before it is
whole, while a server starts or an aggregated API is down, and the inventory forgets what is not served.

A list may have many MiB, and is read entry by entry beside the loop: while a decoder works, nothing else does.

Everything is asked for as ourselves, whoever is impersonated; so what is no group or version (of an inventory that
anybody wrote, say) is not asked for: with a slash in it, it would be another path.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, TypeVar

import msgspec

from gitops_core.adapters.kubernetes.transport import Answer, Request, Transport
from gitops_core.decoding import decode_json
from gitops_core.errors import ClusterUnavailable, KindUnknown
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import ApiResource, Compute
from gitops_core.runtime.sharing.computing import BYTES_OF_WEIGHT
from gitops_core.runtime.sharing.flights import Flights

T = TypeVar("T")

MOST_KINDS = 100_000
"""Of one server, each counted once a version: far more than any cluster serves."""
LARGEST_ENTRY = 1 << 16
"""Bytes of what a server says of one kind."""
MOST_VALUES = 2_000_000
"""In one list: what servers say of MOST_KINDS has fewer, and decoded each takes memory."""
ENTRY_WEIGHT = 2
"""What a kind counts that is looked at."""

_VERSION = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_GROUP = re.compile(r"([a-z0-9][-a-z0-9]*(\.[a-z0-9][-a-z0-9]*)*)?")
_ACCEPT = ",".join(
    [
        *(f"application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList" for v in ("v2", "v2beta1")),
        "application/json",
    ]
)


class _ResponseKind(msgspec.Struct, gc=False):
    group: str = ""
    version: str = ""
    kind: str = ""


class _Resource(msgspec.Struct, rename="camel", gc=False):
    resource: str
    scope: str = ""
    short_names: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    response_kind: _ResponseKind | None = None


class _Version(msgspec.Struct):
    version: str
    resources: tuple[msgspec.Raw, ...] | None = None


class _Name(msgspec.Struct, frozen=True):
    name: str = ""


class _Group(msgspec.Struct):
    metadata: _Name = _Name()
    versions: tuple[_Version, ...] | None = None


class _Aggregated(msgspec.Struct):
    kind: str = ""
    items: tuple[msgspec.Raw, ...] | None = None


class _LegacyResource(msgspec.Struct, rename="camel", gc=False):
    name: str
    kind: str
    namespaced: bool = False
    group: str = ""
    version: str = ""
    short_names: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None


class _Legacy(msgspec.Struct):
    resources: tuple[msgspec.Raw, ...] | None = None


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
_Named = tuple[str, str, str]
_Known = Mapping[_Named, tuple[str, bool, tuple[str, ...], tuple[str, ...]]]
"""What an ApiResource says, by its kind: of plain tuples, which the garbage collector soon passes over."""

_ROOTS: tuple[Root, ...] = ("/api", "/apis")
_ABOUT = ObjectRef(Kind("", "", "APIResource"), ObjectKey("", ""))


class Discovery:
    def __init__(self, transport: Transport, compute: Compute) -> None:
        self._transport, self._compute = transport, compute
        self._known: dict[Root, _Known] = {root: {} for root in _ROOTS}
        """Of each group, the preferred version first."""
        self._etags: dict[Root, str] = {}
        self._looking: Flights[bool] = Flights()

    async def find(self, kind: Kind) -> ApiResource:
        """Find how a kind is served. Raises KindUnknown, and what a request raises."""
        root = _find_root(kind.group)
        if (known := self._known[root].get(kind)) is not None:
            return ApiResource(kind, *known)
        if not (_GROUP.fullmatch(kind.group) and _VERSION.fullmatch(kind.version)):
            raise KindUnknown(kind.api_version, kind.kind)  # it is part of a path that is asked for as ourselves
        is_listed = await self._looking.join(root, lambda: self._look(root))
        if not is_listed or kind not in self._known[root]:
            await self._looking.join(kind[:2], lambda: self._look_at_version(*kind[:2]))
        try:
            return ApiResource(kind, *self._known[root][kind])
        except KeyError:
            raise KindUnknown(kind.api_version, kind.kind) from None

    async def find_all(self) -> tuple[ApiResource, ...]:
        """Find every kind that is served, in its group's preferred version of it; everything is asked for again."""
        for root in _ROOTS:
            if not await self._look(root):
                versions = await self._ask_versions(root)
                self._known[root] = {}
                for group, version in versions:
                    await self._look_at_version(group, version)
        known = [self._known[root] for root in _ROOTS]
        return await self._compute.run(sum(map(len, known)) * ENTRY_WEIGHT, _select_preferred, known)

    def forget(self, kind: Kind) -> None:
        """Forget a kind that the server does not serve (any more)."""
        known = self._known[_find_root(kind.group)]
        if kind in known:
            self._known[_find_root(kind.group)] = {one: resource for one, resource in known.items() if one != kind}
        self._etags.clear()

    async def _look(self, root: Root) -> bool:
        """Renew what is known below a root by one request; False when the server speaks no aggregated discovery."""
        etag = self._etags.get(root)
        answer = await self._ask(root, (("Accept", _ACCEPT), *((("If-None-Match", etag),) if etag else ())))
        if answer.code == 304:
            return True
        body = answer.body if answer.code == 200 else b"{}"
        found = await self._compute.run(len(body) // BYTES_OF_WEIGHT, _read_aggregated, body)
        if found is None:
            return False
        self._etags[root], self._known[root] = answer.headers.get("ETag", ""), found
        return True

    async def _look_at_version(self, group: str, version: str) -> bool:
        """Ask for one version; tell whether it is served."""
        answer = await self._ask(f"/apis/{group}/{version}" if group else f"/api/{version}", ())
        if answer.code == 200:
            weight = len(answer.body) // BYTES_OF_WEIGHT
            found = await self._compute.run(weight, _read_legacy, answer.body, group, version)
            known = self._known[_find_root(group)]
            self._known[_find_root(group)] = {
                **known,
                **{kind: one for kind, one in found.items() if kind not in known},
            }
        return answer.code == 200

    async def _ask_versions(self, root: Root) -> list[tuple[str, str]]:
        answer = await self._ask(root, ())
        body = answer.body if answer.code == 200 else b"{}"
        return await self._compute.run(len(body) // BYTES_OF_WEIGHT, _read_versions, body)

    async def _ask(self, path: str, headers: tuple[tuple[str, str], ...]) -> Answer:
        request = Request("GET", path, _ABOUT, headers)
        answer = await self._transport.exchange(request)
        if answer.code not in (200, 304, 404, 406):
            self._transport.refuse(answer, request)
        return answer


def _find_root(group: str) -> Root:
    return "/apis" if group else "/api"


def _select_preferred(known: Iterable[_Known]) -> tuple[ApiResource, ...]:
    """Select of each kind the first version."""
    preferred: dict[tuple[str, str], ApiResource] = {}
    for served in known:
        for (group, version, kind), resource in served.items():
            if (group, kind) not in preferred:
                preferred[group, kind] = ApiResource(Kind(group, version, kind), *resource)
    return tuple(preferred.values())


def _read_aggregated(body: bytes) -> _Known | None:
    """Read what is served; None when the server speaks no aggregated discovery."""
    found = _decode_list(body, _Aggregated)
    if found.kind != "APIGroupDiscoveryList":
        return None
    served: dict[_Named, tuple[str, bool, tuple[str, ...], tuple[str, ...]]] = {}
    for group, version in _list_versions(found):
        _check_number(len(served) + len(version.resources or ()))
        for raw in version.resources or ():
            item = _decode_entry(raw, _Resource)
            if (kind := item.response_kind) is not None:  # else there are subresources only
                named = kind.group or group, kind.version or version.version, kind.kind
                more = item.short_names or (), item.categories or ()
                served.setdefault(named, (item.resource, item.scope == "Namespaced", *more))
    return served


def _read_legacy(body: bytes, group: str, version: str) -> _Known:
    listed = _decode_list(body, _Legacy).resources or ()
    _check_number(len(listed))
    served: dict[_Named, tuple[str, bool, tuple[str, ...], tuple[str, ...]]] = {}
    for raw in listed:
        item = _decode_entry(raw, _LegacyResource)
        if "/" not in item.name:  # else a subresource
            named = item.group or group, item.version or version, item.kind
            served.setdefault(named, (item.name, item.namespaced, item.short_names or (), item.categories or ()))
    return served


def _read_versions(body: bytes) -> list[tuple[str, str]]:
    found = _decode_list(body, _LegacyRoot)
    grouped = [(group.name, version.version) for group in found.groups for version in group.versions]
    _check_number(len(grouped) + len(found.versions))
    return [("", version) for version in found.versions] + grouped


def _list_versions(found: _Aggregated) -> Iterator[tuple[str, _Version]]:
    for raw in found.items or ():
        group = _decode(raw, _Group)
        for version in group.versions or ():
            yield group.metadata.name, version


def _check_number(kinds: int) -> None:
    if kinds > MOST_KINDS:
        raise ClusterUnavailable(f"the API server serves more than {MOST_KINDS} kinds")


def _decode_list(body: bytes, type_: type[T]) -> T:
    if body.count(b",") > MOST_VALUES:
        raise ClusterUnavailable(f"the API server's list of kinds has more than {MOST_VALUES} values")
    return _decode(body, type_)


def _decode_entry(raw: msgspec.Raw, type_: type[T]) -> T:
    if len(memoryview(raw)) > LARGEST_ENTRY:
        raise ClusterUnavailable(f"the API server says more than {LARGEST_ENTRY >> 10} KiB of one kind")
    return _decode(raw, type_)


def _decode(body: bytes | msgspec.Raw, type_: type[T]) -> T:
    try:
        return decode_json(body, type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ClusterUnavailable("the API server's list of kinds cannot be read") from None
