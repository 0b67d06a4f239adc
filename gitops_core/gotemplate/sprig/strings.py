"""sprig's functions on text. Go counts bytes: `trunc 1 "é"` is half a character, and that is what comes out.

Source: Masterminds/sprig v3.3, strings.go; Masterminds/goutils, stringutils.go and wordutils.go.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping

from gitops_core.gotemplate.constants import quote, to_bytes, to_text
from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.functions import Function
from gitops_core.gotemplate.printing import text_of
from gitops_core.gotemplate.sprig.cases import (
    camel_case,
    each,
    initials,
    kebab_case,
    lower,
    no_space,
    snake_case,
    swap_case,
    title,
    untitle,
    upper,
)
from gitops_core.gotemplate.values import LONGEST, NO_VALUE, GoList, GoMap, Value, is_list

SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
SPACES += "\u2028\u2029\u202f\u205f\u3000"


def check_length(size: int) -> None:
    """Raise CallError when a text would be too long."""
    if size > LONGEST:
        raise CallError(f"more than {LONGEST} characters")


def slice_bytes(content: bytes, start: int, end: int) -> bytes:
    """Return `content[start:end]`, with Go's errors."""
    if not 0 <= end <= len(content):
        length = f" with length {len(content)}" if end > 0 else ""
        raise CallError(f"runtime error: slice bounds out of range [:{end}]{length}")
    if not 0 <= start <= end:
        raise CallError(f"runtime error: slice bounds out of range [{start}:{end if start > 0 else ''}]")
    return content[start:end]


def strings_of(value: Value) -> GoList:
    """Return the elements as texts, nil left out, like sprig's strslice."""
    if is_list(value):
        return GoList([text_of(each) for each in value if each is not None], "string")
    return GoList([] if value is None else [text_of(value)], "string")


