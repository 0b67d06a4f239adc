"""Where Vault lists a folder, and how what is listed there is read."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secrets_sync.domain.provider.finding import MAX_NAMES, Breadth, Named
from secrets_sync.domain.provider.payload import SecretRef
from secrets_sync.domain.provider.vaultfolders import make_folder, read_level
from secrets_sync.domain.provider.vaultpaths import make_kv_path
from secrets_sync.errors import FindTooWide

names = st.sampled_from(["a", "b", "data", "metadata", "secret", "kv"])
paths = st.lists(names, max_size=3).map("/".join)
engines: st.SearchStrategy[Any] = st.sampled_from(["v1", "v2"])


def breadth() -> Breadth:
    return Breadth("here", "")


@pytest.mark.parametrize(
    ("mount", "version", "path", "listing", "name", "key"),
    [
        ("secret", "v2", "shop", "secret/metadata/shop/", "shop/db", "shop/db"),
        ("secret", "v2", "", "secret/metadata/", "db", "db"),
        ("/team/kv/", "v2", "/a/b/", "team/kv/metadata/a/b/", "a/b/db", "a/b/db"),
        ("secret", "v2", "secret", "secret/metadata/secret/", "secret/db", "secret/data/secret/db"),
        ("secret", "v1", "shop", "secret/shop/", "shop/db", "shop/db"),
        ("secret", "v1", "", "secret/", "db", "db"),
        (None, "v2", "secret/shop", "secret/metadata/shop/", "secret/shop/db", "secret/shop/db"),
        (None, "v2", "secret", "secret/metadata/", "secret/db", "secret/db"),
        (None, "v2", "secret/data/shop", "secret/metadata/shop/", "secret/data/shop/db", "secret/data/shop/db"),
        (None, "v2", "team/kv/data", "team/kv/metadata/", "team/kv/data/db", "team/kv/data/db"),
        (None, "v1", "secret/shop", "secret/shop/", "secret/shop/db", "secret/shop/db"),
    ],
)
def test_where_a_folder_is_listed_and_how_a_secret_in_it_is_called_and_read(
    mount: str | None, version: Literal["v1", "v2"], path: str, listing: str, name: str, key: str
) -> None:
    folder = make_folder(mount, version, path)

    assert folder.listing == listing
    assert (folder.make_name("db"), folder.make_key("db")) == (name, key)


@given(st.sampled_from(["secret", "kv", "a/b"]), engines, paths, st.lists(names, min_size=1, max_size=3))
def test_what_is_listed_is_read_where_it_was_listed(mount: str, version: Any, path: str, parts: list[str]) -> None:
    *opened, secret = parts
    folder = make_folder(mount, version, path)
    for part in opened:
        folder = folder.open(part)

    tree = {"v1": "", "v2": "data/"}[version]
    place = "/".join(part for part in (f"{mount}/{tree}".strip("/"), path, *parts) if part)
    assert make_kv_path(mount, version, folder.make_key(secret)) == place
    assert folder.make_name(secret) == "/".join(part for part in (path, *parts) if part)


@given(engines, names, paths, st.lists(names, min_size=1, max_size=3))
def test_so_it_is_where_the_store_names_no_engine(version: Any, engine: str, path: str, parts: list[str]) -> None:
    *opened, secret = parts
    folder = make_folder(None, version, f"{engine}/{path}")
    for part in opened:
        folder = folder.open(part)

    def place_in(tree: str) -> str:
        return "/".join(part for part in (folder.engine, tree, folder.below, secret) if part)

    listed = folder.make_metadata_path(Named(folder.make_name(secret), SecretRef("")))
    assert make_kv_path(None, version, folder.make_key(secret)) == place_in("data" if version == "v2" else "")
    assert listed == folder.listing + secret == place_in("metadata" if version == "v2" else "")


@pytest.mark.parametrize("path", ["..", "a/../..", "a/./b", "a\nb"])
def test_a_path_stays_in_its_engine(path: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        make_folder("secret", "v2", path)
    with pytest.raises(ValueError, match="no name"):
        make_folder("secret", "v2", "").open(path)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("path", ["", "/"])
def test_a_store_without_an_engine_needs_a_path(version: Any, path: str) -> None:
    with pytest.raises(ValueError, match="the store names no engine"):
        make_folder(None, version, path)


def test_a_name_may_be_a_secret_and_a_folder() -> None:
    folder = make_folder("secret", "v2", "shop")

    level = read_level({"data": {"keys": ["db", "db/", "web"]}}, folder, breadth())

    assert [secret.name for secret in level.secrets] == ["shop/db", "shop/web"]
    assert [(inner.path, inner.listing, inner.depth) for inner in level.folders] == [
        ("shop/db", "secret/metadata/shop/db/", 1)
    ]


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"data": None},
        {"data": {"keys": None}},
        {"data": {"keys": {"a": 1}}},
        {"data": {"keys": [1]}},
        {"data": {"keys": [""]}},
        {"data": {"keys": ["/"]}},
        {"data": {"keys": ["a//"]}},
        {"data": {"keys": ["a/b"]}},
        {"data": {"keys": ["../"]}},
    ],
)
def test_an_answer_that_is_no_listing_is_none(body: Any) -> None:
    with pytest.raises(ValueError, match=r"key-value engine|no name"):
        read_level(body, make_folder("secret", "v2", ""), breadth())


def test_what_is_listed_is_counted() -> None:
    body = {"data": {"keys": [f"k{number}" for number in range(MAX_NAMES)]}}
    counted = breadth()
    read_level(body, make_folder("secret", "v2", "a"), counted)

    with pytest.raises(FindTooWide, match="names"):
        read_level({"data": {"keys": ["one"]}}, make_folder("secret", "v2", "b"), counted)
    with pytest.raises(FindTooWide, match="folders"):
        read_level({"data": {"keys": [f"f{number}/" for number in range(1001)]}}, make_folder("s", "v2", ""), breadth())
