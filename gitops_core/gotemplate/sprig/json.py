"""sprig's JSON, written and read as Go's encoding/json does: keys sorted, `<` escaped, all numbers float64.

Source: Go, encoding/json/encode.go; Masterminds/sprig v3.3, defaults.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn

from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.functions import Function
from gitops_core.gotemplate.numbers import json_float
from gitops_core.gotemplate.printing import text_of
from gitops_core.gotemplate.values import (
    LONGEST,
    NO_VALUE,
    Object,
    Struct,
    Value,
    Visits,
    is_list,
    is_nil_list,
    sorted_items,
    type_of,
)

_ESCAPED = re.compile('["\\\\\x00-\x1f\u2028\u2029\udc80-\udcff]')
_HTML = re.compile("[<>&]")
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class _Writer:
    def __init__(self, step: str = "", *, html: bool = True) -> None:
        self._step, self._html = step, html
        self._visits, self._size = Visits(), 0

    def text(self, value: Value, depth: int = 0) -> str:
        self._visits.enter(depth)
        match value:
            case None:
                return "null"
            case bool():
                return "true" if value else "false"
            case str():
                return self._string(value)
            case int():
                return str(int(value))
            case float():
                if value - value != 0:
                    raise CallError(f"json: unsupported value: {text_of(value)}")
                return json_float(value)
            case Object():
                return self._string(value.text)
            case Struct():
                return self._object([(name or type_of(inner), inner) for name, inner in value.fields], depth)
            case Mapping():
                return self._object([(text_of(key), inner) for key, inner in sorted_items(value)], depth)
        if value is NO_VALUE or is_nil_list(value):
            return "null"
        if is_list(value):
            return self._wrapped("[", [self.text(inner, depth + 1) for inner in value], "]", depth)
        raise CallError(f"json: unsupported type: {type_of(value)}")

    def _object(self, pairs: list[tuple[str, Value]], depth: int) -> str:
        colon = '": ' if self._step else '":'
        members = [self._string(name)[:-1] + colon + self.text(inner, depth + 1) for name, inner in pairs]
        return self._wrapped("{", members, "}", depth)

    def _wrapped(self, left: str, parts: list[str], right: str, depth: int) -> str:
        if not parts or not self._step:
            return self._bounded(left + ",".join(parts) + right)
        inside, outside = "\n" + self._step * (depth + 1), "\n" + self._step * depth
        return self._bounded(left + inside + f",{inside}".join(parts) + outside + right)

    def _string(self, text: str) -> str:
        escaped = _ESCAPED.sub(_escape, text)
        if self._html:
            escaped = _HTML.sub(lambda match: f"\\u{ord(match[0]):04x}", escaped)
        return self._bounded(f'"{escaped}"')

    def _bounded(self, text: str) -> str:
        if len(text) > LONGEST:
            raise CallError(f"more than {LONGEST} characters")
        return text


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if "\udc80" <= character <= "\udcff":
        return "\\ufffd"
    return _SHORT.get(character) or f"\\u{ord(character):04x}"


def write(value: Value, step: str = "", *, html: bool = True) -> str:
    return _Writer(step, html=html).text(value)


def read(text: str) -> Value:
    """Decode JSON. Raises CallError."""
    try:
        value = json.loads(text, parse_int=float, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        position = getattr(error, "pos", 0)
        rest = text[position : position + 1]
        said = f"invalid character '{rest}' looking for beginning of value" if rest else "unexpected end of JSON input"
        raise CallError(said) from None
    return _whole(value)


def _no_constant(name: str) -> NoReturn:
    raise json.JSONDecodeError("no JSON", name, 0)


def _whole(value: Value) -> Value:
    """Replace escapes of half a surrogate pair by U+FFFD."""
    match value:
        case str():
            return re.sub("[\ud800-\udbff]|[\udc00-\udc7f]|[\udd00-\udfff]", "\ufffd", value)
        case list():
            return [_whole(inner) for inner in value]
        case dict():
            return {_whole(key): _whole(inner) for key, inner in value.items()}
    return value


def _forgiving(value: Value, step: str = "") -> str:
    try:
        return write(value, step)
    except CallError as error:
        if str(error).startswith("json:"):
            return ""
        raise


def _read_or_nil(text: str) -> Value:
    try:
        return read(text)
    except CallError:
        return None


JSON: Mapping[str, Function] = {
    "fromJson": Function("string", _read_or_nil),
    "mustFromJson": Function("string", read),
    "toJson": Function("any", _forgiving),
    "mustToJson": Function("any", write),
    "toPrettyJson": Function("any", lambda value: _forgiving(value, "  ")),
    "mustToPrettyJson": Function("any", lambda value: write(value, "  ")),
    "toRawJson": Function("any", lambda value: write(value, html=False)),
    "mustToRawJson": Function("any", lambda value: write(value, html=False)),
}
