"""Lists and watch events as the type asked for, so that one object that cannot be read hides no other.

The fast way decodes a whole page into the type at once. When that fails, each item is decoded alone, and those that do
not fit become Unreadable. Items of lists say no kind of their own; as dicts they get it from the query.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, Literal, TypeVar

import msgspec

from gitops_core.adapters.kubernetes.answers import make_error, read_refusal
from gitops_core.decoding import decode_json, make_decoder
from gitops_core.errors import ClusterError, ClusterUnavailable
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import Page, PartialObject, Query, Unreadable, WatchEvent

T = TypeVar("T")

LARGEST_EVENT = 32 * 1024 * 1024


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str | None = msgspec.field(name="continue", default=None)


class _List(msgspec.Struct, Generic[T]):
    metadata: _ListMeta = _ListMeta()
    items: list[T] | None = None


class _Event(msgspec.Struct):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: msgspec.Raw


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Versioned(msgspec.Struct):
    metadata: _Version = _Version()


_raw_list = make_decoder(_List[msgspec.Raw])
_event = make_decoder(_Event)
_versioned = make_decoder(_Versioned)
_partial = make_decoder(PartialObject)


def _get_shape(type_: type[T]) -> type[T]:
    """Return what one object is decoded as: for dict, one whose items have names."""
    shape: Any = dict[str, Any] if type_ is dict else type_
    return shape  # type: ignore[no-any-return]


def decode_page(body: bytes, query: Query, type_: type[T]) -> Page[T]:
    """Decode a list. Raises ClusterUnavailable: it is not a list at all."""
    try:
        shape: Any = _get_shape(type_)
        found = decode_json(body, _List[shape])
        items: list[T | Unreadable] = [*(found.items or ())]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        broken = _decode_raw(body)
        items = [_decode_one(bytes(raw), query, type_) for raw in broken.items or ()]
        return _make_page(items, broken.metadata, query)
    return _make_page(items, found.metadata, query)


def _make_page(items: list[T | Unreadable], metadata: _ListMeta, query: Query) -> Page[T]:
    for item in items:
        _name_kind(item, query.kind)
    return Page(items, metadata.resource_version, metadata.continue_ or "")


def _decode_raw(body: bytes) -> _List[msgspec.Raw]:
    try:
        return _raw_list.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ClusterUnavailable("the API server answered a list with something else") from None


def _decode_one(raw: bytes, query: Query, type_: type[T]) -> T | Unreadable:
    try:
        return decode_json(raw, _get_shape(type_))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _make_unreadable(raw, query.kind, str(error))


def _make_unreadable(raw: bytes, kind: Kind, cause: str) -> Unreadable:
    try:
        metadata = _partial.decode(raw).metadata
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Unreadable(ObjectRef(kind, ObjectKey("", "")), "", cause)
    return Unreadable(ObjectRef(kind, ObjectKey(metadata.namespace, metadata.name)), metadata.resource_version, cause)


def _name_kind(item: Any, kind: Kind) -> None:
    """Set apiVersion and kind, which a list's items do not have; metadata has those of PartialObjectMetadata."""
    if isinstance(item, dict):
        item["apiVersion"], item["kind"] = kind.api_version, kind.kind
    elif isinstance(item, PartialObject):  # just decoded: nobody has seen it yet
        msgspec.structs.force_setattr(item, "api_version", kind.api_version)
        msgspec.structs.force_setattr(item, "kind", kind.kind)


def decode_event(line: bytes, query: Query, type_: type[T]) -> WatchEvent[T]:
    """Decode one line of a watch.

    Raises:
        Expired: the watch's version is no longer remembered.
        ClusterError: whatever else the server says in an ERROR event; ClusterUnavailable: not an event.
    """
    try:
        event = _event.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ClusterUnavailable(f"the API server's watch of {query.kind.kind} sent something else") from None
    raw = bytes(event.object)
    if event.type == "ERROR":
        raise _read_error(raw, query)
    version = _read_version(raw)
    if event.type == "BOOKMARK":
        return WatchEvent("BOOKMARK", None, version)
    found = _decode_one(raw, query, type_)
    _name_kind(found, query.kind)
    return WatchEvent(event.type, found, version)


def _read_version(raw: bytes) -> str:
    try:
        return _versioned.decode(raw).metadata.resource_version
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _read_error(raw: bytes, query: Query) -> ClusterError:
    refusal = read_refusal(500, raw)
    return make_error(refusal.code or 500, refusal, ObjectRef(query.kind, ObjectKey(query.namespace, query.name)))


async def split_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the complete lines of a stream; what follows the last line feed was cut off, and is left out.

    Splits by itself: aiohttp's line reader costs half as much again, and bounds lines by its buffer.

    Raises:
        ClusterUnavailable: a line is longer than we are willing to hold.
    """
    begun: list[bytes] = []
    size = 0
    async for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        begun.append(first)
        size += len(first)
        if size > LARGEST_EVENT:
            raise ClusterUnavailable(f"the API server sent an event longer than {LARGEST_EVENT} bytes")
        if not rest:
            continue
        yield b"".join(begun)
        *complete, last = rest
        for line in complete:
            yield line
        begun, size = [last], len(last)
