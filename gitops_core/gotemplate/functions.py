"""The functions that every template has. A function raises CallError; `and` and `or` are the evaluator's.

Source: Go, text/template/funcs.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.printing import go_print, go_printf, go_println
from gitops_core.gotemplate.values import NO_VALUE, Struct, Value, is_true, type_of

Function = Callable[..., Value]


def length(value: Value) -> int:
    match value:
        case str():
            return len(value.encode())
        case list() | tuple() | Mapping():
            return len(value)
    raise CallError(f"len of type {type_of(value)}")


def index(value: Value, *keys: Value) -> Value:
    """`index x 1 2` is x[1][2]; a map without the key gives nothing."""
    for key in keys:
        match value:
            case Mapping():
                value = value.get(key, NO_VALUE)
            case list() | tuple() | str():
                value = _item(value, key)
            case None:
                raise CallError("index of untyped nil")
            case _:
                raise CallError(f"can't index item of type {type_of(value)}")
    return value


def _item(value: Any, key: Value) -> Value:
    if not isinstance(key, int) or isinstance(key, bool):
        raise CallError(f"cannot index slice/array with type {type_of(key)}")
    items = value.encode() if isinstance(value, str) else value
    if not 0 <= key < len(items):
        raise CallError(f"index out of range: {key}")
    return items[key]


def equal(first: Value, *others: Value) -> bool:
    """Whether the first is any of the others."""
    if not others:
        raise CallError("missing argument for comparison")
    same = [_same(first, other) for other in others]  # all of them: the last one may be no fit
    return any(same)


def _same(left: Value, right: Value) -> bool:
    left, right = (None if value is NO_VALUE else value for value in (left, right))
    for value in (left, right):
        if isinstance(value, list | tuple | Mapping):
            raise CallError(f"non-comparable type {value!r:.40}: {type_of(value)}")
    if left is None or right is None:
        return left is right
    if _basic(left) != _basic(right):
        raise CallError("incompatible types for comparison")
    return bool(left == right)


def _basic(value: Value) -> str:
    return "struct" if isinstance(value, Struct) else type_of(value)


def less(left: Value, right: Value) -> bool:
    if _basic(left) not in ("int", "float64", "string"):
        raise CallError("invalid type for comparison")
    if _basic(left) != _basic(right):
        raise CallError("incompatible types for comparison")
    if isinstance(left, str):
        return left.encode() < str(right).encode()
    return bool(left < right)


BUILTINS: Mapping[str, Function] = {
    "eq": equal,
    "ge": lambda left, right: not less(left, right),
    "gt": lambda left, right: less(right, left),
    "index": index,
    "le": lambda left, right: not less(right, left),
    "len": length,
    "lt": less,
    "ne": lambda left, right: not equal(left, right),
    "not": lambda value: not is_true(value),
    "print": lambda *values: go_print(values),
    "printf": lambda template, *values: go_printf(_string(template), values),
    "println": lambda *values: go_println(values),
}

SHORT_CIRCUIT = frozenset({"and", "or"})


def _string(value: Value) -> str:
    if not isinstance(value, str):
        raise CallError(f"expected string; found {type_of(value)}")
    return value
