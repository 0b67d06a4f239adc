"""What server-side apply must know of a type: which lists are keyed, which are sets, what is one indivisible value.

    Atom("string")                                          a leaf
    Atom(map=MapType({"name": ...}, element=None))          a struct; other fields are refused
    Atom(map=MapType({}, element=...))                      a map, merged by key
    Atom(list=ListType("associative", ("name",), ...))      a list, merged by the items' name

A type that may be several of them (no type in the schema: int-or-string, unknown fields) has several parts.

Source: k8s.io/kube-openapi, package schemaconv; structured-merge-diff, package schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Scalar = Literal["string", "numeric", "boolean", "untyped"]


@dataclass(frozen=True)
class ListType:
    """A list. `keys` are empty for sets; `element` is what each item is."""

    associative: bool
    keys: tuple[str, ...]
    element: Type


@dataclass(frozen=True)
class MapType:
    """A struct, a map, or both. `element` is what fields not named in `fields` are; None refuses them.

    Attributes:
        defaults: of fields that are keys of a list: an item that omits the key counts as having this value.
        always: fields that are written even when they are empty.
    """

    fields: Mapping[str, Type]
    element: Type | None
    atomic: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    always: frozenset[str] = frozenset()

    def find_type(self, name: str) -> Type | None:
        return self.fields.get(name, self.element)


@dataclass(frozen=True, eq=False)
class Atom:
    scalar: Scalar | None = None
    list: ListType | None = None
    map: MapType | None = None


@dataclass(frozen=True)
class Named:
    """A type of a table, resolved when first needed: types may contain themselves."""

    types: Mapping[str, Atom]
    name: str
    atomic: bool | None = None
    """Whether the field that refers to it makes it atomic, or granular; None leaves it as it is."""


Type = Atom | Named


def resolve(type_: Type) -> Atom:
    if isinstance(type_, Atom):
        return type_
    atom = type_.types[type_.name]
    if type_.atomic is None or atom.map is None:
        return atom
    return Atom(map=replace(atom.map, atomic=type_.atomic))


def _make_cyclic() -> tuple[Atom, Atom]:
    table: dict[str, Atom] = {}
    whole, deduced = Named(table, "untyped"), Named(table, "deduced")
    atomic_list = ListType(False, (), whole)
    table["untyped"] = Atom("untyped", atomic_list, MapType({}, whole, atomic=True))
    table["deduced"] = Atom("untyped", atomic_list, MapType({}, deduced))
    return table["untyped"], table["deduced"]


UNTYPED, DEDUCED = _make_cyclic()
"""Anything, as one value; anything, its maps merged by key and its lists as one value."""

OBJECT_META: Type = DEDUCED


def read_type(schema: Mapping[str, Any], *, preserve: bool = False, meta: Type | None = None) -> Atom:
    """Read the type that an OpenAPI v3 schema of a CRD describes.

    Args:
        preserve: x-kubernetes-preserve-unknown-fields was set further up.
        meta: the type of `metadata` of embedded objects.
    """
    preserve = preserve or schema.get("x-kubernetes-preserve-unknown-fields") is True
    match schema.get("type", ""):
        case "object":
            return Atom(map=_read_map(schema, preserve, meta))
        case "array":
            return Atom(list=_read_list(schema, preserve, meta))
        case "integer" | "number":
            return Atom("numeric")
        case "boolean":
            return Atom("boolean")
        case "string":
            return Atom("string" if schema.get("format", "") in ("", "byte") else "untyped")
        case _:
            return Atom("untyped", _read_list(schema, preserve, meta), _read_map(schema, preserve, meta))


def read_object_type(schema: Mapping[str, Any] | None, meta: Type) -> Atom:
    """Read the type of a whole custom resource: its schema, with apiVersion, kind and metadata as every object has
    them.
    """
    if schema is None:
        return DEDUCED
    own = read_type(schema, meta=meta).map or MapType({}, DEDUCED)
    fields = {**own.fields, "apiVersion": Atom("string"), "kind": Atom("string"), "metadata": meta}
    preserve = schema.get("x-kubernetes-preserve-unknown-fields") is True
    return Atom(map=replace(own, fields=fields, element=DEDUCED if preserve else None))


def _read_list(schema: Mapping[str, Any], preserve: bool, meta: Type | None) -> ListType:
    items = schema.get("items")
    element: Type = UNTYPED if items is None else read_type(items, preserve=preserve, meta=meta)
    relation = schema.get("x-kubernetes-list-type", "atomic")
    keys = tuple(schema.get("x-kubernetes-list-map-keys", ())) if relation == "map" else ()
    return ListType(relation != "atomic", keys, element)


def _read_map(schema: Mapping[str, Any], preserve: bool, meta: Type | None) -> MapType:
    properties = dict(schema.get("properties") or {})
    fields: dict[str, Type] = {n: read_type(s, preserve=preserve, meta=meta) for n, s in properties.items()}
    if schema.get("x-kubernetes-embedded-resource"):
        fields |= {"apiVersion": Atom("string"), "kind": Atom("string"), "metadata": meta or OBJECT_META}
    match schema.get("additionalProperties"):
        case None:
            element: Type | None = DEDUCED if preserve or not fields else None
        case True:
            element = DEDUCED
        case Mapping() as inner:
            element = read_type(inner, preserve=preserve, meta=meta)
        case _:
            element = None
    defaults = {n: s["default"] for n, s in properties.items() if "default" in s}
    return MapType(fields, element, schema.get("x-kubernetes-map-type") == "atomic", defaults)
