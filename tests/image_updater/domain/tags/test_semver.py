"""Laws of versions and constraints; recorded answers are in tests/golden."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_updater.domain.tags.semver import Version, parse_constraint, parse_tag, parse_version

numbers = st.integers(0, 30)
identifiers = st.one_of(numbers.map(str), st.sampled_from(["alpha", "beta", "rc", "0a", "-", "x-1"]))
versions = st.builds(
    lambda a, b, c, pre: f"{a}.{b}.{c}" + ("-" + ".".join(pre) if pre else ""),
    numbers,
    numbers,
    numbers,
    st.lists(identifiers, max_size=3),
)
operators = st.sampled_from(["", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^"])
partials = st.one_of(
    versions, st.builds("{}.{}".format, numbers, numbers), numbers.map(str), st.sampled_from(["*", "1.x"])
)


def parsed(text: str) -> Version:
    version = parse_version(text)
    assert version is not None
    return version


def test_the_order_of_the_specification() -> None:
    rising = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
    ]
    rising += ["1.0.0", "1.0.1-0", "1.0.1"]

    falling = sorted(rising, key=parsed, reverse=True)
    assert falling == rising[::-1]


@pytest.mark.parametrize(
    "text", ["", "1.2.3.4", "1.2.3-", "1.2.3-01", "v", "a.b.c", "1.2.3-a..b", "18446744073709551616.0.0", "1.2.3\n"]
)
def test_a_text_that_is_not_a_version_is_none(text: str) -> None:
    assert parse_version(text) is None


@pytest.mark.parametrize(
    ("tag", "is_version"), [("1.0", False), ("v1.0.0", True), ("1.0.0-rc.1", True), ("01.2.3", True)]
)
def test_a_tag_needs_three_parts(tag: str, is_version: bool) -> None:
    assert (parse_tag(tag) is not None) == is_version


@given(versions, versions)
def test_two_versions_are_ordered_one_way(left: str, right: str) -> None:
    a, b = parsed(left), parsed(right)

    assert (a < b) + (a == b) + (a > b) == 1
    if a == b:
        assert left == right


@given(versions)
def test_build_metadata_and_v_do_not_count(text: str) -> None:
    assert parsed(f"v{text}+build.7") == parsed(text)


@given(versions, operators, partials)
def test_a_constraint_and_its_double_agree(text: str, operator: str, partial: str) -> None:
    once = parse_constraint(f"{operator}{partial}")

    assert parse_constraint(f"{operator} {partial}, {operator}{partial}").accepts(parsed(text)) == once.accepts(
        parsed(text)
    )
    assert parse_constraint(f"{operator}{partial} || {operator}{partial}").accepts(parsed(text)) == once.accepts(
        parsed(text)
    )


@given(versions, versions)
def test_comparators_agree_with_the_order(left: str, right: str) -> None:
    a, b = parsed(left), parsed(right)
    if a.is_prerelease and not b.is_prerelease:
        return

    assert parse_constraint(f">={right}").accepts(a) == (a >= b)
    assert parse_constraint(f"<{right}").accepts(a) == (a < b)
    assert parse_constraint(f"={right}").accepts(a) == (a == b)


def test_a_prerelease_passes_a_group_that_names_one() -> None:
    assert parse_constraint(">=1.2.3-rc.1 <2").accepts(parsed("2.0.0-rc.1"))
    assert not parse_constraint(">=1.2.3 <2 || >=3.0.0-0").accepts(parsed("1.9.0-rc.1"))


@pytest.mark.parametrize("text", ["1.0.0p", "1x", "x1", "-1", "a", "", "1..2", ">=>= 1", "1.2.3.4", "1,,2", "|", "1|2"])
def test_a_text_that_is_not_a_constraint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="constraint"):
        parse_constraint(text)


@given(st.text(alphabet="0123456789.xX*<>=!~^|, -+av", max_size=40))
def test_any_text_is_a_constraint_or_a_value_error(text: str) -> None:
    try:
        constraint = parse_constraint(text)
    except ValueError as error:
        assert "constraint" in str(error)  # noqa: PT017  # either is right
    else:
        constraint.accepts(parsed("1.2.3"))


def test_a_hostile_range_is_answered_at_once() -> None:
    with pytest.raises(ValueError, match="constraint"):
        parse_constraint("1" + " " * 4000 + "!")
