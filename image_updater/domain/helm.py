"""What a Helm template looks like to who reads only its YAML: actions masked, every character in its place.

    name: {{ .Release.Name }}          name: xxxxxxxxxxxxxxxxxxx
      {{- with .Values.labels }}         #xxxxxxxxxxxxxxxxxxxxxxxxx
    tag: "{{ .Values.tag }}"           tag: "xxxxxxxxxxxxxxxxx"

An action alone on its lines becomes a comment, one beside other text becomes a word (of U+FFFD, not of x).

Source: text/template/parse/lex.go.
"""

from __future__ import annotations

import re

ACTION = "{{"

_MASK = "\ufffd"
_ACTION = re.compile(
    r"""\{\{-?[ \t\r\n]*/\*(?:[^*{]|\*(?!/)|\{(?!\{/\*))*\*/[ \t\r\n]*-?\}\}"""
    r"""|\{\{(?:"(?:\\.|[^"\\\n])*"|`[^`]*`|[^"`{}]|\{(?!\{)|\}(?!\}))*\}\}"""
)
_LINES = re.compile(r"(?m)^[^\n]*$")
_MASKED = re.compile(r"[^\r\n]")
_BLOCK = re.compile(r"(?:^|[:\-] +(?:[!&]\S+ +)*)[|>][-+0-9]*[ \t\r]*(?:#.*)?$")


def mask(text: str) -> str:
    """`text` with its template actions made YAML, as far as that can be. Line ends stay."""
    pieces: list[str] = []
    copied = 0
    for match in _ACTION.finditer(text):
        pieces += (text[copied : match.start()], _MASKED.sub(_MASK, match[0]))
        copied = match.end()
    masked = "".join((*pieces, text[copied:]))
    return _comment_out(text, masked)


def _comment_out(text: str, masked: str) -> str:
    """The masked text with each line that holds nothing but actions (or their middle) made a comment."""
    lines = list(masked)
    bare = _ACTION.sub(lambda match: _MASKED.sub(" ", match[0]), text)
    for line in _LINES.finditer(bare):
        rest = line[0].strip()
        if rest and not rest.startswith("#"):
            continue
        first = next((n for n in range(line.start(), line.end()) if not masked[n].isspace()), None)
        if first is not None:
            lines[first] = "#"
    return "".join(lines)


def was_masked(value: str) -> bool:
    return _MASK in value


def is_in_block(text: str, line_start: int) -> bool:
    """Whether the line at `line_start` may belong to a block scalar, judged by indentation alone."""
    indent = _indent(text, line_start)
    while line_start > 0 and indent > 0:
        line_start = text.rfind("\n", 0, line_start - 1) + 1
        end = text.find("\n", line_start)
        line = text[line_start : end if end >= 0 else len(text)]
        if line.strip() and (found := len(line) - len(line.lstrip(" "))) < indent:
            indent = found
            if _BLOCK.search(line):
                return True
    return False


def _indent(text: str, line_start: int) -> int:
    end = line_start
    while end < len(text) and text[end] == " ":
        end += 1
    return end - line_start
