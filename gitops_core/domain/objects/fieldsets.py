"""Sets of fields of one object: what a field manager owns, as metadata.managedFields writes it.

    {"f:spec": {"f:ports": {"k:{\"name\":\"http\"}": {".": {}, "f:port": {}}}}}

A path is a tuple of such elements: `f:` a field, `k:` an item of a keyed list, `v:` an item of a set. A node that is a
member beside having members below it carries "."; a leaf is a member by itself.

Source: sigs.k8s.io/structured-merge-diff, package fieldpath; FieldsV1 in k8s.io/apimachinery.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Self

from gitops_core.domain.objects.decoding import write_plain_numbers

Path = tuple[str, ...]
"""From the object's root; () is the object itself, which nobody owns."""


class FieldSet:
    """An immutable set of paths, kept as a tree.

    >>> spec = FieldSet.of([("f:spec", "f:a"), ("f:spec",)])
    >>> spec.write_fields()
    {'f:spec': {'.': {}, 'f:a': {}}}
    >>> (spec - FieldSet.of([("f:spec",)])).write_fields()
    {'f:spec': {'f:a': {}}}
    """

    __slots__ = ("children", "members")

    def __init__(self, members: frozenset[str], children: Mapping[str, FieldSet]) -> None:
        self.members = members
        self.children = children

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Self:
        members: set[str] = set()
        below: dict[str, list[Path]] = {}
        for path in paths:
            if len(path) == 1:
                members.add(path[0])
            elif path:
                below.setdefault(path[0], []).append(path[1:])
        return cls(frozenset(members), {element: cls.of(rest) for element, rest in below.items()})

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Read FieldsV1. Elements of a type that we do not know are dropped. Raises ValueError: not FieldsV1."""
        members: set[str] = set()
        children: dict[str, FieldSet] = {}
        for element, below in fields.items():
            if element == ".":
                continue
            if element[1:2] != ":" or not isinstance(below, Mapping):
                raise ValueError(f"not a path element: {element!r}")
            if element[0] not in "fkvi":
                continue
            if not below or "." in below:
                members.add(element)
            subset = cls.from_fields(below)
            if subset:
                children[element] = subset
        return cls(frozenset(members), children)

    def write_fields(self) -> dict[str, Any]:
        """Write FieldsV1, in the API server's order."""
        fields: dict[str, Any] = {}
        for element in sorted(self.members | self.children.keys(), key=order):
            below = self.children.get(element)
            own: dict[str, Any] = {".": {}} if below is not None and element in self.members else {}
            fields[element] = {**own, **below.write_fields()} if below is not None else {}
        return fields

    def __bool__(self) -> bool:
        return bool(self.members) or any(self.children.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldSet) and self.write_fields() == other.write_fields()

    def __hash__(self) -> int:
        return hash(self.members)

    def __repr__(self) -> str:
        return f"FieldSet({self.write_fields()})"

    def __iter__(self) -> Iterator[Path]:
        """Yield all paths: a node's members before what is below them."""
        for element in sorted(self.members, key=order):
            yield (element,)
        for element in sorted(self.children, key=order):
            for rest in self.children[element]:
                yield (element, *rest)

    def __contains__(self, path: Path) -> bool:
        node: FieldSet | None = self
        for element in path[:-1]:
            node = node.children.get(element) if node is not None else None
        return node is not None and path[-1] in node.members

    def get_subset(self, element: str) -> FieldSet:
        """Get the set below `element`, relative to it."""
        return self.children.get(element, NOTHING)

    def __or__(self, other: FieldSet) -> FieldSet:
        if not other:
            return self
        children = dict(self.children)
        for element, theirs in other.children.items():
            ours = children.get(element)
            children[element] = theirs if ours is None else ours | theirs
        return FieldSet(self.members | other.members, children)

    def __and__(self, other: FieldSet) -> FieldSet:
        shared = self.children.keys() & other.children.keys()
        children = {e: both for e in shared if (both := self.children[e] & other.children[e])}
        return FieldSet(self.members & other.members, children)

    def __sub__(self, other: FieldSet) -> FieldSet:
        """Subtract path by path: a member's absence says nothing about what is below it."""
        children = {}
        for element, ours in self.children.items():
            theirs = other.children.get(element)
            rest = ours if theirs is None else ours - theirs
            if rest:
                children[element] = rest
        return FieldSet(self.members - other.members, children)

    def leave_out(self, other: FieldSet) -> FieldSet:
        """Leave out the paths of `other` like `-`, and everything below them, too."""
        children = {}
        for element, ours in self.children.items():
            theirs = other.children.get(element)
            rest = ours if theirs is None else ours.leave_out(theirs)
            if element not in other.members and rest:
                children[element] = rest
        return FieldSet(self.members - other.members, children)


NOTHING = FieldSet(frozenset(), {})


def write_key_element(keys: Mapping[str, Any]) -> str:
    """Return the path element of an item of a keyed list.

    >>> write_key_element({"protocol": "TCP", "containerPort": 80})
    'k:{"containerPort":80,"protocol":"TCP"}'
    """
    return "k:" + _write_json({name: write_plain_numbers(keys[name]) for name in sorted(keys)})


def write_value_element(value: Any) -> str:
    """Return the path element of an item of a set."""
    return "v:" + _write_json(write_plain_numbers(value))


def spell(path: Sequence[str]) -> str:
    """Spell `path` as the API server's messages do.

    >>> spell(("f:spec", 'k:{"name":"http"}', 'v:"a"'))
    '.spec[name="http"][="a"]'
    """
    return "".join(map(_spell_element, path))


def _spell_element(element: str) -> str:
    kind, content = element[0], element[2:]
    if kind == "f":
        return "." + content
    if kind == "v":
        return f"[={content}]"
    if kind == "k":
        return "[" + ",".join(f"{name}={_write_json(value)}" for name, value in json.loads(content).items()) + "]"
    return f"[{content}]"


@lru_cache(maxsize=4096)
def order(element: str) -> tuple[int, Any]:
    """Return a sort key: fields, then keyed items, then values, then indices; each in its own order."""
    kind, content = element[0], element[2:]
    match kind:
        case "f":
            return 0, content
        case "k":
            return 1, [(name, _rank(value)) for name, value in sorted(json.loads(content).items())]
        case "v":
            return 2, _rank(json.loads(content))
        case _:
            return 3, int(content)


def _rank(value: Any) -> tuple[int, Any]:
    match value:
        case bool():
            return 2, value
        case int() | float():
            return 0, value
        case str():
            return 1, value
        case _:
            return 3, _write_json(value)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ESCAPED = re.compile("[<>&\u2028\u2029]")


def _write_json(value: Any) -> str:
    """Encode compactly, with the characters escaped that Go's encoder escapes, so that equal elements are equal
    strings.
    """
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", _encode(value))
