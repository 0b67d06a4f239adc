"""The functions that every template has, and how a function says which types it takes.

    "index": Function("value, ...value", index)     a value first, then any number of them

Parameter types are Go's: string int int64 float64 bool uint32, `any` for interface {}, `map` for map[string]interface
{}, `value` for whatever it is, even nothing. A function raises CallError; `and` and `or` are the evaluator's.

Source: Go, text/template/funcs.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote_plus

from gitops_core.gotemplate.constants import is_print, to_bytes, to_text
from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.printing import go_print, go_printf, go_println
from gitops_core.gotemplate.values import (
    INTERFACE,
    NO_VALUE,
    GoList,
    GoMap,
    Object,
    Struct,
    Uint8,
    Value,
    elements_type,
    is_list,
    is_nil_list,
    is_true,
    kind_of,
    type_of,
)

ZERO_TYPE = "reflect: call of reflect.Value.Type on zero Value"

TYPE_NAMES = {"any": INTERFACE, "map": "map[string]interface {}", "value": "reflect.Value", "time": "time.Time"}
"""Go's names of the parameter types that are not written as in Go."""


@dataclass(frozen=True)
class Function:
    """A function for templates.

    Attributes:
        takes: the types of its parameters; the last one begins with "..." when there may be any number of it.
    """

    takes: str
    run: Callable[..., Value]

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        return tuple(each.strip().removeprefix("...") for each in self.takes.split(",") if each.strip())

    @cached_property
    def is_variadic(self) -> bool:
        return "..." in self.takes


def length(value: Value) -> int:
    if value is None:
        raise CallError("len of nil pointer")
    match value:
        case str():
            return len(to_bytes(value))
        case list() | tuple() | Mapping():
            return len(value)
    raise CallError(ZERO_TYPE if value is NO_VALUE else f"len of type {type_of(value)}")


def index(value: Value, *keys: Value) -> Value:
    """Return `x[1][2]` for `index x 1 2`; a map without the key gives its type's zero."""
    if value is None or value is NO_VALUE:
        raise CallError("index of untyped nil")
    for key in keys:
        match value:
            case Mapping():
                value = _in_map(value, key)
            case str():
                content = to_bytes(value)
                value = Uint8(content[_within(key, len(content), value, last=False)])
            case list() | tuple():
                value = value[_within(key, len(value), value, last=False)]
            case None:
                raise CallError("index of nil pointer")
            case _:
                raise CallError(f"can't index item of type {type_of(value)}")
    return value


def _in_map(mapping: Mapping[Value, Value], key: Value) -> Value:
    wanted = type_of(mapping).removeprefix("map[").partition("]")[0]
    if key is None or key is NO_VALUE:
        raise CallError(f"value is nil; should be of type {wanted}")
    if type_of(key) != wanted:
        raise CallError(f"value has type {type_of(key)}; should be {wanted}")
    return mapping.get(key, mapping.zero if isinstance(mapping, GoMap) else None)


def _within(key: Value, size: int, value: Value, *, last: bool = True) -> int:
    """Return the index that `key` is; `last` allows the position behind the last item."""
    if key is None or key is NO_VALUE:
        raise CallError("cannot index slice/array with nil")
    if not isinstance(key, int) or isinstance(key, bool):
        raise CallError(f"cannot index slice/array with type {type_of(key)}")
    if not 0 <= key <= size:
        raise CallError(f"index out of range: {key}")
    if key == size and not last:
        kind = "string" if isinstance(value, str) else "slice"
        raise CallError(f"reflect: {kind} index out of range")
    return int(key)


def cut(value: Value, *bounds: Value) -> Value:
    """Return `x[1:2]` for `slice x 1 2`."""
    if value is None or value is NO_VALUE:
        raise CallError("slice of untyped nil")
    if len(bounds) > 3:
        raise CallError(f"too many slice indexes: {len(bounds)}")
    if isinstance(value, str) and len(bounds) == 3:
        raise CallError("cannot 3-index slice a string")
    if not isinstance(value, str) and not is_list(value):
        raise CallError(f"can't slice item of type {type_of(value)}")
    items = to_bytes(value) if isinstance(value, str) else value
    numbers = [_within(bound, len(items), value) for bound in bounds]
    start, end, most = [*numbers, *(0, len(items), len(items))[len(numbers) :]]
    for low, high in ((start, end), (end, most)):
        if low > high:
            raise CallError(f"invalid slice index: {low} > {high}")
    part = items[start:end]
    return to_text(part) if isinstance(part, bytes) else GoList(part, elements_type(value))


def _kind(value: Value) -> str:
    """Return the kind whose values are compared with each other; "" for those that only `eq` can compare."""
    kind = kind_of(value)
    kinds = {"int64": "int", "uint8": "uint", "uint64": "uint", "float64": "float", "complex128": "complex"}
    return kinds.get(kind, kind if kind in ("bool", "int", "string") else "")


