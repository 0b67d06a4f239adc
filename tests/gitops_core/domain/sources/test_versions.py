"""The newest tag of a range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.sources.versions import list_newest, parse_range
from gitops_core.errors import StalledError

TAGS = st.lists(
    st.one_of(
        st.from_regex(r"v?[0-3]\.[0-2]\.[0-2](-(rc\.)?[1-3])?(\+[ab])?", fullmatch=True),
        st.sampled_from(["latest", "v1", "1.2", "x1.2.3", "1.2.3-01", "", "99999999999999999999.0.0"]),
    ),
    max_size=8,
    unique=True,
)
RANGES = st.sampled_from(["*", "1.x", ">=1.0.0-0", "<2", "~1.1", "^2 || <1", "1.2.1"])


@given(tags=TAGS, text=RANGES)
def test_the_newest_do_not_depend_on_the_order_nor_on_older_tags(tags: list[str], text: str) -> None:
    wanted = parse_range(text)
    found = list_newest(tags, wanted)

    assert found == list_newest(reversed(tags), wanted) == list_newest(found, wanted)
    assert set(found) <= set(tags)
    assert list_newest([*tags, "0.0.0-0", "no version"], parse_range(">=0.0.0-0")) != ()


@pytest.mark.parametrize(
    ("text", "newest"),
    [
        ("1.x", ("1.1.5",)),
        ("1.0.0", ("v1.0.0",)),
        ("<1.0.0", ("v0.9.0",)),
        (">=1.2.0-0, <2", ("v1.2.0-rc.1",)),
        ("2.x", ("v2.0.0+b", "v2.0.0+a")),
        (">2", ()),
    ],
)
def test_a_range_means_what_it_means_for_flux(text: str, newest: tuple[str, ...]) -> None:
    tags = ["1.1.5", "nightly", "v0.9.0", "v1.0.0", "v1.1.0", "v1.2.0-rc.1", "v1.3", "v2.0.0+a", "v2.0.0+b"]

    assert list_newest(tags, parse_range(text)) == newest


@pytest.mark.parametrize("text", ["not a range", ">>1", "1.0.0 ||", "9" * 30, "1 " * 5000])
def test_what_is_no_range_is_told(text: str) -> None:
    with pytest.raises(StalledError, match=r"ref\.semver is no range of versions") as raised:
        parse_range(text)

    assert raised.value.reason == "GitOperationFailed"
    assert len(str(raised.value)) < 200
