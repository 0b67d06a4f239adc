"""What a file asks for: its markers' places, what merely looks like a marker, and a digest of everything else it says.

    file  ->  documents that hold a marker  ->  one walk each
              not YAML, but a template      ->  the same with its actions masked
              still not YAML                ->  its marked lines, each for itself

A reading is small and depends on the file's bytes alone, so `Readings` keeps it by Git's name for them: what was read
once is not read again, whoever's commit brings it back.
"""

from __future__ import annotations

import codecs
import hashlib
import re
import sys
from bisect import bisect_left
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import NamedTuple, TypeAlias

from gitops_core.recent import Recent
from image_updater.domain.files.helm import ACTION, find_lines_in_blocks, mask, was_masked
from image_updater.domain.files.markers import LARGEST, SCREEN, Stray, Unparsable, explain_stray, is_considered
from image_updater.domain.files.places import ObjectIdentifier, Place
from image_updater.domain.files.walks import Walked, walk
from image_updater.domain.files.walks import count_events as count_in_document

_DOCUMENT = re.compile(r"\n---(?=[ \t\r\n]|\Z)")
_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
MOST = 10_000
"""Markers in one file; of more, none is read."""

_ELSEWHERE = {"json": "JSON carries no comments: declare a target in an UpdateGuard"}


class Reading(NamedTuple):
    """What one file asks for.

    Attributes:
        places: in the order of the text.
        digests: of what its read parts say beside the places' values; none for a text that was read as it stands,
            unless it `compares`.
        events: how many `count_events` counts; 0 for a text that was not read as it stands.
    """

    places: tuple[Place, ...] = ()
    strays: tuple[Stray, ...] = ()
    digests: tuple[bytes, ...] = ()
    events: int = 0


Readings: TypeAlias = Recent[tuple[str, str], Reading]
"""Readings by how a file is read and its blob id."""

ENTRY = 400
"""Bytes that an entry takes beside its reading: the key, its texts, and a place in the dict."""


def measure(value: object) -> int:
    """Count the bytes that a reading takes, at most: texts that it shares with others are counted each time."""
    own = sys.getsizeof(value)
    return own + sum(map(measure, value)) if isinstance(value, tuple) else own


def remember(readings: Readings, kind: str, blob: str, reading: Reading) -> None:
    """Keep the reading of a file of `kind` by Git's name for its content."""
    readings.put((kind, blob), reading, ENTRY + measure(reading))


REMEMBERED: Readings = Recent(64 << 20)
"""A memo of `read`, which is pure: only a clock can tell that it is there."""


