"""New values into a text, and not one other byte.

The spelling of a value is cut out and the new spelling put in its place; everything else stays as it was, be it CRLF, a
byte order mark, odd spacing or a missing last newline. Then libyaml parses the result again, and exactly the intended
values differ, or the edit is refused.

    markers alone, one value on one line   ->  parsed and counted; the new value is where the old one was
    markers alone, all else                ->  read as the text was, and compared event by event
    targets as well                        ->  parsed as the text was, and compared value by value

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

from image_updater.domain.files.leaves import Parsed, check
from image_updater.domain.files.markers import LARGEST, Unparsable, find_comment_behind, read_setter
from image_updater.domain.files.places import Place
from image_updater.domain.files.placing import Placed
from image_updater.domain.files.readings import Reading, count_events, find_markers
from image_updater.domain.files.scalars import spell
from image_updater.domain.files.walks import read_sole_value

_BREAKS = frozenset("\n\r\x85\u2028\u2029")


class Splice(NamedTuple):
    """Characters to replace, from `start` to `end`."""

    start: int
    end: int
    new: str


def splice(text: str, splices: Iterable[Splice]) -> str:
    """Make the splices, which must not overlap, in `text`."""
    pieces: list[str] = []
    copied = 0
    for start, end, new in sorted(splices):
        pieces += (text[copied:start], new)
        copied = end
    return "".join((*pieces, text[copied:]))


def set_values(text: str, placed: Placed, desired: Mapping[int, str]) -> tuple[str, Reading | None]:
    """Set values at some places, and return the new text, with its reading where that is what proves it.

    Args:
        placed: the places of `text`.
        desired: the new values, by where their places start.

    Raises:
        Unparsable: the result would not mean what was intended; nothing should be written.
    """
    known = placed.known
    spelled = known.form.spell if isinstance(known, Parsed) else spell
    chosen = [place for place in placed.places if place.start in desired]
    result = splice(text, (Splice(p.start, p.end, spelled(desired[p.start], p.style)) for p in chosen))
    if isinstance(known, Parsed):
        check(known, text, result, desired)
        return result, None
    after = read_by_counting(text, result, known, desired) or read_by_comparing(text, result, known, desired)
    return result, after


def read_by_counting(text: str, result: str, before: Reading, desired: Mapping[int, str]) -> Reading | None:
    """Return the reading of `result` where counting its events proves it, or None: compare."""
    told = {stray.line for stray in before.strays}
    changed = [place for place in before.places if place.start in desired]
    # nothing was counted, or a change is none that counting proves
    if not before.events or not all(_is_counted(text, place, desired[place.start], told) for place in changed):
        return None
    # it has to have as many events as before
    try:
        if len(result) > LARGEST or count_events(result) != before.events:
            return None
    except Unparsable:
        return None
    places: list[Place] = []
    moved = 0
    for place in before.places:
        start, end, value, style = place.start + moved, place.end + moved, place.value, place.style
        if place.start in desired:  # it is changed, and moves what follows
            value = desired[place.start]
            spelled = spell(value, style)
            style, end = style or ('"' if spelled[0] == '"' else ""), start + len(spelled)
            moved = end - place.end
        places.append(Place(place.setter, value, style, start, end, place.line, place.object))
    return before._replace(places=tuple(places))


def _is_counted(text: str, place: Place, value: str, told: Container[int]) -> bool:
    """Tell whether counting proves the edit.

    That the old value and its marker stand there is looked up: a reading is found by its content's hash, which is no
    proof.

    Args:
        told: the lines of strays, whose tales may lead back to the old value.
    """
    start, end = place.start, place.end
    return (
        place.line not in told
        and start > 0
        and text[start - 1] not in _BREAKS  # where the value's first character could end a document
        and _BREAKS.isdisjoint(text[start:end])
        and read_setter(find_comment_behind(text, end) or "") == place.setter
        and _reads_back(text[start:end], place.value)
        and _reads_back(spell(value, place.style), value)
    )


@lru_cache(maxsize=1024)
def _reads_back(spelled: str, value: str) -> bool:
    return read_sole_value(spelled) == value


def read_by_comparing(text: str, result: str, before: Reading, desired: Mapping[int, str]) -> Reading:
    """Return the reading of `result`, which differs from `before` in the desired values alone. Raises Unparsable."""
    digests = before.digests or find_markers(text, compares=True).digests
    after = find_markers(result, compares=True)
    intended = [desired.get(place.start, place.value) for place in before.places]
    if after.digests != digests or len(after.places) != len(intended):
        line = min((place.line for place in before.places if place.start in desired), default=0)
        raise Unparsable(f"line {line}: the edit would change more than the marked value")
    for old, new, value in zip(before.places, after.places, intended, strict=True):
        if (new.setter, new.value) != (old.setter, value):
            raise Unparsable(f"line {old.line}: the edit would change more than the marked value")
    return after
