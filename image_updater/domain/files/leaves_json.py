"""The values of a JSON text, with their places.

Python's own decoder says whether the text is JSON (RFC 8259: no NaN, no comments) and what it means; the scan behind it
only finds where each value stands.

Source: https://www.rfc-editor.org/rfc/rfc8259
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from typing import Any, NoReturn

from image_updater.domain.files.leaves import Format, Leaf, Path, Said, flatten
from image_updater.domain.files.markers import LARGEST, Unparsable, mend

_TOKEN = re.compile(r'[ \t\r\n]*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>[\[\]{},:])|(?P<bare>[^\s\[\]{},:"]+))')
_COLON = re.compile(r"[ \t\r\n]*:")
_CAUSES = {"[": "is an array", "{": "is an object", "true": "is a boolean", "false": "is a boolean"}


def find_leaves(text: str) -> tuple[Leaf, ...]:
    """Return every value and container of the text, in order. Raises Unparsable."""
    read_meaning(text)  # only what is JSON is scanned
    found: list[Leaf] = []
    open_: list[tuple[Path, str | int]] = []
    position, line = 0, 1
    while match := _TOKEN.match(text, position):
        kind = match.lastgroup or ""
        start, written = match.start(kind), match[kind]
        line += text.count("\n", position, start)
        position = match.end()
        if written in ("]", "}"):  # a container ends
            open_.pop()
        elif written == "," and isinstance(step := open_[-1][1], int):  # the next item of an array
            open_[-1] = open_[-1][0], step + 1
        elif kind == "text" and _COLON.match(text, position):  # a key
            open_[-1] = open_[-1][0], json.loads(written)
        elif written not in (",", ":"):  # a value, which may be a container
            path = (*open_[-1][0], open_[-1][1]) if open_ else ()
            found.append(_make_leaf(path, written, start, line))
            if written in ("[", "{"):
                open_.append((path, 0 if written == "[" else ""))
    return tuple(found)


def _make_leaf(path: Path, written: str, start: int, line: int) -> Leaf:
    cause = _CAUSES.get(written, "")
    value = mend(json.loads(written)) if written.startswith('"') else "" if cause else written
    return Leaf(path, path, value, start, start + len(written), line, cause=cause)


def read_meaning(text: str) -> Mapping[Hashable, Said]:
    """Return what the text means, by path; of keys that are there twice, the last one counts. Raises Unparsable."""
    if len(text) > LARGEST:
        raise Unparsable(f"the file is larger than {LARGEST >> 20} MiB")
    try:
        return flatten(json.loads(text, parse_constant=_refuse, parse_float=Number, parse_int=Number), _make_said)
    except json.JSONDecodeError as error:
        raise Unparsable(f"line {error.lineno}: {error.msg[:1].lower()}{error.msg[1:]}") from None
    except RecursionError:
        raise Unparsable("it is nested too deeply") from None


class Number(str):
    """A number as it is spelled."""

    __slots__ = ()


def _make_said(value: Any) -> Said:
    return Said(value, type(value).__name__) if isinstance(value, str) else Said(None, value)


def _refuse(name: str) -> NoReturn:
    raise Unparsable(f"JSON has no {name}")


def spell(value: str, style: str) -> str:
    return json.dumps(value)


JSON = Format(find_leaves, read_meaning, spell)
