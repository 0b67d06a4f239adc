"""Files -> objects: YAML and JSON as Flux reads them, every fault of every file in one error.

A file holds any number of documents, a document one object or a List of them. Every object must say apiVersion, kind
and metadata.name, and no two may be the same object. Objects annotated `config.kubernetes.io/local-config` are for
tools, not for the cluster, and are left out.

What a stranger's file can do to us is bounded: nesting, how many values it holds, also after aliases and merges are
written out, and a value that contains itself are refused. They are counted while they are read, so that a dense file
ends as soon as it is one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import yaml

from gitops_core.domain.render.scalars import Scalar, resolve
from gitops_core.errors import ManifestInvalid
from gitops_core.meta import Manifest, ObjectRef

MAX_DEPTH = 200
MAX_NODES = 200_000  # one object of the 1.5 MiB that etcd takes has fewer
MAX_ALL_NODES = 2_000_000  # of all that one build or folder holds: it takes a minute and more to read
DOCUMENT_NODES = 5  # what an empty document costs
TOO_MANY = f"more than {MAX_NODES} values, or as much text, when aliases are written out"
LOCAL_CONFIG = "config.kubernetes.io/local-config"
CHARACTERS_OF_A_NODE = 64  # a long text counts as several nodes, as it does in memory
_PLAIN = "!plain"
_CORE = "tag:yaml.org,2002:"


class Fault(NamedTuple):
    """What is wrong in a file; line 0 where no line is at fault."""

    path: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {f'line {self.line}: ' if self.line else ''}{self.problem}"


class Malformed(Exception):
    """One file is not YAML, or not objects; the caller says which file."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.problem = line, problem


class _Count:
    """The values of a stream, counted while it is read, for who reads them and for all of the build."""

    def __init__(self) -> None:
        self.document, self.all = 0, 0

    def begin_document(self) -> None:
        self.document = 0
        self.add(DOCUMENT_NODES)

    def add(self, nodes: int, depth: int = 0) -> None:
        """Count nodes. Raises Malformed: they are too many, or too deep."""
        if depth > MAX_DEPTH + 1:
            raise Malformed(0, f"nested more than {MAX_DEPTH} deep")
        self.document += nodes
        self.all += nodes
        if self.document > MAX_NODES + DOCUMENT_NODES:
            raise Malformed(0, f"more than {MAX_NODES} values when aliases are written out")
        if self.all > MAX_ALL_NODES:
            raise Malformed(0, f"more than {MAX_ALL_NODES} values in all: divide the folder among Kustomizations")

    def end_document(self, nodes: int) -> None:
        """Count what aliases and long texts add to a document that has so many nodes when it is written out."""
        self.add(max(0, nodes - self.document))


class _Loader(yaml.CSafeLoader):
    """Leaves plain scalars unresolved: their meaning is `scalars.resolve`'s.

    The two methods that are called around each node count instead: composing recurses in C, which bears no depth.
    """

    count: _Count
    depth = 0

    def descend_resolver(self, parent: yaml.Node | None, index: object) -> None:
        self.depth += 1
        try:
            self.count.add(1, self.depth)
        except Malformed as error:
            error.line = _get_line(parent) if parent is not None else 0
            raise

    def ascend_resolver(self) -> None:
        self.depth -= 1

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: tuple[bool, bool] | bool) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if isinstance(implicit, tuple) and implicit[0] else f"{_CORE}str"
        return f"{_CORE}seq" if kind is yaml.SequenceNode else f"{_CORE}map"


Decode = Callable[[bytes], Iterator[tuple[int, Any]]]
"""The decoded documents of a file, each with the line it begins at; None for an empty one. Raises Malformed."""


