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

LONGEST_HEADER = 200
_MASK = "\ufffd"
_ACTION = re.compile(
    r"""\{\{-?[ \t\r\n]*/\*(?:[^*{]|\*(?!/)|\{(?!\{/\*))*\*/[ \t\r\n]*-?\}\}"""
    r"""|\{\{(?:"(?:\\.|[^"\\\n])*"|`[^`]*`|[^"`{}]|\{(?!\{)|\}(?!\}))*\}\}"""
)
_LINES = re.compile(r"(?m)^[^\n]*$")
_MASKED = re.compile(r"[^\r\n]")
_BLOCK = re.compile(r"(?:^|[:\-] +(?:[!&]\S+ +)*)[|>][-+0-9]*[ \t\r]*(?:#.*)?$")


def mask(text: str) -> str:
    """Make YAML of the template actions in `text`, as far as that can be. Line ends stay."""
    pieces: list[str] = []
    copied = 0
    for match in _ACTION.finditer(text):
        pieces += (text[copied : match.start()], _MASKED.sub(_MASK, match[0]))
        copied = match.end()
    masked = "".join((*pieces, text[copied:]))
    return _comment_out(text, masked)


def _comment_out(text: str, masked: str) -> str:
    """Make a comment of each line that holds nothing but actions, or their middle."""
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


def find_lines_in_blocks(text: str) -> frozenset[int]:
    """Find where the lines begin that may belong to a block scalar, judged by indentation alone."""
    found: list[int] = []
    above: list[tuple[int, bool]] = []  # indentation of the lines this one is below, and whether a block is among them
    start = 0
    for line in text.split("\n"):
        if line.strip():
            indent = len(line) - len(line.lstrip(" "))
            while above and above[-1][0] >= indent:
                above.pop()
            inside = bool(above) and above[-1][1]
            if inside:
                found.append(start)
            above.append((indent, inside or _begins_block(line)))
        start += len(line) + 1
    return frozenset(found)


def _begins_block(line: str) -> bool:
    # the search takes the square of a line's length, and no block begins behind so much
    return len(line) <= LONGEST_HEADER and _BLOCK.search(line) is not None
