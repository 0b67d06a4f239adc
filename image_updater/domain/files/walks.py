"""One pass over a YAML text: its markers' places, and a digest of everything else that it says.

    text  ->  libyaml's events  ->  places with their objects · what stands beside other comments · digest

Two texts with equal digests differ in their places' values at most: anchors, tags, types, order and structure are in
it, comments, spacing and styles are not. Speed matters here, hence one loop and no path built before it is needed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import msgspec
import yaml
from yaml._yaml import CParser

from image_updater.domain.files.markers import Unparsable, find_comment_above, find_comment_behind, read_setter
from image_updater.domain.files.places import ObjectIdentifier, Place

STRING_TAGS = (None, "!", "tag:yaml.org,2002:str")

_PROPERTIES = re.compile(r"(?:[&!]\S*(?:\s+|\Z)(?:#.*\s+)*)*")  # the parser counts anchor and tag to the scalar
_OPENS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSES = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
_SOLE = [
    yaml.StreamStartEvent,
    yaml.DocumentStartEvent,
    yaml.SequenceStartEvent,
    yaml.ScalarEvent,
    yaml.SequenceEndEvent,
    yaml.DocumentEndEvent,
    yaml.StreamEndEvent,
]
_AWAITED: Any = object()
_IDENTITY: tuple[tuple[Any, ...], ...] = (("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"))
_LAST = frozenset(path[-1] for path in _IDENTITY)
_BRACKET = re.compile(r"[\[\]{}]")
DEEPEST_FLOW = 1000
"""Brackets that may be open at once."""

_DEEPEST = 4
"""Of paths that identify: items, number, metadata, name."""


class Walked(NamedTuple):
    """What one pass found.

    Attributes:
        claimed: which of the tokens belong to `places`.
        beside: by token, the value in front of a comment that is not a marker.
        inside: by token, the style of the value that it is part of, as libyaml names it; "plain" for none, "empty"
            where it is behind a value that is not there.
        digest: of all that the text says but the marked values.
        events: how many `count_events` counts.
    """

    places: tuple[Place, ...]
    claimed: frozenset[int]
    beside: dict[int, str]
    inside: dict[int, str]
    digest: bytes
    events: int


def parse(text: str) -> CParser:
    """Open a parser to take events from, until StreamEndEvent. Its errors are for `translate_error`.

    Raises:
        Unparsable: too many brackets are open at once; libyaml needs time in the square of them.
    """
    if text.count("[") + text.count("{") > DEEPEST_FLOW:
        depth = 0
        for bracket in _BRACKET.findall(text):
            depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
            if depth > DEEPEST_FLOW:
                raise Unparsable("it is nested too deeply")
    return CParser(text)


def count_events(text: str) -> int:
    """Count the events that libyaml parses `text` into, without making Python objects of them. Raises Unparsable."""
    try:
        return parse(text).raw_parse()
    except (yaml.YAMLError, UnicodeError) as error:
        raise translate_error(error) from None


def read_sole_value(spelled: str) -> str | None:
    """Read the one scalar that `spelled` is to its last character; None: it is not one, or not in every style.

    Its comment is behind it, in flow style: what is one scalar there is the same in block style.
    """
    parser = parse(f"[{spelled} #\n]")
    try:
        found: list[Any] = [parser.get_event() for _ in _SOLE]
    except (yaml.YAMLError, UnicodeError):
        return None
    kinds = [event.__class__ for event in found]
    if kinds != _SOLE or found[3].anchor is not None or found[3].tag is not None:
        return None
    start, end = found[3].start_mark.index, found[3].end_mark.index
    value: str = found[3].value
    return value if (start, end) == (1, 1 + len(spelled)) else None


def translate_error(error: yaml.YAMLError | UnicodeError, line: int = 0) -> Unparsable:
    """Translate a parser's error, with the line it is at; `line` lines stand before the text that was parsed."""
    if isinstance(error, yaml.MarkedYAMLError):
        where = f"line {line + error.problem_mark.line + 1}: " if error.problem_mark else ""
        return Unparsable(f"{where}{error.problem or error.context or 'not YAML'}")
    return Unparsable(str(error).replace("\n", " "))


def find_spelling(text: str, event: Any) -> int:
    """Return where the value of a scalar itself begins, behind its anchor and tag."""
    match = _PROPERTIES.match(text, event.start_mark.index, event.end_mark.index)
    return match.end() if match else event.start_mark.index


