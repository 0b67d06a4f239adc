"""Pages that are remembered, within a bound."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.adapters.oci.pages import Page, RememberedPages, read_tags

LINK = '</v2/a/tags/list?last=x>; rel="next"'


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3000)), max_size=60))
def test_the_newest_pages_are_kept_within_the_bound(puts: list[tuple[int, int]]) -> None:
    pages = RememberedPages(most=10_000)
    for key, size in puts:
        pages.put(key, Page("e", _body(size), LINK, 1))

    kept = {key: page for key in range(10) if (page := pages.get(key)) is not None}

    assert sum(len(page.body) + 500 for page in kept.values()) <= 10_000
    if puts:
        key, size = puts[-1]
        assert kept[key].body == _body(size)
    newest = {key: _body(size) for key, size in puts}
    assert all(page.body == newest[key] for key, page in kept.items())


def test_a_page_without_etag_or_with_room_for_doubt_is_not_kept() -> None:
    pages = RememberedPages()
    pages.put("no etag", Page("", _tags(3), LINK, 3))
    pages.put("full", Page("e", _tags(100), "", 100))
    pages.put("empty", Page("e", _tags(0), "", 0))
    pages.put("last", Page("e", _tags(33), "", 33))
    pages.put("more", Page("e", _tags(100), LINK, 100))

    assert [key for key in ("no etag", "full", "empty", "last", "more") if pages.get(key)] == ["last", "more"]


@pytest.mark.parametrize("tag", ["", "a\nb", "\x1b[31m", "x" * 129])
def test_a_text_that_cannot_be_a_tag_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="names that are no tags"):
        read_tags(json.dumps({"tags": ["1.0.0", tag]}).encode())


@pytest.mark.parametrize("body", [b"<html>", b'{"tags": ["\xff"]}', b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"])
def test_a_body_that_is_not_a_page_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer is not a list of tags"):
        read_tags(body)


@given(st.lists(st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z"), max_size=20))
def test_every_tag_there_can_be_is_read(tags: list[str]) -> None:
    assert read_tags(json.dumps({"name": "x", "tags": tags}).encode()) == tags


def _body(size: int) -> bytes:
    return b'{"tags":["' + b"x" * (size % 100 + 1) + b'"]}' + b" " * size


def _tags(count: int) -> bytes:
    return json.dumps({"tags": [f"1.{number}" for number in range(count)]}).encode()
