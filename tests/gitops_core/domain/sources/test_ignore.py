"""Ignore patterns match what they match for Git; `git check-ignore` is asked itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitops_core.domain.sources.ignore import IgnoreRulesInvalid, parse_ignore_rules

PIECES = (
    *(
        "a",
        "b",
        "ab",
        ".",
        "*",
        "**",
        "?",
        "/",
        "/**/",
        "[",
        "]",
        "!",
        "^",
        "-",
        "\\",
        " ",
        "#",
        ":",
        "é",
        "\t",
        "\x0b",
    ),
    *(
        "[a-c]",
        "[!a]",
        "[^b]",
        "[]a]",
        "[a/b]",
        "[.-0]",
        "[[:alpha:]]",
        "[[:nope:]]",
        "[[:space:]-c]",
        "[\\]a]",
        "[b-a]",
    ),
)
NAMES = st.text("ab-]\\ é.\n\x0b\u2028[", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PATTERNS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)


class Checkout:
    """An empty Git repository: `check-ignore` needs no files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["git", "init", "-q", folder], check=True)

    def ignored(self, patterns: str, paths: Iterable[str]) -> set[str]:
        (self.folder / ".git" / "info" / "exclude").write_bytes(patterns.encode())
        asked = "".join(f"{path}\0" for path in paths).encode()
        command = ["git", "check-ignore", "--no-index", "--stdin", "-z"]
        answer = subprocess.run(command, cwd=self.folder, input=asked, capture_output=True, check=False)
        assert answer.returncode in (0, 1), answer.stderr
        return {path.decode() for path in answer.stdout.split(b"\0") if path}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("checkout"))


def ignored(patterns: str, paths: Iterable[str]) -> set[str]:
    rules = parse_ignore_rules({}, patterns)
    return {path for path in paths if not rules.keeps(path)}


@given(
    st.lists(PATTERNS.filter(lambda line: not line.startswith("!")), min_size=1, max_size=3),
    st.sets(PATHS, max_size=20),
)
@example(["a[!b]c"], {"a/c", "axc"})
@example(["a[+-z]c"], {"a/c", "abc"})
@example(["[a/b]"], {"a", "b", "x/a"})
@example(["a[b"], {"a[b", "ab"})
@example(["[[:nope:]]", "b"], {"a", "b"})
@example(["a/**"], {"a/b/c", "a", "a/b"})
@example(["**/a/**/b"], {"a/b", "x/a/y/z/b"})
@example(["a**/b"], {"a/x/b", "ax/b"})
@example(["foo\\ "], {"foo ", "foo"})
@example(["foo\\\\ "], {"foo\\ ", "foo\\"})
@example(["?"], {"é", "a"})
@example(["a//"], {"a/b"})
@example(["*.md\x0cx\u2028y"], {"a.md", "a.md\x0cx\u2028y"})
@settings(max_examples=60, deadline=None)
def test_patterns_match_what_they_match_for_git(checkout: Checkout, lines: list[str], paths: set[str]) -> None:
    patterns = "\n".join(lines)

    assert ignored(patterns, paths) == checkout.ignored(patterns, paths)


@given(st.lists(PATTERNS, min_size=1, max_size=4), st.sets(NAMES, max_size=10))
@example(["*", "!a"], {"a", "b"})
@example(["a", "!a", "a"], {"a"})
@settings(max_examples=40, deadline=None)
def test_the_last_pattern_decides_for_a_file_of_the_root_as_for_git(
    checkout: Checkout, lines: list[str], names: set[str]
) -> None:
    patterns = "\n".join(lines)

    assert ignored(patterns, names) == checkout.ignored(patterns, names)


def test_every_byte_is_matched_by_the_classes_that_match_it_for_git(checkout: Checkout) -> None:
    names = {f"x{chr(code)}" for code in range(1, 0x7F) if chr(code) != "/"}
    kinds = [
        "alnum",
        "alpha",
        "blank",
        "cntrl",
        "digit",
        "graph",
        "lower",
        "print",
        "punct",
        "space",
        "upper",
        "xdigit",
    ]

    for pattern in (*(f"x[[:{kind}:]]" for kind in kinds), "x[!-~]", "x[^a-y]", "x[]-a]", "x[\\--0]"):
        assert ignored(pattern, names) == checkout.ignored(pattern, names), pattern


def test_a_file_of_an_ignored_folder_can_be_taken_back_unlike_for_git(checkout: Checkout) -> None:
    patterns, paths = "a\n!a/keep\n", ["a/keep", "a/other"]

    assert ignored(patterns, paths) == {"a/other"}
    assert checkout.ignored(patterns, paths) == {"a/keep", "a/other"}


@pytest.mark.parametrize("files", [{"": "# nothing\n\n"}, {"a": "\n"}])
def test_rules_of_comments_only_keep_the_defaults(files: dict[str, str]) -> None:
    assert not parse_ignore_rules(files, None).keeps("a/photo.png")
    assert not parse_ignore_rules({}, "# nothing\n").keeps("a/photo.png")
    assert parse_ignore_rules({"": "*.md"}, None).keeps("a/photo.png")


def test_rules_that_would_take_long_to_match_are_refused() -> None:
    with pytest.raises(IgnoreRulesInvalid, match=r"^apps/\.sourceignore: line 2 is longer than 4,096 bytes"):
        parse_ignore_rules({"apps": "a\n" + "b" * 4097}, None)
    with pytest.raises(IgnoreRulesInvalid, match="more than 10,000 ignore patterns"):
        parse_ignore_rules({}, "a\n" * 10_001)


def test_as_many_and_as_long_rules_as_are_allowed_can_be_matched() -> None:
    many = "\n".join(f"name-{number}*?[a-z]" for number in range(10_000))

    assert not parse_ignore_rules({}, many).keeps("x/name-9999-bc")
    assert parse_ignore_rules({}, "*?" * 2048).keeps("short")
