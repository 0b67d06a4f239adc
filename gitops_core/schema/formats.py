"""What a JSON value is and whether it fits a format or pattern, as the API server sees it.

Source: k8s.io/kube-openapi, pkg/validation/strfmt and validate.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

import re2

_INTEGERS, _NUMBERS = {"int32": 32, "int64": 64}, {"float", "double"}
_FLOAT32 = (2**25 - 1) * 2.0**103  # from here on a number rounds to none of 32 bits
_EPSILON = 1e-9

_DATE_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


SCALARS = (str, int, float, type(None))
"""What is neither an object nor a list: most values, and quicker to tell than that something is no Mapping."""


def find_type(value: Any) -> str:
    """Find the JSON type as Go's decoder sees it: a number is an integer when it is written as one of 64 bits."""
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
    if isinstance(a, SCALARS):
        return find_type(a) == find_type(b) and bool(a == b)
    match a, b:
        case Mapping(), Mapping():
            return a.keys() == b.keys() and all(is_identical(inner, b[key]) for key, inner in a.items())
        case list(), list():
            return len(a) == len(b) and all(map(is_identical, a, b))
        case _:
            return find_type(a) == find_type(b) and bool(a == b)


def name_go_format(value: Any) -> str:
    """Return the format that Go's validator sees in a value: the width of numbers, "" for anything else."""
    return {"integer": "int64", "number": "float64"}.get(find_type(value), "")


def is_integer(value: Any) -> bool:
    """Tell whether a number has no fraction, or hardly any, and is exact as JSON.

    >>> is_integer(3.0), is_integer(3.0000000001), is_integer(2.9999999999), is_integer("3")
    (True, True, False, False)
    """
    if find_type(value) != "number":
        return find_type(value) == "integer"
    if not abs(value) < 2**53:
        return False
    whole = int(value)
    return value == whole or (whole > 0 and (value - whole) / (value + whole) < _EPSILON)


def is_multiple(value: float, factor: float) -> bool:
    """Tell whether a number is a multiple: exactly of two integers, else as near as floats come.

    >>> is_multiple(6, 3), is_multiple(0.3, 0.1), is_multiple(0.35, 0.1)
    (True, True, False)
    """
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    return is_integer(float(1 / factor * value if factor < 1 else value / factor))


def write_number(value: float) -> str:
    """Write a float as Go's %v does.

    >>> [write_number(value) for value in (2.0, 0.5, 123456.5, 4e9, 1234567.5, 1e-5)]
    ['2', '0.5', '123456.5', '4e+09', '1.2345675e+06', '1e-05']
    """
    exact = Decimal(repr(value)).normalize()
    exponent = exact.adjusted()
    if -4 <= exponent < 6 or not value:
        return f"{exact:f}"
    return f"{exact.scaleb(-exponent):f}e{exponent:+03d}"


def fits_type(name: str, value: Any) -> bool:
    """Tell whether a number may stand where the other kind of number is wanted."""
    return name == "number" or is_integer(value)


def matches(pattern: str, text: str) -> bool:
    """Tell whether a Go regular expression matches anywhere in `text`."""
    return _compile(pattern).search(text) is not None


def fits(name: str, text: str) -> bool:
    """Tell whether a string has a format. Formats that are not known are not checked."""
    check = _STRINGS.get(name.replace("-", ""))
    return check is None or check(text)


def fits_range(kind: str, name: str, value: float) -> bool:
    """Tell whether a number is one of the type and format: an integer has 64 bits when its format names no width."""
    if kind == "integer":
        limit = 2 ** (_INTEGERS.get(name, 64) - 1)
        return float(value).is_integer() and -limit <= value < limit
    return kind != "number" or name != "float" or abs(value) < _FLOAT32


def belongs(name: str, kind: str) -> bool:
    """Tell whether a type ("" for none, or for several) has a format. One that no type has counts for nothing."""
    match kind:
        case "integer":
            return name in _INTEGERS
        case "number":
            return name in _NUMBERS
        case "" | "string":
            return is_known(name)
        case _:
            return False


def is_known(name: str) -> bool:
    """Tell whether a format is one of strings."""
    return name.replace("-", "") in _KNOWN


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


def _is_date(text: str) -> bool:
    match = re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", text)
    if match is None:
        return False
    year, month, day = (int(part) for part in match.groups())
    try:
        date(year or 2000, month, day)  # the year 0 is a leap year that Python does not have
    except ValueError:
        return False
    return True


def _is_four_numbers(text: str) -> bool:
    return re.fullmatch(r"0*[0-9]{1,3}(\.0*[0-9]{1,3}){3}", text) is not None and all(
        int(part.lstrip("0") or 0) < 256 for part in text.split(".")
    )


def _is_ipv4(text: str) -> bool:
    """Zeros may lead, and an IPv4 address may be written as an IPv6 one."""
    return _is_four_numbers(text) or ("." in text and _is_ipv6(text))


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def _is_cidr(text: str) -> bool:
    address, _, length = text.partition("/")
    bits = 32 if _is_four_numbers(address) else 128 if _is_ipv6(address) else -1
    return re.fullmatch(r"0*[0-9]{1,3}", length) is not None and int(length.lstrip("0") or 0) <= bits


def _is_hostname(text: str) -> bool:
    return matches(_HOSTNAME, text) and len(text.encode()) <= 255 and all(len(p.encode()) < 64 for p in text.split("."))


def _has_pattern(pattern: str, longest: int | None = None) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: (longest is None or len(text) <= longest) and compiled.fullmatch(text) is not None


def _is_uuid(third: str, fourth: str) -> Callable[[str], bool]:
    return _has_pattern(f"(?ai)[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{third}-?{fourth}-?[0-9a-f]{{12}}")


_HOSTNAME = (
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)"
    r"|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
)
_SHORT_NAME = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_MAC = "|".join(
    rf"(?:[0-9a-fA-F]{{{width}}}{mark}){{{groups - 1}}}[0-9a-fA-F]{{{width}}}"
    for mark, width, lengths in ((":", 2, (6, 8, 20)), ("-", 2, (6, 8, 20)), (r"\.", 4, (3, 4, 10)))
    for groups in lengths
)

_STRINGS: dict[str, Callable[[str], bool]] = {
    "byte": _is_base64,
    "bsonobjectid": _has_pattern("[0-9a-fA-F]{24}"),
    "cidr": _is_cidr,
    "date": _is_date,
    "datetime": _is_date_time,
    "hexcolor": _has_pattern("#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "hostname": _is_hostname,
    "ipv4": _is_ipv4,
    "ipv6": _is_ipv6,
    "k8slongname": _has_pattern(rf"{_SHORT_NAME}(?:\.{_SHORT_NAME})*", 253),
    "k8sshortname": _has_pattern(_SHORT_NAME, 63),
    "mac": _has_pattern(_MAC),
    "ssn": _has_pattern("[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}"),
    "uuid": _is_uuid("[0-9a-f]{4}", "[0-9a-f]{4}"),
    "uuid3": _is_uuid("3[0-9a-f]{3}", "[0-9a-f]{4}"),
    "uuid4": _is_uuid("4[0-9a-f]{3}", "[89ab][0-9a-f]{3}"),
    "uuid5": _is_uuid("5[0-9a-f]{3}", "[89ab][0-9a-f]{3}"),
}
_TAKEN_AS_THEY_ARE = {"creditcard", "duration", "email", "isbn", "isbn10", "isbn13", "password", "rgbcolor", "uri"}
_KNOWN = _STRINGS.keys() | _TAKEN_AS_THEY_ARE
