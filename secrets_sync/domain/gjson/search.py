"""Follow a path through a text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from secrets_sync.domain.gjson.modifiers import MODIFIERS, is_valid
from secrets_sync.domain.gjson.paths import (
    Query,
    array_step,
    last_name,
    matches,
    object_step,
    query_step,
    selections,
    split_pipe,
)
from secrets_sync.domain.gjson.tokens import (
    MISSING,
    Type,
    Value,
    elements,
    members,
    nested,
    number_of,
    parse,
    quoted,
    string_of,
)

MAX_DEPTH = 100
"""How deep a path may go; what lies deeper is missing. Python's stack bears about three times as much."""
MAX_WORK = 16 * 1024 * 1024
"""How many characters one path may make us look at: some seconds at most, however it repeats and doubles itself."""
STEP_WORK = 200
ELEMENT_WORK = 50
"""What a step of a path, and a member or element passed by, cost beside their characters."""
MODIFIER_WORK = 4
"""How many characters one costs that a modifier reads or writes."""


class TooMuchWork(ValueError):
    """A path asks for more than MAX_WORK or MAX_DEPTH. Nobody knows then whether it leads to anything."""


class _Walk:
    """How deep a path has come, and how much work all of it may still cost."""

    def __init__(self, depth: int = 0, spent: list[int] | None = None) -> None:
        self.depth, self._spent = depth, spent if spent is not None else [0]

    def deeper(self) -> _Walk:
        if self.depth >= MAX_DEPTH:
            raise TooMuchWork(f"the path goes more than {MAX_DEPTH} levels deep")
        return _Walk(self.depth + 1, self._spent)

    def look_at(self, text: str, besides: int = 0) -> None:
        self._spent[0] += len(text) + besides
        if self._spent[0] > MAX_WORK:
            raise TooMuchWork("the path takes too long to follow in a text of this size")


class _Found(NamedTuple):
    """What a path led to, and the path still to apply to it after a `|`."""

    value: Value = MISSING
    pipe: str | None = None


def get(text: str, path: str) -> Value:
    """Return the value that `path` leads to in `text`, or MISSING. Raises TooMuchWork."""
    return _get(text, path, _Walk())


def _get(text: str, path: str, walk: _Walk) -> Value:
    while True:
        walk.look_at(text)
        walk.look_at(path, STEP_WORK)
        if (made := _made(text, path, walk)) is not None:
            text, path = made
            if path == "":
                return parse(text)
            path = path[1:]
            continue
        found = _lookup(text, path, walk)
        if found.pipe is None:
            return found.value
        text, path = found.value.raw, found.pipe


def _made(text: str, path: str, walk: _Walk) -> tuple[str, str] | None:
    """Return the text that a modifier, literal or selection at the start of `path` makes, and the rest of the path."""
    if len(path) < 2:
        return None
    if path[0] == "@":  # a modifier
        return _modified(text, path, walk)
    if path[0] == "!":  # a literal
        return _static(path)
    if path[0] in "[{" and (parsed := selections(path)) is not None:  # a selection: an array or an object
        entries, rest = parsed
        if rest == "" or rest[0] in ".|":
            made = [(entry, _get(text, entry.path, walk.deeper())) for entry in entries]
            parts = [(entry, value) for entry, value in made if value.exists]
            for _, value in parts:
                walk.look_at(value.raw)
            if path[0] == "[":
                return "[" + ",".join(value.raw for _, value in parts) + "]", rest
            return "{" + ",".join(f"{_name(e.name, e.path)}:{value.raw}" for e, value in parts) + "}", rest
    return None


def _name(name: str, path: str) -> str:
    if name.startswith('"') and is_valid(name):
        return name
    return quoted(name or last_name(path))


def _modified(text: str, path: str, walk: _Walk) -> tuple[str, str] | None:
    match = re.match(r"@([^.|:]*)(:?)", path)
    if match is None or (match[1] not in MODIFIERS and match[1] != "dig"):
        return None  # there is no such modifier
    rest = path[match.end() :]
    arg = ""
    if match[2] and rest:  # an argument
        end = nested(rest, 0) if rest[0] in "{[" else _argument(rest)
        arg, rest = rest[:end], rest[end:]
    if match[1] == "dig":
        made = "[" + ",".join(value.raw for value in _dig(parse(text), arg, walk.deeper())) + "]"
    else:
        walk.look_at("", len(text) * MODIFIER_WORK)
        made = MODIFIERS[match[1]](text, arg)
    walk.look_at("", len(made) * MODIFIER_WORK)
    return made, rest if rest == "" or rest[0] in ".|" else ""


