"""New values into a YAML file, and not one other byte.

The spelling of a value is cut out and the new spelling put in its place; everything else stays as it was, be it CRLF, a
byte order mark, odd spacing or a missing last newline. Then both texts are parsed and compared: exactly the intended
values differ, or the edit is refused.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any, NamedTuple

import yaml

from image_updater.domain.markers import Marked, Parsed, Unparsable, events
from image_updater.domain.scalars import spell

_NOWHERE = {"start_mark": None, "end_mark": None}


class Edit(NamedTuple):
    """One value to set."""

    marked: Marked
    value: str


def decode(content: bytes) -> tuple[bytes, str]:
    """The byte order mark, or nothing, and the text behind it.

    Raises:
        Unparsable: not UTF-8.
    """
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    try:
        return mark, content[len(mark) :].decode()
    except UnicodeDecodeError as error:
        raise Unparsable(f"not UTF-8 text: byte {len(mark) + error.start}") from None


def set_values(parsed: Parsed, edits: Iterable[Edit]) -> str:
    """The text with the edits made, which must be of its own marked values.

    Raises:
        Unparsable: the result would not mean what was intended; nothing should be written.
    """
    text = parsed.text
    wanted = sorted(edits, key=lambda edit: edit.marked.start)
    pieces: list[str] = []
    copied = 0
    for marked, value in wanted:
        pieces += (text[copied : marked.start], spell(value, marked.style))
        copied = marked.end
    result = "".join((*pieces, text[copied:]))
    _check(parsed.events, result, {edit.marked.number: edit.value for edit in wanted})
    return result


def _check(before: Iterable[Any], after: str, intended: dict[int, str]) -> None:
    for number, (old, new) in enumerate(zip_longest(before, events(after))):
        if number in intended:
            good = isinstance(new, yaml.ScalarEvent) and new.value == intended[number] and new.anchor == old.anchor
        else:
            good = type(old) is type(new) and _meaning(old) == _meaning(new)
        if not good:
            mark = (new or old).start_mark
            raise Unparsable(f"line {mark.line + 1}: the edit would change more than the marked value")


def _meaning(event: Any) -> dict[str, Any]:
    """All of an event but its place."""
    fields: dict[str, Any] = vars(event)
    return fields | _NOWHERE
