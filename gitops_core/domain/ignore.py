"""Which files of a repository belong to its artifact: Flux's source-ignore.

Patterns are .gitignore's, and the last that matches decides. With none given, version control's own files, pictures,
archives, CI definitions and a few others are left out; as soon as there is a `.sourceignore` anywhere, or spec.ignore,
those count instead of the defaults, and only version control's own files stay ignored. A pattern that matches a folder
matches everything below it; unlike Git, a later `!pattern` may take a file of such a folder back in.

    .sourceignore of a/  ->  patterns below a/
    spec.ignore          ->  patterns for the whole repository, after all files

Source: fluxcd/pkg, sourceignore; go-git, plumbing/format/gitignore.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import re2

from gitops_core.domain.links import followed
from gitops_core.meta import Tree

IGNORE_FILE = ".sourceignore"
VERSION_CONTROL = (".git/", ".gitignore", ".gitmodules", ".gitattributes")
DEFAULTS = (
    *("*.jpg", "*.jpeg", "*.gif", "*.png", "*.wmv", "*.flv", "*.tar.gz", "*.zip"),
    *(".github/", ".circleci/", ".travis.yml", ".gitlab-ci.yml", "appveyor.yml", ".drone.yml", "cloudbuild.yaml"),
    *("codeship-services.yml", "codeship-steps.yml"),
    *("**/.goreleaser.yml", "**/.sops.yaml", "**/.flux.yaml"),
)


@dataclass(frozen=True)
class IgnoreRules:
    """Attributes:
    fingerprint: equal fingerprints keep equal files.
    groups: (whether a match is left out, the pattern), the most important first.
    """

    fingerprint: str
    groups: tuple[tuple[bool, Any], ...]

    def keeps(self, path: str) -> bool:
        return not next((ignored for ignored, pattern in self.groups if pattern.fullmatch(path)), False)


def ignore_rules(files: Mapping[str, str], spec_ignore: str | None) -> IgnoreRules:
    """The rules of a repository.

    Args:
        files: the text of each `.sourceignore` by the folder that holds it ("" is the root).
        spec_ignore: the GitRepository's spec.ignore.
    """
    patterns = [("", line) for line in VERSION_CONTROL]
    if not files and spec_ignore is None:
        patterns += [("", line) for line in DEFAULTS]
    for folder in sorted(files, key=lambda name: name.split("/") if name else []):
        patterns += [(folder, line) for line in _lines(files[folder])]
    patterns += [("", line) for line in _lines(spec_ignore or "")]
    compiled = [(not line.startswith("!"), _expression(folder, line)) for folder, line in patterns]
    groups = tuple(
        (ignored, re2.compile("|".join(expression for _, expression in group)))
        for ignored, group in groupby(reversed(compiled), key=lambda item: item[0])
    )
    return IgnoreRules(hashlib.sha256(repr(compiled).encode()).hexdigest(), groups)


def ignore_files(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of `paths` that hold ignore patterns."""
    return tuple(path for path in paths if path == IGNORE_FILE or path.endswith(f"/{IGNORE_FILE}"))


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _expression(folder: str, line: str) -> str:
    """A regular expression for the paths of files that `line` matches, or that are below a folder it matches."""
    pattern = line.removeprefix("!")
    while pattern.endswith(" ") and not pattern.endswith("\\ "):
        pattern = pattern[:-1]
    below_only = pattern.endswith("/")
    pattern = pattern.rstrip("/") if below_only else pattern
    anchored = "/" in pattern
    start = re2.escape(f"{folder}/") if folder else ""
    body = "/".join(_parts(pattern.removeprefix("/"))) if anchored else f"(?:.*/)?{_glob(pattern)}"
    body = body.replace(f"{_ANY_FOLDERS}/", _ANY_FOLDERS)
    return f"(?:{start}{body}{'/.*' if below_only else '(?:/.*)?'})"


_ANY_FOLDERS = "(?:.*/)?"


def _parts(pattern: str) -> Iterator[str]:
    parts = pattern.split("/")
    for index, part in enumerate(parts):
        if part != "**":
            yield _glob(part)
        elif index == len(parts) - 1:
            yield ".*"
        else:
            yield _ANY_FOLDERS


def _glob(part: str) -> str:
    """One path part with *, ?, [...] and backslash escapes."""
    out: list[str] = []
    index = 0
    while index < len(part):
        char = part[index]
        closing = part.find("]", index + 2)
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "\\" and index + 1 < len(part):
            index += 1
            out.append(re2.escape(part[index]))
        elif char == "[" and closing > 0:
            inner = part[index + 1 : closing].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"[^{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]")
            index = closing
        else:
            out.append(re2.escape(char))
        index += 1
    return "".join(out)


class SelectedTree(Tree):
    """A folder of a repository without the files that are ignored.

    Links that stay inside the folder are followed: their paths are files like others. Others are left out.
    """

    def __init__(self, tree: Tree, rules: IgnoreRules, folder: str = "", kept: Container[str] = ()) -> None:
        """`folder` is where in the repository `tree` begins; of the paths in `kept`, `rules` are known to keep all."""
        prefix = f"{folder}/" if folder else ""
        self.oid = f"{tree.oid}-{hashlib.sha256(f'{rules.fingerprint} {prefix}'.encode()).hexdigest()[:16]}"
        self._tree = tree
        self._rules, self._prefix = rules, prefix
        self._paths = {path: path for path in tree if (whole := prefix + path) in kept or rules.keeps(whole)}
        linked = followed(self._paths, tree.links)
        self._paths.update((path, file) for path, file in linked.items() if rules.keeps(prefix + path))

    def __getitem__(self, path: str) -> bytes:
        return self._tree[self._paths[path]]

    def absence(self, path: str) -> str:
        if path in self._tree or (path in self._tree.links and not self._rules.keeps(self._prefix + path)):
            return "is ignored (.sourceignore, spec.ignore or the defaults for these)"
        return self._tree.absence(path)

    @property
    def links(self) -> Mapping[str, str]:
        return self._tree.links

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, path: object) -> bool:
        return path in self._paths
