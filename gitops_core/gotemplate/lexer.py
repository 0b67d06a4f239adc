"""A template's text to tokens: texts, the marks of actions and what is between them.

    "a {{- .b | print 1 }}"   ->   text "a", left, field ".b", space, pipe, space, word "print", space, number "1", ...

`{{- ` and ` -}}` swallow the white space outside; comments vanish. The first error is the last token.

Source: Go, text/template/parse/lex.go.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import NamedTuple

from gitops_core.gotemplate.constants import is_print, quote

KEYWORDS = frozenset({"block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"})
_SPACES = " \t\r\n"
_LEFT_TRIM = re.compile(r"-[ \t\r\n]")
_RIGHT = re.compile(r"([ \t\r\n]-)?\}\}")
_STRING = re.compile(r'"(?:\\[^\n]|[^"\\\n])*"')
_RAW = re.compile(r"`[^`]*`")
_CHARACTER = re.compile(r"'(?:\\[^\n]|[^'\\\n])*'")
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?"
    r"|0[oO][0-7_]*(?:\.[0-7_]*)?|0[bB][01_]*(?:\.[01_]*)?"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)
_SYMBOLS = {"=": "assign", "|": "pipe"}


class Token(NamedTuple):
    """Kinds: text left right space field variable word bool string raw character number complex dot assign declare
    pipe open close char end error, and each keyword."""

    kind: str
    position: int
    text: str
    line: int

    def __str__(self) -> str:
        if self.kind == "eof":
            return "EOF"
        if self.kind == "error":
            return self.text
        if self.kind in KEYWORDS or self.kind == "dot":
            return f"<{self.text}>"
        return (
            quote(self.text[:10]) + "..."
            if len(self.text.encode("utf-8", "surrogateescape")) > 10
            else quote(self.text)
        )


class _Wrong(Exception):
    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


def tokens_of(text: str) -> list[Token]:
    """Return the tokens, ending with `eof` or `error`."""
    found: list[Token] = []
    line, counted = 1, 0
    try:
        for kind, start, end in _scan(text):
            line += text.count("\n", counted, start)
            counted = start
            said = text[start:end]
            found.append(Token(said if kind == "word" and said in KEYWORDS else kind, start, said, line))
    except _Wrong as wrong:
        line += text.count("\n", counted, wrong.position)
        found.append(Token("error", wrong.position, str(wrong), line))
        return found
    line += text.count("\n", counted)
    found.append(Token("eof", len(text), "", line))
    return found


_Spans = Iterator[tuple[str, int, int]]


def _scan(text: str) -> _Spans:
    position = 0
    while (left := text.find("{{", position)) >= 0:
        inside = left + 2
        trims = _LEFT_TRIM.match(text, inside) is not None
        end = position + len(text[position:left].rstrip(_SPACES)) if trims else left
        if end > position:
            yield "text", position, end
        inside += 2 if trims else 0
        if text.startswith("/*", inside):
            position = _after_comment(text, inside)
            continue
        yield "left", left, left + 2
        position = yield from _action(text, inside)
    if position < len(text):
        yield "text", position, len(text)


def _after_comment(text: str, start: int) -> int:
    end = text.find("*/", start + 2)
    if end < 0:
        raise _Wrong("unclosed comment", start)
    right = _RIGHT.match(text, end + 2)
    if right is None:
        raise _Wrong("comment ends before closing delimiter", start)
    return _after(text, right)


def _after(text: str, right: re.Match[str]) -> int:
    position = right.end()
    while right[1] and position < len(text) and text[position] in _SPACES:
        position += 1
    return position


def _action(text: str, position: int) -> Generator[tuple[str, int, int], None, int]:
    depth = 0
    while True:
        right = _RIGHT.match(text, position)
        if right is not None:
            if depth:
                raise _Wrong("unclosed left paren", position)
            yield "right", right.end() - 2, right.end()
            return _after(text, right)
        kind, end = _token(text, position)
        depth += {"open": 1, "close": -1}.get(kind, 0)
        if depth < 0:
            raise _Wrong("unexpected right paren", position)
        yield kind, position, end
        position = end


def _token(text: str, start: int) -> tuple[str, int]:
    """Return the kind of the token at `start`, and where it ends."""
    first = text[start : start + 1]
    if not first:
        raise _Wrong("unclosed action", start)
    if first in _SPACES:
        return "space", _after_space(text, start)
    if first in _SYMBOLS:
        return _SYMBOLS[first], start + 1
    if first == ":":
        if text[start + 1 : start + 2] != "=":
            raise _Wrong("expected :=", start)
        return "declare", start + 2
    if first in "\"`'":
        return _quoted(text, start, first)
    if first == "$" or (first == "." and not "0" <= text[start + 1 : start + 2] <= "9" and text[start + 1 :]):
        return _name(text, start, "variable" if first == "$" else "field")
    if first in "+-." or "0" <= first <= "9":
        return _number(text, start)
    if is_alphanumeric(first):
        end = _word_end(text, start)
        word = text[start:end]
        return ("bool" if word in ("true", "false") else "word"), end
    if first in "()":
        return ("open" if first == "(" else "close"), start + 1
    if first.isascii() and first.isprintable():
        return "char", start + 1
    raise _Wrong(f"unrecognized character in action: {code_point(first)}", start)


def _after_space(text: str, start: int) -> int:
    end = start
    while end < len(text) and text[end] in _SPACES:
        end += 1
    return end - 1 if end - start > 1 and _RIGHT.match(text, end - 1) else end


def _quoted(text: str, start: int, mark: str) -> tuple[str, int]:
    kind, pattern, words = {
        '"': ("string", _STRING, "unterminated quoted string"),
        "`": ("raw", _RAW, "unterminated raw quoted string"),
        "'": ("character", _CHARACTER, "unterminated character constant"),
    }[mark]
    match = pattern.match(text, start)
    if match is None:
        raise _Wrong(words, start)
    return kind, match.end()


def _name(text: str, start: int, kind: str) -> tuple[str, int]:
    if kind == "field" and _is_terminator(text, start + 1):
        return "dot", start + 1
    return kind, _word_end(text, start + 1) if not _is_terminator(text, start + 1) else start + 1


def _word_end(text: str, position: int) -> int:
    start = position
    while position < len(text) and is_alphanumeric(text[position]):
        position += 1
    if not _is_terminator(text, position):
        raise _Wrong(f"bad character {code_point(text[position])}", start)
    return position


def _is_terminator(text: str, position: int) -> bool:
    following = text[position : position + 1]
    return following in " \t\r\n.,|:)(" or text.startswith("}}", position)


def _number(text: str, start: int) -> tuple[str, int]:
    end = _scanned(text, start)
    if text[end : end + 1] in ("+", "-"):
        end = _scanned(text, end, start)
        if text[end - 1] != "i":
            raise _Wrong(f"bad number syntax: {quote(text[start:end])}", start)
        return "complex", end
    return "number", end


def _scanned(text: str, position: int, start: int | None = None) -> int:
    match = _NUMBER.match(text, position)
    end = match.end() if match else position
    if end < len(text) and is_alphanumeric(text[end]):
        raise _Wrong(f"bad number syntax: {quote(text[position if start is None else start : end + 1])}", position)
    return end


def is_alphanumeric(character: str) -> bool:
    return character == "_" or character.isalpha() or character.isdecimal()


def code_point(character: str) -> str:
    """Write a character like Go's `%#U`."""
    number = 0xFFFD if 0xDC80 <= ord(character) <= 0xDCFF else ord(character)
    return f"U+{number:04X}" + (f" '{chr(number)}'" if is_print(chr(number)) else "")
