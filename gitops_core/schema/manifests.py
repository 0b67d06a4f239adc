"""Our kinds as the JSON objects they travel as, and which of their fields nothing acts on yet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from gitops_core.decoding import convert, decode_json
from gitops_core.meta import Manifest, Resource
from gitops_core.schema.structural import join_markers

R = TypeVar("R", bound=Resource)


def make_manifest(resource: Resource) -> Manifest:
    """Make the whole object: apiVersion, kind, metadata, and of spec and status what differs from the defaults."""
    body = decode_json(msgspec.json.encode(resource))  # as JSON: lists, not tuples
    if "status" in body:
        body["status"] = drop_nulls(body["status"])
    return {"apiVersion": resource.KIND.api_version, "kind": resource.KIND.kind, **body}


def read_manifest(cls: type[R], manifest: Manifest) -> R:
    """Read the typed object. Fields that the class does not know are left out.

    Raises:
        msgspec.ValidationError: names the path of the field that does not fit.
    """
    return convert(manifest, cls)


def list_unsupported(spec: msgspec.Struct, acts_on: Mapping[str, Collection[object]] = {}) -> tuple[str, ...]:
    """List the paths of the fields that are set and that nothing acts on, in the order of the class.

    A field is set when it differs from its default: `spec.decryption`.

    Args:
        acts_on: the values that are acted on, by the field's path, in the place of those that its marker names.
    """
    return tuple(path for path, _ in find_unsupported(spec, "spec", acts_on))


def find_unsupported(
    value: Any, path: str, acts_on: Mapping[str, Collection[object]]
) -> Iterator[tuple[str, Collection[object]]]:
    """Yield the same paths below `path`, each with the values that are acted on there: none where the field is not."""
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from find_unsupported(item, f"{path}[{index}]", acts_on)
    elif isinstance(value, msgspec.Struct):
        for name, encoded, default, marked in _list_fields(type(value)):
            inner = getattr(value, name)
            if inner == default:
                continue
            place = f"{path}.{encoded}"
            supported = acts_on.get(place, marked)
            if supported is not None and inner not in supported:
                yield place, supported
            elif isinstance(inner, tuple | msgspec.Struct):
                yield from find_unsupported(inner, place, acts_on)


@cache
def _list_fields(cls: type[msgspec.Struct]) -> tuple[tuple[str, str, Any, tuple[Any, ...] | None], ...]:
    """Name, JSON name, default and supported values (None: all) of each field."""
    return tuple(
        (
            field.name,
            field.encode_name,
            field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory(),
            join_markers(field.type).get("supported"),
        )
        for field in msgspec.structs.fields(cls)
    )


def drop_nulls(value: Any) -> Any:
    """Drop the nulls of JSON objects, also of those in lists; a null in a list stays.

    >>> drop_nulls({"a": None, "b": [{"c": None}, None]})
    {'b': [{}, None]}
    """
    match value:
        case Mapping():
            return {name: drop_nulls(inner) for name, inner in value.items() if inner is not None}
        case list():
            return [drop_nulls(inner) for inner in value]
        case _:
            return value
