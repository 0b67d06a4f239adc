"""The values of a text by where they stand: what a path in a target leads to.

    spec.images[0].tag    ("spec", "images", 0, "tag")
    data["app.env"]       ("data", "app.env")

Each format reads a text into leaves and says what the text means, so that an edit can be checked: exactly the intended
values differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from itertools import groupby
from typing import Any, Literal, NamedTuple

from image_updater.domain.files.markers import Unparsable

Path = tuple[str | int, ...]

_STEP = re.compile(r"""\.?(?P<key>[^.\[\]"]+)|\[(?P<index>\d{1,9})\]|\.?\[?"(?P<quoted>[^"]+)"\]?""")


class NoPlace(ValueError):
    """A path leads to no one value; the message says why."""

    def __init__(self, cause: str, state: Literal["unparsable", "ambiguous"] = "unparsable") -> None:
        super().__init__(cause)
        self.state = state


class Leaf(NamedTuple):
    """A value, or a container.

    Attributes:
        key: of what the text says at this place.
        value: "" where `cause` says why it cannot be set.
        start, end: where its spelling stands in the text, quotes included.
        line: counted from 1.
        style: the quote it stands in.
    document: of those of the text, counted from 0.
    """

    path: Path
    key: Hashable
    value: str
    start: int
    end: int
    line: int
    style: str = ""
    cause: str = ""
    document: int = 0


class Said(NamedTuple):
    """What stands at one place: the text of a value, and all else that matters (its type, its anchor)."""

    value: str | None
    rest: Any = None


class Format(NamedTuple):
    """How texts of one format are parsed and how their values are spelled. The first two raise Unparsable."""

    leaves: Callable[[str], tuple[Leaf, ...]]
    says: Callable[[str], Mapping[Hashable, Said]]
    spell: Callable[[str, str], str]
    """A value in the style (a leaf's) that stands there."""


class Parsed(NamedTuple):
    """A text's format and all its leaves."""

    form: Format
    leaves: tuple[Leaf, ...]


def parse_path(text: str) -> Path:
    """Split a path into its steps. Raises NoPlace.

    >>> parse_path('spec.images[0].tag'), parse_path('data["app.env"]')
    (('spec', 'images', 0, 'tag'), ('data', 'app.env'))
    """
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise NoPlace(f"path {text!r} cannot be read at character {position + 1}")
        steps.append(int(match["index"]) if match["index"] else match["key"] or match["quoted"])
        position = match.end()
    return tuple(steps)


def spell_path(path: Path) -> str:
    """Spell a path as a target does."""
    steps = (f"[{step}]" if isinstance(step, int) else f'["{step}"]' if "." in step else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def find(leaves: Iterable[Leaf], path: Path) -> Leaf | None:
    """Find what stands at `path`, or None.

    Args:
        leaves: of one document.

    Raises:
        NoPlace: more than one value stands there, under a key that is there twice.
    """
    found: Leaf | None = None
    above: set[Path] = set()
    twice = False
    for leaf in leaves:
        if leaf.path == path[: len(leaf.path)] and len(leaf.path) > 0:
            twice = twice or leaf.path in above
            above.add(leaf.path)
            if len(leaf.path) == len(path):
                found = leaf
    if found is not None and twice:
        raise NoPlace(f"{spell_path(path)!r} is there more than once", "ambiguous")
    return found


def find_settable(leaves: Iterable[Leaf], path: Path) -> Leaf:
    """Find the value at `path`, which can be set. Raises NoPlace."""
    leaf = find(leaves, path)
    if leaf is None:
        raise NoPlace(f"there is no {spell_path(path)!r}, and nothing is inserted")
    if leaf.cause:
        raise NoPlace(f"{spell_path(path)!r} {leaf.cause}")
    return leaf


def by_document(leaves: Iterable[Leaf]) -> tuple[tuple[Leaf, ...], ...]:
    """Group the leaves by the documents that have some, in order."""
    return tuple(tuple(group) for _, group in groupby(leaves, key=lambda leaf: leaf.document))


def check(parsed: Parsed, before: str, after: str, desired: Mapping[int, str]) -> None:
    """Check that `after` says what `before`, which was parsed, says, but for the desired values. Raises Unparsable.

    Args:
        desired: by where their leaves start.
    """
    intended = {leaf.key: desired[leaf.start] for leaf in parsed.leaves if leaf.start in desired}
    old, new = parsed.form.says(before), parsed.form.says(after)
    good = old.keys() == new.keys() and all(
        new[key].value == intended[key] if key in intended else new[key] == said for key, said in old.items()
    )
    if not good:
        raise Unparsable("the edit would change more than the intended value")


def flatten(data: Any, scalar: Callable[[Any], Said], path: Path = ()) -> dict[Hashable, Said]:
    """Return what nested dicts and lists say, by path; containers are there, too."""
    if isinstance(data, dict):
        found: dict[Hashable, Said] = {path: Said(None, "table")}
        for key, value in data.items():
            found |= flatten(value, scalar, (*path, key))
        return found
    if isinstance(data, list):
        found = {path: Said(None, ("array", len(data)))}
        for number, value in enumerate(data):
            found |= flatten(value, scalar, (*path, number))
        return found
    return {path: scalar(data)}
