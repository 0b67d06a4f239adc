"""Trees put together of others, and parts of them."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gitops_core.adapters.git.objects import edit_tree
from gitops_core.domain.sources.composing import (
    FolderMissing,
    PlaceTaken,
    TooManyFiles,
    compose,
    take_folder,
    take_sparse,
)
from gitops_core.meta import FixedTree, Tree
from tests.simulation.fakes.git import LinkedTree

NAMES = st.sampled_from(["a", "b", "ab", "a-b"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
FILES = st.dictionaries(PATHS, st.binary(max_size=2), max_size=6).filter(
    lambda files: not any(other.startswith(f"{path}/") for path in files for other in files)
)


def tree(files: dict[str, bytes]) -> Tree:
    return FixedTree(edit_tree(lambda _: {}, "", files, "sha1")[0], files)


@given(files=FILES, folder=PATHS)
def test_a_folder_is_what_is_below_it_and_put_back_it_is_the_same(files: dict[str, bytes], folder: str) -> None:
    below = {
        path.removeprefix(f"{folder}/"): content for path, content in files.items() if path.startswith(f"{folder}/")
    }
    if not below:
        with pytest.raises(FolderMissing):
            take_folder(tree(files), folder)
        return

    taken = take_folder(tree(files), folder)
    rest = {path: content for path, content in files.items() if not path.startswith(f"{folder}/")}

    assert dict(taken) == below
    assert dict(compose(tree(rest), [(folder, taken)])) == files


@given(files=FILES, folders=st.lists(PATHS, min_size=1, max_size=3))
def test_a_sparse_tree_has_the_files_of_its_folders_and_no_other(files: dict[str, bytes], folders: list[str]) -> None:
    def is_in(path: str, folder: str) -> bool:
        return f"{path}/".startswith(f"{folder}/")

    if not all(any(is_in(path, folder) for path in files) for folder in folders):
        with pytest.raises(FolderMissing):
            take_sparse(tree(files), folders)
        return

    wanted = {path: content for path, content in files.items() if any(is_in(path, folder) for folder in folders)}
    assert dict(take_sparse(tree(files), [f"./{folder}/" for folder in folders])) == wanted


@given(files=FILES, place=PATHS, mounted=FILES)
def test_nothing_is_put_where_something_is(files: dict[str, bytes], place: str, mounted: dict[str, bytes]) -> None:
    assume(mounted)
    is_taken = any(f"{path}/".startswith(f"{place}/") or place.startswith(f"{path}/") for path in files)
    if is_taken:
        with pytest.raises(PlaceTaken):
            compose(tree(files), [(place, tree(mounted))])
    else:
        made = compose(tree(files), [(place, tree(mounted))])
        assert dict(made) == files | {f"{place}/{path}": content for path, content in mounted.items()}
        with pytest.raises(PlaceTaken):
            compose(tree(files), [(place, tree(mounted)), (place, tree(mounted))])


@pytest.mark.parametrize("folder", ["..", "a/../..", "../etc"])
def test_a_sparse_folder_does_not_leave_the_repository(folder: str) -> None:
    with pytest.raises(FolderMissing):
        take_sparse(tree({"a/b": b""}), [folder])


def test_the_id_follows_the_files_and_their_places() -> None:
    files, other = tree({"a": b"1"}), tree({"a": b"2"})
    ids = [
        compose(files, [("x", other)]).oid,
        compose(files, [("y", other)]).oid,
        compose(other, [("x", files)]).oid,
        take_folder(compose(files, [("x", other)]), "x").oid,
        take_sparse(compose(files, [("x", other)]), ["x"]).oid,
    ]

    assert len(set(ids)) == len(ids)
    assert compose(files, [("x", other)]).oid == ids[0]


def test_links_and_submodules_keep_their_places() -> None:
    whole = LinkedTree("1", {"apps/a": b"", "b": b""}, {"apps/l": "a", "m": "b"}, {"apps/s": "c" * 40, "t": "d" * 40})

    sparse, folder = take_sparse(whole, ["apps"]), take_folder(whole, "apps")

    assert (dict(sparse.links), dict(sparse.submodules)) == ({"apps/l": "a"}, {"apps/s": "c" * 40})
    assert (dict(folder.links), dict(folder.submodules)) == ({"l": "a"}, {"s": "c" * 40})
    assert compose(sparse, [("apps/s", whole)]).links == {"apps/l": "a", "apps/s/apps/l": "a", "apps/s/m": "b"}
    with pytest.raises(PlaceTaken):  # through a link it would be somewhere else
        compose(whole, [("m/x", tree({"a": b""}))])


def test_more_files_than_a_repository_may_have_are_refused() -> None:
    half = FixedTree("1", {f"{number}": b"" for number in range(100_000)})

    assert len(compose(half, [("x", half)])) == 200_000
    with pytest.raises(TooManyFiles):
        compose(half, [("x", half), ("y", tree({"a": b""}))])