def _argument(rest: str) -> int:
    """Return where a modifier's argument ends: at a pipe that is not in quotes or brackets."""
    i = 0
    while i < len(rest) and rest[i] != "|":
        if rest[i] == '"':
            string = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL).match(rest, i)
            i = string.end() if string else len(rest)
        else:
            i = nested(rest, i) if rest[i] in "{[(" else i + 1
    return i


def _static(path: str) -> tuple[str, str] | None:
    """Split `!` and a literal off: a number or string goes on to a bracket that closes, as in the original."""
    body = path[1:]
    if body[0] in '{["+-0123456789':
        end = nested(body, 0)
    else:
        match = re.match("(?i)(?:true|false|null|nan|inf)(?=[.|]|\\Z)", body)
        if match is None:
            return None
        end = match.end()
    rest = body[end:]
    return body[:end], rest if rest[:1] in (".", "|") else ""


def _dig(value: Value, path: str, walk: _Walk) -> Iterable[Value]:
    """Yield where `path` leads in `value` and in every value below it, outermost first."""
    found = _get(value.raw, path, walk)
    if found.exists:
        yield found
    children: Iterable[Value] = ()
    if value.is_object:
        children = (member for _, member in members(value.raw, 1))
    elif value.is_array:
        children = elements(value.raw, 1)
    for child in children:
        yield from _dig(child, path, walk.deeper())


def _lookup(text: str, path: str, walk: _Walk) -> _Found:
    if path.startswith(".."):
        return _in_array(text, 0, path[2:], walk)
    begin = re.search(r"[{\[]", text)
    if begin is None:
        return _Found()
    return _descend(text, begin.end(), begin[0], path, walk)


def _descend(text: str, start: int, bracket: str, path: str, walk: _Walk) -> _Found:
    walk.look_at(text)
    return (_in_object if bracket == "{" else _in_array)(text, start, path, walk.deeper())


def _in_object(text: str, start: int, path: str, walk: _Walk) -> _Found:
    """Find the first member that fits and, where the path goes on, leads somewhere."""
    step = object_step(path)
    pipe = step.pipe
    for raw_key, value in members(text, start):
        key = string_of(raw_key)
        walk.look_at("", ELEMENT_WORK + (len(step.part) * len(key) if step.wild else 0))
        if not (matches(key, step.part) if step.wild else key == step.part):
            continue
        if step.rest is None:  # the path ends here
            return _Found(value, step.pipe)
        if value.type is Type.JSON:  # a scalar has nothing below it
            found = _descend(value.raw, 1, value.raw[0], step.rest, walk)
            if found.value.exists:
                return found
            pipe = found.pipe if found.pipe is not None else pipe
    return _Found(pipe=pipe)


def _in_array(text: str, start: int, path: str, walk: _Walk) -> _Found:
    if path.startswith(("#(", "#[")):  # a query: the first or all that fit
        return _queried(text, start, path, walk)
    if path.startswith("#."):  # the rest of the path, for each element
        return _collected(text, start, path[2:], walk)
    step = array_step(path)
    if step.part == "#":  # how many there are
        return _Found(Value(Type.NUMBER, str(sum(1 for _ in _passed(text, start, walk)))), step.pipe)
    index = int(step.part) if re.fullmatch(r"[0-9]{1,9}", step.part) else -1
    for i, value in enumerate(_passed(text, start, walk)):
        if i == index and step.rest is None:
            return _Found(value, step.pipe)
        if i == index and step.rest is not None and value.type is Type.JSON:
            return _descend(value.raw, 1, value.raw[0], step.rest, walk)
    return _Found(pipe=step.pipe)


def _passed(text: str, start: int, walk: _Walk) -> Iterable[Value]:
    for element in elements(text, start):
        walk.look_at("", ELEMENT_WORK)
        yield element


