r"""Streams of documents as kubectl reads them: what begins with a brace is JSON, one object behind the other.

JSON is read as JSON, because YAML does not know how JSON spells what is beyond 16 bits ("\ud83d\ude00"); half of such a
pair is U+FFFD. What begins with a brace and is no JSON may still be YAML in flow style.

Source: k8s.io/apimachinery, pkg/util/yaml, YAMLOrJSONDecoder; encoding/json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import isfinite
from typing import Any, NoReturn

from gitops_core.domain.render.manifests import MAX_DEPTH, Malformed, read_documents

_SPACE = " \t\r\n"
_HALF = re.compile("[\ud800-\udfff]")
MOST_DIGITS = 400
"""Of a whole number; a longer one is larger than every float."""


def decode(data: bytes) -> Iterator[tuple[int, Any]]:
    """Decode the documents of a file or of standard input, each with the line it begins at. Raises Malformed."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed(0, "not UTF-8 text") from None
    if text.lstrip(_SPACE).startswith("{"):
        try:
            return iter(list(_decode_json(text)))
        except json.JSONDecodeError:
            pass
    return read_documents(data)


def _decode_json(text: str) -> Iterator[tuple[int, Any]]:
    """Yield documents of JSON. Raises JSONDecodeError: it is no JSON; Malformed: it is, and still cannot be taken."""
    line, end, position = 1, 0, _skip_space(text, 0)
    while position < len(text):
        line += text.count("\n", end, position)
        try:
            value, end = _make_decoder(line).raw_decode(text, position)
        except RecursionError:
            raise Malformed(line, f"nested more than {MAX_DEPTH} deep") from None
        if _measure_depth(value) > MAX_DEPTH:
            raise Malformed(line, f"nested more than {MAX_DEPTH} deep")
        yield line, _mend(value)
        line += text.count("\n", position, end)
        position = _skip_space(text, end)


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


def _make_decoder(line: int) -> json.JSONDecoder:
    def make_mapping(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            names = [name for name, _ in found]
            twice = next(name for name in names if names.count(name) > 1)
            raise Malformed(line, f"mapping key {twice!r} already defined")
        return made

    def refuse(word: str) -> NoReturn:
        raise Malformed(line, f"{word} is no number that JSON can say")

    def parse_real(word: str) -> float:
        number = float(word)
        return number if isfinite(number) else refuse(word if len(word) <= MOST_DIGITS else f"{word[:20]}...")

    def parse_whole(word: str) -> int | float:
        return int(word) if len(word) <= MOST_DIGITS else parse_real(word)

    return json.JSONDecoder(
        object_pairs_hook=make_mapping, parse_constant=refuse, parse_float=parse_real, parse_int=parse_whole
    )


def _mend(value: Any) -> Any:
    match value:
        case str():
            return _HALF.sub("\ufffd", value)
        case dict():
            return {_HALF.sub("\ufffd", name): _mend(inner) for name, inner in value.items()}
        case list():
            return [_mend(inner) for inner in value]
    return value


def _measure_depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [item for found in level for item in (found.values() if isinstance(found, dict) else found)]
    return depth
