"""What a JSON value is and whether it fits a format or pattern, as the API server sees it.

Source: k8s.io/kube-openapi, pkg/validation/strfmt and validate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import re2

_BITS = {"int32": 32}

_DATE_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def type_of(value: Any) -> str:
    """Name the JSON type as Go's decoder sees it: a number is an integer when it is written as one of 64 bits."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer" if -(2**63) <= value < 2**63 else "number"
        case float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case _:
            return "array"


def is_same(a: Any, b: Any) -> bool:
    """Tell whether two JSON values are equal; unlike `==`, true is not 1.

    >>> is_same([1, {"a": None}], [1, {"a": None}]), is_same(True, 1)
    (True, False)
    """
    match a, b:
        case Mapping(), Mapping():
            return a.keys() == b.keys() and all(is_same(inner, b[key]) for key, inner in a.items())
        case list(), list():
            return len(a) == len(b) and all(map(is_same, a, b))
        case _:
            return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def is_identical(a: Any, b: Any) -> bool:
    """Tell whether two JSON values are the same to Go: 2.0 is not 2, which is told apart until it is stored.

    >>> is_identical([1, {"a": None}], [1, {"a": None}]), is_identical(2.0, 2), is_identical(1e20, 10**20)
    (True, False, True)
    """
    match a, b:
        case Mapping(), Mapping():
            return a.keys() == b.keys() and all(is_identical(inner, b[key]) for key, inner in a.items())
        case list(), list():
            return len(a) == len(b) and all(map(is_identical, a, b))
        case _:
            return type_of(a) == type_of(b) and bool(a == b)


def go_format(value: Any) -> str:
    """Return the format that Go's validator sees in a value: the width of numbers, "" for anything else."""
    return {"integer": "int64", "number": "float64"}.get(type_of(value), "")


def is_integer(value: Any) -> bool:
    """Tell whether a number has no fraction and is exact as JSON."""
    if type_of(value) == "number":
        return float(value).is_integer() and abs(value) < 2**53
    return type_of(value) == "integer"


def fits_type(name: str, value: Any) -> bool:
    """Tell whether a number may stand where the other kind of number is wanted."""
    return name == "number" or is_integer(value)


def matches(pattern: str, text: str) -> bool:
    """Tell whether a Go regular expression matches anywhere in `text`."""
    return _compile(pattern).search(text) is not None


def fits(name: str, text: str) -> bool:
    """Tell whether a string has a format. Formats that are not known are not checked."""
    check = _STRINGS.get(name)
    return check is None or check(text)


def fits_integer(name: str, value: float) -> bool:
    """Tell whether a number is an integer of the format's width, 64 bits when it names none."""
    limit = 2 ** (_BITS.get(name, 64) - 1)
    return float(value).is_integer() and -limit <= value < limit


@cache
def _compile(pattern: str) -> Any:
    return re2.compile(pattern)


def _is_base64(text: str) -> bool:
    return (
        re.fullmatch(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})", text)
        is not None
    )


def _is_date_time(text: str) -> bool:
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return False
    month, day, hour, minute, second = (int(part) for part in match.groups()[1:6])
    return 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60


_STRINGS: dict[str, Callable[[str], bool]] = {"byte": _is_base64, "date-time": _is_date_time}
