"""What a folder of a repository means: plain manifests, or something to build with kustomize, and from which files.

A folder with a kustomization file is built. One without stands for all YAML files below it; where a folder further
down has a kustomization file, that folder is built as a whole and takes part in it.

    apps/web                          kustomization.yaml          -> build
    apps/plain                        a.yaml, b/c.yaml            -> manifests a.yaml, b/c.yaml
    apps                              (neither)                   -> build of resources: [plain/..., web]

A build may use files outside its folder, but never outside the repository: every path in a kustomization file is
checked before kustomize sees it, and whatever is not there (an address on the network, a file of the machine) is
refused.

Source: fluxcd/pkg, kustomize (generator); kustomize, api/types/kustomization.go.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_core.domain.manifests import Malformed, documents
from gitops_core.errors import ManifestInvalid
from gitops_core.meta import Tree

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
EXTENSIONS = (".yaml", ".yml")

_FOLDERS_OR_FILES = ("resources", "bases", "components")
_PLUGINS = ("generators", "transformers", "validators")
_FILES = ("crds", "configurations", "patchesStrategicMerge", *_PLUGINS)
_WITH_PATH = ("patches", "patchesJson6902", "replacements")
_GENERATORS = ("configMapGenerator", "secretGenerator")
_HELM = ("helmCharts", "helmChartInflationGenerator", "helmGlobals")


class PlacedTree(Tree):
    """A folder's files by their paths in the repository: messages name a file as who wrote it knows it."""

    def __init__(self, tree: Tree, folder: str) -> None:
        self.oid = tree.oid
        self._tree = tree
        self._paths = {posixpath.join(folder, path): path for path in tree}

    def __getitem__(self, path: str) -> bytes:
        return self._tree[self._paths[path]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, path: object) -> bool:
        return path in self._paths


def manifest_files(paths: Collection[str]) -> tuple[str, ...]:
    """The YAML files among `paths`, in the order in which a walk meets them."""
    return tuple(sorted((path for path in paths if path.endswith(EXTENSIONS)), key=_walk_order))


def kustomization_file(paths: Collection[str], folder: str) -> str | None:
    """The path of the folder's kustomization file, or None."""
    candidates = (posixpath.join(folder, name) for name in NAMES)
    return next((path for path in candidates if path in paths), None)


def is_plain(paths: Collection[str]) -> bool:
    """Whether no folder among `paths` has a kustomization file."""
    return not any(path.rpartition("/")[2] in NAMES for path in paths)


def generated_resources(paths: Collection[str], folder: str) -> tuple[str, ...]:
    """The resources of a folder without a kustomization file, relative to it, in walk order."""
    prefix = f"{folder}/" if folder else ""
    inside = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
    built = {path.rpartition("/")[0] for path in inside if path.rpartition("/")[2] in NAMES}
    resources: dict[str, None] = {}
    for path in sorted(inside, key=_walk_order):
        above = next((parent for parent in _parents(path) if parent in built), None)
        if above is not None:
            resources[above] = None
        elif path.endswith(EXTENSIONS):
            resources[path] = None
    return tuple(resources)


@dataclass
class Build:
    """Attributes:
    files: every file that the build may read.
    documents: the kustomization files among them, decoded, by folder.
    leaves_root: whether a file above its kustomization's folder is used, which kustomize refuses unless told.
    """

    files: set[str] = field(default_factory=set)
    documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    leaves_root: bool = False

    @property
    def fields(self) -> frozenset[str]:
        """The fields that are set in any kustomization file of the build."""
        return frozenset(key for document in self.documents.values() for key, value in document.items() if value)


def build_of(files: Mapping[str, bytes], folder: str, top: Mapping[str, Any]) -> Build:
    """What a build of `folder` uses, following its resources.

    Args:
        top: the kustomization to build, which is not a file of the repository yet.

    Raises:
        ManifestInvalid: a kustomization file is not one, or names what is not in the repository.
    """
    build = Build(documents={folder: top})
    folders = _folders(files)
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        document = build.documents[here]
        for name, target in _references(document, here, files):
            if target in folders and name in _FOLDERS_OR_FILES:
                if target not in build.documents:
                    build.documents[target] = _read_folder(files, target, build)
                    waiting.append(target)
            elif target in files:
                build.files.add(target)
                build.leaves_root |= not target.startswith(f"{here}/" if here else "")
            else:
                raise _refusal(here, name, target)
    return build


