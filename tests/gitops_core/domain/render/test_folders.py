"""Which files count, and in which order."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.render.folders import is_plain, list_manifests, list_resources
from gitops_core.domain.sources.ignore import SelectedTree, parse_ignore_rules
from gitops_core.domain.sync.durations import write_duration
from gitops_core.domain.sync.history import add_attempt
from gitops_core.meta import FixedTree, parse_duration
from tests.simulation.loop import BEGINNING


@pytest.mark.parametrize(
    ("patterns", "kept", "ignored"),
    [
        ("*.md", "a/b.yaml", "a/README.md"),
        ("docs/", "docs.yaml", "a/docs/x.yaml"),
        ("/docs", "a/docs/x.yaml", "docs/x.yaml"),
        ("a/b", "x/a/b", "a/b/c"),
        ("**/b", "bb", "a/x/b"),
        ("a/**", "b/a", "a/x/y"),
        ("a/**/z", "a/zz", "a/b/c/z"),
        ("a/**/z", "b/z", "a/z"),
        ("/*\n!/deploy", "deploy/x.yaml", "src/x.yaml"),
        ("/*\n!/deploy/**/*.yaml", "deploy/a/x.yaml", "deploy/a/x.txt"),
        ("f?le[0-9].yaml", "file.yaml", "a/file1.yaml"),
        ("[!a].yaml", "a.yaml", "b.yaml"),
        ("\\!x", "x", "!x"),
        ("# nothing\n\n  \nx.yaml", "y.yaml", "x.yaml"),
        ("a.b", "acb", "a.b"),
    ],
)
def test_ignore_patterns(patterns: str, kept: str, ignored: str) -> None:
    rules = parse_ignore_rules({}, patterns)

    assert rules.keeps(kept)
    assert not rules.keeps(ignored)


def test_the_defaults_go_when_anybody_says_anything() -> None:
    assert not parse_ignore_rules({}, None).keeps("a/photo.png")
    assert not parse_ignore_rules({}, None).keeps(".github/workflows/x.yaml")
    assert not parse_ignore_rules({}, "").keeps("a/photo.png")  # an empty spec.ignore says nothing, as Flux has it
    assert parse_ignore_rules({"a": "*.md"}, None).keeps("b/photo.png")
    assert not parse_ignore_rules({}, "").keeps(".gitignore")


def test_an_ignore_file_counts_below_its_folder() -> None:
    rules = parse_ignore_rules({"a": "*.txt\n/top"}, None)

    assert not rules.keeps("a/b/x.txt")
    assert not rules.keeps("a/top/y")
    assert rules.keeps("b/x.txt")
    assert rules.keeps("a/b/top")


def test_a_selected_tree_has_another_id_for_other_rules() -> None:
    files = FixedTree("1", {"a.yaml": b"a", "b.md": b"b"})
    without = SelectedTree(files, parse_ignore_rules({}, "*.md"))

    assert dict(without) == {"a.yaml": b"a"}
    assert without.oid != SelectedTree(files, parse_ignore_rules({}, "")).oid
    assert without.oid == SelectedTree(FixedTree("1", {}), parse_ignore_rules({}, "*.md")).oid


names = st.from_regex(r"\A[ab]/[ab]{1,2}\.(md|txt)\Z")


@given(st.sets(names), st.sets(names), st.sampled_from(["*.md", "a/", "!a/a.md", "/b/*.txt"]))
def test_a_memory_of_earlier_builds_changes_nothing(old: set[str], new: set[str], ignore: str) -> None:
    rules = parse_ignore_rules({}, ignore)
    before = SelectedTree(FixedTree("1", dict.fromkeys(old, b"")), rules)
    after = FixedTree("2", dict.fromkeys(new, b""))
    below = FixedTree("3", {name[2:]: b"" for name in new if name[0] == "a"})

    assert dict(SelectedTree(after, rules, kept=before)) == dict(SelectedTree(after, rules))
    assert dict(SelectedTree(below, rules, "a", kept=before)) == dict(SelectedTree(below, rules, "a"))


@given(st.from_regex(r"\A[a-z*?]{1,6}\Z"), st.from_regex(r"\A[a-z]{1,6}\Z"))
def test_one_part_patterns_match_as_a_shell_does(pattern: str, name: str) -> None:
    assert parse_ignore_rules({}, pattern).keeps(f"x/{name}/y") != (
        fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase("x", pattern) or fnmatch.fnmatchcase("y", pattern)
    )


def test_folders_that_are_built_are_resources_and_not_walked_into() -> None:
    paths = (
        "z.yaml",
        "b/x.yaml",
        "web/kustomization.yaml",
        "web/deep/y.yaml",
        "b/c/Kustomization",
        "b/c/q.yaml",
        "n.txt",
    )

    assert list_resources(paths, "") == ("b/c", "b/x.yaml", "web", "z.yaml")
    assert list_resources(paths, "b") == ("c", "x.yaml")
    assert not is_plain(paths)


def test_manifests_are_met_as_a_walk_meets_them() -> None:
    assert list_manifests(("a.yaml", "a/z.yml", "a-b.yaml", "a/b/c.yaml", "x.json")) == (
        "a/b/c.yaml",
        "a/z.yml",
        "a-b.yaml",
        "a.yaml",
    )


@given(st.integers(0, 10**15))
def test_a_duration_reads_back_as_what_was_printed(nanoseconds: int) -> None:
    assert abs(parse_duration(write_duration(nanoseconds / 1e9)) - nanoseconds / 1e9) < 1e-6 * max(
        1.0, nanoseconds / 1e9
    )


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from(["Succeeded", "Failed"])), max_size=20))
def test_the_history_counts_and_keeps_five(attempts: list[tuple[str, str]]) -> None:
    history: tuple = ()  # type: ignore[type-arg]
    for digest, outcome in attempts:
        history = add_attempt(history, digest, outcome, revision="r", now=BEGINNING, took=1.0)

    keys = [(entry.digest, entry.last_reconciled_status) for entry in history]
    assert len(keys) == len(set(keys)) <= 5
    assert keys[:1] == attempts[-1:]
    if len(set(attempts)) <= 5:
        assert sum(entry.total_reconciliations for entry in history) == len(attempts)
