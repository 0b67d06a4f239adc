"""Laws of choosing a tag; recorded answers are in tests/golden."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_updater.domain.tags.filters import PatternInvalid, TagFilter, compile_pattern
from image_updater.domain.tags.policies import (
    AlphabeticalPolicy,
    NumericalPolicy,
    Policy,
    SemVerPolicy,
    parse_number,
    select_latest,
)
from image_updater.errors import NoTagQualifies, PolicyInvalid

tags = st.lists(
    st.one_of(
        st.builds("{}{}.{}.{}".format, st.sampled_from(["", "v"]), *[st.integers(0, 3)] * 3),
        st.builds("{}.{}.{}{}".format, *[st.integers(0, 3)] * 3, st.sampled_from(["", "-rc.1", "_1"])),
        st.integers(0, 999).map(str),
        st.sampled_from(["latest", "1.0", "1", "1.00", "main-1", "main-2", "x-1"]),
    ),
    min_size=1,
    max_size=12,
)
policies: st.SearchStrategy[Policy] = st.sampled_from(
    [
        SemVerPolicy("*"),
        SemVerPolicy(">=1.0.0-0 <3"),
        AlphabeticalPolicy(),
        AlphabeticalPolicy("desc"),
        NumericalPolicy(),
        NumericalPolicy("desc"),
    ]
)
filters = st.sampled_from([None, TagFilter("^v?(.*)$", "$1"), TagFilter("([0-9]+)", "${1}"), TagFilter("^main")])


def answer(listing: list[str], policy: Policy, tag_filter: TagFilter | None) -> str:
    try:
        return select_latest(listing, policy, tag_filter)
    except NoTagQualifies as error:
        return f"! {error}"


@given(tags.flatmap(lambda t: st.tuples(st.just(t), st.permutations(t))), policies, filters)
def test_the_order_of_the_listing_is_irrelevant(
    pair: tuple[list[str], list[str]], policy: Policy, tag_filter: TagFilter | None
) -> None:
    listing, shuffled = pair

    assert answer(shuffled, policy, tag_filter) == answer(listing, policy, tag_filter)


@given(tags, policies, filters)
def test_the_chosen_tag_was_listed_and_stays_chosen_alone(
    listing: list[str], policy: Policy, tag_filter: TagFilter | None
) -> None:
    chosen = answer(listing, policy, tag_filter)

    if not chosen.startswith("! "):
        assert chosen in listing
        assert answer([chosen], policy, tag_filter) == chosen


@given(tags, st.text(max_size=12))
def test_any_pattern_matches_or_is_refused(listing: list[str], pattern: str) -> None:
    try:
        found = TagFilter(pattern, "$0").apply(listing)
    except PatternInvalid:
        return
    assert set(found.values()) <= set(listing)


@given(st.text(alphabet="ab1$_{}-", max_size=12))
def test_any_template_expands(template: str) -> None:
    TagFilter("(?P<a>x)(1)", template).apply(["x1"])


@pytest.mark.parametrize(
    ("template", "expanded"),
    [
        ("$1", "ab"),
        ("$1x", ""),
        ("${1}x", "abx"),
        ("$$1", "$1"),
        ("$", "$"),
        ("${1", "${1"),
        ("$n-$0", "ab-ab9"),
        ("$9", ""),
        ("$01", ""),
    ],
)
def test_templates_expand_as_in_go(template: str, expanded: str) -> None:
    assert list(TagFilter("(?P<n>[a-z]+)[0-9]", template).apply(["ab9"])) == [expanded]


def test_of_equal_versions_the_same_one_always_wins() -> None:
    assert select_latest(["1.0.0", "v1.0.0", "1.0.0-rc.1"], SemVerPolicy("*")) == "v1.0.0"
    assert select_latest(["1", "1.0", "1.00"], NumericalPolicy()) == "1"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "missing closing ): `(`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("(?=x)", "invalid or unsupported Perl syntax: `(?=`"),
        (r"\1", r"invalid escape sequence: `\1`"),
    ],
)
def test_a_bad_pattern_is_explained_as_go_explains_it(pattern: str, message: str) -> None:
    with pytest.raises(PatternInvalid) as caught:
        compile_pattern(pattern)

    assert str(caught.value) == f"error parsing regexp: {message}"


def test_a_hostile_pattern_takes_linear_time() -> None:
    assert TagFilter("^(a+)+$").apply(["a" * 5000 + "!"]) == {}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("1e3", 1000.0), ("-.5", -0.5), ("1.", 1.0), ("0x1p4", 16.0), ("+Inf", float("inf"))),
        *(("1_000", 1000.0), ("1_23.50_0_0e+1_2", 1.235e14), ("0x_1_2.3_4_5p+1_2", 74565.0), (".1_0", 0.1)),
        *(("0x1p1_0", 1024.0), ("0x.8_0p1", 1.0), ("+1_0", 10.0), ("00_1", 1.0)),
    ],
)
def test_numbers_as_go_reads_them(text: str, number: float) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", "0x10", "1e999", "1a", " 1", "\u0661", "1\n", "e5", "."),
        *(
            "-_1",
            "1__0",
            "1_",
            "_1",
            "1_.5",
            "1._5",
            "1.5_",
            "1.5_e1",
            "1e_1",
            "1e+_1",
            "1e1__0",
            "._1",
            "1_e1",
            "in_f",
        ),
        *("0x1_p4", "0x1p_4", "0x1._8p1", "0x__1p1", "0x_.8p1", "0_x1p1", "0b_1", "0o_7", "0_"),
    ],
)
def test_a_text_that_is_not_a_number_does_not_qualify(text: str) -> None:
    with pytest.raises(NoTagQualifies):
        parse_number(text)


def test_a_bad_range_is_a_bad_policy_even_without_tags() -> None:
    with pytest.raises(PolicyInvalid, match=r'^invalid policy: improper constraint: "not a range"$'):
        select_latest([], SemVerPolicy("not a range"))