def read_kustomization(files: Mapping[str, bytes], path: str) -> Mapping[str, Any]:
    """The decoded kustomization file. Raises ManifestInvalid."""
    try:
        found = [document for _, document in documents(files[path]) if document is not None]
    except Malformed as error:
        raise ManifestInvalid(f"failed to decode {path}: line {error.line}: {error.problem}") from None
    if not found:
        return {}
    if len(found) > 1 or not isinstance(found[0], dict):
        raise ManifestInvalid(f"failed to decode {path}: not one kustomization")
    return found[0]


def _read_folder(files: Mapping[str, bytes], folder: str, build: Build) -> Mapping[str, Any]:
    path = kustomization_file(files, folder)
    if path is None:
        raise ManifestInvalid(f"{folder or '.'} has no kustomization file, but is used as a resource")
    build.files.add(path)
    return read_kustomization(files, path)


def _references(document: Mapping[str, Any], here: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """(field, path in the repository) of everything that the kustomization of folder `here` names."""
    for name, text in _named(document):
        if "\n" in text or text.lstrip().startswith(("{", "[")) or ": " in text:
            if name in _PLUGINS:
                yield from _plugin_references(name, text.encode(), here)
            continue
        target = _inside(here, name, text)
        yield name, target
        if name in _PLUGINS and target in files:
            yield from _plugin_references(name, files[target], here)


def _named(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in (*_FOLDERS_OR_FILES, *_FILES):
        yield from ((name, item) for item in _list(document.get(name)) if isinstance(item, str))
    for name in _WITH_PATH:
        entries = (item.get("path") for item in _list(document.get(name)) if isinstance(item, dict))
        yield from ((name, path) for path in entries if isinstance(path, str) and path)
    for name in _GENERATORS:
        for item in _list(document.get(name)):
            yield from ((name, path) for path in _generator_paths(item))
    openapi = document.get("openapi")
    if isinstance(openapi, dict) and isinstance(openapi.get("path"), str):
        yield "openapi", openapi["path"]
    for name in _HELM:
        if document.get(name):
            raise ManifestInvalid(f"{name} is not supported in a kustomization file: use a HelmRelease")


def _generator_paths(item: Any) -> Iterator[str]:
    if not isinstance(item, dict):
        return
    for key in ("files", "envs"):
        yield from (path.rpartition("=")[2] for path in _list(item.get(key)) if isinstance(path, str))
    if isinstance(item.get("env"), str) and item["env"]:
        yield item["env"]


def _plugin_references(name: str, data: bytes, here: str) -> Iterator[tuple[str, str]]:
    """A generator's or transformer's own file may name files under the keys that kustomize's built-in ones know."""
    try:
        found = [document for _, document in documents(data)]
    except Malformed as error:
        raise ManifestInvalid(f"{here or '.'}: {name}: line {error.line}: {error.problem}") from None
    for document in found:
        if not isinstance(document, dict):
            continue
        yield from ((name, _inside(here, name, path)) for path in _generator_paths(document))
        keys = ("path", "paths", "chartHome", "valuesFile")
        for text in (item for key in keys for item in _list(document.get(key)) if isinstance(item, str)):
            yield name, _inside(here, name, text)


def _inside(here: str, name: str, text: str) -> str:
    path = posixpath.normpath(posixpath.join("/", here, text))[1:]
    climbed = posixpath.normpath(posixpath.join(here or ".", text))
    if text.startswith("/") or climbed == ".." or climbed.startswith("../"):
        raise _refusal(here, name, text)
    return path


def _refusal(here: str, name: str, target: str) -> ManifestInvalid:
    where = posixpath.join(here, NAMES[0])
    return ManifestInvalid(
        f"{where}: {name}: {target or '.'} is not in the repository; remote bases and files of the machine are refused"
    )


def _folders(paths: Collection[str]) -> frozenset[str]:
    return frozenset({"", *(parent for path in paths for parent in _parents(path))})


def _parents(path: str) -> Iterator[str]:
    """The folders above `path`, the outermost first, without the root."""
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def _walk_order(path: str) -> list[str]:
    return path.split("/")


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
