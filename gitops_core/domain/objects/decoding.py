"""An object as the API server's own types read it, and write it again.

Fields that the type does not know, nulls and empty maps and lists go; a value of another type is refused. Numbers of
custom resources have no type of their own: they come back as Go writes them, 2.0 as 2.

Source: encoding/json, and the `omitempty` of k8s.io/api's structs.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from gitops_core.domain.objects.fieldschemas import DEDUCED, ListType, MapType, Type, resolve

_LARGEST = 1e21
"""From here on Go writes a number with an exponent, and reads it as a float again."""


class Undecodable(ValueError):
    """A value is not of its type. The message names the path and both types, and no value."""


def decode(type_: Type, value: Any, path: str = "") -> Any:
    """Return `value` as its type writes it.

    >>> from gitops_core.domain.objects.fieldschemas import Atom, MapType
    >>> decode(Atom(map=MapType({"labels": Atom(map=MapType({}, Atom("string")))}, None)), {"labels": {}, "other": 1})
    {}

    Raises:
        Undecodable.
    """
    atom = resolve(type_)
    if isinstance(value, dict) and atom.map is not None:
        return _decode_map(atom.map, value, path)
    if isinstance(value, list) and atom.list is not None:
        return _decode_list(atom.list, value, path)
    if value is None:
        return "" if atom.scalar == "string" else None
    if atom.scalar is None or isinstance(value, (dict, list)):
        wanted = "map" if atom.map is not None else "list" if atom.list is not None else atom.scalar
        raise Undecodable(f"{path}: a {_name_type(value)} stands where a {wanted} is expected")
    if atom.scalar != "untyped" and atom.scalar != _name_type(value):
        raise Undecodable(f"{path}: a {_name_type(value)} stands where a {atom.scalar} is expected")
    return value


def _decode_map(part: MapType, value: dict[str, Any], path: str) -> dict[str, Any]:
    kept = {}
    for name, inner in value.items():
        inner_type = part.find_type(name)
        named = name in part.fields and name not in part.always
        if inner_type is None or (named and inner is None):
            continue
        read = decode(inner_type, inner, f"{path}.{name}" if path else name)
        if not (named and _is_empty(inner_type, inner)):
            kept[name] = read
    return kept


def _decode_list(part: ListType, items: list[Any], path: str) -> list[Any]:
    return [decode(part.element, item, f"{path}[{index}]") for index, item in enumerate(items)]


def _is_empty(type_: Type, value: Any) -> bool:
    """Tell whether it is a map or list without items; a struct without fields (`emptyDir: {}`) and any JSON are not."""
    atom = resolve(type_)
    if atom.scalar == "untyped" and atom.map is not None:
        return False
    if value == {}:
        return atom.map is not None and not atom.map.fields and atom.map.element is not DEDUCED
    return bool(value == [])


def _name_type(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "numeric"
        case str():
            return "string"
        case _:
            return "map" if isinstance(value, dict) else "list"


def read_sent(value: Any) -> Any:
    """Read `value` as Go does from a request: integers of more than 64 bits as floats, and lists for tuples.

    >>> read_sent({"a": (1, 2.0, 2**63)})
    {'a': [1, 2.0, 9.223372036854776e+18]}
    """
    match value:
        case str():
            return value
        case dict():
            return {name: read_sent(inner) for name, inner in value.items()}
        case list() | tuple():
            return [read_sent(inner) for inner in value]
        case int() if not isinstance(value, bool) and not -(2**63) <= value < 2**63:
            return float(value)
    return value


def write_plain_numbers(value: Any) -> Any:
    """Return `value` as JSON comes back: with every number as Go writes it, and lists for tuples.

    >>> write_plain_numbers([2.0, 1.5, 1e20, 1e21, True])
    [2, 1.5, 100000000000000000000, 1e+21, True]
    """
    match value:
        case str():
            return value
        case dict():
            return {name: write_plain_numbers(inner) for name, inner in value.items()}
        case list() | tuple():
            return [write_plain_numbers(inner) for inner in value]
        case float() if value.is_integer() and abs(value) < _LARGEST:
            return int(Decimal(repr(value)))
        case int() if not isinstance(value, bool) and not -(2**63) <= value < 2**63:
            number = float(value)
            return number if abs(number) >= _LARGEST else int(Decimal(repr(number)))
    return value
