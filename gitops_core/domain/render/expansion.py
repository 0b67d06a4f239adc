"""What YAML comes to when its aliases are written out: known before a program that bounds nothing is given it.

    a: &a [x, x, x]
    b: &b [*a, *a, *a]        27 values, of 40 characters
    c: [*b, *b, *b]
    d: &d [*d]                without end

Values are counted from the parser's events, so that nothing grows while it is measured. A text that cannot be read here
is refused: what another parser makes of it is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from gitops_core.domain.render.manifests import CHARACTERS_OF_A_NODE, MAX_DEPTH, MAX_NODES, TOO_MANY, Malformed


@dataclass
class _Value:
    size: int = 1
    is_open: bool = True


def check_expansion(data: bytes) -> None:
    """Raise Malformed: a value contains itself, is nested too deep, or is too many when aliases are written out."""
    anchors: dict[str, _Value] = {}
    open_: list[_Value] = []
    aliased = 0
    try:
        for event in yaml.parse(data, Loader=yaml.CSafeLoader):
            match event:
                case yaml.DocumentStartEvent():
                    anchors.clear()
                case yaml.CollectionStartEvent():
                    open_.append(_find_named(anchors, event, _Value()))
                    if len(open_) > MAX_DEPTH:
                        raise Malformed(_get_line(event), f"nested more than {MAX_DEPTH} deep")
                case yaml.CollectionEndEvent():
                    closed = open_.pop()
                    closed.is_open = False
                    _add(open_, closed.size)
                case yaml.ScalarEvent():
                    size = 1 + len(event.value) // CHARACTERS_OF_A_NODE
                    _find_named(anchors, event, _Value(size, is_open=False))
                    _add(open_, size)
                case yaml.AliasEvent() if (value := anchors.get(event.anchor or "")) is not None:
                    if value.is_open:
                        raise Malformed(_get_line(event), "a value contains itself")
                    aliased += value.size
                    if aliased > MAX_NODES:
                        raise Malformed(_get_line(event), TOO_MANY)
                    _add(open_, value.size)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Malformed(mark.line + 1 if mark is not None else 0, error.problem or "not YAML") from None
    except yaml.YAMLError as error:
        raise Malformed(0, str(error).splitlines()[0]) from None


def _find_named(anchors: dict[str, _Value], event: yaml.NodeEvent, value: _Value) -> _Value:
    if event.anchor is not None:
        anchors[event.anchor] = value
    return value


def _add(open_: list[_Value], size: int) -> None:
    if open_:
        open_[-1].size += size


def _get_line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0
