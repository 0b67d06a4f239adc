"""Links lead to what Git holds, or nowhere; the oracle is a real file system with the same links."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitops_core.domain.render.folders import gather_build
from gitops_core.domain.sources.ignore import SelectedTree, parse_ignore_rules
from gitops_core.domain.sources.links import MAX_PATHS, follow_links, resolve_path
from gitops_core.errors import ManifestInvalid
from tests.simulation.fakes.git import LinkedTree

PARTS = st.sampled_from(["a", "b", "c", "..", "."])
PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
TARGETS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(links=st.dictionaries(PATHS, TARGETS, max_size=4), path=PATHS)
def test_a_path_leads_where_it_leads_on_a_disk(
    links: dict[str, str], path: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All folders are there, so `..` is by name as it is on a disk."""
    links = {link: to for link, to in links.items() if not any(other.startswith(f"{link}/") for other in links)}
    links = {link: to for link, to in links.items() if not any(link.startswith(f"{other}/") for other in links)}
    root = tmp_path_factory.mktemp("root")
    for folder in (f"{x}/{y}/{z}" for x in "abc" for y in "abc" for z in "abc"):
        if not any(f"{folder}/".startswith(f"{link}/") for link in links):
            (root / folder).mkdir(parents=True, exist_ok=True)
    for link, to in links.items():
        if (root / link).is_dir():
            shutil.rmtree(root / link)
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(to)

    ours = resolve_path(path, links)

    try:
        real = (root / path).resolve(strict=True)
    except (OSError, RuntimeError):
        return  # a circle, or not there: nothing is found there
    inside = real.is_relative_to(root.resolve())
    if inside and ours is not None:
        assert ours == ("" if real == root.resolve() else str(real.relative_to(root.resolve())))
    elif not inside:
        assert ours is None


def test_links_to_files_and_folders_are_files() -> None:
    files = ["base/a.yaml", "base/sub/b.yaml", "c.yaml"]
    links = {"dev": "base", "prod/c.yaml": "../c.yaml", "deep": "dev/sub", "base/own": "../c.yaml"}

    assert follow_links(files, links) == {
        "base/own": "c.yaml",
        "deep/b.yaml": "base/sub/b.yaml",
        "dev/a.yaml": "base/a.yaml",
        "dev/own": "c.yaml",
        "dev/sub/b.yaml": "base/sub/b.yaml",
        "prod/c.yaml": "c.yaml",
    }


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "../..", "a/../../../x", "self", "missing", ""])
def test_links_that_leave_the_repository_or_lead_nowhere_are_not_there(target: str) -> None:
    assert not follow_links(["a/x.yaml", "etc/passwd"], {"apps/self": target})


def test_links_that_multiply_are_bounded() -> None:
    files = [f"a/{number}" for number in range(1000)]
    links = {f"l{number}": "a" for number in range(1000)}

    assert len(follow_links(files, links)) <= MAX_PATHS


def test_a_link_that_is_ignored_is_not_there_and_neither_is_one_to_what_is_ignored() -> None:
    tree = LinkedTree("1", {"a.yaml": b"a", "b.md": b"b"}, {"x.md": "a.yaml", "y.yaml": "b.md", "z.yaml": "a.yaml"})

    selected = SelectedTree(tree, parse_ignore_rules({}, "*.md"))

    assert dict(selected) == {"a.yaml": b"a", "z.yaml": b"a"}
    assert "ignored" in selected.explain_absence("x.md")
    assert "ignored" in selected.explain_absence("b.md")


def test_a_link_is_built_as_the_file_it_leads_to_and_an_ignored_file_is_named_so() -> None:
    tree = LinkedTree("1", {"k/a.yaml": b"a", "k/b.md": b"b"}, {"k/z.yaml": "a.yaml"})
    selected = SelectedTree(tree, parse_ignore_rules({}, "*.md"))

    build = gather_build(selected, "k", {"resources": ["z.yaml"]}, "zq0")
    with pytest.raises(ManifestInvalid, match=r"resources\[0\]: k/b.md is ignored"):
        gather_build(selected, "k", {"resources": ["b.md"]}, "zq0")

    assert [selected[path] for path in build.copied.values()] == [b"a"]
