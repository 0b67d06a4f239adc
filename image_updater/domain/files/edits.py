"""New values into a text, and not one other byte.

The spelling of a value is cut out and the new spelling put in its place; everything else stays as it was, be it CRLF, a
byte order mark, odd spacing or a missing last newline. Then libyaml parses the result again, and exactly the intended
values differ, or the edit is refused.

    one value on one line, with a comment behind it  ->  parsed and counted; the new value is where the old one was
    all else                                         ->  read as the text was, and compared event by event

Why counting is enough for the first: libyaml reads from left to right and, behind a one-line scalar, remembers nothing
of it but where it began. Up to the scalar both texts are the same; what is spelled is one scalar of the intended value
in flow style, which allows less than block style; what stands behind it up to the line's end is the same comment; so
whatever follows is read in the same state and gives the same events. The laws in test_edits hold both ways against each
other.

Source: libyaml src/scanner.c (yaml_parser_fetch_next_token, _stale_simple_keys, _scan_plain_scalar).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from image_updater.domain.files.markers import LARGEST, Marked, Unparsable, comment_behind, setter_of
from image_updater.domain.files.readings import Reading, count_events, find_markers
from image_updater.domain.files.scalars import spell
from image_updater.domain.files.walks import sole_value

_BREAKS = frozenset("\n\r\x85\u2028\u2029")


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
    after = read_by_counting(text, result, before, wanted) or read_by_comparing(text, result, before, wanted)
    return result, after


def read_by_counting(text: str, result: str, before: Reading, wanted: Mapping[int, Edit]) -> Reading | None:
    """The reading of `result` where counting its events proves it, or None: compare.

    Args:
        wanted: by where their marked values start in `text`.
    """
    told = {stray.line for stray in before.strays}
    if not before.events or not all(_is_counted(text, edit, told) for edit in wanted.values()):
        return None
    try:
        if len(result) > LARGEST or count_events(result) != before.events:
            return None
    except Unparsable:
        return None
    marked: list[Marked] = []
    moved = 0
    for m in before.marked:
        start, end, value, style = m.start + moved, m.end + moved, m.value, m.style
        if m.start in wanted:
            value = wanted[m.start].value
            spelled = spell(value, style)
            style, end = style or ('"' if spelled[0] == '"' else ""), start + len(spelled)
            moved = end - m.end
        marked.append(Marked(m.setter, value, style, start, end, m.line, m.object))
    return before._replace(marked=tuple(marked))


def _is_counted(text: str, edit: Edit, told: Container[int]) -> bool:
    """Whether counting proves the edit; `told` are the lines of strays, whose tales may lead back to the old value.

    That the old value and its marker stand there is looked up: a reading is found by its content's hash, which is no
    proof.
    """
    marked, value = edit
    start, end = marked.start, marked.end
    return (
        marked.line not in told
        and start > 0
        and text[start - 1] not in _BREAKS  # where the value's first character could end a document
        and _BREAKS.isdisjoint(text[start:end])
        and setter_of(comment_behind(text, end) or "") == marked.setter
        and _reads_back(text[start:end], marked.value)
        and _reads_back(spell(value, marked.style), value)
    )


@lru_cache(maxsize=1024)
def _reads_back(spelled: str, value: str) -> bool:
    return sole_value(spelled) == value


def read_by_comparing(text: str, result: str, before: Reading, wanted: Mapping[int, Edit]) -> Reading:
    """The reading of `result`, which differs from `before` in the wanted values alone. Raises Unparsable."""
    digests = before.digests or find_markers(text, compares=True).digests
    after = find_markers(result, compares=True)
    intended = [wanted[m.start].value if m.start in wanted else m.value for m in before.marked]
    if after.digests != digests or len(after.marked) != len(intended):
        line = min((edit.marked.line for edit in wanted.values()), default=0)
        raise Unparsable(f"line {line}: the edit would change more than the marked value")
    for old, new, value in zip(before.marked, after.marked, intended, strict=True):
        if (new.setter, new.value) != (old.setter, value):
            raise Unparsable(f"line {old.line}: the edit would change more than the marked value")
    return after
