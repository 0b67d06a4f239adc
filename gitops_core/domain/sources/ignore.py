"""Which files of a repository belong to its artifact: Flux's source-ignore.

Patterns are .gitignore's, and the last that matches decides. With none given, version control's own files, pictures,
archives, CI definitions and a few others are left out; as soon as there is a pattern in any `.sourceignore`, or in
spec.ignore, those count instead of the defaults, and only version control's own files stay ignored. A pattern that
matches a folder matches everything below it; unlike Git, a later `!pattern` may take a file of such a folder back in.

    .sourceignore of a/  ->  patterns below a/
    spec.ignore          ->  patterns for the whole repository, after all files

What one pattern matches is what it matches for Git, byte by byte: a class never matches "/", and a pattern with a
malformed class matches nothing.

Source: fluxcd/pkg, sourceignore; git, dir.c and wildmatch.c.
"""

from __future__ import annotations

import hashlib
import posixpath
import string
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import re2

from gitops_core.domain.sources.links import follow_links
from gitops_core.errors import TransientError
from gitops_core.meta import Tree

IGNORE_FILE = ".sourceignore"
VERSION_CONTROL = (".git/", ".gitignore", ".gitmodules", ".gitattributes")
DEFAULTS = (
    *("*.jpg", "*.jpeg", "*.gif", "*.png", "*.wmv", "*.flv", "*.tar.gz", "*.zip"),
    *(".github/", ".circleci/", ".travis.yml", ".gitlab-ci.yml", "appveyor.yml", ".drone.yml", "cloudbuild.yaml"),
    *("codeship-services.yml", "codeship-steps.yml"),
    *("**/.goreleaser.yml", "**/.sops.yaml", "**/.flux.yaml"),
)
MAX_LINES = 10_000
MAX_LINE = 4_096  # bytes; no path of a file is longer


class IgnoreRulesInvalid(TransientError):
    """Ignore patterns that are too many or too long to be matched. Another commit may have others."""

    reason = "SourceIgnoreError"


@dataclass(frozen=True)
class IgnoreRules:
    """Attributes:
    fingerprint: equal fingerprints keep equal files.
    groups: (whether a match is left out, the pattern), the most important first.
    """

    fingerprint: str
    groups: tuple[tuple[bool, Any], ...]

    def keeps(self, path: str) -> bool:
        name = _encode(path)
        return not next((ignored for ignored, pattern in self.groups if pattern.fullmatch(name)), False)


EVERY_FILE = IgnoreRules("", ())
"""The rules of files that were selected before."""


def parse_ignore_rules(files: Mapping[str, str], spec_ignore: str | None) -> IgnoreRules:
    """Parse the rules of a repository.

    Args:
        files: the text of each `.sourceignore` by the folder that holds it ("" is the root).
        spec_ignore: the source's spec.ignore.

    Raises:
        IgnoreRulesInvalid
    """
    given: list[tuple[str, str]] = []
    for folder in sorted(files, key=lambda name: name.split("/") if name else []):
        given += [(folder, line) for line in _list_patterns(files[folder], f"{folder}/{IGNORE_FILE}".lstrip("/"))]
    given += [("", line) for line in _list_patterns(spec_ignore or "", "spec.ignore")]
    _check_number(given)
    defaults = () if given else DEFAULTS  # an empty spec.ignore, or one of comments, says nothing
    return _make_rules([*(("", line) for line in (*VERSION_CONTROL, *defaults)), *given])


def parse_own_rules(ignore_file: str, spec_ignore: str | None) -> IgnoreRules:
    """Parse the rules of a bucket: its one `.sourceignore` and spec.ignore, and no others.

    Raises:
        IgnoreRulesInvalid
    """
    texts = ((ignore_file, IGNORE_FILE), (spec_ignore or "", "spec.ignore"))
    given = [("", line) for text, where in texts for line in _list_patterns(text, where)]
    _check_number(given)
    return _make_rules(given)


def _check_number(given: Sequence[tuple[str, str]]) -> None:
    if len(given) > MAX_LINES:
        raise IgnoreRulesInvalid(f"there are more than {MAX_LINES:,} ignore patterns: join some, for example by folder")


