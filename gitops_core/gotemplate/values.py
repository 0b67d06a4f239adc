"""What template data are made of beside Python's own types, and what Go would call them.

    int float str bool   int, float64, string, bool       list tuple   []interface {}
    None                 a nil interface                  dict         map[string]interface {}
    NO_VALUE             no value at all: Go's zero reflect.Value, printed as <no value>

What Go types more narrowly is a subclass: Int64, Uint8, Uint64, GoList, GoMap. A byte that is no UTF-8 is a lone
surrogate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gitops_core.gotemplate.errors import CallError

Value = Any
"""None, bool, int, float, complex, str, list, tuple, dict, Struct, Object, or NO_VALUE."""

INTERFACE = "interface {}"
MOST_ELEMENTS = 200_000
"""Elements of a list that a function may make, and nodes of a value that it may visit."""
LONGEST = 1 << 20
"""Characters of a text that a function may make."""
MOST_LINKS = 40
"""Containers within containers that are printed, compared or copied."""


class _NoValue:
    """What a map has under a key that it does not have."""

    def __repr__(self) -> str:
        return "<no value>"


NO_VALUE = _NoValue()


class Int64(int):
    """An int64, wrapped around as Go's arithmetic does."""

    def __new__(cls, number: int) -> Int64:
        return super().__new__(cls, (number + (1 << 63)) % (1 << 64) - (1 << 63))


class Uint8(int):
    """A byte of a string."""


class Uint64(int):
    """An unsigned number."""


class GoList(list[Value]):
    """A slice of one type.

    Attributes:
        element: the type's name.
        is_nil: a nil slice, which JSON writes as null.
    """

    def __init__(self, values: Iterable[Value] = (), element: str = INTERFACE, *, is_nil: bool = False) -> None:
        super().__init__(values)
        self.element, self.is_nil = element, is_nil


class GoMap(dict[Value, Value]):
    """A map of one type.

    Attributes:
        type_name: as Go writes it.
        zero: what `index` gives for a key that is not there.
    """

    def __init__(
        self, values: Mapping[Any, Value] = {}, type_name: str = "map[string]string", zero: Value = ""
    ) -> None:
        super().__init__(values)
        self.type_name, self.zero = type_name, zero


@dataclass(frozen=True, eq=True)
class Struct:
    """A Go struct: its fields in order. Usable as a map's key, and sorted field by field there.

    Attributes:
        type_name: as Go's error messages say it.
        fields: name and value; an embedded struct has the name "", and its fields are found here too.
        methods: what a template may call without arguments, already computed. String says how the whole is printed.
    """

    type_name: str
    fields: tuple[tuple[str, Value], ...]
    methods: Mapping[str, Value] = field(default_factory=dict, compare=False, repr=False)

    def get(self, name: str) -> Value:
        """Return a field's value. Raises KeyError."""
        return self._members[name]

    @cached_property
    def _members(self) -> Mapping[str, Value]:
        """Methods before fields, and those before the ones of embedded structs."""
        found: dict[str, Value] = {}
        for field_name, value in reversed(self.fields):
            if not field_name and isinstance(value, Struct):
                found.update(value._members)
        found.update({field_name: value for field_name, value in reversed(self.fields) if field_name})
        return found | dict(self.methods)


@dataclass(frozen=True)
class Object:
    """A value of Go's that prints itself: a version, a moment.

    Attributes:
        text: what its String method gives.
        members: methods without arguments and exported fields, already computed.
        content: what makes two of them equal.
    """

    type_name: str
    kind: str
    text: str
    members: Mapping[str, Value] = field(default_factory=dict, compare=False, repr=False)
    content: Value = field(default=None, repr=False)


def elements_type(value: Value) -> str:
    """Return the type of a list's or map's elements."""
    name = type_of(value)
    return name[name.index("]") + 1 :] if "]" in name else INTERFACE


