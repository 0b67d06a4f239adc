"""A listing made from the one before it is the same as one made anew, and deciding on a long one is cheap."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_updater.domain.tags import listings
from image_updater.domain.tags.filters import SIGNATURES, PatternInvalid, TagFilter, select_matching
from image_updater.domain.tags.listings import Listing, Listings, sort_descending
from image_updater.domain.tags.policies import AlphabeticalPolicy, NumericalPolicy, Policy, SemVerPolicy, rank
from image_updater.domain.tags.semver import parse_constraint, parse_tag, parse_version
from image_updater.errors import NoTagQualifies

numbers = st.integers(0, 3)
tag = st.one_of(
    st.builds("{}.{}.{}{}".format, numbers, numbers, numbers, st.sampled_from(["", "-rc.1"])),
    st.builds("v{}.{}.{}".format, numbers, numbers, numbers),
    st.integers(0, 30).map(str),
    st.sampled_from(["latest", "main-1", "main-01", "x.sig"]),
)  # fmt: skip
filters = st.sampled_from([None, TagFilter("^v?(.*)$", "$1"), TagFilter("([0-9]+)$", "$1"), TagFilter("^v")])
policies: st.SearchStrategy[Policy] = st.sampled_from(
    [SemVerPolicy(">=1.1 <3"), SemVerPolicy(">=0.0.0-0"), AlphabeticalPolicy(), NumericalPolicy("desc")]
)


def order(listing: Listing, policy: Policy, tag_filter: TagFilter | None) -> list[str]:
    candidates = listing.find_candidates(tag_filter)
    try:
        return [candidates.find_tag(text) for text in rank(candidates, policy, skip_unparsable=True)]
    except NoTagQualifies as error:
        return [f"! {error}"]


@settings(max_examples=60)
@given(st.lists(tag, max_size=40), st.lists(st.tuples(st.booleans(), tag), max_size=5), filters, policies)
def test_a_listing_that_follows_another_is_what_it_would_be_alone(
    first: list[str], changes: list[tuple[bool, str]], tag_filter: TagFilter | None, policy: Policy
) -> None:
    kept, tags = Listings(), set(first) | {f"9.9.{n}" for n in range(60)}  # so that the changes are few
    before = kept.get_listing("r", tuple(tags), [r"\.sig$"])
    order(before, policy, tag_filter)
    for is_new, changed in changes:
        (tags.add if is_new else tags.discard)(changed)
        now = kept.get_listing("r", sort_descending(tags), [r"\.sig$"])
        alone = Listing(tags, [r"\.sig$"])

        assert list(now.tags) == list(alone.tags)
        assert order(now, policy, tag_filter) == order(alone, policy, tag_filter)


@settings(max_examples=60)
@given(st.lists(tag, max_size=20), policies, filters)
def test_the_best_without_the_best_is_the_next(tags: list[str], policy: Policy, tag_filter: TagFilter | None) -> None:
    found = order(Listing(tags), policy, tag_filter)

    for place in range(len(found) - 1):
        rest = Listing(set(tags) - set(found[: place + 1]))
        if tag_filter is None or not tag_filter.extract:  # else a tag that extracts alike comes in
            assert order(rest, policy, tag_filter) == found[place + 1 :]


ranges = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "=", "!=", ">", "<", ">=", "<=", "~", "^"]),
        st.sampled_from(["1", "1.2", "1.2.3", "0", "0.0", "0.1.2", "2.0.0-rc.1", "1.x", "*", "0.0.0"]),
        st.sampled_from([" ", " || ", ", "]),
    ),
    min_size=1,
    max_size=3,
).map(lambda parts: "".join(parts).rstrip(" |,"))
versions = st.builds(
    "{}.{}.{}{}".format, numbers, numbers, numbers, st.sampled_from(["", "", "-0", "-rc.1", "-rc.1.0", "-rc.2"])
)


@given(ranges, st.lists(versions, min_size=1, max_size=20))
def test_nothing_accepted_is_above_the_ceiling_and_what_is_accepted_is_possible(range_: str, texts: list[str]) -> None:
    constraint = parse_constraint(range_)
    ceiling, impossible = constraint.ceiling(), constraint.impossible()

    for text in texts:
        version = parse_version(text)
        if version is not None and constraint.accepts(version):
            assert ceiling is None or version <= ceiling
            assert len(impossible) < len(constraint.groups)


@pytest.mark.parametrize(
    ("range_", "impossible"),
    [(">2 <1", (0,)), (">1.2.3 <1.2.4", (0,)), (">1.2.3-0 <1.2.4-0", ()), ("^1 || =1.0.0 !=1.0.0", (1,)), ("*", ())],
)
def test_a_range_that_nothing_satisfies_is_found(range_: str, impossible: tuple[int, ...]) -> None:
    assert parse_constraint(range_).impossible() == impossible


@given(st.from_regex(r"v?[0-9]{1,21}\.[0-9]{1,3}\.[0-9]{1,21}(-[0-9a-z.]{1,4})?", fullmatch=True))
def test_the_short_way_to_read_a_version_reads_it_as_the_long_one(text: str) -> None:
    assert parse_tag(text) == parse_version(text)


@given(st.lists(st.text(alphabet=".sig\nx", max_size=8)))
def test_the_short_way_to_exclude_signatures_excludes_the_same(tags: list[str]) -> None:
    assert select_matching(SIGNATURES, tags) == select_matching(f"(?:{SIGNATURES})", tags)


def test_a_bad_exclusion_is_told_in_the_originals_words() -> None:
    with pytest.raises(PatternInvalid, match=r"failed to compile regex \(: error parsing regexp: missing closing \)"):
        Listing(["1"], ["("])


def test_the_memory_of_listings_is_bounded() -> None:
    kept = Listings()
    size = listings.KEPT_LISTINGS // listings.TAG // 4

    for number in range(12):
        kept.get_listing(f"r{number}", tuple(f"{n:08}" for n in range(size, 0, -1)), [])

    assert [key for (key, _), _ in kept._kept.list_items()] == [f"r{number}" for number in range(8, 12)]


def test_a_new_tag_in_a_very_long_list_costs_little() -> None:
    """A hundred policies on one long list: each decides anew in a few milliseconds, however long the list is."""
    tags = [f"{n // 2500}.{n // 50 % 50}.{n % 50}" for n in range(50_000)]
    kept, wanted = Listings(), [SemVerPolicy(f"<={n}.0.0") for n in range(1, 20)]
    before = kept.get_listing("r", tuple(sort_descending(tags)), [r"^.*\.sig$"])
    for policy in wanted:
        order_of_one(before, policy)

    began = time.process_time()
    after = kept.get_listing("r", sort_descending((*tags, "21.0.0")), [r"^.*\.sig$"])
    found = [order_of_one(after, policy) for policy in [*wanted, SemVerPolicy("*")]]
    took = time.process_time() - began

    assert found[-1] == "21.0.0"
    assert found[0] == "1.0.0"
    assert took < 1.0


def order_of_one(listing: Listing, policy: Policy) -> str:
    return next(iter(rank(listing.find_candidates(None), policy)))
