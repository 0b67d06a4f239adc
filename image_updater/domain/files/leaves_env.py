"""The variables of an .env file, with the places of their values.

    # comment
    export IMAGE=ghcr.io/org/app:1.0   # comment
    TAG="1.0"

A line is a variable, a comment or empty; a quoted value may go on over lines. Anything else makes the file unreadable:
tools do not agree on it.

Source: https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/#env-file-syntax
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping

from image_updater.domain.files.leaves import Format, Leaf, Said
from image_updater.domain.files.markers import LARGEST, Unparsable

_LINE = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:\r?\n|\Z)")
_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'', re.DOTALL)
_BARE = re.compile(r"(?:[^\s#\"'][^\r\n]*)?")
_COMMENT = re.compile(r"[ \t]+#|[ \t]+\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_./@:+-]+")


def leaves(text: str) -> tuple[Leaf, ...]:
    """Return every variable's value, in order. Raises Unparsable."""
    if len(text) > LARGEST:
        raise Unparsable(f"the file is larger than {LARGEST >> 20} MiB")
    found: list[Leaf] = []
    position, line = 0, 1
    while position < len(text):
        name = _NAME.match(text, position)
        end = position
        if name is not None:
            start = name.end()
            end = _value_end(text, start)
            found.append(_leaf(len(found), name[1], text[start:end], start, line))
        rest = _LINE.match(text, end)
        if rest is None:
            raise Unparsable(f"line {line}: not of the form NAME=value")
        line += text.count("\n", position, rest.end())
        position = rest.end()
    return tuple(found)


def _value_end(text: str, start: int) -> int:
    if quoted := _QUOTED.match(text, start):
        return quoted.end()
    bare = _BARE.match(text, start)
    written = bare[0] if bare else ""
    comment = _COMMENT.search(written)
    return start + (comment.start() if comment else len(written))


def _leaf(number: int, name: str, written: str, start: int, line: int) -> Leaf:
    style = written[:1] if written[:1] in ('"', "'") else ""
    value = written[1:-1] if style else written
    cause = "is not a plain text" if any(sign in value for sign in "\\$\n`") else ""
    if not written:
        cause = "has no value, and nothing is inserted"
    return Leaf((name,), number, value, start, start + len(written), line, style, cause)


def says(text: str) -> Mapping[Hashable, Said]:
    """Return every variable, by its number. Raises Unparsable."""
    return {leaf.key: Said(leaf.value, leaf.path) for leaf in leaves(text)}


def spell(value: str, style: str) -> str:
    style = style or ("" if _PLAIN.fullmatch(value) else '"')
    return f"{style}{value}{style}"


ENV = Format(leaves, says, spell)
