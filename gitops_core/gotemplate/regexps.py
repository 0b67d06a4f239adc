"""Go's regular expressions: RE2 in linear time, Go's words for mistakes, Go's expansion of groups.

    compile_pattern("^main-(?P<ts>[0-9]+)$")     parse_expansion("$ts")

Patterns are matched on UTF-8 bytes, which spares the binding the counting of characters. A pattern that comes from a
stranger can be wrong, but it cannot hang us.

Source: https://pkg.go.dev/regexp#Regexp.Expand, https://pkg.go.dev/regexp/syntax.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import re2

from gitops_core.gotemplate.errors import CallError

MOST_SCANNED = 1 << 28
"""Bytes that the matches of one call may look at together."""
MOST_AT_ONCE = 1 << 25
"""Instructions of a pattern times bytes of one search: some seconds, in which nobody can end it."""
TOO_LONG = "the pattern takes too long on this text"


class PatternInvalid(ValueError):
    """Not a regular expression of Go's; the message is Go's."""


class Match(Protocol):
    def group(self, number: int) -> bytes | None: ...
    def start(self) -> int: ...
    def end(self) -> int: ...


class Pattern(Protocol):
    """The part of a compiled expression that we use."""

    groups: int
    groupindex: Mapping[bytes, int]
    programsize: int

    def search(self, text: bytes, position: int = 0) -> Match | None: ...


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False  # RE2 would write users' mistakes to standard error
    options.max_mem = 8 << 20
    return options


_OPTIONS = _options()

# RE2's words and Go's words for the same mistakes.
_GO_WORDS = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "unexpected )": "unexpected )",
    "trailing \\": "trailing backslash at end of expression",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "invalid UTF-8": "invalid UTF-8",
    "invalid escape sequence": "invalid escape sequence",
    "invalid character class": "invalid character class",
    "invalid character class range": "invalid character class range",
}


def compile_pattern(pattern: str) -> Pattern:
    """Compile a pattern. Raises PatternInvalid.

    >>> compile_pattern("(")
    Traceback (most recent call last):
    ...
    gitops_core.gotemplate.regexps.PatternInvalid: error parsing regexp: missing closing ): `(`
    """
    try:
        return cast("Pattern", re2.compile(pattern.encode("utf-8", "surrogatepass"), _OPTIONS))
    except re2.error as error:
        text = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error.args[0])
        words, colon, argument = text.partition(": ")
        said = _GO_WORDS.get(words, words)
        raise PatternInvalid(f"error parsing regexp: {said}" + (f": `{argument}`" if colon else "")) from None


@dataclass(frozen=True)
class Group:
    name: str


Expansion = tuple[str | Group, ...]


def parse_expansion(template: str) -> Expansion:
    """Parse literal texts and groups, in order.

    >>> parse_expansion("pre$1x-${1}x$$")
    ('pre', Group(name='1x'), '-', Group(name='1'), 'x', '$')
    """
    parts: list[str | Group] = []
    while template:
        literal, dollar, rest = template.partition("$")
        if literal:
            parts.append(literal)
        if not dollar:
            break
        if rest.startswith("$"):
            parts.append("$")
            template = rest[1:]
            continue
        name, template = _group_name(rest)
        parts.append(Group(name) if name else "$")  # malformed: Go takes the dollar as it is
    return tuple(parts)


def _group_name(text: str) -> tuple[str, str]:
    """Split the group's name at the beginning of `text` from what follows; "" and all of `text` when there is none."""
    braced = text.startswith("{")
    start = 1 if braced else 0
    end = start
    while end < len(text) and (text[end].isalpha() or text[end].isdecimal() or text[end] == "_"):
        end += 1
    if end == start or (braced and text[end : end + 1] != "}"):
        return "", text
    return text[start:end], text[end + 1 if braced else end :]


def group_names(pattern: Pattern) -> Mapping[str, int]:
    return {name.decode(): number for name, number in pattern.groupindex.items()}


def expand(expansion: Expansion, match: Match, groups: int, names: Mapping[str, int]) -> bytes:
    """Expand an expansion for this match, in UTF-8 as far as the text is."""
    return b"".join(
        part.encode("utf-8", "surrogateescape") if isinstance(part, str) else _value(part.name, match, groups, names)
        for part in expansion
    )


def _value(name: str, match: Match, groups: int, names: Mapping[str, int]) -> bytes:
    if name.isascii() and name.isdigit() and (name == "0" or name[0] != "0") and len(name) < 9:
        number = int(name)
        return match.group(number) or b"" if number <= groups else b""
    return match.group(names[name]) or b"" if name in names else b""


def first_match(pattern: Pattern, text: bytes, position: int = 0) -> Match | None:
    """Find the first match. Raises CallError: the pattern is too large for so long a text."""
    if pattern.programsize * (len(text) - position) > MOST_AT_ONCE:
        raise CallError(TOO_LONG)
    return pattern.search(text, position)


def matches(pattern: Pattern, text: bytes) -> Iterator[Match]:
    """Yield each match as Go finds them all: after one that is empty the search goes on a character later.

    Raises:
        CallError: the pattern is too large for the text, or looks at too much of it again and again.
    """
    position, before, scanned = 0, -1, 0
    while position <= len(text):
        scanned += len(text) - position
        match = first_match(pattern, text, position)
        if match is None:
            return
        is_empty = match.end() == position
        accepted = not (is_empty and match.start() == before)
        position = position + _width(text, position) if is_empty else match.end()
        before = match.end()
        if accepted:
            yield match
        if scanned > MOST_SCANNED + len(text):
            raise CallError(TOO_LONG)


def _width(text: bytes, position: int) -> int:
    """Return the bytes of the character at `position`; 1 at the end and for a byte that begins none."""
    for size in (2, 3, 4):
        piece = text[position : position + size]
        if piece[:1] >= b"\xc2" and len(piece) == size:
            try:
                if len(piece.decode()) == 1:
                    return size
            except UnicodeDecodeError:
                continue
    return 1
