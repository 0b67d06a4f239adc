"""What a folder of a repository means: plain manifests, or something to build with kustomize, and from which files.

A folder with a kustomization file is built. One without stands for all YAML files below it; where a folder further
down has a kustomization file, that folder is built as a whole and takes part in it.

    apps/web                          kustomization.yaml          -> build
    apps/plain                        a.yaml, b/c.yaml            -> manifests a.yaml, b/c.yaml
    apps                              (neither)                   -> build of resources: [plain/..., web]

A build may use files outside its folder, but never outside the repository: whatever a kustomization file names is found
in the repository before kustomize sees it, and what is not there (an address on the network, a file of the machine) is
refused. kustomize is given what was found, in documents that we wrote (kustomizations.py).

Source: fluxcd/pkg, kustomize (generator); kustomize, api/types/kustomization.go.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_core.domain.render.expansion import check_expansion
from gitops_core.domain.render.kustomizations import (
    Role,
    decode_inline,
    rewrite_kustomization,
    rewrite_plugins,
    write_json,
)
from gitops_core.domain.render.manifests import Malformed, read_documents
from gitops_core.domain.render.scalars import resolve_old
from gitops_core.errors import ManifestInvalid
from gitops_core.meta import Tree

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
EXTENSIONS = (".yaml", ".yml")
MAX_WRITTEN = 64 * 2**20


class PlacedTree(Tree):
    """A folder's files by their paths in the repository: messages name a file as who wrote it knows it."""

    def __init__(self, tree: Tree, folder: str) -> None:
        self.oid = tree.oid
        self._tree, self._folder = tree, folder
        self._paths = {posixpath.join(folder, path): path for path in tree}

    def __getitem__(self, path: str) -> bytes:
        return self._tree[self._paths[path]]

    def explain_absence(self, path: str) -> str:
        prefix = f"{self._folder}/" if self._folder else ""
        return self._tree.explain_absence(path.removeprefix(prefix)) if path.startswith(prefix) else ""

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, path: object) -> bool:
        return path in self._paths


def list_manifests(paths: Collection[str]) -> tuple[str, ...]:
    """Return the YAML files among `paths`, in the order in which a walk meets them."""
    return tuple(sorted((path for path in paths if path.endswith(EXTENSIONS)), key=_rank_in_walk))


def find_kustomization(paths: Collection[str], folder: str) -> str | None:
    """Return the path of the folder's kustomization file, or None. Raises ManifestInvalid: there are several."""
    found = [path for name in NAMES if (path := posixpath.join(folder, name)) in paths]
    if len(found) > 1:
        raise ManifestInvalid(f"{folder or '.'} has several kustomization files, {' and '.join(found)}: keep one")
    return found[0] if found else None


def is_plain(paths: Collection[str]) -> bool:
    """Tell whether no folder among `paths` has a kustomization file."""
    return not any(path.rpartition("/")[2] in NAMES for path in paths)


def list_resources(paths: Collection[str], folder: str) -> tuple[str, ...]:
    """Return the resources of a folder without a kustomization file, relative to it, in walk order."""
    prefix = f"{folder}/" if folder else ""
    inside = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
    built = {path.rpartition("/")[0] for path in inside if path.rpartition("/")[2] in NAMES}
    resources: dict[str, None] = {}
    for path in sorted(inside, key=_rank_in_walk):
        above = next((parent for parent in _list_parents(path) if parent in built), None)
        if above is not None:
            resources[above] = None
        elif path.endswith(EXTENSIONS):
            resources[path] = None
    return tuple(resources)


