"""One build for many Kustomizations: stand-ins for the prefix, suffix and namespace, replaced in the result.

kustomize puts a prefix before names, a suffix after them, and the namespace into fields; it does nothing else with
them. So a build with unguessable stand-ins, in which they are then replaced, is the build with the real values:

    build(prefix="zq4f1c-")["name: zq4f1c-web"] -> "name: dev-web", "name: stage-web", ...

unless something else depends on the names. Two things do. Fields that compute from names or find objects by them
(generators hash them, replacements cut them); then nothing is shared. And sources in which a final name or the
namespace already stands literally, because then a reference may be to that very text; then that one build is made with
the real values.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from types import NoneType
from typing import NamedTuple

import msgspec

from gitops_core.decoding import decode_json
from gitops_core.errors import ManifestInvalid
from gitops_core.meta import Manifest

NAME_SENSITIVE = frozenset(
    {
        "configMapGenerator",
        "configurations",
        "generators",
        "patchesJson6902",
        "replacements",
        "replicas",
        "secretGenerator",
        "sortOptions",
        "transformers",
        "validators",
        "vars",
    }
)


MOST_COMPARED = 1 << 30
"""Bytes to look through for final names: what takes longer is built for itself, which takes no longer than that."""


class Affixes(NamedTuple):
    """What distinguishes builds that can be one; "" is none."""

    prefix: str
    suffix: str
    namespace: str


def make_stand_ins(wanted: Affixes, token: str) -> Affixes:
    """Make values that occur nowhere else, valid wherever a name is, for those that `wanted` sets.

    Args:
        token: letters and digits that nobody can guess.
    """
    return Affixes(
        f"zq{token}p-" if wanted.prefix else "",
        f"-s{token}qz" if wanted.suffix else "",
        f"zq{token}n" if wanted.namespace else "",
    )


def may_share(fields: Collection[str], wanted: Affixes) -> bool:
    """Tell whether a build with these kustomization fields can be shared at all.

    The namespace "default" is built as it is: kustomize takes it for the same as none when it resolves references.
    """
    return any(wanted) and wanted.namespace != "default" and not NAME_SENSITIVE.intersection(fields)


def fits(build: bytes, stood_in: Affixes, wanted: Affixes, sources: Iterable[bytes]) -> bool:
    """Tell whether the shared build serves `wanted`: no source has one of the final names, or the namespace.

    Also False where finding that out would take longer than a build.

    Args:
        build: the shared result as JSON.
    """
    texts = tuple(sources)
    named = {name for name in _list_names(build) if stood_in.prefix in name and stood_in.suffix in name}
    final = {replace_text(name, stood_in, wanted) for name in named} if stood_in.prefix or stood_in.suffix else set()
    literals = [name.encode() for name in (*final, wanted.namespace) if name]
    if len(literals) * sum(map(len, texts)) > MOST_COMPARED:
        return False
    return not any(literal in text for literal in literals for text in texts)


def substitute(build: bytes, stood_in: Affixes, wanted: Affixes) -> tuple[Manifest, ...]:
    """Return the objects of the shared build with the real values in place of the stand-ins."""
    escaped = Affixes(*(json.dumps(value)[1:-1] for value in wanted))
    text = replace_text(build.decode(), stood_in, escaped)
    return tuple(decode_json(text.encode(), list[dict[str, object]]))


def replace_text(text: str, stood_in: Affixes, wanted: Affixes) -> str:
    for old, new in zip(stood_in, wanted, strict=True):
        if old:
            text = text.replace(old, new)
    return text


class _Meta(msgspec.Struct):
    name: str = ""


class _Named(msgspec.Struct):
    metadata: _Meta


def _list_names(build: bytes) -> set[str]:
    return {item.metadata.name for item in decode_json(build, list[_Named])}


def merge_overlay(document: Mapping[str, object], affixes: Affixes, fields: Iterable[tuple[str, object]]) -> Manifest:
    """Merge a Kustomization's spec onto the kustomization `document`, as Flux does.

    The namespace, prefix and suffix replace the document's; images replace those of the same name; everything else is
    a list that is appended to.

    Raises:
        ManifestInvalid: one of these is no list in the document.
    """
    merged = dict(document)
    for key, value in zip(("namePrefix", "nameSuffix", "namespace"), affixes, strict=True):
        if value:
            merged[key] = value
    for key, extra in fields:
        own = _list_items(key, merged.get(key))
        if key == "images":
            replaced = {item["name"]: item for item in _list_items(key, extra)}
            own = [replaced.pop(name, item) if isinstance(name := _get_name(item), str) else item for item in own]
            merged[key] = [*own, *replaced.values()]
        else:
            merged[key] = [*own, *_list_items(key, extra)]
    return merged


def _list_items(key: str, value: object) -> list[Manifest]:
    if not isinstance(value, (list, tuple, NoneType)):
        raise ManifestInvalid(f"{key} of the kustomization file must be a list")
    return list(value or ())


def _get_name(item: object) -> object:
    return item.get("name") if isinstance(item, Mapping) else None
