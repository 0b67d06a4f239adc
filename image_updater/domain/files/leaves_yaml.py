"""The values of a YAML text, with their places: every document's nodes in order, containers and aliases, too."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, cast

import yaml

from image_updater.domain.files.leaves import Format, Leaf, Path, Said
from image_updater.domain.files.markers import LARGEST, Unparsable
from image_updater.domain.files.scalars import spell
from image_updater.domain.files.walks import STRING_TAGS, find_spelling, parse, translate_error

_CAUSES: Mapping[type, str] = {
    yaml.MappingStartEvent: "is a mapping",
    yaml.SequenceStartEvent: "is a sequence",
    yaml.AliasEvent: "is an alias",
}
_OPENS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSES = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
_UNKEYED = -1
"""The step to a value whose key is not a scalar; no path leads there."""


def find_leaves(text: str) -> tuple[Leaf, ...]:
    """Return every value and container of the text; keys are not among them. Raises Unparsable."""
    found: list[Leaf] = []
    open_: list[tuple[Path, str | int | None, bool]] = []  # path, key or number that is next, mapping
    document = -1
    for number, event in enumerate(read_events(text)):
        document += isinstance(event, yaml.DocumentStartEvent)
        if isinstance(event, _CLOSES):
            open_.pop()
            continue
        if not isinstance(event, yaml.ScalarEvent | yaml.AliasEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent):
            continue
        path, is_key = _take_step(open_, event)
        if not is_key:
            found.append(_make_leaf(text, event, number, path)._replace(document=document))
        if isinstance(event, _OPENS):
            mapping = isinstance(event, yaml.MappingStartEvent)
            open_.append(((*path, _UNKEYED) if is_key else path, None if mapping else 0, mapping))
    return tuple(found)


def _take_step(open_: list[tuple[Path, str | int | None, bool]], event: Any) -> tuple[Path, bool]:
    """Return where the next node stands, and whether it is a key."""
    if not open_:
        return (), False
    path, step, mapping = open_[-1]
    if mapping and step is None:
        open_[-1] = path, event.value if isinstance(event, yaml.ScalarEvent) else _UNKEYED, True
        return path, True
    open_[-1] = path, None if mapping else cast("int", step) + 1, mapping
    return (*path, cast("str | int", step)), False


def _make_leaf(text: str, event: Any, number: int, path: Path) -> Leaf:
    end, line = event.end_mark.index, event.start_mark.line + 1
    if not isinstance(event, yaml.ScalarEvent):
        return Leaf(path, number, "", event.start_mark.index, end, line, cause=_CAUSES[type(event)])
    start, style = find_spelling(text, event), event.style or ""
    cause = ""
    if style not in ("", "'", '"') or event.tag not in STRING_TAGS:
        cause = "is not a plain or quoted text"
    elif start >= end:
        cause = "has no value, and nothing is inserted"
    elif not style and event.value in ("true", "false"):
        cause = "is a boolean"
    return Leaf(path, number, event.value, start, end, line, style, cause)


def read_events(text: str) -> Iterator[Any]:
    """Yield the parser's events. Raises Unparsable."""
    if len(text) > LARGEST:
        raise Unparsable(f"the file is larger than {LARGEST >> 20} MiB")
    try:
        parser = parse(text)
        while not isinstance(event := parser.get_event(), yaml.StreamEndEvent):
            yield event
    except (yaml.YAMLError, UnicodeError) as error:
        raise translate_error(error) from None


def read_meaning(text: str) -> Mapping[Hashable, Said]:
    """Return every event by its number: the text of scalars, and all else but their places and styles."""
    return dict(enumerate(_make_said(event) for event in read_events(text)))


def _make_said(event: Any) -> Said:
    rest = type(event).__name__, getattr(event, "anchor", None), getattr(event, "tag", None)
    if not isinstance(event, yaml.ScalarEvent):
        return Said(None, rest)
    return Said(event.value, (*rest, event.implicit))


YAML = Format(find_leaves, read_meaning, spell)