def _collected(text: str, start: int, path: str, walk: _Walk) -> _Found:
    """Collect (`#.path`) what `path` leads to in each element, as an array; elements without it are left out."""
    below, pipe = split_pipe(path) or (path, None)
    found = [_get(element.raw, below, walk.deeper()) for element in _passed(text, start, walk)]
    return _Found(Value(Type.JSON, "[" + ",".join(value.raw for value in found if value.exists) + "]"), pipe)


def _queried(text: str, start: int, path: str, walk: _Walk) -> _Found:
    """Find the first element that fits for `#(...)`, an array of all that do for `#(...)#`."""
    parsed = query_step(path)
    if parsed is None:
        return _Found()
    query, rest = parsed
    below = rest[1:] if rest.startswith(".") else None
    pipe = rest[1:] if rest.startswith("|") else None
    parts = split_pipe(below) if below is not None else None
    fitting = []
    for element in _passed(text, start, walk):
        if not _fits(query, element, walk):
            continue
        if parts is not None:  # where nothing fits, the original never comes to this pipe
            below, pipe = parts
        value = element if below is None else _get(element.raw, below, walk.deeper())
        if not query.every:
            return _Found(value, pipe)
        if value.exists:
            fitting.append(value.raw)
    return _Found(Value(Type.JSON, "[" + ",".join(fitting) + "]") if query.every else MISSING, pipe)


def _fits(query: Query, element: Value, walk: _Walk) -> bool:
    if element.type is Type.JSON:  # an object or array: what the query's path leads to in it
        value = _get(element.raw, query.path, walk.deeper())
    elif query.path:  # a scalar has nothing below it
        return False
    else:  # a scalar itself
        value = element
    wanted = query.value
    if wanted.startswith("~"):  # a claim, as ~true
        claim = _claims(wanted[1:], value)
        if claim is None:  # there is no such claim
            return False
        value, wanted = Value(Type.TRUE if claim else Type.FALSE, "true" if claim else "false"), "true"
    if not value.exists or not query.op:  # nothing to compare: it is enough to exist
        return value.exists
    walk.look_at("", len(wanted) * len(value.raw) if query.op in ("%", "!%") else 0)
    return _compares(query.op, value, wanted)


def _claims(claim: str, value: Value) -> bool | None:
    """Tell (`~true` and its like) whether a value passes for true, false or null, or exists (`~*`)."""
    says = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}.get(value.string.lower())
    number = value.number if value.type is Type.NUMBER else None
    match claim:
        case "*":
            return value.exists
        case "null":
            return value.type is Type.NULL
        case "true":
            return value.type is Type.TRUE or says is True or (number is not None and number != 0)
        case "false":
            return value.type in (Type.FALSE, Type.NULL) or says is False or number == 0
    return None


def _compares(op: str, value: Value, wanted: str) -> bool:
    match value.type:
        case Type.STRING if op in ("%", "!%"):  # a pattern
            return matches(value.string, wanted) is (op == "%")
        case Type.STRING:  # text by its characters
            return _ordered(op, value.string, wanted)
        case Type.NUMBER:  # numbers by their values
            return _ordered(op, value.number, number_of(wanted))
        # a boolean beside a boolean, or in an equation: true is more than false
        case Type.TRUE | Type.FALSE if wanted in ("true", "false") or op in ("=", "!="):
            is_true = value.type is Type.TRUE
            if op in ("=", "!="):
                return (wanted == value.type.value) is (op == "=")
            return op == (">=" if is_true else "<=") or (op == (">" if is_true else "<") and wanted != value.type.value)
        # beside anything else, true is at least as much and false at most
        case Type.TRUE | Type.FALSE:
            return op == (">=" if value.type is Type.TRUE else "<=")
    return False


def _ordered(op: str, left: str | float, right: str | float) -> bool:
    lesser, equal = left < right, left == right  # type: ignore[operator]  # both text or both numbers
    match op:
        case "=":
            return equal
        case "!=":
            return not equal
        case "<":
            return lesser
        case "<=":
            return lesser or equal
        case ">":
            return left > right  # type: ignore[operator]
        case ">=":
            return left > right or equal  # type: ignore[operator]
    return False