@dataclass
class Build:
    """What kustomize is given to build: every folder and every file under a name of ours, so that no text can be read
    as anything else (an address, a flag, YAML), and no file is above the folder that uses it.

        t-d0/kustomization.yaml     {"resources": ["../t-d1", "t-f0"]}      apps/web/kustomization.yaml
        t-d0/t-f0                   ...                                     apps/shared.yaml
        t-d1/kustomization.yaml     {"namePrefix": "x-"}                    apps/base/kustomization.yaml

    Attributes:
        token: what those names begin with; nobody can guess it, so it stands nowhere else.
        folders: of the repository, the one to build first; `t-d0` is the first of these.
        documents: their kustomizations as they were read.
        rewritten: the same as kustomize gets them.
        places: what `t-f0`, `t-f1`, ... stand for: a file of the repository.
        copied: files that kustomize gets as they are: the path in the repository by that below the build.
        written: texts that it gets instead of files, likewise.
        checked: files of the repository that are known to cost no more than they are long.
        shown: files of the repository that are put into ConfigMaps, or whatever else is no Secret, as they are.
        stored: those that are put into Secrets.
    """

    token: str
    folders: list[str] = field(default_factory=list)
    documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    rewritten: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    copied: dict[str, str] = field(default_factory=dict)
    written: dict[str, bytes] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)
    shown: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    _numbers: dict[str, int] = field(default_factory=dict)
    _size: int = 0

    @property
    def fields(self) -> frozenset[str]:
        """The fields that are set in any kustomization file of the build."""
        return frozenset(key for document in self.documents.values() for key, value in document.items() if value)

    def name(self, folder: str) -> str:
        """Return the folder's name below the build; a folder that is new gets the next name."""
        if folder not in self._numbers:
            self._numbers[folder] = len(self.folders)
            self.folders.append(folder)
        return f"{self.token}-d{self._numbers[folder]}"

    def add(self, here: str, place: str, text: bytes | None = None) -> str:
        """Add the repository's file `place`, or `text` in its stead; return its name in folder `here` of the build."""
        name = f"{self.token}-f{len(self.places)}"
        self.places.append(place)
        if text is None:
            self.copied[f"{self.name(here)}/{name}"] = place
        else:
            self.written[f"{self.name(here)}/{name}"] = text
            self._size += len(text)
            if self._size > MAX_WRITTEN:
                raise ManifestInvalid(f"plug-ins and patches are larger than {MAX_WRITTEN >> 20} MiB")
        return name

    def translate_names(self, text: str, *, seen_from: str | None = None) -> str:
        """Replace our names in `text` by paths of the repository.

        Args:
            seen_from: the folder to which the paths shall be relative, if they shall.
        """
        own = re.escape(self.token)
        pattern = rf"(?:\.\./)*(?:{own}-d\d+/)?{own}-f(\d{{1,9}})|(?:\.\./)*{own}-d(\d{{1,9}})(/{NAMES[0]})?"
        return re.sub(pattern, lambda match: self._translate_name(match, seen_from), text)

    def _translate_name(self, match: re.Match[str], seen_from: str | None) -> str:
        known, number = (self.folders, match[2]) if match[1] is None else (self.places, match[1])
        if int(number) >= len(known):
            return match[0]  # somebody found the token out, and made this one up
        place = posixpath.join(known[int(number)], NAMES[0] if match[3] else "")
        return place.rstrip("/") or "." if seen_from is None else posixpath.relpath(f"/{place}", f"/{seen_from}")


def gather_build(files: Tree, folder: str, top: Mapping[str, Any], token: str) -> Build:
    """Gather what a build of `folder` uses, following its resources.

    Args:
        top: the kustomization to build, which is not a file of the repository yet.
        token: letters and digits, beginning with a letter, that nobody can guess.

    Raises:
        ManifestInvalid: a kustomization file is not one, or names what is not in the repository.
    """
    build = Build(token, documents={folder: top})
    build.name(folder)
    known = list_folders(files)
    for here in build.folders:  # which grows meanwhile
        path = find_kustomization(files, here) or posixpath.join(here, NAMES[0])
        if here not in build.documents:
            build.documents[here] = _read_folder(files, here)
        try:
            reader = _Reader(build, files, known, here, path)
            build.rewritten[here] = rewrite_kustomization(build.documents[here], reader.visit)
        except ManifestInvalid as error:
            raise ManifestInvalid(f"{path}: {error}") from None
    return build


