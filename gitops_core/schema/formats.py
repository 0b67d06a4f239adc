"""What a JSON value is and whether it fits a format or pattern, as the API server sees it.

Source: k8s.io/kube-openapi, pkg/validation/strfmt and validate.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import re2

_INTEGERS = {"int32": 31, "int64": 63}

_DATE_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def type_of(value: Any) -> str:
    """The JSON type's name. A number without a fraction is an integer, however it is written."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case _:
            return "array"


def matches(pattern: str, text: str) -> bool:
    """Whether a Go regular expression matches anywhere in `text`."""
    return _compiled(pattern).search(text) is not None


def fits(name: str, text: str) -> bool:
    """Whether a string has a format. Formats that are not known are not checked."""
    check = _STRINGS.get(name)
    return check is None or check(text)


def fits_number(name: str, value: float) -> bool:
    bits = _INTEGERS.get(name)
    return bits is None or -(2**bits) <= value < 2**bits


@cache
def _compiled(pattern: str) -> Any:
    return re2.compile(pattern)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return text != ""


def _is_date_time(text: str) -> bool:
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return False
    month, day, hour, minute, second = (int(part) for part in match.groups()[1:6])
    return 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60


_STRINGS: dict[str, Callable[[str], bool]] = {"byte": _is_base64, "date-time": _is_date_time}