def join(separator: str, value: Value) -> str:
    texts = strings_of(value)
    check_length(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def split(separator: str, text: str, most: int = -1) -> GoList:
    """Split like Go's strings.SplitN."""
    if most == 0:
        return GoList([], "string", is_nil=True)
    if not separator:
        characters = each(text)
        if most > 0 and len(characters) > most:
            characters = [*characters[: most - 1], "".join(characters[most - 1 :])]
        return GoList(characters, "string")
    return GoList(text.split(separator, most - 1 if most > 0 else -1), "string")


def numbered(texts: Iterable[str]) -> GoMap:
    return GoMap({f"_{number}": text for number, text in enumerate(texts)})


def repeat(count: int, text: str) -> str:
    if count < 0:
        raise CallError("strings: negative Repeat count")
    check_length(count * len(text))
    return text * count


def replace(old: str, new: str, text: str) -> str:
    check_length(len(text) + (text.count(old) if old else len(text) + 1) * len(new))
    return text.replace(old, new)


def indent(spaces: int, text: str) -> str:
    pad = repeat(spaces, " ")
    return pad + replace("\n", "\n" + pad, text)


def truncate(size: int, text: str) -> str:
    content = to_bytes(text)
    if size < 0 < len(content) + size:
        return to_text(content[size:])
    return to_text(content[:size]) if 0 <= size < len(content) else text


def substring(start: int, end: int, text: str) -> str:
    content = to_bytes(text)
    if start < 0:
        return to_text(slice_bytes(content, 0, end))
    whole = end < 0 or end > len(content)
    return to_text(slice_bytes(content, start, len(content) if whole else end))


def abbreviate(width: int, text: str) -> str:
    return text if width < 4 else _abbreviate(text, 0, width)


def abbreviate_both(left: int, right: int, text: str) -> str:
    return text if right < 4 or (left > 0 and right < 7) else _abbreviate(text, left, right)


def _abbreviate(text: str, offset: int, width: int) -> str:
    content = to_bytes(text)
    size = len(content)
    if size <= width:
        return text
    offset = min(offset, size)
    if size - offset < width - 3:
        offset = size - (width - 3)
    if offset <= 4:
        return to_text(content[: width - 3]) + "..."
    if width < 7:
        return ""
    if offset + width - 3 < size:
        rest = content[offset:]
        return "..." + (_abbreviate(to_text(rest), 0, width - 3) if width - 3 >= 4 else "")
    return "..." + to_text(content[size - (width - 3) :])


def wrap(width: int, text: str, new_line: str = "\n", *, breaks_words: bool = False) -> str:
    """Wrap like goutils.WrapCustom: lines of at most `width` bytes, broken at spaces."""
    content, width, offset = to_bytes(text), max(width, 1), 0
    line_end = to_bytes(new_line or "\n")
    check_length(len(content) + (len(content) // width + 1 + content.count(b" ")) * len(line_end))
    pieces: list[bytes] = []
    while len(content) - offset > width:
        if content[offset] == 32:
            offset += 1
            continue
        end = content.rfind(b" ", offset, offset + width + 1)
        following = end + 1
        if end < 0 and breaks_words:
            end = following = offset + width
        elif end < 0:
            end = content.find(b" ", offset + width)
            following = end + 1
        if end < 0:
            break
        pieces += [content[offset:end], line_end]
        offset = following
    return to_text(b"".join([*pieces, content[offset:]]))


def decode_base64(text: str) -> str:
    return _decode(text, 4, "base64", rb"[A-Za-z0-9+/]", lambda content: base64.b64decode(content, validate=True))


def decode_base32(text: str) -> str:
    return _decode(text, 8, "base32", rb"[A-Z2-7]", base64.b32decode)


def _decode(text: str, quantum: int, name: str, alphabet: bytes, decode: Callable[[bytes], bytes]) -> str:
    """Decode a text; return what is wrong with it, in Go's words, when it cannot be decoded."""
    content = to_bytes(text)
    clean = content.replace(b"\r", b"").replace(b"\n", b"")
    try:
        return to_text(decode(clean))
    except (binascii.Error, ValueError):
        good = re.match(rb"(?:" + alphabet + rb"|[\r\n])*", content)
        at = good.end() if good else 0
        if at == len(content):
            at -= len(clean) % quantum
        return f"illegal {name} data at input byte {at}"


def _quote(values: Iterable[Value], form: Callable[[Value], str]) -> str:
    return " ".join(form(value) for value in values if value is not None and value is not NO_VALUE)


def _trim(characters: str, text: str) -> str:
    return text.strip(characters) if characters else text


def _fail(message: str) -> str:
    raise CallError(message)


STRINGS: Mapping[str, Function] = {
    "abbrev": Function("int, string", abbreviate),
    "abbrevboth": Function("int, int, string", abbreviate_both),
    "trunc": Function("int, string", truncate),
    "trim": Function("string", lambda text: text.strip(SPACES)),
    "upper": Function("string", upper),
    "lower": Function("string", lower),
    "title": Function("string", title),
    "untitle": Function("string", untitle),
    "substr": Function("int, int, string", substring),
    "repeat": Function("int, string", repeat),
    "trimall": Function("string, string", _trim),
    "trimAll": Function("string, string", _trim),
    "trimSuffix": Function("string, string", lambda end, text: text.removesuffix(end)),
    "trimPrefix": Function("string, string", lambda start, text: text.removeprefix(start)),
    "nospace": Function("string", no_space),
    "initials": Function("string", initials),
    "swapcase": Function("string", swap_case),
    "snakecase": Function("string", snake_case),
    "camelcase": Function("string", camel_case),
    "kebabcase": Function("string", kebab_case),
    "wrap": Function("int, string", wrap),
    "wrapWith": Function("int, string, string", lambda width, end, text: wrap(width, text, end, breaks_words=True)),
    "contains": Function("string, string", lambda part, text: part in text),
    "hasPrefix": Function("string, string", lambda start, text: text.startswith(start)),
    "hasSuffix": Function("string, string", lambda end, text: text.endswith(end)),
    "quote": Function("...any", lambda *values: _quote(values, lambda value: quote(text_of(value)))),
    "squote": Function("...any", lambda *values: _quote(values, lambda value: f"'{text_of(value)}'")),
    "cat": Function("...any", lambda *values: _quote(values, text_of)),
    "indent": Function("int, string", indent),
    "nindent": Function("int, string", lambda spaces, text: "\n" + indent(spaces, text)),
    "replace": Function("string, string, string", replace),
    "plural": Function("string, string, int", lambda one, many, count: one if count == 1 else many),
    "toString": Function("any", text_of),
    "split": Function("string, string", lambda separator, text: numbered(split(separator, text))),
    "splitList": Function("string, string", split),
    "splitn": Function("string, int, string", lambda separator, most, text: numbered(split(separator, text, most))),
    "toStrings": Function("any", strings_of),
    "join": Function("string, any", join),
    "b64enc": Function("string", lambda text: base64.b64encode(to_bytes(text)).decode()),
    "b64dec": Function("string", decode_base64),
    "b32enc": Function("string", lambda text: base64.b32encode(to_bytes(text)).decode()),
    "b32dec": Function("string", decode_base32),
    "hello": Function("", lambda: "Hello!"),
    "fail": Function("string", _fail),
}
