"""A document by its top-level entries: only those that matter are followed event by event.

    kind: Deployment          names the object         followed
    spec: ...                 holds a marker           followed
    data: ...                 neither                  parsed by libyaml, without Python objects

Why an entry may be parsed for itself: where the root is a block mapping in column 0, a line that begins with `key:` in
column 0 begins an entry, unless a quoted text or brackets are open there, as nothing else may reach into column 0. An
entry that leaves those open is an error when it is parsed alone. So if every run of entries parses alone, each began
where the one before was complete, in the state in which a new document's first key is read, and the events of the runs
are those of the whole. A text where that is in doubt (directives, a document's end, line breaks of other kinds, a root
that does not begin with such a key, any error) is walked as a whole, and so are its refusals worded. A key that is
spelled in another way than `key:` makes its entry one to follow.

Source: libyaml src/scanner.c (yaml_parser_unroll_indent, _scan_plain_scalar, _scan_block_scalar, _fetch_stream_end).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from image_updater.domain.files.markers import Marked, Unparsable
from image_updater.domain.files.walks import DEEPEST_FLOW, Piece, Walked, count_events, walk, walk_entries

_ENTRY = re.compile(r"\n[A-Za-z][\w.-]*:(?=[ \r\n]|\Z)", re.ASCII)
_FOLLOWED = re.compile(
    r"\n(?:(?:apiVersion|kind|metadata):|(?![A-Za-z][\w.-]*:(?:[ \r\n]|\Z)|-[ \r\n]|[ \r\n#]|\Z))", re.ASCII
)
_PREAMBLE = re.compile(r"(?:--- *(?:#[^\n]*)?\r?\n)?(?: *(?:#[^\n]*)?\r?\n)*")
_DOUBTFUL = ("\n%", "\n---", "\n...", "\x85", "\u2028", "\u2029")
_AROUND = 6
"""Events around a mapping's entries: the stream's, the document's and the mapping's own."""


class Run(NamedTuple):
    """Some entries, one behind another."""

    start: int
    end: int
    followed: bool


def walk_document(text: str, tokens: list[int], base: int = 0, line: int = 0) -> Walked:
    """What `walk` finds in a document, but for the digest, which is empty. Raises Unparsable."""
    runs = runs_of(text, tokens)
    if runs:
        try:
            return _walk_runs(text, runs, tokens, base, line)
        except Unparsable:
            pass  # the whole says why, and where
    return walk(text, tokens, base, line, compares=False)


def runs_of(text: str, tokens: list[int]) -> tuple[Run, ...]:
    """The runs of a document; none where it must be walked, or would be followed, as a whole."""
    lines = "\n" + text  # the break in front of a line has the line's place in `text`, and is found fast
    starts = [match.start() for match in _ENTRY.finditer(lines)]
    if len(starts) < 2 or text.count("[") + text.count("{") > DEEPEST_FLOW:
        return ()
    if any(sign in text for sign in _DOUBTFUL) or text.count("\r") != text.count("\r\n"):
        return ()
    if not _PREAMBLE.fullmatch(text, 0, starts[0]):
        return ()
    starts[0] = 0
    places = [*tokens, *(match.start() for match in _FOLLOWED.finditer(lines))]
    followed = {bisect_right(starts, place) - 1 for place in places}
    return tuple(_runs([*starts, len(text)], followed)) if len(followed) < len(starts) else ()


def _runs(edges: list[int], followed: set[int]) -> Iterator[Run]:
    first = 0
    for number in sorted(followed):
        if first < number:
            yield Run(edges[first], edges[number], False)
        yield Run(edges[number], edges[number + 1], True)
        first = number + 1
    if first < len(edges) - 1:
        yield Run(edges[first], edges[-1], False)


def _walk_runs(text: str, runs: tuple[Run, ...], tokens: list[int], base: int, line: int) -> Walked:
    events = _AROUND + sum(count_events(text[r.start : r.end]) - _AROUND for r in runs if not r.followed)
    pieces = [_piece(text, run, tokens, base, line) for run in runs if run.followed]
    marked: list[Marked] = []
    claimed: list[int] = []
    beside: dict[int, str] = {}
    inside: dict[int, str] = {}
    for piece, walked in zip(pieces, walk_entries(pieces), strict=True):
        start = piece.base - base
        marked += walked.marked
        claimed += (token + start for token in walked.claimed)
        beside |= {token + start: value for token, value in walked.beside.items()}
        inside |= {token + start: style for token, style in walked.inside.items()}
        events += walked.events - _AROUND
    return Walked(tuple(marked), frozenset(claimed), beside, inside, b"", events)


def _piece(text: str, run: Run, tokens: list[int], base: int, line: int) -> Piece:
    start, end, _ = run
    inside = [token - start for token in tokens[bisect_left(tokens, start) : bisect_left(tokens, end)]]
    return Piece(text[start:end], inside, base + start, line + text.count("\n", 0, start))
