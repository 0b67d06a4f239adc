"""Where a YAML file asks to be updated.

    image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "namespace:name"}           the image: name:tag[@digest]
    newTag: 1.0.0                # {"$imagepolicy": "namespace:name:tag"}
    newName: ghcr.io/org/app     # {"$imagepolicy": "namespace:name:name"}
    digest: sha256:...           # {"$imagepolicy": "namespace:name:digest"}

A marker is the whole comment behind a plain or quoted value on the line where the value ends; in flow style a comma may
stand between. For an item of a sequence that has no comment behind it, it may be the one comment line above. Other
comments above a value, behind a key, a block scalar, an alias or a bracket are not markers, nor is what looks like one
inside a string.

Source: kustomize kyaml/fieldmeta/fieldmeta.go; flux image-automation-controller, internal/update; tests/golden.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import yaml

from image_updater.domain.scalars import Style

SCREEN = '"$imagepolicy"'
"""What a file must hold to be read at all."""

LARGEST = 8 << 20
"""Characters; a larger file is not parsed."""

_BEHIND = re.compile(r"[ \t]*,?[ \t]*#([^\r\n\x85\u2028\u2029]*)")
_DASH = re.compile(r" *- +")
_COMMENT = re.compile(r" *#([^\n]*)")
_PROPERTIES = re.compile(r"(?:[&!]\S*(?:\s+|\Z)(?:#.*\s+)*)*")  # the parser counts anchor and tag to the scalar
_STRING_TAGS = (None, "!", "tag:yaml.org,2002:str")

Path = tuple[str | int | None, ...]
"""Keys and indices from the document's root; None where a key is not a scalar."""


class Unparsable(ValueError):
    """Not YAML; the message says where."""


