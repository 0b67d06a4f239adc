"""Which tag a range means; the recorded answers of the original are in tests/golden/test_ocirepositories.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.sources.tags import choose_tag

TAGS = ["latest", "1.0", "1.0.0", "1.2.0-rc.1", "1.1.0-alpine", "v1.1.0", "1.1.0", "2.0.0", "sha256-aa.sig"]


@pytest.mark.parametrize(
    ("semver", "pattern", "tag"),
    [
        ("1.x", "", "v1.1.0"),
        (">=1.0.0-0 <2", "", "1.2.0-rc.1"),
        ("*", "", "2.0.0"),
        (">=1.0.0-0", "alpine", "1.1.0-alpine"),
        ("1.x", "^1", "1.1.0"),
        ("<1.1.0", "", "1.0.0"),
    ],
)
def test_the_newest_in_the_range_is_chosen(semver: str, pattern: str, tag: str) -> None:
    assert choose_tag(TAGS, semver, pattern) == tag


@given(st.permutations(TAGS))
def test_the_order_of_the_listing_plays_no_part(tags: Sequence[str]) -> None:
    assert choose_tag(tags, "1.x") == "v1.1.0"


@pytest.mark.parametrize(
    ("semver", "pattern", "message"),
    [
        (">=9", "", "no match found for semver: >=9"),
        ("1.x", "^v2", "no match found for semver: 1.x"),
        ("1.x || what", "", "semver '1.x || what' parse error: improper constraint: \" what\""),
        ("*", "(", "error parsing regexp: missing closing ): `(`"),
    ],
)
def test_where_none_is_in_it_the_original_s_words_say_so(semver: str, pattern: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        choose_tag(TAGS, semver, pattern)

    assert str(caught.value) == message