def equal(first: Value, *others: Value) -> bool:
    """Tell whether the first value equals any other; those after the first equal one are not looked at."""
    if not others:
        raise CallError("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(left: Value, right: Value) -> bool:
    left, right = (NO_VALUE if value is None else value for value in (left, right))
    kinds = _kind(left), _kind(right)
    if kinds[0] != kinds[1]:
        if set(kinds) == {"int", "uint"} or NO_VALUE in (left, right):
            return bool(left == right)
        raise CallError(f"incompatible types for comparison: {type_of(left)} and {type_of(right)}")
    if kinds[0]:
        return bool(left == right)
    if kind_of(left) != kind_of(right) and NO_VALUE not in (left, right):
        said = go_printf("non-comparable types %s: %v, %s: %v", [left, type_of(left), type_of(right), right])
        raise CallError(said)
    if _is_nil(left) or _is_nil(right):
        return _is_nil(left) == _is_nil(right)
    if not _is_comparable(right):
        raise CallError(go_printf("non-comparable type %s: %v", [right, type_of(right)]))
    return bool(left == right)


def _is_comparable(value: Value) -> bool:
    if isinstance(value, Struct):
        return all(_is_comparable(inner) for _, inner in value.fields)
    return not is_list(value) and not isinstance(value, Mapping)


def _is_nil(value: Value) -> bool:
    return value is NO_VALUE or is_nil_list(value)


def less(left: Value, right: Value) -> bool:
    left, right = (NO_VALUE if value is None else value for value in (left, right))
    kinds = _kind(left), _kind(right)
    if "" in kinds:
        raise CallError("invalid type for comparison")
    if kinds[0] != kinds[1] and set(kinds) != {"int", "uint"}:
        raise CallError(f"incompatible types for comparison: {type_of(left)} and {type_of(right)}")
    if kinds[0] in ("bool", "complex"):
        raise CallError("invalid type for comparison")
    if isinstance(left, str):
        return to_bytes(left) < to_bytes(right)
    return bool(left < right)


def less_or_equal(left: Value, right: Value) -> bool:
    return less(left, right) or equal(left, right)


def call(*_: Value) -> Value:
    raise AssertionError("the evaluator knows what is called")


_HTML = str.maketrans({"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"})
_JS = {"\\": r"\\", "'": r"\'", '"': r"\"", "<": r"\u003C", ">": r"\u003E", "&": r"\u0026", "=": r"\u003D"}


def html(*values: Value) -> str:
    return _join(values).translate(_HTML)


def js(*values: Value) -> str:
    return "".join(_js_character(character) for character in _join(values))


def _js_character(character: str) -> str:
    if known := _JS.get(character):
        return known
    if character < " ":
        return f"\\u00{ord(character):02X}"
    if "\udc80" <= character <= "\udcff":
        return character if is_print("\ufffd") else ""
    return character if character < "\x80" or is_print(character) else f"\\u{ord(character):04X}"


def urlquery(*values: Value) -> str:
    return quote_plus(to_bytes(_join(values)), safe="~")


def _join(values: tuple[Value, ...]) -> str:
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return go_print(["<no value>" if value is None or value is NO_VALUE else value for value in values])


BUILTINS: Mapping[str, Function] = {
    "and": Function("value, ...value", call),
    "or": Function("value, ...value", call),
    "call": Function("value, ...value", call),
    "not": Function("value", lambda value: not is_true(value)),
    "len": Function("value", length),
    "index": Function("value, ...value", index),
    "slice": Function("value, ...value", cut),
    "print": Function("...any", lambda *values: go_print(values)),
    "println": Function("...any", lambda *values: go_println(values)),
    "printf": Function("string, ...any", lambda text, *values: go_printf(text, values)),
    "html": Function("...any", html),
    "js": Function("...any", js),
    "urlquery": Function("...any", urlquery),
    "eq": Function("value, ...value", equal),
    "ne": Function("value, value", lambda left, right: not equal(left, right)),
    "lt": Function("value, value", less),
    "le": Function("value, value", less_or_equal),
    "gt": Function("value, value", lambda left, right: not less_or_equal(left, right)),
    "ge": Function("value, value", lambda left, right: not less(left, right)),
}


def fits(value: Any, kind: str) -> bool:
    """Tell whether the value can be given to a parameter of this type."""
    match kind:
        case "any" | "value":
            return True
        case "map":
            return isinstance(value, dict) and not isinstance(value, GoMap)
        case "time":
            return isinstance(value, Object) and value.type_name == "time.Time"
    return not isinstance(value, Struct) and type_of(value) == kind
