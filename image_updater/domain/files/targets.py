"""Places that follow a policy because a guard says so: in files that cannot carry a marker, or should not.

    path: spec.images[0].tag       the value there; a registry that stands beside a name keeps the host
    helmValues: {path: image}      repository (or name, with a registry beside it), tag and digest below it
    kustomizeImage: {name: app}    newTag, newName and digest of that entry of images

What a target needs must be there: nothing is inserted. A digest that stands beside a tag wins over it, in charts as in
kustomize, so one is never set without the other: who has a digest there needs a policy that reflects digests.

A target's `file` is a glob: `*` and `?` stay within a folder, `**` does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from image_updater.api.guards import Target
from image_updater.domain.files.leaves import (
    Format,
    Leaf,
    NoPlace,
    Path,
    find,
    find_settable,
    group_by_document,
    parse_path,
    spell_path,
)
from image_updater.domain.files.leaves_env import ENV
from image_updater.domain.files.leaves_json import JSON
from image_updater.domain.files.leaves_toml import TOML
from image_updater.domain.files.leaves_yaml import YAML
from image_updater.domain.files.places import Demand, Place

_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")

NO_DIGEST = "a digest stands there, and the policy has none: a value is never emptied"


class DeclaredTarget(NamedTuple):
    """A target, and the namespace of the guard that declares it and of the policy it follows."""

    namespace: str
    target: Target

    @property
    def setter(self) -> str:
        """Return what a marker would name to follow the same policy."""
        part = self.target.value if self.target.path else "image"
        return f"{self.namespace}:{self.target.policy}" + ("" if part == "image" else f":{part}")


def select_targeted(paths: Iterable[str], targets: Iterable[DeclaredTarget]) -> tuple[str, ...]:
    """Select those of `paths` (relative to the automation's folder) that a target's `file` names, in their order."""
    globs = [compile_glob(declared.target.file) for declared in targets]
    return tuple(path for path in paths if any(glob.fullmatch(path) for glob in globs)) if globs else ()


@lru_cache(maxsize=1024)
def compile_glob(glob: str) -> re.Pattern[str]:
    """Compile `file` of a target.

    >>> glob = compile_glob("apps/**/values-?.yaml")
    >>> [bool(glob.fullmatch(path)) for path in ("apps/values-a.yaml", "apps/b/c/values-a.yaml", "values-a.yaml")]
    [True, True, False]
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob.removeprefix("./").lstrip("/"))
    meaning = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in parts), re.DOTALL)


def find_format(path: str) -> Format | None:
    """Return how a file of this name is read for targets; None where it cannot be.

    >>> [find_format(name) is not None for name in ("a/values.yaml", "prod.env", ".env.local", "x.toml", "x.md")]
    [True, True, True, True, False]
    """
    name = path.rpartition("/")[2]
    if name == ".env" or name.startswith(".env.") or name.endswith(".env"):
        return ENV
    if name == "Kustomization":
        return YAML
    return {"yaml": YAML, "yml": YAML, "json": JSON, "toml": TOML}.get(name.rpartition(".")[2].lower())


def find_targeted(
    declared: DeclaredTarget, leaves: tuple[Leaf, ...], values: Mapping[str, str], group: int
) -> tuple[Place, ...]:
    """Find the places of a file that the target leads to.

    Args:
        values: what each setter sets.
        group: the number that the places are to have in common.

    Raises:
        NoPlace.
    """
    target = declared.target
    follow = _Following(f"{declared.namespace}:{target.policy}", values, group)
    if target.helm_values is not None:
        path = parse_path(target.helm_values.path)
        return _find_helm_places(_select_document(leaves, path or ("tag",)), path, follow)
    if target.kustomize_image is not None:
        return _find_kustomize_places(leaves, target.kustomize_image.name, follow)
    part, path = "" if target.value == "image" else target.value, parse_path(target.path)
    leaves = _select_document(leaves, path)
    leaf = find_settable(leaves, path)
    if part == "tag":
        return (_make_tag_place(leaf, follow),)
    return (
        tuple(_make_name_places(leaves, path[:-1], leaf, follow))
        if part == "name"
        else (follow.make_place(part, leaf),)
    )


def _select_document(leaves: tuple[Leaf, ...], path: Path) -> tuple[Leaf, ...]:
    """Return the leaves of the document that has something at `path`; of the first where none has.

    Raises:
        NoPlace: several have.
    """
    documents = group_by_document(leaves)
    found = [document for document in documents if any(leaf.path == path for leaf in document)]
    if len(found) > 1:
        raise NoPlace(f"{spell_path(path)!r} is there in {len(found)} documents of the file", "ambiguous")
    return next(iter(found or documents), ())


