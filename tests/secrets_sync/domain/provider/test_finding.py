"""Which names a find means, and what becomes of what is found."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.meta import Sensitive
from secrets_sync.api import Find, FindName, RemoteRef
from secrets_sync.domain.provider.extract import extract_map
from secrets_sync.domain.provider.finding import (
    MAX_DEPTH,
    MAX_FOLDERS,
    MAX_MATCHES,
    MAX_NAME_BYTES,
    MAX_NAMES,
    Breadth,
    Listing,
    Named,
    Search,
    make_matcher,
    make_search,
    take_found,
)
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.errors import FindInvalid, FindTooWide, ValueUnusable


def listing_of(*names: str, tags: Mapping[str, Mapping[str, str]] = {}) -> Listing:
    return Listing(tuple(Named(name, SecretRef(name), tags.get(name, {})) for name in names), "all")


def select(find: Find, listing: Listing) -> list[str]:
    return [one.name for one in make_matcher(find).select(listing, "here")]


def found(**values: str) -> dict[str, Payload]:
    return {name.replace("__", "/"): Payload(Sensitive(value)) for name, value in values.items()}


texts = st.text("ab/._-1ü", min_size=1, max_size=8)
tags = st.dictionaries(st.sampled_from(["team", "tier"]), st.sampled_from(["a", "b", ""]))
listed = st.dictionaries(texts, tags, max_size=8)
finds = st.builds(
    Find,
    name=st.none()
    | st.builds(FindName, regexp=st.sampled_from(["", "a", "^a", "b$", "a/.*b", "[.]|1", "(?i)A", "^a$"])),
    tags=tags,
)


@given(finds, listed)
def test_meant_is_what_the_pattern_is_found_in_and_has_all_tags(find: Find, listed: dict[str, dict[str, str]]) -> None:
    meant = select(find, listing_of(*listed, tags=listed))

    pattern = find.name.regexp if find.name is not None else ""
    assert meant == sorted(
        name for name, has in listed.items() if re.search(pattern, name) and find.tags.items() <= has.items()
    )


@given(finds, listed, listed)
def test_whether_a_name_is_meant_depends_on_no_other(
    find: Find, one: dict[str, dict[str, str]], other: dict[str, dict[str, str]]
) -> None:
    both = one | other

    together = select(find, listing_of(*both, tags=both))

    apart = {*select(find, listing_of(*one, tags=both)), *select(find, listing_of(*other, tags=both))}
    assert together == sorted(apart)


@pytest.mark.parametrize(
    ("regexp", "names", "meant"),
    [
        ("app", ["my/app/db", "web"], ["my/app/db"]),
        ("^app", ["my/app/db", "app/db"], ["app/db"]),
        (r"\pL+$", ["ü", "1"], ["ü"]),
        ("(?P<x>a)b", ["ab", "b"], ["ab"]),
        (r"^a\z", ["a", "ab"], ["a"]),
    ],
)
def test_patterns_are_gos_and_found_anywhere(regexp: str, names: list[str], meant: list[str]) -> None:
    assert select(Find(name=FindName(regexp=regexp)), listing_of(*names)) == meant


@pytest.mark.parametrize("regexp", ["(", "(?=a)", r"\1"])
def test_a_pattern_that_go_does_not_take_needs_an_edit(regexp: str) -> None:
    with pytest.raises(FindInvalid, match=r"^name\.regexp: error parsing regexp"):
        make_matcher(Find(name=FindName(regexp=regexp)))


@pytest.mark.parametrize(
    ("path", "meant"), [(None, ""), ("", ""), ("/", ""), ("shop", "shop"), ("/shop/db/", "shop/db")]
)
def test_a_path_is_a_folder_however_it_is_written(path: str | None, meant: str) -> None:
    assert make_search(Find(path=path)) == Search(meant)


def test_tags_are_listed_only_for_who_asks_for_them() -> None:
    assert make_search(Find(path="a", tags={"x": "y"})) == Search("a", has_tags=True)


# bounds


def test_a_find_that_means_too_many_secrets_is_refused_in_a_sentence() -> None:
    many = listing_of(*(f"shop/{number:05}" for number in range(MAX_MATCHES + 1)))

    assert len(select(Find(path="shop", name=FindName(regexp="[1-9]$")), many)) < MAX_MATCHES
    with pytest.raises(FindTooWide) as refusal:
        select(Find(path="shop"), many)

    sentence = "here: more than 1000 matches below 'shop': narrow path or name.regexp"
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("names", "excess"),
    [
        ([f"{number}" for number in range(MAX_NAMES + 1)], f"more than {MAX_NAMES} names below '/'"),
        (["x" * MAX_NAME_BYTES, "y"], f"more than {MAX_NAME_BYTES} bytes of names below '/'"),
    ],
    ids=["names", "bytes"],
)
def test_a_listing_that_is_too_long_is_refused_whatever_is_meant_of_it(names: list[str], excess: str) -> None:
    with pytest.raises(FindTooWide, match=re.escape(excess)):
        select(Find(name=FindName(regexp="^$")), listing_of(*names))

    assert select(Find(name=FindName(regexp="^$")), listing_of(*names[:-1])) == []


def test_a_search_that_could_not_be_ended_is_not_begun() -> None:
    costly = Find(name=FindName(regexp="a{999}" * 10))

    with pytest.raises(FindTooWide, match="steps to match a name"):
        select(costly, listing_of("a" * 100_000))


def test_folders_are_counted_in_number_and_depth() -> None:
    breadth = Breadth("here", "shop")
    for _ in range(MAX_FOLDERS):
        breadth.add_folder(MAX_DEPTH)

    with pytest.raises(FindTooWide, match=f"^here: more than {MAX_FOLDERS} folders below 'shop'"):
        breadth.add_folder(1)
    with pytest.raises(FindTooWide, match=f"more than {MAX_DEPTH} levels of folders"):
        Breadth("here", "shop").add_folder(MAX_DEPTH + 1)


# values


def test_each_secret_is_one_value_under_its_converted_name() -> None:
    values = found(shop__db='{"a": 1}', plain="x")

    assert take_found(values, Find(), "here") == {"shop_db": Sensitive('{"a": 1}'), "plain": Sensitive("x")}
    assert set(take_found(values, Find(conversion_strategy="Unicode"), "here")) == {"shop_U002f_db", "plain"}


def test_values_are_decoded_and_a_refusal_names_the_key_and_no_value() -> None:
    values = found(a="aGVsbG8=", b="marked-4711!")

    assert take_found(values, Find(decoding_strategy="Auto"), "here")["a"] == Sensitive("hello")
    with pytest.raises(ValueUnusable, match=r"^here: 'b': not base64") as refusal:
        take_found(values, Find(decoding_strategy="Base64"), "here")

    assert "4711" not in str(refusal.value)


@given(
    st.dictionaries(st.text("ab/._-ü", max_size=4), st.just("v"), max_size=5), st.sampled_from(["Default", "Unicode"])
)
def test_keys_are_those_that_extract_makes_of_the_same_names(names: dict[str, str], strategy: str) -> None:
    """Colliding and impossible ones are refused in the same words."""

    def words(take: object) -> str:
        try:
            return repr(sorted(take()))  # type: ignore[operator]
        except ValueUnusable as error:
            return str(error).removeprefix("here: key 'k': ").removeprefix("here: ")

    members = {name: Sensitive(value) for name, value in names.items()}
    document = Payload(Sensitive(repr(names).replace("'", '"')), members)
    payloads = {name: Payload(value) for name, value in members.items()}

    extracted = words(lambda: extract_map(document, RemoteRef(key="k", conversion_strategy=strategy), "here"))  # type: ignore[arg-type]

    assert words(lambda: take_found(payloads, Find(conversion_strategy=strategy), "here")) == extracted  # type: ignore[arg-type]