def read_manifests(files: Mapping[str, bytes], decode: Decode | None = None) -> tuple[Manifest, ...]:
    """Read the objects of `files`, in the order of the mapping and of each file.

    Args:
        decode: `read_documents` by default, which counts the values of all files together.

    Raises:
        ManifestInvalid: names every file that is at fault.
    """
    faults: list[Fault] = []
    found: list[tuple[str, Manifest]] = []
    decode = decode or partial(read_documents, count=_Count())
    for path, data in files.items():
        try:
            found.extend((path, manifest) for manifest in read_file(data, decode))
        except Malformed as error:
            faults.append(Fault(path, error.line, error.problem))
    faults.extend(_find_duplicates(found))
    if faults:
        raise ManifestInvalid(f"failed to decode Kubernetes YAML from {'; '.join(map(str, faults))}")
    return tuple(manifest for _, manifest in found)


def read_output(data: bytes) -> tuple[Manifest, ...]:
    """Read the objects that a build printed. Raises ManifestInvalid."""
    return read_manifests({"the build's result": data})


def read_file(data: bytes, decode: Decode | None = None) -> Iterator[Manifest]:
    """Yield the objects of one file. Raises Malformed."""
    for line, document in (decode or read_documents)(data):
        if document is None:
            continue
        for manifest in _expand(document, line):
            _check(manifest, line)
            annotations = manifest["metadata"].get("annotations") or {}
            if annotations.get(LOCAL_CONFIG, "false") == "false":
                yield manifest


def read_documents(
    data: bytes, count: _Count | None = None, meaning: Callable[[str], Scalar] = resolve
) -> Iterator[tuple[int, Any]]:
    """Read the documents of a YAML stream, each with the line it begins at; None for an empty one.

    Args:
        meaning: what a plain scalar means that is a value (scalars.py).
    """
    count = count or _Count()
    for node in compose_documents(data, count):
        value, nodes = _Construction(meaning).build(node)
        count.end_document(nodes)
        yield _get_line(node), value


def compose_documents(data: bytes, count: _Count | None = None) -> Iterator[yaml.Node]:
    """Compose the documents of a YAML stream: nodes know their lines, and aliases stand for what they name."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed(0, "not UTF-8 text") from None
    try:
        loader = _Loader(text)
        loader.count = count = count or _Count()
        while True:
            count.begin_document()
            if not loader.check_node():
                return
            node: Any = loader.get_node()
            yield node
    except yaml.MarkedYAMLError as error:
        lines = [mark.line + 1 for mark in (error.problem_mark, error.context_mark) if mark is not None]
        raise Malformed(lines[0] if lines else 0, error.problem or "not YAML") from None
    except yaml.YAMLError as error:
        raise Malformed(0, str(error).splitlines()[0]) from None


class _Construction:
    """Makes one document's values; aliases share them."""

    def __init__(self, meaning: Callable[[str], Scalar]) -> None:
        self.meaning = meaning
        self.made: dict[int, tuple[Any, int]] = {}
        self.open: set[int] = set()
        self.merged = 0

    def build(self, node: yaml.Node) -> tuple[Any, int]:
        """Build the value; return it, and how many nodes it is when written out."""
        if isinstance(node, yaml.ScalarNode):
            return _read_scalar(node, self.meaning), 1 + len(node.value) // CHARACTERS_OF_A_NODE
        if id(node) in self.made:
            return self.made[id(node)]
        if id(node) in self.open:
            raise Malformed(_get_line(node), "a value contains itself")
        self.open.add(id(node))
        built = self._build_mapping(node) if isinstance(node, yaml.MappingNode) else self._build_sequence(node)
        if built[1] > MAX_NODES:
            raise Malformed(_get_line(node), TOO_MANY)
        self.open.discard(id(node))
        self.made[id(node)] = built
        return built

    def _build_sequence(self, node: yaml.Node) -> tuple[list[Any], int]:
        parts = [self.build(child) for child in node.value]
        return [value for value, _ in parts], 1 + sum(size for _, size in parts)

    def _build_mapping(self, node: yaml.Node) -> tuple[dict[str, Any], int]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        size = 1
        for key, child in node.value:
            value, part = self.build(child)
            size += part + len(key.value) // CHARACTERS_OF_A_NODE
            if key.tag in (_PLAIN, f"{_CORE}merge") and key.value == "<<":
                self.merged += part
                if self.merged > MAX_NODES:
                    raise Malformed(_get_line(key), f"more than {MAX_NODES} values when aliases are written out")
                _merge(merged, value, key)
                continue
            name = _read_key(key)
            if name in own:
                raise Malformed(_get_line(key), f"mapping key {name!r} already defined")
            own[name] = value
        return {**merged, **own}, size