def _make_rules(patterns: Iterable[tuple[str, str]]) -> IgnoreRules:
    """Make the rules of (folder, line) in their order: a later one goes before."""
    compiled = [
        (not line.startswith("!"), expression)
        for folder, line in patterns
        if (expression := _translate_line(folder, line)) is not None
    ]
    groups = tuple(
        (ignored, re2.compile(b"|".join(expression for _, expression in group), _make_options()))
        for ignored, group in groupby(reversed(compiled), key=lambda item: item[0])
    )
    return IgnoreRules(hashlib.sha256(repr(compiled).encode()).hexdigest(), groups)


def select_files(files: Mapping[str, bytes], spec_ignore: str | None) -> dict[str, bytes]:
    """Select the files of an artifact that count, by their own `.sourceignore` files and by spec.ignore.

    Raises:
        IgnoreRulesInvalid
    """
    texts = {posixpath.dirname(path): files[path].decode("utf-8", "replace") for path in list_ignore_files(files)}
    rules = parse_ignore_rules(texts, spec_ignore)
    return {path: content for path, content in files.items() if rules.keeps(path)}


def list_ignore_files(paths: Iterable[str]) -> tuple[str, ...]:
    """List those of `paths` that hold ignore patterns."""
    return tuple(path for path in paths if path == IGNORE_FILE or path.endswith(f"/{IGNORE_FILE}"))


