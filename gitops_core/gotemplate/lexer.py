"""A template's text as tokens.

    Hello {{- .Name | printf "%q" }}   ->   text "Hello", action with tokens .Name | printf "%q"

`{{- ` and ` -}}` trim the text beside them; `{{/* comment */}}` is dropped.

Source: Go, text/template/parse/lex.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from gitops_core.gotemplate.errors import TemplateError

Kind = Literal["field", "variable", "number", "string", "word", "dot", "symbol", "end"]

_SPACE = " \t\r\n"
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+
                       |(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)(?![\w.]))
      | (?P<field>\.[^\W\d]\w*)
      | (?P<dot>\.)
      | (?P<variable>\$\w*)
      | (?P<word>[^\W\d]\w*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      | (?P<rune>'(?:[^'\\\n]|\\.)+')
      | (?P<symbol>:=|[=|(),])
    """,
    re.VERBOSE,
)


class Token(NamedTuple):
    """One token of an action; `spaced` tells `.a.b` from `.a .b`."""

    kind: Kind
    text: str
    line: int
    spaced: bool


class Text(NamedTuple):
    text: str
    line: int


class Action(NamedTuple):
    tokens: tuple[Token, ...]
    line: int


def lex(template: str) -> Iterator[Text | Action]:
    """Texts and actions in turn. Raises TemplateError."""
    position, line, trim_next = 0, 1, False
    while True:
        start = template.find("{{", position)
        raw = template[position:] if start < 0 else template[position:start]
        text = raw.lstrip(_SPACE) if trim_next else raw
        if start >= 0 and _trims_before(template, start + 2):
            text = text.rstrip(_SPACE)
        if text:
            yield Text(text, line)
        if start < 0:
            return
        line += raw.count("\n")
        action, position, trim_next = _action(template, start + 2, line)
        if action is not None:
            yield action
        line += template.count("\n", start, position)


def _trims_before(template: str, start: int) -> bool:
    return template.startswith("-", start) and template[start + 1 : start + 2] in tuple(_SPACE)


def _action(template: str, start: int, line: int) -> tuple[Action | None, int, bool]:
    """The action whose contents begin at `start`, where the text goes on, and whether that is trimmed."""
    position = start + 2 if _trims_before(template, start) else start
    if template.startswith("/*", position):
        return None, *_comment(template, position, line)
    tokens: list[Token] = []
    spaced = False
    first = line
    while True:
        if template.startswith("}}", position):
            return Action((*tokens, Token("end", "}}", line, spaced)), first), position + 2, False
        if spaced and template.startswith("-}}", position):
            return Action((*tokens, Token("end", "}}", line, spaced)), first), position + 3, True
        match = _TOKEN.match(template, position)
        if match is None:
            raise _unreadable(template, position, line)
        if match.lastgroup != "space":
            tokens.append(_token(match, line, spaced))
        spaced = match.lastgroup == "space"
        line += match[0].count("\n")
        position = match.end()


def _comment(template: str, start: int, line: int) -> tuple[int, bool]:
    end = template.find("*/", start)
    if end < 0:
        raise TemplateError(f"template:{line}: unclosed comment", line)
    rest = re.compile(r"([ \t\r\n]-)?\}\}").match(template, end + 2)
    if rest is None:
        raise TemplateError(f"template:{line}: comment ends before closing delimiter", line)
    return rest.end(), rest[1] is not None


def _token(match: re.Match[str], line: int, spaced: bool) -> Token:
    kind, text = match.lastgroup, match[0]
    if kind == "rune":
        return Token("number", text, line, spaced)
    return Token(kind, text, line, spaced)  # type: ignore[arg-type]  # the groups are named as the kinds


def _unreadable(template: str, position: int, line: int) -> TemplateError:
    if position >= len(template):
        return TemplateError(f"template:{line}: unclosed action", line)
    if template[position] in "\"'`":
        kind = {'"': "quoted string", "'": "character constant", "`": "raw quoted string"}[template[position]]
        return TemplateError(f"template:{line}: unterminated {kind}", line)
    return TemplateError(f"template:{line}: unexpected {template[position]!r} in action", line)
