"""Headers that a registry sends, whatever is in them."""

from __future__ import annotations

import time
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from image_updater.adapters.challenges import next_page, parse_challenges

CURRENT = "https://registry.example.com/v2/apps/app/tags/list?n=1000"
HOSTILE = st.text(
    st.sampled_from(list('<>;,="/\\?#@:. relnxtBasicbearer%25')) | st.characters(max_codepoint=255), max_size=60
)


@given(HOSTILE, st.booleans())
def test_the_next_page_is_on_the_same_host_whatever_the_link_says(target: str, has_next: bool) -> None:
    link = f'<{target}>; rel="next"' if has_next else target
    try:
        path = next_page(link, urlsplit(CURRENT))
    except ValueError:
        return

    if path is not None:
        assert path.startswith("/")
        assert URL(f"https://registry.example.com{path}").host == "registry.example.com"


@given(st.text("abcXYZ019._-", min_size=1, max_size=30), st.sampled_from(["absolute", "path", "query", "relative"]))
def test_every_form_of_link_names_the_same_page(last: str, form: str) -> None:
    query = urlencode({"last": last, "n": 1000})
    target = {
        "absolute": f"https://registry.example.com/v2/apps/app/tags/list?{query}",
        "path": f"/v2/apps/app/tags/list?{query}",
        "query": f"?{query}",
        "relative": f"list?{query}",
    }[form]

    assert next_page(f'<{target}>; rel="next"', urlsplit(CURRENT)) == f"/v2/apps/app/tags/list?{query}"


@given(st.lists(HOSTILE, max_size=3))
def test_any_challenge_is_read_or_ignored(headers: list[str]) -> None:
    found = parse_challenges(headers)

    assert all(challenge.scheme in ("basic", "bearer") for challenge in found)
    assert [c.scheme for c in found] == sorted((c.scheme for c in found), reverse=True)


@pytest.mark.parametrize("piece", ["a=", 'a="', "a=b,", "a ", 'a="\\"', "=", "Bearer ", ", "])
def test_a_long_header_takes_no_long_time(piece: str) -> None:
    header = "Bearer " + piece * (100_000 // len(piece))
    began = time.process_time()

    parse_challenges([header])
    next_page(f"</x>;{header[:8000]}", urlsplit(CURRENT))

    assert time.process_time() - began < 1
