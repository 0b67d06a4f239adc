"""The modifiers of a path: `@reverse`, `@keys` and so on, text in, text out.

An empty text stands for no value. The argument is what follows the colon in `@flatten:{"deep":true}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from secrets_sync.domain.gjson.tokens import Type, Value, elements, members, parse, quoted, string_of

MAX_FLATTEN = 64
"""How deep `@flatten:{"deep":true}` goes."""


def _pairs(value: Value) -> list[tuple[str, Value]]:
    """Return the parts of a value: keys (as written) and values, keys "" for an array; a scalar is one value."""
    if value.is_object:
        return list(members(value.raw, 1))
    if value.is_array:
        return [("", element) for element in elements(value.raw, 1)]
    return [("", value)] if value.exists else []


def _option(arg: str, name: str) -> bool:
    for key, value in _pairs(parse(arg)):
        if string_of(key) == name:
            return value.type is Type.TRUE or value.string not in ("", "0", "false") or value.number != 0
    return False


def is_valid(text: str) -> bool:
    """Tell whether a text is one whole JSON value, no more and no less."""
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _reverse(text: str, _: str) -> str:
    value = parse(text)
    if value.is_array:
        return "[" + ",".join(element.raw for _, element in reversed(_pairs(value))) + "]"
    if value.is_object:
        return "{" + ",".join(f"{key}:{member.raw}" for key, member in reversed(_pairs(value))) + "}"
    return text


def _flatten(text: str, arg: str, depth: int = 0) -> str:
    value = parse(text)
    if not value.is_array:
        return text
    deep = _option(arg, "deep") and depth < MAX_FLATTEN
    parts = []
    for element in elements(value.raw, 1):
        raw = element.raw
        if element.is_array:
            raw = (_flatten(raw, arg, depth + 1) if deep else raw)[1:-1]
        parts.append(raw.strip())
    return "[" + ",".join(filter(None, parts)) + "]"


def _join(text: str, arg: str) -> str:
    value = parse(text)
    if not value.is_array:
        return text
    objects = [element for element in elements(value.raw, 1) if element.is_object]
    if _option(arg, "preserve"):
        return "{" + ",".join(element.raw.strip()[1:-1] for element in objects) + "}"
    joined: dict[str, tuple[str, str]] = {}
    for element in objects:
        for key, member in members(element.raw, 1):
            joined[string_of(key)] = (joined.get(string_of(key), (key, ""))[0], member.raw)
    return "{" + ",".join(f"{key}:{raw}" for key, raw in joined.values()) + "}"


def _keys(text: str, _: str) -> str:
    value = parse(text)
    return "[" + ",".join(key if value.is_object else "null" for key, _ in _pairs(value)) + "]"


def _values(text: str, _: str) -> str:
    value = parse(text)
    return text if value.is_array else "[" + ",".join(member.raw for _, member in _pairs(value)) + "]"


def _group(text: str, _: str) -> str:
    value = parse(text)
    if not value.is_object:
        return ""
    rows: list[list[str]] = []
    for key, column in members(value.raw, 1):
        for i, element in enumerate(elements(column.raw, 1) if column.is_array else ()):
            if i == len(rows):
                rows.append([])
            rows[i].append(f"{key}:{element.raw}")
    return "[" + ",".join("{" + ",".join(row) + "}" for row in rows) + "]"


def _ugly(text: str, _: str) -> str:
    return re.sub(r'("[^"\\]*(?:\\.[^"\\]*)*"?)|[\x00-\x20]+', lambda m: m[1] or "", text, flags=re.DOTALL)


MODIFIERS: Mapping[str, Callable[[str, str], str]] = {
    "flatten": _flatten,
    "fromstr": lambda text, _: parse(text).text() if is_valid(text) else "",
    "group": _group,
    "join": _join,
    "keys": _keys,
    "reverse": _reverse,
    "this": lambda text, _: text,
    "tostr": lambda text, _: quoted(text),
    "ugly": _ugly,
    "valid": lambda text, _: text if is_valid(text) else "",
    "values": _values,
}
