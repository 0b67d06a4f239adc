"""Where a YAML file asks to be updated.

    image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "namespace:name"}           the image: name:tag[@digest]
    newTag: 1.0.0                # {"$imagepolicy": "namespace:name:tag"}
    newName: ghcr.io/org/app     # {"$imagepolicy": "namespace:name:name"}
    digest: sha256:...           # {"$imagepolicy": "namespace:name:digest"}

A marker is the whole comment behind a plain or quoted value on the line where the value ends; in flow style a comma may
stand between. For an item of a sequence that has no comment behind it, it may be the one comment line above. Other
comments above a value, behind a key, a block scalar, an alias or a bracket are not markers, nor is what looks like one
inside a string: those are strays, and told.

Source: kustomize kyaml/fieldmeta/fieldmeta.go; flux image-automation-controller, internal/update; tests/golden.
"""

from __future__ import annotations

import json
import re
from typing import Literal, NamedTuple

SCREEN = '"$imagepolicy"'
"""What a file must hold to be read at all."""

LARGEST = 8 << 20
"""Characters; a larger file is not parsed."""

_BEHIND = re.compile(r"[ \t]*,?[ \t]*#([^\r\n\x85\u2028\u2029]*)")
_DASH = re.compile(r" *- +")
_COMMENT = re.compile(r" *#([^\n]*)")
_DECODER = json.JSONDecoder()
_HALF = re.compile("[\ud800-\udfff]")
_BLOCK = "the marker is inside a block scalar, where a comment is text"
_QUOTED = "the marker is inside a quoted text, where a comment is text"
_INSIDE = {
    "|": _BLOCK,
    ">": _BLOCK,
    "'": _QUOTED,
    '"': _QUOTED,
    "plain": "the marker is part of the value: a comment needs a space in front of its #",
    "empty": "the marker stands behind no value, and nothing is inserted: write one, such as the image of today",
}
_BEFORE = tuple(
    (re.compile(shape), f"the marker stands {cause}")
    for shape, cause in (
        (r"^[ \t]*(?:#|$)", "on a line of its own, as a comment above a value: it belongs behind the value"),
        (r"(?:^|[ \t\[{,])\*[^ \t\[\]{},]+[ \t]*,?[ \t]*$", "behind an alias: mark the value at its anchor"),
        (r"\{\{[^{}]*\}\}[ \t]*$", "behind what a template writes: only what it leaves alone can be set"),
        (r"[]}][ \t]*,?[ \t]*$", "behind a flow sequence or mapping: give the value a line of its own"),
        (
            r"(?:^|[ \t])[|>][-+0-9]*[ \t]*$",
            "behind the header of a block scalar: only a plain or quoted value carries one",
        ),
        (r"[:?\[{-][ \t]*$", "in front of the value: it belongs behind it"),
        (r"", "behind no plain or quoted value"),
    )
)


class Unparsable(ValueError):
    """Not to be read; the message says where and why."""


class Stray(NamedTuple):
    """What looks like a marker and sets nothing, and why. `line` 0 stands for the whole file."""

    line: int
    setter: str
    state: Literal["unmatched", "ambiguous", "unparsable"]
    cause: str
    current: str = ""


def is_considered(path: str) -> bool:
    """Whether a file of this name may hold markers."""
    name = path.rpartition("/")[2]
    return name.endswith((".yaml", ".yml")) or name == "Kustomization"


def mend(text: str) -> str:
    """`text` as UTF-8 can say it: half a surrogate pair, which a JSON text or the name of a file may hold, is U+FFFD.

    >>> mend("caf\\udce9.yaml") == "caf\\ufffd.yaml"
    True
    """
    return _HALF.sub("\ufffd", text)


def setter_of(comment: str) -> str:
    """The setter that a comment (without its first `#`) names, or "" when it is no marker.

    >>> setter_of(' {"$imagepolicy": "default:app:tag"}')
    'default:app:tag'
    >>> setter_of(' {"$imagepolicy": "default:app"} and more')
    ''
    """
    try:
        return _setter(json.loads(comment.lstrip("#").strip(" \t\r\n")))
    except (ValueError, RecursionError):
        return ""


def setters_in(comment: str) -> tuple[str, ...]:
    """Every setter that any part of a comment names, each once.

    >>> setters_in('{"$imagepolicy": "default:app"} # {"$imagepolicy": "default:web"}')
    ('default:app', 'default:web')
    """
    found: dict[str, None] = {}
    for match in re.finditer(r"\{", comment):
        try:
            setter = _setter(_DECODER.raw_decode(comment, match.start())[0])
        except (ValueError, RecursionError):
            continue
        if setter:
            found[setter] = None
    return tuple(found)


def _setter(found: object) -> str:
    if not isinstance(found, dict) or any(not isinstance(value, str | None) for value in found.values()):
        return ""
    return mend(found.get("$imagepolicy") or "")


def comment_behind(text: str, end: int) -> str | None:
    """The comment, without its first `#`, behind a value that ends at `end`; None when there is none."""
    match = _BEHIND.match(text, end)
    return match[1] if match else None


def comment_above(text: str, start: int, end: int) -> str | None:
    """The only comment line right above a sequence's item that has none behind it; None when there is none."""
    line = text.rfind("\n", 0, start) + 1
    if line == 0 or not _DASH.fullmatch(text, line, start) or _BEHIND.match(text, end):
        return None
    above = text.rfind("\n", 0, line - 1) + 1
    comment = _COMMENT.fullmatch(text, above, line - 1)
    if comment is None:
        return None
    before = text.rfind("\n", 0, max(above - 1, 0)) + 1
    has_more = above > 0 and _COMMENT.fullmatch(text, before, above - 1)
    return None if has_more else comment[1]


def explain_stray(text: str, token: int, line: int, current: str | None, inside: str = "") -> Stray:
    """Why what stands at `token` (where `SCREEN` was found) marks nothing.

    Args:
        current: the value that it stands behind; None for none.
        inside: the scalar that it is part of: `|`, a quote and so on, `plain`; `empty` for one that it stands
            behind, "" for none.
    """
    start = text.rfind("\n", 0, token) + 1
    end = text.find("\n", token)
    written = text[start : end if end >= 0 else len(text)]
    named = setters_in(written)
    setter = ", ".join(named)
    if inside:
        return Stray(line, setter, "unmatched", _INSIDE[inside])
    comment = written.rfind("#", 0, token - start)
    if comment < 0:
        return Stray(line, setter, "unmatched", "the marker is not in a comment behind a value")
    if len(named) > 1 and current is not None:
        return Stray(line, setter, "ambiguous", "two policies want this value", current)
    if len(named) == 1 and current is None and setter_of(written[comment + 1 :]):
        return Stray(line, setter, "unmatched", _explain_missing_value(written[:comment]))
    return Stray(line, setter, "unparsable", "the comment is not one marker and nothing else", current or "")


def _explain_missing_value(before: str) -> str:
    """Why a marker behind `before`, of its line, has no value that it could set.

    >>> _explain_missing_value("image: *app ")
    'the marker stands behind an alias: mark the value at its anchor'
    """
    return next(cause for shape, cause in _BEFORE if shape.search(before))
