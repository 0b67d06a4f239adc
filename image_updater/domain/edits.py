"""New values into a text, and not one other byte.

The spelling of a value is cut out and the new spelling put in its place; everything else stays as it was, be it CRLF, a
byte order mark, odd spacing or a missing last newline. Then the result is read as the text was: exactly the intended
values differ, or the edit is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from image_updater.domain.markers import Marked, Unparsable
from image_updater.domain.readings import Reading, find_markers
from image_updater.domain.scalars import spell


class Edit(NamedTuple):
    """One value to set."""

    marked: Marked
    value: str


class Splice(NamedTuple):
    """Characters to replace, from `start` to `end`."""

    start: int
    end: int
    new: str


def splice(text: str, splices: Iterable[Splice]) -> str:
    """`text` with the splices, which must not overlap, made."""
    pieces: list[str] = []
    copied = 0
    for start, end, new in sorted(splices):
        pieces += (text[copied:start], new)
        copied = end
    return "".join((*pieces, text[copied:]))


def set_values(text: str, before: Reading, edits: Iterable[Edit]) -> tuple[str, Reading]:
    """The text with the edits made, and its reading.

    Args:
        before: the reading of `text`; the edits are of its own marked values.

    Raises:
        Unparsable: the result would not mean what was intended; nothing should be written.
    """
    wanted = {edit.marked.start: edit for edit in edits}
    result = splice(text, (Splice(m.start, m.end, spell(value, m.style)) for m, value in wanted.values()))
    after = find_markers(result)
    intended = [wanted[m.start].value if m.start in wanted else m.value for m in before.marked]
    if after.digests != before.digests or len(after.marked) != len(intended):
        line = min((edit.marked.line for edit in wanted.values()), default=0)
        raise Unparsable(f"line {line}: the edit would change more than the marked value")
    for old, new, value in zip(before.marked, after.marked, intended, strict=True):
        if (new.setter, new.value) != (old.setter, value):
            raise Unparsable(f"line {old.line}: the edit would change more than the marked value")
    return result, after
