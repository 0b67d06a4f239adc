"""JSON as Go's encoding/json reads and writes it, numbers kept as they were written.

    {"b": 1.50, "a": "<"}   reads as {"b": Number("1.50"), "a": "<"}   and is written as   {"a":"\\u003c","b":1.50}

Keys are sorted, `<`, `>` and `&` are escaped, there is no white space, the last of duplicate keys wins.
"""

from __future__ import annotations

import json
import re
from typing import Any

from secrets_sync.domain.gjson.tokens import quoted

MAX_DEPTH = 200
"""How deep objects and arrays may lie in each other; Python's stack bears more."""


class Number(str):
    """A number, by its digits."""

    __slots__ = ()


def decode(text: str) -> Any:
    """Return dicts, lists, str, Number, bool and None. Raises ValueError, which does not quote the text."""
    try:
        return _mend(json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_refuse))
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None  # the cause would quote the text


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _mend(value: Any, depth: int = 0) -> Any:
    """Replace lone surrogates, which UTF-8 cannot say, by U+FFFD as Go reads them. Raises ValueError: too deep."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    match value:
        case Number():
            return value
        case str():
            return re.sub(r"[\ud800-\udfff]", "\ufffd", value)
        case dict():
            return {_mend(key): _mend(member, depth + 1) for key, member in value.items()}
        case list():
            return [_mend(element, depth + 1) for element in value]
    return value


def encode(value: Any) -> str:
    """Return one line of JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Number():
            return str(value)
        case str():
            return quoted(value)
        case dict():
            return "{" + ",".join(f"{quoted(key)}:{encode(value[key])}" for key in sorted(value)) + "}"
        case list():
            return "[" + ",".join(map(encode, value)) + "]"
    raise TypeError(f"{type(value).__name__} is not JSON")
