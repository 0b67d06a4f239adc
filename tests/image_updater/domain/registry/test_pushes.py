from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from image_updater.domain.registry.pushes import MOST, PUSHED, Push, add_pushes, read_pushes, select_since

NOW = datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"
PUSHES = st.builds(
    Push,
    st.integers(0, 10**6).map(lambda n: NOW + timedelta(microseconds=n)),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}", fullmatch=True),
    st.sampled_from(["", DIGEST]),
)


@given(st.lists(PUSHES, max_size=40, unique_by=lambda push: push.tag))
def test_the_newest_pushes_are_read_as_they_were_written(pushes: list[Push]) -> None:
    assert read_pushes(add_pushes("", pushes)) == tuple(sorted(pushes)[-MOST:])


def test_a_tag_pushed_twice_is_told_once() -> None:
    first, second = Push(NOW, "latest", DIGEST), Push(NOW + timedelta(seconds=1), "latest")

    assert read_pushes(add_pushes(add_pushes("", [first]), [second])) == (second,)


def test_a_push_before_a_later_listing_does_not_count() -> None:
    annotations = {PUSHED: add_pushes("", [Push(NOW, "1.0"), Push(NOW + timedelta(seconds=9), "1.1")])}

    assert [push.tag for push in select_since(annotations, NOW + timedelta(seconds=5))] == ["1.1"]
    assert select_since({}, NOW) == ()


@given(st.text(max_size=60))
def test_any_annotation_is_read(text: str) -> None:
    for push in read_pushes(f"{text} {Push(NOW, '1.0')}"):
        assert push.tag
