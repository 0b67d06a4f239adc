"""The parts of a path: `.` goes down, `|` starts anew at what was found, `#` is every element, `#(...)` a query."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from secrets_sync.domain.gjson.modifiers import MODIFIERS
from secrets_sync.domain.gjson.tokens import nested, unescape


class Step(NamedTuple):
    """The first part of a path.

    Attributes:
        rest: the path below, or None when this is the last part.
        pipe: the path to apply to the result, or None.
        wild: whether `part` is a pattern.
    """

    part: str
    rest: str | None = None
    pipe: str | None = None
    wild: bool = False


@dataclass(frozen=True)
class Query:
    """`#(path op value)`; without an operator it asks whether `path` exists."""

    path: str
    op: str
    value: str
    every: bool


def pipes(path: str) -> bool:
    """Tell whether what follows a dot is a modifier or a selection, which a dot passes on like a pipe."""
    if path.startswith("@"):
        name = re.match(r"@([^.|:]*)", path)
        return name is not None and (name[1] in MODIFIERS or name[1] == "dig")
    return path[:1] in ("[", "{")


def object_step(path: str) -> Step:
    """Return the first part of a path, for an object: a key, in which `\\` escapes and `*` and `?` are wildcards."""
    part: list[str] = []
    wild = False
    i = 0
    while i < len(path):
        character = path[i]
        if character == "\\":
            part.append(path[i + 1 : i + 2])
            i += 2
            continue
        if character in ".|":
            return _divided("".join(part), path[i:], wild)
        wild = wild or character in "*?"
        part.append(character)
        i += 1
    return Step("".join(part), wild=wild)


def _divided(part: str, rest: str, wild: bool = False) -> Step:
    after = rest[1:]
    if rest[0] == "|" or pipes(after):
        return Step(part, pipe=after, wild=wild)
    return Step(part, rest=after, wild=wild)


def array_step(path: str) -> Step:
    """Return the first part of a path, for an array: an index or `#`."""
    end = re.search(r"[.|]", path)
    if end is None:
        return Step(path)
    part = path[: end.start()]
    if "#" in part and path[end.start()] == ".":
        return Step(part, rest=path[end.end() :])
    return _divided(part, path[end.start() :])


_OPERATOR = re.compile(r"!=|!%|<=|>=|==|[=<>%!]")


def query_step(path: str) -> tuple[Query, str] | None:
    """Parse `#(...)` or `#(...)#` at the start of a path: it and what follows; None when the query has no end."""
    i, begin, depth = 2, 0, 1
    while i < len(path) and depth:
        character = path[i]
        if depth == 1 and not begin and character in "!=<>%":  # the first operator outside of brackets
            begin = i
        elif character == "\\":  # an escape: the next character says nothing
            i += 1
        elif character in "[(":
            depth += 1
        elif character in "])":
            depth -= 1
        elif character == '"':  # a string: nothing in it says anything
            i = nested_string(path, i)
        i += 1
    if depth:  # no bracket closes it
        return None
    inner = path[2 : i - 1]
    every = path[i : i + 1] == "#"
    after = path[i + 1 :] if every else path[i:]
    if not begin:  # no condition: the path has to lead somewhere
        return Query(_trim(inner), "", "", every), after
    condition = _trim(path[begin : i - 1])
    operator = _OPERATOR.match(condition)
    op = operator[0] if operator else ""
    return Query(_trim(path[2:begin]), "=" if op == "==" else op, _literal(condition[len(op) :]), every), after


def nested_string(path: str, start: int) -> int:
    """Return the index of the quote that ends the string which begins at `start`, or the end of the path."""
    i = start + 1
    while i < len(path) and path[i] != '"':
        i += 2 if path[i] == "\\" else 1
    return i


def _literal(text: str) -> str:
    value = _trim(text)
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
        return unescape(value) if "\\" in value else value
    return value


def _trim(text: str) -> str:
    return text.strip("".join(map(chr, range(33))))


def split_pipe(path: str) -> tuple[str, str] | None:
    """Split a path at its first `|` that is not in a query or a selection; None when there is none."""
    if path.startswith("{"):
        end = nested_string(path, 1) + 1 if path[1:2] == '"' else nested(path, 1)  # as the original has it
        return (path[:end], path[end + 1 :]) if path[end : end + 1] == "|" else None
    i = 0
    while i < len(path):
        if path[i] == "\\":
            i += 1
        elif path.startswith(".#", i):  # what stands behind it is passed over, even a pipe
            i = nested(path, i + 2) - 1 if path[i + 2 : i + 3] in ("(", "[") else i + 2
        elif path[i] == "|":
            return path[:i], path[i + 1 :]
        i += 1
    return None


class Selection(NamedTuple):
    """One entry of `{name:path,...}` or `[path,...]`; the name as written, "" for none."""

    name: str
    path: str


def selections(path: str) -> tuple[tuple[Selection, ...], str] | None:
    """Parse the selection that `path` begins with: its entries and what follows it; None when it has no end."""
    found: list[Selection] = []
    depth, start, colon, modifier = 1, 1, 0, False
    i = 1
    while i < len(path):
        character = path[i]
        if character == "\\":  # an escape: the next character says nothing
            i += 1
        elif character == "@" and path[i - 1] in ".|":  # a modifier: a colon is its argument's
            modifier = True
        elif character == ":" and depth == 1 and not colon and not modifier:  # what stands before it is a name
            colon = i
        elif character == '"':  # a string: nothing in it says anything
            i = nested_string(path, i)
        elif character in "[({":
            depth += 1
        elif character in "])}":
            depth -= 1
        if depth == 0 or (character == "," and depth == 1):  # an entry ends
            found.append(Selection(path[start:colon], path[colon + 1 : i]) if colon else Selection("", path[start:i]))
            start, colon, modifier = i + 1, 0, False
        if depth == 0:  # and the selection with it
            return tuple(found), path[i + 1 :]
        i += 1
    return None


def last_name(path: str) -> str:
    """Return the key that an unnamed entry of a selection gets: the path's last part, or `_`."""
    name = re.split(r"(?<!\\)[.|]", path)[-1]
    return "_" if re.search(r"[\x00-\x1f\[\]{}()#|!]", name) else name


def matches(text: str, pattern: str) -> bool:
    """Tell whether `pattern` (`*` any characters, `?` one, `\\` escapes) describes all of `text`.

    It takes up to len(text) * len(pattern) steps.
    """
    i = j = 0
    star = mark = -1
    while i < len(text):
        if j < len(pattern) and pattern[j] == "*":  # a star: at first it stands for nothing
            star, mark = j, i
            j += 1
            continue
        width = 2 if pattern[j : j + 1] == "\\" else 1
        wanted = pattern[j + width - 1 : j + width]
        if wanted and (wanted == text[i] or (wanted == "?" and width == 1)):  # a character that fits
            i, j = i + 1, j + width
        elif star >= 0:  # none: the last star stands for one more
            mark += 1
            i, j = mark, star + 1
        else:
            return False  # and there is no star
    return not pattern[j:].strip("*")
