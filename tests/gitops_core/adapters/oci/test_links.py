"""Where a listing goes on, as registries say it and as they should not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.adapters.oci.links import find_next_query

QUERY = "last=1.9&n=1000"
HOSTILE = st.text(st.sampled_from(list('<>;,="/\\?#@:. relnxt%25')) | st.characters(max_codepoint=255), max_size=60)


@pytest.mark.parametrize(
    "link",
    [
        f'</v2/app/tags/list?{QUERY}>; rel="next"',
        f'<https://registry.example/v2/app/tags/list?{QUERY}>; rel="next"',
        f"<http://nexus:8081/repository/docker/v2/app/tags/list?{QUERY}>;rel=next",
        f'</artifactory/api/docker/r/v2/app/tags/list?{QUERY}>; rel="next"',
        f'<?{QUERY}>; REL="prefetch Next"; title="a, b; c"',
        f"<?{QUERY}>",
        f'<?{QUERY}#top>; title="no rel"',
        f'<?n=1>; rel="first", <?n=2>; rel="prev" , <?{QUERY}>; rel="next", <?n=9>; rel="last"',
        f'<?{QUERY}>; rel="next"; rel="last",',
        f"<?{QUERY}>; rel='next'",
        f'<?{QUERY}>; rel="\\next"',
        f'<?{QUERY}>; rel=""; title="none"',
        f"<?n=1>; rel=prev, , <?{QUERY}>; rel",
        f' , <?{QUERY}>; rel="next"',
        f'<?n=1>; title="x>; rel=\\"next\\""; rel=prev,<?{QUERY}>;title;rel=next;',
    ],
)
def test_the_next_page_is_found_however_it_is_said(link: str) -> None:
    assert find_next_query([link]) == QUERY
    assert find_next_query(["", '<?n=1>; rel="first"', link]) == QUERY


@pytest.mark.parametrize(
    "headers", [[], [""], [" , "], ['<?n=1>; rel="first"'], ['<?n=1>; rel="last", <?n=2>; rel=prev']]
)
def test_no_next_page_is_the_last_one(headers: list[str]) -> None:
    assert find_next_query(headers) is None


@pytest.mark.parametrize(
    "link",
    [
        "next",
        '/v2/app/tags/list?n=1; rel="next"',
        '</v2/app/tags/list?n=1; rel="next"',
        '<?n=1> rel="next"',
        '<?n=1>; rel="next',
        '<?n=1>; rel="first" <?n=2>; rel="next"',
        '</v2/app/tags/list>; rel="next"',
        '<>; rel="next"',
        '<?a b>; rel="next"',
        '<?é>; rel="next"',
    ],
)
def test_a_link_that_cannot_be_read_is_an_error_and_not_the_end(link: str) -> None:
    with pytest.raises(ValueError, match=r"[Ll]ink"):
        find_next_query([link])


@given(HOSTILE, st.booleans())
def test_whatever_it_says_only_a_query_comes_of_it(target: str, has_next: bool) -> None:
    try:
        query = find_next_query([f'<{target}>; rel="next"' if has_next else target])
    except ValueError:
        return

    assert query is None or (query.isascii() and query.isprintable() and not set(query) & set(" #<>"))