@dataclass
class _Reader:
    """Finds what the kustomization of one folder names, in the repository or nowhere.

    Attributes:
        here: the folder.
        path: of its kustomization file.
        known: the folders of the repository.
        seen: the names of files that were asked for before, by role and path.
    """

    build: Build
    files: Tree
    known: Collection[str]
    here: str
    path: str
    seen: dict[tuple[bool, str], str] = field(default_factory=dict)

    def visit(self, role: Role, text: str, place: str) -> str:
        match role:
            case Role.FILE | Role.FILE_FOR_SECRET:
                return self._add_contents(role, text, place) if text else ""
            case Role.YAML:
                return self._add_yaml(text, place) if text else ""
            case Role.TEXT:
                _check(text.encode(errors="replace"), place)
                return text
            case Role.KEYED_FILE | Role.KEYED_FILE_FOR_SECRET:
                # `key=path`, or a path whose last part is the key
                key, equals, path = text.rpartition("=")
                if "=" in key or (equals and not (key and path)):
                    raise ManifestInvalid(f"{place}: {text!r} is neither a path nor key=path")
                return f"{key or posixpath.basename(text.rstrip('/'))}={self._add_contents(role, path, place)}"
            case Role.PATCH:
                # a path, or the patch itself
                if decode_inline(text) is None:
                    return self._add_yaml(text, place)
                return self.build.add(self.here, self.path, text.encode())
            case Role.PLUGIN:
                return self._add_plugins(text, place)
            case Role.RESOURCE | Role.FOLDER:
                target = self._resolve_inside(text, place)
                # a resource may be a file; everything else is another folder of the build
                if role is Role.RESOURCE and target in self.files:
                    return self._add_yaml(text, place)
                if target not in self.known:
                    raise self._make_refusal(target, place)
                if not target or f"{self.here}/".startswith(f"{target}/"):
                    raise ManifestInvalid(f"{place}: {text} is or holds this folder: a cycle")
                return f"../{self.build.name(target)}"

    def _add_contents(self, role: Role, text: str, place: str) -> str:
        """Add a file whose contents become values of an object."""
        is_secret = role in (Role.FILE_FOR_SECRET, Role.KEYED_FILE_FOR_SECRET)
        name, target = self._add_file(text, place), self._resolve_inside(text, place)
        (self.build.stored if is_secret else self.build.shown).add(target)
        return name

    def _add_file(self, text: str, place: str) -> str:
        target = self._resolve_inside(text, place)
        if target not in self.files:
            raise self._make_refusal(target, place)
        if (False, target) not in self.seen:
            self.seen[False, target] = self.build.add(self.here, target)
        return self.seen[False, target]

    def _add_yaml(self, text: str, place: str) -> str:
        """Add a file as `_add_file` does, for kustomize to decode."""
        name, target = self._add_file(text, place), self._resolve_inside(text, place)
        if target not in self.build.checked:
            _check(self.files[target], f"{place}: {target}")
            self.build.checked.add(target)
        return name

    def _add_plugins(self, text: str, place: str) -> str:
        inline = decode_inline(text)
        if inline is not None:
            return self.build.add(self.here, self.path, self._rewrite_plugins(inline, place)) if inline else ""
        target = self._resolve_inside(text, place)
        if target not in self.files:
            raise self._make_refusal(target, place)
        if (True, target) not in self.seen:
            try:
                found = [document for _, document in read_documents(self.files[target]) if document is not None]
            except Malformed as error:
                raise ManifestInvalid(f"{place}: {target}: line {error.line}: {error.problem}") from None
            made = self._rewrite_plugins(found, f"{place} ({target})")
            self.seen[True, target] = self.build.add(self.here, target, made)
        return self.seen[True, target]

    def _rewrite_plugins(self, found: list[Any], place: str) -> bytes:
        made = rewrite_plugins(found, posixpath.basename(self.here), place, self.visit)
        return b"\n---\n".join(write_json(plugin) for plugin in made)

    def _resolve_inside(self, text: str, place: str) -> str:
        climbed = posixpath.normpath(posixpath.join(self.here or ".", text))
        if not text or text.startswith("/") or climbed == ".." or climbed.startswith("../"):
            raise self._make_refusal(text, place)
        return "" if climbed == "." else climbed

    def _make_refusal(self, target: str, place: str) -> ManifestInvalid:
        if target in self.known:
            return ManifestInvalid(f"{place}: {target or '.'} is a folder, where a file is expected")
        reason = self.files.explain_absence(target)
        if not reason:
            reason = "is not in the repository; remote bases and files of the machine are refused"
        return ManifestInvalid(f"{place}: {target} {reason}")


def _check(data: bytes, place: str) -> None:
    """Raise ManifestInvalid when kustomize would not be done with the file soon."""
    try:
        check_expansion(data)
    except Malformed as error:
        raise ManifestInvalid(f"{place}: line {error.line}: {error.problem}") from None


def read_kustomization(files: Mapping[str, bytes], path: str) -> Mapping[str, Any]:
    """Decode the kustomization file, with YAML 1.1's booleans, as kustomize does. Raises ManifestInvalid."""
    try:
        found = [document for _, document in read_documents(files[path], meaning=resolve_old) if document is not None]
    except Malformed as error:
        raise ManifestInvalid(f"failed to decode {path}: line {error.line}: {error.problem}") from None
    if not found:
        return {}
    if len(found) > 1 or not isinstance(found[0], dict):
        raise ManifestInvalid(f"failed to decode {path}: not one kustomization")
    return found[0]


def _read_folder(files: Tree, folder: str) -> Mapping[str, Any]:
    path = find_kustomization(files, folder)
    if path is None:
        names = [posixpath.join(folder, name) for name in NAMES]
        reason = next((f" ({name} {why})" for name in names if (why := files.explain_absence(name))), "")
        raise ManifestInvalid(f"{folder or '.'} has no kustomization file{reason}, but is used as a resource")
    return read_kustomization(files, path)


def list_folders(paths: Collection[str]) -> frozenset[str]:
    return frozenset({"", *(parent for path in paths for parent in _list_parents(path))})


def _list_parents(path: str) -> Iterator[str]:
    """Return the folders above `path`, the outermost first, without the root."""
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def _rank_in_walk(path: str) -> list[str]:
    return path.split("/")