class ObjectIdentifier(NamedTuple):
    """The object that a value belongs to; in an item of a `kind: List`, that item. Empty where the file has none."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""


@dataclass(frozen=True)
class Marked:
    """A value and the marker behind it.

    Attributes:
        setter: what the marker names, as written.
        value: as YAML reads it.
        start, end: where the value's spelling stands in the text, quotes included.
        line: counted from 1.
        number: of its event in the stream, counted from 0.
    """

    setter: str
    value: str
    style: Style
    start: int
    end: int
    line: int
    number: int
    object: ObjectIdentifier


def is_considered(path: str) -> bool:
    """Whether a file of this name may hold markers."""
    name = path.rpartition("/")[2]
    return name.endswith((".yaml", ".yml")) or name == "Kustomization"


def setter_of(comment: str) -> str:
    """The setter that a comment (without its first `#`) names, or "" when it is no marker.

    >>> setter_of(' {"$imagepolicy": "default:app:tag"}')
    'default:app:tag'
    >>> setter_of(' {"$imagepolicy": "default:app"} and more')
    ''
    """
    try:
        found = json.loads(comment.lstrip("#").strip(" \t\r\n"))
    except (ValueError, RecursionError):
        return ""
    if not isinstance(found, dict) or any(not isinstance(value, str | None) for value in found.values()):
        return ""
    return found.get("$imagepolicy") or ""


class Parsed(NamedTuple):
    """A text, its events, and every marked value of every document, in order."""

    text: str
    events: tuple[Any, ...]
    marked: tuple[Marked, ...]


def find_markers(text: str) -> Parsed:
    """What `text`, which must not begin with a byte order mark, asks for. Without the screened word it is not parsed.

    Raises:
        Unparsable.
    """
    tokens = [match.start() for match in re.finditer(re.escape(SCREEN), text)]
    if not tokens:
        return Parsed(text, (), ())
    parsed = tuple(events(text))
    found: list[tuple[Marked, _Document, Path]] = []
    walk = _Walk()
    for number, event in enumerate(parsed):
        path = walk.step(event)
        if path is None or not _is_text(event):
            continue
        setter = ""
        if _may_be_marked(text, event.end_mark.index, tokens):
            match = _BEHIND.match(text, event.end_mark.index)
            setter = setter_of(match[1]) if match else ""
        elif path and isinstance(path[-1], int):
            setter = _setter_above(text, event.start_mark.index, event.end_mark.index)
        start = _spelling(text, event)
        if setter and start < event.end_mark.index:
            found.append((_marked(event, setter, start, number), walk.document, path))
    marked = tuple(_with_object(marked, document.object_of(path)) for marked, document, path in found)
    return Parsed(text, parsed, marked)


def events(text: str) -> Iterator[Any]:
    """The parser's events. Raises Unparsable."""
    if len(text) > LARGEST:
        raise Unparsable(f"the file is larger than {LARGEST >> 20} MiB")
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise Unparsable(f"{where}{error.problem or error.context or 'not YAML'}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise Unparsable(str(error).replace("\n", " ")) from None


def _is_text(event: Any) -> bool:
    plain_or_quoted = isinstance(event, yaml.ScalarEvent) and (event.style or "") in ("", "'", '"')
    return plain_or_quoted and event.tag in _STRING_TAGS


def _setter_above(text: str, start: int, end: int) -> str:
    """The setter that the only comment line right above a sequence's item names, "" for none."""
    line = text.rfind("\n", 0, start) + 1
    dash = _DASH.fullmatch(text, line, start)
    if dash is None or line == 0 or _BEHIND.match(text, end):
        return ""
    above = text.rfind("\n", 0, line - 1) + 1
    comment = _COMMENT.fullmatch(text, above, line - 1)
    if comment is None:
        return ""
    before = text.rfind("\n", 0, max(above - 1, 0)) + 1
    has_more = above > 0 and _COMMENT.fullmatch(text, before, above - 1)
    return "" if has_more else setter_of(comment[1])


def _spelling(text: str, event: Any) -> int:
    """Where the value itself begins."""
    match = _PROPERTIES.match(text, event.start_mark.index, event.end_mark.index)
    return match.end() if match else event.start_mark.index


def _may_be_marked(text: str, end: int, tokens: list[int]) -> bool:
    following = bisect.bisect_left(tokens, end)
    return following < len(tokens) and text.find("\n", end, tokens[following]) < 0


def _marked(event: Any, setter: str, start: int, number: int) -> Marked:
    return Marked(
        setter=setter,
        value=event.value,
        style=cast("Style", event.style or ""),
        start=start,
        end=event.end_mark.index,
        line=event.end_mark.line + 1,
        number=number,
        object=ObjectIdentifier(),
    )


def _with_object(marked: Marked, found: ObjectIdentifier) -> Marked:
    return Marked(**{**vars(marked), "object": found})


_IDENTITY: tuple[Path, ...] = (("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"))


class _Document:
    """What identifies a document's objects: the values of apiVersion, kind and names, by path."""

    def __init__(self) -> None:
        self.values: dict[Path, str] = {}

    def see(self, path: Path, value: str) -> None:
        if _owner(path) is not None:
            self.values.setdefault(path, value)

    def object_of(self, path: Path) -> ObjectIdentifier:
        prefix: Path = ()
        if len(path) > 1 and isinstance(path[0], int):
            prefix = path[:1]
        elif len(path) > 2 and path[0] == "items" and isinstance(path[1], int) and self._is_list():
            prefix = path[:2]
        return ObjectIdentifier(*(self.values.get(prefix + end, "") for end in _IDENTITY))

    def _is_list(self) -> bool:
        return self.values.get(("kind",), "").endswith("List")


def _owner(path: Path) -> Path | None:
    """The path of the object whose identity `path` is part of, or None."""
    for size in (1, 2):
        owner, end = path[:-size], path[-size:]
        if end in _IDENTITY and (not owner or _is_item(owner)):
            return owner
    return None


def _is_item(path: Path) -> bool:
    return isinstance(path[-1], int) and (len(path) == 1 or (len(path) == 2 and path[0] == "items"))


@dataclass
class _Container:
    """A mapping or sequence that is open."""

    path: Path
    mapping: bool
    inside_key: bool
    index: int = 0
    key: str | None = None
    at_key: bool = field(default=True)


class _Walk:
    """Follows the events and knows where in its document each stands."""

    def __init__(self) -> None:
        self.document = _Document()
        self.open: list[_Container] = []

    def step(self, event: Any) -> Path | None:
        """The path of the node that `event` begins, or None for keys, what is inside keys, and for other events."""
        match event:
            case yaml.DocumentStartEvent():
                self.document, self.open = _Document(), []
            case yaml.ScalarEvent():
                path, inside_key = self._place(event.value)
                if inside_key:
                    return None
                self.document.see(path, event.value)
                return path
            case yaml.AliasEvent():
                self._place(None)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                path, inside_key = self._place(None)
                self.open.append(_Container(path, isinstance(event, yaml.MappingStartEvent), inside_key))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.open.pop()
        return None

    def _place(self, value: str | None) -> tuple[Path, bool]:
        """Where the next node stands, and whether it is a key or inside one."""
        if not self.open:
            return (), False
        parent = self.open[-1]
        if not parent.mapping:
            parent.index += 1
            return (*parent.path, parent.index - 1), parent.inside_key
        if parent.at_key:
            parent.key, parent.at_key = value, False
            return (*parent.path, None), True
        parent.at_key = True
        return (*parent.path, parent.key), parent.inside_key