class _Following(NamedTuple):
    """The policy that a target follows."""

    policy: str
    values: Mapping[str, str]
    group: int

    def find_value(self, part: str) -> str | None:
        """Return what `part` is with the chosen image; "" when it has none, None when there is no such policy."""
        return self.values.get(self.write_setter(part))

    def write_setter(self, part: str) -> str:
        """Write what a marker would name to set `part`."""
        return f"{self.policy}:{part}" if part else self.policy

    def make_place(self, part: str, leaf: Leaf, desired: str | None = None, obstacle: str = "") -> Place:
        """Make a place of a leaf that is to hold `part`, or what is `desired` in its stead."""
        demand = Demand(self.group, desired, obstacle)
        return Place(self.write_setter(part), leaf.value, leaf.style, leaf.start, leaf.end, leaf.line, demand=demand)

    def make_digest_places(self, leaf: Leaf) -> tuple[Place, ...]:
        """Make a place of a digest beside a tag; one that is empty stays so when there is none to set."""
        if leaf.cause or (leaf.value in ("", "null", "~") and not self.find_value("digest")):
            return ()
        return (self.make_place("digest", leaf, obstacle="" if self.find_value("digest") != "" else NO_DIGEST),)


def _find_helm_places(leaves: tuple[Leaf, ...], path: Path, follow: _Following) -> tuple[Place, ...]:
    if path and find(leaves, path) is None:
        raise NoPlace(f"there is no {spell_path(path)!r}, and nothing is inserted")
    tag = find_settable(leaves, (*path, "tag"))
    found = [_make_tag_place(tag, follow)]
    key: Literal["repository", "name"] = "repository" if find(leaves, (*path, "repository")) else "name"
    if find(leaves, (*path, key)) is not None:
        found += _make_name_places(leaves, path, find_settable(leaves, (*path, key)), follow)
    digest = find(leaves, (*path, "digest"))
    return (*found, *(follow.make_digest_places(digest) if digest is not None else ()))


def _make_tag_place(tag: Leaf, follow: _Following) -> Place:
    """Make a place of a tag; one that carries a digest (`1.0@sha256:...`) keeps carrying one."""
    chosen, digest = follow.find_value("tag"), follow.find_value("digest")
    if "@" not in tag.value or not chosen:
        return follow.make_place("tag", tag)
    return follow.make_place("tag", tag, f"{chosen}@{digest}", "" if digest else NO_DIGEST)


def _make_name_places(leaves: tuple[Leaf, ...], path: Path, repository: Leaf, follow: _Following) -> Iterable[Place]:
    """Make places of the repository, and of the registry where the chart keeps it apart."""
    name = follow.find_value("name")
    registry = find(leaves, (*path, "registry"))
    if registry is None or registry.cause or registry.value == "" or name is None:
        yield follow.make_place("name", repository)
        return
    host, slash, rest = name.partition("/")
    is_host = bool(slash) and ("." in host or ":" in host or host == "localhost")
    hub = registry.value if registry.value in _DOCKER_HUB else "docker.io"
    yield follow.make_place("name", registry, host if is_host else hub)
    yield follow.make_place("name", repository, rest if is_host else name)


def _find_kustomize_places(leaves: tuple[Leaf, ...], name: str, follow: _Following) -> tuple[Place, ...]:
    entries = [
        (document, leaf.path[:2])
        for document in group_by_document(leaves)
        for leaf in document
        if len(leaf.path) == 3 and leaf.path[0] == "images" and leaf.path[2] == "name" and leaf.value == name
    ]
    if not entries:
        raise NoPlace(f"images has no entry of the name {name!r}, and nothing is inserted")
    if len(entries) > 1:
        raise NoPlace(f"images has {len(entries)} entries of the name {name!r}", "ambiguous")
    leaves, entry = entries[0]
    tag, new_name, digest = (find(leaves, (*entry, key)) for key in ("newTag", "newName", "digest"))
    found: list[Place] = []
    if tag is not None:
        found.append(follow.make_place("tag", find_settable(leaves, tag.path)))
    if new_name is not None:
        found.append(follow.make_place("name", find_settable(leaves, new_name.path)))
    if digest is not None:
        found += follow.make_digest_places(digest)
    if not found:
        raise NoPlace(f"the entry {name!r} of images has no newTag, and nothing is inserted")
    return tuple(found)