def _merge(merged: dict[str, Any], value: Any, key: yaml.Node) -> None:
    sources = value if isinstance(value, list) else [value]
    if not all(isinstance(source, dict) for source in sources):
        raise Malformed(_get_line(key), "map merge requires map or sequence of maps as the value")
    for source in sources:
        for name, item in source.items():
            merged.setdefault(name, item)


def _read_key(node: yaml.Node) -> str:
    value = _read_scalar(node, resolve) if isinstance(node, yaml.ScalarNode) else None
    if not isinstance(value, str):
        raise Malformed(
            _get_line(node), f"mapping key {node.value if value is not None else '?'} is not a string: quote it"
        )
    return value


def _read_scalar(node: yaml.ScalarNode, meaning: Callable[[str], Scalar]) -> Any:
    text: str = node.value
    try:
        match node.tag.removeprefix(_CORE):
            case "!plain" | "!":
                return meaning(text) if node.tag == _PLAIN else text
            case "int" | "float" | "bool" | "null" | "timestamp":
                return resolve(text)
            case "binary":
                return base64.b64decode(text, validate=False).decode("utf-8", "replace")
            case _:
                return text
    except (ValueError, binascii.Error) as error:
        raise Malformed(_get_line(node), str(error)) from None


def _get_line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _expand(document: Any, line: int) -> Iterator[Any]:
    if not isinstance(document, dict):
        raise Malformed(line, "not an object")
    if not document:
        return
    kind, items = document.get("kind"), document.get("items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list)):
        yield document
        return
    for item in items:
        yield from _expand(item, line)


def _check(manifest: Mapping[str, Any], line: int) -> None:
    """Raise Malformed when an object does not say what it is, or says so in values that are not texts."""
    metadata = manifest.get("metadata")
    about: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
    fields = {
        "apiVersion": manifest.get("apiVersion"),
        "kind": manifest.get("kind"),
        "metadata.name": about.get("name"),
    }
    if missing := [field for field, value in fields.items() if value is None or value == ""]:
        raise Malformed(line, f"an object lacks {' and '.join(missing)}")
    fields["metadata.namespace"] = about.get("namespace")
    for place in ("labels", "annotations"):
        found = about.get(place)
        if found is not None and not isinstance(found, dict):
            raise Malformed(line, f"metadata.{place} is {_write_kind(found)}: write a mapping of texts")
        fields |= {f"metadata.{place}[{name!r}]": value for name, value in (found or {}).items()}
    for field, value in fields.items():
        if value is not None and not isinstance(value, str):
            hint = "write a text" if isinstance(value, dict | list) else "quote it"
            raise Malformed(line, f"{field} is {_write_kind(value)}: {hint}")


def _write_kind(value: Any) -> str:
    """
    >>> [_write_kind(value) for value in (True, 1, 8.1e6, [], {}, "x")]
    ['a boolean', 'a number', 'a number', 'a list', 'a mapping', 'a text']
    """
    kinds = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return kinds.get(type(value), "a text")


def _find_duplicates(found: Iterable[tuple[str, Manifest]]) -> Iterator[Fault]:
    seen: dict[tuple[str, str, str, str], str] = {}
    for path, manifest in found:
        ref = ObjectRef.of(manifest)
        if ref.identity in seen:
            yield Fault(path, 0, f"{ref} is already defined in {seen[ref.identity]}")
        seen.setdefault(ref.identity, path)
