"""What template data are made of beside Python's own types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Value = Any
"""None, bool, int, float, str, list, tuple, dict, Struct, or NO_VALUE."""


class _NoValue:
    """What a map has under a key that it does not have."""

    def __repr__(self) -> str:
        return "<no value>"


NO_VALUE = _NoValue()


@dataclass(frozen=True, eq=True)
class Struct:
    """A Go struct: its fields in order. Usable as a map's key, and sorted field by field there.

    Attributes:
        type_name: as Go's error messages say it.
        fields: name and value; an embedded struct has the name "", and its fields are found here too.
        methods: what a template may call without arguments, already computed; not printed.
    """

    type_name: str
    fields: tuple[tuple[str, Value], ...]
    methods: Mapping[str, Value] = field(default_factory=dict, compare=False, repr=False)

    def get(self, name: str) -> Value:
        """Raises KeyError."""
        if name in self.methods:
            return self.methods[name]
        for field_name, value in self.fields:
            if field_name == name and name:
                return value
        for field_name, value in self.fields:
            if not field_name and isinstance(value, Struct):
                try:
                    return value.get(name)
                except KeyError:
                    continue
        raise KeyError(name)


def is_true(value: Value) -> bool:
    """Go's truth: zero, "", nil and what is empty are false, a struct is true."""
    if isinstance(value, Struct):
        return True
    return value is not NO_VALUE and bool(value)


def sort_key(key: Value) -> tuple[Any, ...]:
    """The order in which Go ranges over a map's keys.

    Source: Go, internal/fmtsort.
    """
    if isinstance(key, Struct):
        return tuple(sort_key(value) for _, value in key.fields)
    if key is None:
        return (0,)
    if isinstance(key, bool):
        return (1, key)
    if isinstance(key, int | float):
        return (2, key)
    return (3, str(key).encode("utf-8", "surrogatepass"))


def type_of(value: Value) -> str:
    """Go's name of the value's type."""
    match value:
        case None:
            return "nil"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case list() | tuple():
            return "[]interface {}"
        case Struct(type_name=name):
            return name
        case Mapping():
            return "map[string]interface {}"
    return type(value).__name__