def _list_patterns(text: str, where: str) -> Iterator[str]:
    """List the patterns of a file. A line ends at a newline and nowhere else: other separators may stand in a name."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        pattern = line.removesuffix("\r")
        if len(_encode(pattern)) > MAX_LINE:
            raise IgnoreRulesInvalid(f"{where}: line {number} is longer than {MAX_LINE:,} bytes: no path is")
        if pattern.strip(" \t") and not pattern.startswith("#"):
            yield pattern


def _make_options() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes are characters, as for Git
    options.dot_nl = True
    options.never_capture = True
    options.max_mem = 64 << 20
    return options


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _translate_line(folder: str, line: str) -> bytes | None:
    """Translate a line to a regular expression for paths of files that it matches, or that are below such a folder.

    None where it matches nothing.
    """
    pattern = _trim_trailing_spaces(_encode(line.removeprefix("!")))
    below_only = pattern.endswith(b"/")
    pattern = pattern[:-1] if below_only else pattern
    if not pattern:
        return None
    anywhere = b"" if b"/" in pattern else b"(?:.*/)?"
    body = _translate_glob(pattern.removeprefix(b"/"))
    if body is None:
        return None
    start = b"".join(map(_write_literal, _encode(f"{folder}/"))) if folder else b""
    return b"(?:" + start + anywhere + body + (b"/.*" if below_only else b"(?:/.*)?") + b")"


def _trim_trailing_spaces(pattern: bytes) -> bytes:
    """Trim spaces at the end; one behind a backslash that is not escaped itself counts."""
    end = len(pattern.rstrip(b" "))
    escapes = len(pattern[:end]) - len(pattern[:end].rstrip(b"\\"))
    return pattern[: end + 1] if escapes % 2 and end < len(pattern) else pattern[:end]


def _translate_glob(pattern: bytes) -> bytes | None:
    """Translate *, **, ?, [...] and backslashes of a pattern to a regular expression; None if it matches nothing."""
    out: list[bytes] = []
    index = 0
    while index < len(pattern):
        match pattern[index : index + 1]:
            case b"*":
                end = len(pattern) - len(pattern[index:].lstrip(b"*"))
                begins = (
                    not any(special in pattern[:index] for special in b"*?[\\") or pattern[index - 1 : index] == b"/"
                )
                if end - index == 1 or not begins or pattern[end : end + 1] not in (b"", b"/"):
                    out.append(b"[^/]*")  # one star, or more that are no whole part of the path: within a part
                elif end == len(pattern):
                    out.append(b".*")  # at the end: everything below
                else:
                    out.append(b"(?:.*/)?")  # any folders, or none
                    end += 1
                index = end
            case b"?":  # one character of a part
                out.append(b"[^/]")
                index += 1
            case b"\\":
                if index + 1 == len(pattern):  # it escapes nothing
                    return None
                out.append(_write_literal(pattern[index + 1]))
                index += 2
            case b"[":
                found = _parse_class(pattern, index + 1)
                if found is None:  # malformed
                    return None
                expression, index = found
                out.append(expression)
            case char:  # it stands for itself
                out.append(_write_literal(char[0]))
                index += 1
    return b"".join(out)


_PRINTABLE = frozenset(range(0x20, 0x7F))
_CLASSES: Mapping[bytes, frozenset[int]] = {
    b"alnum": frozenset(string.ascii_letters.encode() + string.digits.encode()),
    b"alpha": frozenset(string.ascii_letters.encode()),
    b"blank": frozenset(b" \t"),
    b"cntrl": frozenset((*range(0x20), 0x7F)),
    b"digit": frozenset(string.digits.encode()),
    b"graph": _PRINTABLE - {0x20},
    b"lower": frozenset(string.ascii_lowercase.encode()),
    b"print": _PRINTABLE,
    b"punct": frozenset(string.punctuation.encode()),
    b"space": frozenset(b" \t\n\r"),
    b"upper": frozenset(string.ascii_uppercase.encode()),
    b"xdigit": frozenset(string.hexdigits.encode()),
}


def _parse_class(pattern: bytes, index: int) -> tuple[bytes, int] | None:
    """Parse the class whose bracket stands before `index`: what it matches and where it ends; None if malformed."""
    is_negated = pattern[index : index + 1] in (b"!", b"^")
    index += is_negated
    members: set[int] = set()
    previous: int | None = None  # what a range may begin with
    first = index
    while pattern[index : index + 1] != b"]" or index == first:  # a bracket that stands first is a member
        char = pattern[index : index + 1]
        if char == b"[" and pattern[index + 1 : index + 2] == b":":  # a named class, as [:alpha:]
            end = pattern.find(b"]", index + 2)
            if end < 0:
                return None
            if pattern[end - 1 : end] == b":" and end > index + 2:
                if (named := _CLASSES.get(pattern[index + 2 : end - 1])) is None:  # there is none of that name
                    return None
                members |= named
                previous, index = None, end + 1
                continue
        # a range, as a-z
        if char == b"-" and previous is not None and pattern[index + 1 : index + 2] not in (b"", b"]"):
            index += 1
            if pattern[index : index + 1] == b"\\":
                index += 1
            if index == len(pattern):
                return None
            members.update(range(previous, pattern[index] + 1))
            previous = None
        else:  # one character
            if char == b"\\":
                index += 1
            if index >= len(pattern):
                return None
            previous = pattern[index]
            members.add(previous)
        index += 1
    matched = (frozenset(range(1, 256)) - members if is_negated else members) - {ord("/")}
    return (_write_alternatives(matched), index + 1) if matched else None


def _write_alternatives(members: Iterable[int]) -> bytes:
    return b"[" + b"".join(map(_write_literal, sorted(members))) + b"]"


def _write_literal(char: int) -> bytes:
    return b"\\x%02x" % char


class SelectedTree(Tree):
    """A folder of a repository without the files that are ignored.

    Links that stay inside the folder are followed: their paths are files like others. Others are left out.
    """

    def __init__(self, tree: Tree, rules: IgnoreRules, folder: str = "", kept: Container[str] = ()) -> None:
        """Begin at `folder`, the place of `tree` in the repository; of the paths in `kept`, `rules` keep all."""
        prefix = f"{folder}/" if folder else ""
        self.oid = f"{tree.oid}-{hashlib.sha256(f'{rules.fingerprint} {prefix}'.encode()).hexdigest()[:16]}"
        self._tree = tree
        self._rules, self._prefix = rules, prefix
        self._paths = {path: path for path in tree if (whole := prefix + path) in kept or rules.keeps(whole)}
        self._links = tree.links
        linked = follow_links(self._paths, self._links)
        self._paths.update((path, file) for path, file in linked.items() if rules.keeps(prefix + path))

    def __getitem__(self, path: str) -> bytes:
        return self._tree[self._paths[path]]

    def explain_absence(self, path: str) -> str:
        if path in self._tree or (path in self._links and not self._rules.keeps(self._prefix + path)):
            return "is ignored (.sourceignore, spec.ignore or the defaults for these)"
        return self._tree.explain_absence(path)

    @property
    def links(self) -> Mapping[str, str]:
        return self._links

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, path: object) -> bool:
        return path in self._paths