def name_blob(content: bytes, like: str = "") -> str:
    """Return Git's name for a file's content, by SHA-256 when `like`, a name of the same repository, is such a one."""
    digest = hashlib.sha256 if len(like) == 64 else hashlib.sha1  # names, not proof: every edit is checked again
    return digest(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def find_kind(path: str) -> str:
    """Say how a file of this name is read for markers."""
    return "yaml" if is_considered(path) else "json" if path.endswith(".json") else "other"


def read(kind: str, content: bytes) -> Reading:
    """Read what a file of `kind` asks for; without the screened word: nothing."""
    if SCREEN.encode() not in content:
        return Reading()
    if kind != "yaml":
        line = content[: content.index(SCREEN.encode())].count(b"\n") + 1
        cause = _ELSEWHERE.get(kind, "files of this name are not considered")
        return Reading(strays=(Stray(line, "", "unparsable" if kind == "json" else "unmatched", cause),))
    try:
        return find_markers(decode(content)[1])
    except Unparsable as error:
        return Reading(strays=(Stray(0, "", "unparsable", str(error)),))


def decode(content: bytes) -> tuple[bytes, str]:
    """Split a file's content into its byte order mark, or nothing, and the text behind it.

    Raises:
        Unparsable: not UTF-8.
    """
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    try:
        return mark, content[len(mark) :].decode()
    except UnicodeDecodeError as error:
        raise Unparsable(f"not UTF-8 text: byte {len(mark) + error.start}") from None


def find_markers(text: str, *, compares: bool = False) -> Reading:
    """Read what `text`, which must not begin with a byte order mark, asks for.

    Without the screened word it is not parsed.

    Args:
        compares: whether the digests are wanted, which take time.

    Raises:
        Unparsable: it is too large.
    """
    tokens = [match.start() for match in re.finditer(re.escape(SCREEN), text)]
    if not tokens:
        return Reading()
    if len(text) > LARGEST:
        raise Unparsable(f"the file is larger than {LARGEST >> 20} MiB")
    if len(tokens) > MOST:
        raise Unparsable(f"the file has more than {MOST} markers")
    found = _Found(text)
    # as it stands: the only reading whose edits counting may prove
    try:
        found.read_documents(text, tokens, compares=compares)
        return found.make_reading(tokens)._replace(
            digests=tuple(found.digests) if compares else (), events=found.events
        )
    except Unparsable as error:
        # not YAML, and no template: the documents that are YAML
        if ACTION not in text:
            found = _Found(text)
            found.read_documents(text, tokens, skip=True)
        # a template: what its actions leave alone
        else:
            found = _read_template(text, tokens, error)
    return found.make_reading(tokens)


def count_events(text: str) -> int:
    """Count the events that the documents of `text` that hold the screened word are parsed into. Raises Unparsable."""
    documents = (text[start:end] for start, end in _split_documents(text))
    return sum(count_in_document(document) for document in documents if SCREEN in document)


def _read_template(text: str, tokens: list[int], error: Unparsable) -> _Found:
    """Read a template with its actions masked; where it has no shape even so, line by line."""
    masked = mask(text)
    found = _Found(text)
    try:
        found.read_documents(masked, tokens)
    except Unparsable:
        found = _Found(text)
        found.read_lines(masked, tokens, error)
    return found


class _Found:
    """What was found so far in the parts of one text.

    Attributes:
        beside: by token, the value in front of a comment that is no marker.
        inside: by token, the style of the scalar that it is part of.
        claimed: the tokens of places.
        refused: by token, why its part of the text could not be read.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.places: list[Place] = []
        self.digests: list[bytes] = []
        self.beside: dict[int, str] = {}
        self.inside: dict[int, str] = {}
        self.claimed: set[int] = set()
        self.refused: dict[int, str] = {}
        self.events = 0

    def read_documents(self, text: str, tokens: list[int], *, compares: bool = True, skip: bool = False) -> None:
        """Read the documents that hold tokens. Raises Unparsable, unless those that cannot be read are to be skipped.

        Args:
            text: to parse in the place of the file's own, of the same length.
        """
        line, counted = 0, 0
        for start, end in _split_documents(text):
            inside = [token - start for token in tokens[bisect_left(tokens, start) : bisect_left(tokens, end)]]
            if not inside:
                continue
            line, counted = line + len(_BREAK.findall(text, counted, start)), start
            try:
                self.add(walk(text[start:end], inside, start, line, compares=compares), start)
            except Unparsable as error:
                if not skip:
                    raise
                self.refused |= {token + start: str(error) for token in inside}

    def read_lines(self, text: str, tokens: list[int], error: Unparsable) -> None:
        """Read each marked line for itself, where it can be: not inside a block scalar."""
        number, counted = 0, 0
        in_blocks = find_lines_in_blocks(text)
        for start, group in groupby(tokens, key=lambda token: text.rfind("\n", 0, token) + 1):
            inside = list(group)  # a line is read once, however many tokens it holds
            end = text.find("\n", start)
            line = text[start : end if end >= 0 else len(text)]
            indent = len(line) - len(line.lstrip(" "))
            number, counted = number + len(_BREAK.findall(text, counted, start)), start
            first = start + indent
            try:
                if start in in_blocks:
                    raise error
                self.add(walk(line[indent:], [token - first for token in inside], first, number), first)
            except Unparsable:
                self.refused |= dict.fromkeys(inside, str(error))

    def add(self, walked: Walked, start: int) -> None:
        """Add what a walk found in the part of the text that begins at `start`."""
        self.places += walked.places
        self.digests.append(walked.digest)
        self.events += walked.events
        self.claimed |= {token + start for token in walked.claimed}
        self.beside |= {token + start: value for token, value in walked.beside.items()}
        self.inside |= {token + start: style for token, style in walked.inside.items()}

    def make_reading(self, tokens: list[int]) -> Reading:
        """Return the reading that comes of it: what of the `tokens` belongs to no place is a stray."""
        places = tuple(self._unmask(place) for place in self.places)
        return Reading(places, tuple(self._explain_strays(tokens)), tuple(self.digests))

    def _unmask(self, place: Place) -> Place:
        """Return the place without what the mask put into it."""
        if any(was_masked(part) for part in place.object):
            place = place._replace(object=ObjectIdentifier(*("" if was_masked(p) else p for p in place.object)))
        if was_masked(place.value):
            return place._replace(value=self.text[place.start : place.end])
        return place

    def _explain_strays(self, tokens: list[int]) -> Iterator[Stray]:
        """Explain the tokens of no place, at most one a line."""
        line, counted, told, claimed = 1, 0, 0, -1
        for token in tokens:
            # a place's own
            if token in self.claimed:
                claimed = token
                continue
            # in the same comment as a place's: it says it twice, and the last one counts
            if claimed >= 0 and not _BREAK.search(self.text, claimed, token):
                continue
            # one more on a line of which a stray was told
            line, counted = line + len(_BREAK.findall(self.text, counted, token)), token
            if line == told:
                continue
            told = line
            found = explain_stray(self.text, token, line, self.beside.get(token), self.inside.get(token, ""))
            # in a part that could not be read: that is the cause, whatever the line looks like
            if token in self.refused:
                found = found._replace(state="unparsable", cause=self.refused[token])
            yield found


def _split_documents(text: str) -> Iterator[tuple[int, int]]:
    """Find where the documents of `text` begin and end: `---` at a line's start is never anything else.

    Directives belong to the document behind them, so a text with directives is kept whole.
    """
    starts = [] if text.startswith("%") or "\n%" in text else [match.start() + 1 for match in _DOCUMENT.finditer(text)]
    edges = [0, *starts, len(text)]
    yield from pairwise(edges)