def walk(text: str, tokens: list[int], base: int = 0, line: int = 0, *, compares: bool = True) -> Walked:
    """Follow one document, or one line, and return what it asks for, with a digest if it `compares`.

    Args:
        tokens: where in `text` `SCREEN` stands, ascending.
        base, line: characters and lines that stand before it in its file; what is found is counted from there.

    Raises:
        Unparsable: it is no YAML.
    """
    walk = _Walk(text, tokens, base, line)
    try:
        walk.follow(parse(text).get_event)
    except (yaml.YAMLError, UnicodeError) as error:
        raise translate_error(error, line) from None
    return walk.make_result(compares)


class _Walk:
    """Follows the events and knows where in its document each stands.

    Attributes:
        keys: for each open mapping the key whose value comes next (`_AWAITED`: a key comes next; None: the key was no
            scalar), for each open sequence the number of its last item.
        hidden: how many containers were open when a key began that is itself a container; -1 outside of such.
        named: what identifies the document's objects, by path.
        pending: what is marked in the document, with its setter and path, until the document's objects have names.
        above: by where the line below begins, the first token of a line.
        ahead: the tokens that no value has passed yet, the next one last.
    """

    def __init__(self, text: str, tokens: list[int], base: int, line: int) -> None:
        self.text, self.base, self.line = text, base, line
        self.named: dict[tuple[Any, ...], str] = {}
        self.places: list[Place] = []
        self.claimed: list[int] = []
        self.beside: dict[int, str] = {}
        self.inside: dict[int, str] = {}
        self.said: list[Any] = []
        self.keys: list[Any] = []
        self.hidden = -1
        self.events = 0
        self.pending: list[tuple[Any, str, tuple[Any, ...]]] = []
        self.above = {text.find("\n", token) + 1: token for token in reversed(tokens)}
        self.settled = text.find("\n", max(self.above, default=0))  # behind it there is nothing to look at
        self.ahead = tokens[::-1]
        self.next_line, self.next_token = self._reach()

    def make_result(self, compares: bool) -> Walked:
        """Make a result of what was found, with a digest if it `compares`."""
        said = hashlib.blake2b(msgspec.msgpack.encode(self.said), digest_size=16).digest() if compares else b""
        return Walked(tuple(self.places), frozenset(self.claimed), self.beside, self.inside, said, self.events)

    def follow(self, take: Callable[[], Any]) -> None:
        """Take every event, to the stream's end, and note what it says."""
        say, keys = self.said.append, self.keys
        for number in count(1):
            event = take()
            kind = event.__class__
            # a scalar says its text, and how it may be read where that is not plain to see
            if kind is yaml.ScalarEvent:
                value = event.value
                if event.anchor is None and event.tag is None:
                    say(value if event.implicit[0] else (value,))
                else:
                    say((value, event.implicit, event.anchor, event.tag))
                if keys and keys[-1] is _AWAITED:  # half of all events are keys: they need no call
                    keys[-1] = value
                else:
                    self.pass_value(event)
            # a mapping or a sequence begins: True or False, with its anchor and tag if it has one of them
            elif kind in _OPENS:
                say((kind is _OPENS[0], event.anchor, event.tag) if event.anchor or event.tag else kind is _OPENS[0])
                self.open(kind is _OPENS[0])
            # it ends
            elif kind in _CLOSES:
                say(None)
                self.close()
            # an alias stands where a key, a value or an item may stand; what it names was said at its anchor
            elif kind is yaml.AliasEvent:
                say(("*", event.anchor))
                self.pass_alias()
            # a document begins: its objects have nothing to do with those before
            elif kind is yaml.DocumentStartEvent:
                say((event.version, event.tags))
                self.named.clear()
            # it ends: now its objects have names
            elif kind is yaml.DocumentEndEvent:
                self.settle()
            # the text ends
            elif kind is yaml.StreamEndEvent:
                self.events = number
                return

    def pass_value(self, event: Any) -> None:
        """Step over a scalar that is no key, and look whether it is marked or names its object."""
        keys = self.keys
        last = keys[-1] if keys else None
        # an item of a sequence has a number
        if last.__class__ is int:
            keys[-1] = last + 1
        # within a key nothing can be set and nothing names an object
        if self.hidden < 0:
            if last in _LAST and len(keys) <= _DEEPEST:
                self.named.setdefault(tuple(keys), event.value)
            if self.next_token >= 0 or self.above:
                self.look(event)
        # behind a mapping's value comes a key
        if keys and last.__class__ is not int:
            keys[-1] = _AWAITED

    def pass_alias(self) -> None:
        """Step over an alias, which is a document's whole content, an item, a key or a value."""
        keys = self.keys
        if not keys:
            return
        if keys[-1].__class__ is int:
            keys[-1] += 1
        else:
            keys[-1] = None if keys[-1] is _AWAITED else _AWAITED

    def open(self, mapping: bool) -> None:
        """Step into a mapping or a sequence."""
        keys = self.keys
        if keys:
            # it is an item
            if keys[-1].__class__ is int:
                keys[-1] += 1
            # it is a key, and no part of one that is hidden already
            elif keys[-1] is _AWAITED and self.hidden < 0:
                self.hidden = len(keys)
        keys.append(_AWAITED if mapping else -1)

    def close(self) -> None:
        """Step out of a mapping or a sequence."""
        keys = self.keys
        keys.pop()
        # it was the key that hid what was in it
        if len(keys) == self.hidden:
            self.hidden = -1
            keys[-1] = None
        # it was a key within a hidden one, or a mapping's value
        elif keys and keys[-1].__class__ is not int:
            keys[-1] = None if keys[-1] is _AWAITED else _AWAITED

    def look(self, event: Any) -> None:
        """Look for a comment that marks the value: behind it, or on the line above an item."""
        text, start, end = self.text, event.start_mark.index, event.end_mark.index
        # behind the line below the last token no comment is above anything
        if 0 <= self.settled < start:
            self.above = {}
        # tokens before the value's end stand in it or in front of it; in a block scalar's header a comment is a comment
        while 0 <= self.next_token < end:
            passed = self.ahead.pop()
            is_in_header = event.style in ("|", ">") and text.find("\n", start, passed) < 0
            if passed > start and not is_in_header:
                self.inside[passed] = event.style or "plain"
            self.next_line, self.next_token = self._reach()
        # only plain and quoted texts can be set
        if (event.style or "") not in ("", "'", '"') or event.tag not in STRING_TAGS:
            return
        # the next token is on the line where the value ends
        if self.next_token >= 0 and end >= self.next_line:
            self.claim(event, find_comment_behind(text, end), self.next_token)
        # an item may be marked from the line above
        elif self.keys and self.keys[-1].__class__ is int:
            token = self.above.get(text.rfind("\n", 0, start) + 1)
            if token is not None:
                self.claim(event, find_comment_above(text, start, end), token)

    def claim(self, event: Any, comment: str | None, token: int) -> None:
        """Take the token's marker for the value's if the comment is one; else note what it stands beside."""
        if comment is None:
            return
        setter = read_setter(comment)
        start = find_spelling(self.text, event)
        # a marker behind a value that is not spelled: there is nothing to replace
        if setter and start >= event.end_mark.index:
            self.inside[token] = "empty"
            return
        # some other comment that speaks of a marker
        if not setter:
            self.beside[token] = event.value
            return
        self.claimed.append(token)
        self.pending.append(((event, start), setter, tuple(self.keys)))
        self.said[-1] = ("marked", event.anchor, event.tag)

    def settle(self) -> None:
        """Make places of what is marked in the document: all that identifies its objects has been read."""
        for (event, start), setter, path in self.pending:
            self.places.append(
                Place(
                    setter,
                    event.value,
                    event.style or "",
                    self.base + start,
                    self.base + event.end_mark.index,
                    self.line + event.end_mark.line + 1,
                    self.find_object(path),
                )
            )
        self.pending = []

    def find_object(self, path: tuple[Any, ...]) -> ObjectIdentifier:
        """Return the object that the value at `path` belongs to."""
        prefix: tuple[Any, ...] = ()
        # the document is an array of objects
        if len(path) > 1 and isinstance(path[0], int):
            prefix = path[:1]
        # the document may be a list, as `kubectl get` prints it
        elif len(path) > 2 and path[0] == "items" and isinstance(path[1], int):
            prefix = path[:2] if self.named.get(("kind",), "").endswith("List") else ()
        return ObjectIdentifier(*(self.named.get(prefix + end, "") for end in _IDENTITY))

    def _reach(self) -> tuple[int, int]:
        """Return where the line of the next token begins, and the token; -1 for none."""
        if not self.ahead:
            return -1, -1
        return self.text.rfind("\n", 0, self.ahead[-1]) + 1, self.ahead[-1]
