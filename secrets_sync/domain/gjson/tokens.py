"""A lenient scanner of JSON text: finds where values begin and end, and what a scalar says.

It does not validate. Garbage between values is skipped, a missing end is the end of the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from gitops_core.gotemplate.constants import parse_float


class Type(Enum):
    NULL = "null"
    FALSE = "false"
    TRUE = "true"
    NUMBER = "number"
    STRING = "string"
    JSON = "json"
    """An object or an array."""


class Value(NamedTuple):
    """A value and the text it was written as; MISSING when there is none."""

    type: Type
    raw: str

    @property
    def exists(self) -> bool:
        return self.type is not Type.NULL or self.raw != ""

    @property
    def is_object(self) -> bool:
        return self.type is Type.JSON and self.raw[:1] == "{"

    @property
    def is_array(self) -> bool:
        return self.type is Type.JSON and self.raw[:1] == "["

    @property
    def string(self) -> str:
        """A string's characters, "" for other types."""
        return string_of(self.raw) if self.type is Type.STRING else ""

    @property
    def number(self) -> float:
        """A number's value, 0 for other types and for what only looks like a number."""
        return number_of(self.raw) if self.type is Type.NUMBER else 0.0

    def text(self) -> str:
        """Return the value as a secret: a string's characters, `true`, a plain number, raw JSON; null is ""."""
        match self.type:
            case Type.STRING:
                return self.string
            case Type.NUMBER:
                return self.raw if re.fullmatch(r"-?[0-9]*", self.raw) else plain_number(self.number)
            case Type.TRUE | Type.FALSE:
                return str(self.type.value)
            case Type.JSON:
                return self.raw
        return ""


MISSING = Value(Type.NULL, "")

_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NUMBER = re.compile(r".[^\x00-\x20,\]}]*", re.DOTALL)
_LITERAL = re.compile(r".[a-z]*")
_START = re.compile(r'["{\[tfn+\-0-9iIN]')
_KEY = re.compile(r'["}]')
_ELEMENT = re.compile(r'[\]"{\[tfn+\-0-9iIN]')
_NESTING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[({})\]]', re.DOTALL)
_LITERALS = {"t": Type.TRUE, "f": Type.FALSE, "n": Type.NULL}


def nested(text: str, start: int) -> int:
    """Return where the bracket that opens at `start` is closed (the index after it), or the end of the text.

    Whatever stands at `start` counts as a bracket.
    """
    depth = 1
    for token in _NESTING.finditer(text, start + 1):
        if token[0] in "[({":
            depth += 1
        elif token[0] in "])}":
            depth -= 1
            if depth == 0:
                return token.end()
    return len(text)


def scan(text: str, start: int) -> tuple[Value, int] | None:
    """Return the value that begins at the first possible character from `start` on, and the index after it.

    None when there is none, or when it is a string without an end.
    """
    begin = _START.search(text, start)
    if begin is None:
        return None
    i, first = begin.start(), begin[0]
    if first == '"':  # a string
        string = _STRING.match(text, i)
        return None if string is None else (Value(Type.STRING, string[0]), string.end())
    if first in "{[":  # an object or an array, as far as its brackets go
        end = nested(text, i)
        return Value(Type.JSON, text[i:end]), end
    # true, false or null; an n that no u follows may begin nan
    if first in "tf" or (first == "n" and text[i + 1 : i + 2] in ("u", "")):
        literal = _LITERAL.match(text, i)
        end = literal.end() if literal else len(text)
        return Value(_LITERALS[first], text[i:end]), end
    # a number
    number = _NUMBER.match(text, i)
    end = number.end() if number else len(text)
    return Value(Type.NUMBER, text[i:end]), end


def members(text: str, start: int) -> Iterator[tuple[str, Value]]:
    """Yield the keys (as written, in quotes) and values of the object whose `{` is before `start`."""
    while (key := _KEY.search(text, start)) and key[0] == '"':
        string = _STRING.match(text, key.start())
        found = scan(text, string.end()) if string else None
        if string is None or found is None:
            return
        yield string[0], found[0]
        start = found[1]


def elements(text: str, start: int) -> Iterator[Value]:
    """Yield the values of the array whose `[` is before `start`."""
    while (begin := _ELEMENT.search(text, start)) and begin[0] != "]":
        found = scan(text, begin.start())
        if found is None:
            return
        yield found[0]
        start = found[1]


def parse(text: str) -> Value:
    """Return the value a text begins with. An object or array takes all the rest of the text."""
    i = re.match(r"[\x00-\x20]*", text).end()  # type: ignore[union-attr]  # matches everything
    first = text[i : i + 1]
    if first and first in "{[":
        return Value(Type.JSON, text[i:])
    if first and first in '"tfn+-0123456789iIN':
        found = scan(text, i)
        return found[0] if found else MISSING
    return MISSING


_ESCAPES = {"\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"'}
_PIECE = re.compile(r"[^\\\x00-\x1f]+|\\u([0-9a-fA-F]{4})|\\([\\/bfnrt\"])")


def string_of(raw: str) -> str:
    """Return the characters of a string written as `raw`, in quotes. Ends early at an escape that is none."""
    body = raw[1:-1]
    return unescape(body) if "\\" in body else body


def unescape(body: str) -> str:
    """Replace JSON's escapes in `body`. A lone surrogate becomes U+FFFD, as it does in Go."""
    try:
        plain: str = json.loads(f'"{body}"')
    except ValueError:
        return _unescaped(body)
    return _unescaped(body) if _SURROGATE.search(plain) else plain


def _unescaped(body: str) -> str:
    """Replace the escapes of what is no JSON string, up to the first character that none may hold."""
    out: list[str] = []
    i = 0
    while piece := _PIECE.match(body, i):
        i = piece.end()
        if piece[1]:
            code = int(piece[1], 16)
            if 0xD800 <= code < 0xE000:
                low = re.compile(r"\\u([0-9a-fA-F]{4})").match(body, i)
                code, i = (_pair(code, int(low[1], 16)), low.end()) if low else (0xFFFD, i)
            out.append(chr(code))
        else:
            out.append(_ESCAPES[piece[2]] if piece[2] else piece[0])
    return "".join(out)


def _pair(high: int, low: int) -> int:
    if high < 0xDC00 <= low < 0xE000:
        return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
    return 0xFFFD


def number_of(raw: str) -> float:
    """Return the number written as `raw`, by Go's rules: 0 when it is none, infinite when it is too large."""
    number = parse_float(raw)
    if number is None and re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+|[+-]?[0-9]+\.?[0-9]*", raw):
        return float(raw)
    return number or 0.0


def plain_number(number: float) -> str:
    """Spell a number as Go's FormatFloat(number, 'f', -1) does: the shortest digits, never an exponent.

    >>> plain_number(1.0), plain_number(1.5e-7), plain_number(1e23)
    ('1', '0.00000015', '100000000000000000000000')
    """
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "+Inf" if number > 0 else "-Inf"
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


_FURTHER = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def quoted(text: str) -> str:
    """Quote `text` as Go's encoding/json does: `<`, `>`, `&` and the line separators are escaped too."""
    written = json.dumps(text, ensure_ascii=False)
    for character, escape in _FURTHER.items():
        written = written.replace(character, escape)
    return _SURROGATE.sub(r"\\ufffd", written)  # bytes that are not UTF-8