def is_list(value: Value) -> bool:
    return isinstance(value, list | tuple)


def is_nil_list(value: Value) -> bool:
    return isinstance(value, GoList) and value.is_nil


def is_true(value: Value) -> bool:
    """Tell Go's truth: zero, "", nil and what is empty are false, a struct is true."""
    if isinstance(value, Struct | Object):
        return True
    return value is not NO_VALUE and bool(value)


def sort_key(key: Value) -> tuple[Any, ...]:
    """Return a key that sorts as Go ranges over a map's keys.

    Source: Go, internal/fmtsort.
    """
    if isinstance(key, str):
        return (3, key.encode("utf-8", "surrogateescape"))
    if isinstance(key, Struct):
        return tuple(sort_key(value) for _, value in key.fields)
    if key is None:
        return (0,)
    if isinstance(key, bool):
        return (1, key)
    if isinstance(key, int | float):
        return (2, key)
    return (3, str(key).encode("utf-8", "surrogatepass"))


def sorted_items(mapping: Mapping[Value, Value]) -> list[tuple[Value, Value]]:
    """Sort keys and values as Go ranges over them."""
    return [(key, mapping[key]) for key in sorted(mapping, key=sort_key)]


_TYPES: dict[type, tuple[str, str]] = {
    bool: ("bool", "bool"),
    int: ("int", "int"),
    Int64: ("int64", "int64"),
    Uint8: ("uint8", "uint8"),
    Uint64: ("uint64", "uint64"),
    float: ("float64", "float64"),
    complex: ("complex128", "complex128"),
    str: ("string", "string"),
    list: ("[]interface {}", "slice"),
    tuple: ("[]interface {}", "slice"),
    dict: ("map[string]interface {}", "map"),
    type(None): ("nil", "invalid"),
    _NoValue: ("nil", "invalid"),
}


def type_of(value: Value) -> str:
    """Return Go's name of the value's type."""
    if known := _TYPES.get(type(value)):
        return known[0]
    match value:
        case GoList(element=element):
            return f"[]{element}"
        case GoMap(type_name=name) | Struct(type_name=name) | Object(type_name=name):
            return name
        case Mapping():
            return "map[string]interface {}"
    return type(value).__name__


def kind_of(value: Value) -> str:
    """Return Go's name of the value's kind."""
    if known := _TYPES.get(type(value)):
        return known[1]
    match value:
        case list():
            return "slice"
        case Mapping():
            return "map"
        case Object(kind=kind):
            return kind
    return "struct"


class Visits:
    """How many nodes of values one call has looked at: shared containers make small values that are endless to walk."""

    def __init__(self) -> None:
        self._left = MOST_ELEMENTS

    def enter(self, depth: int, cost: int = 1) -> None:
        """Count a visit. Raises CallError."""
        self._left -= cost
        if self._left < 0:
            raise CallError(f"the value has more than {MOST_ELEMENTS} elements")
        if depth > MOST_LINKS:
            raise CallError(f"the value is nested deeper than {MOST_LINKS}")


def deep_equal(left: Value, right: Value, visits: Visits | None = None, depth: int = 0) -> bool:
    """Compare like Go's reflect.DeepEqual: types are compared too."""
    visits = visits or Visits()
    visits.enter(depth)
    if left is NO_VALUE or right is NO_VALUE:
        return left is right
    if type_of(left) != type_of(right):
        return False
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(deep_equal(left[key], right[key], visits, depth + 1) for key in left)
    if is_list(left):
        same_kind = is_nil_list(left) == is_nil_list(right) and len(left) == len(right)
        return same_kind and all(deep_equal(a, b, visits, depth + 1) for a, b in zip(left, right, strict=True))
    if isinstance(left, Struct):
        return all(
            deep_equal(a, b, visits, depth + 1) for (_, a), (_, b) in zip(left.fields, right.fields, strict=True)
        )
    return bool(left == right)
