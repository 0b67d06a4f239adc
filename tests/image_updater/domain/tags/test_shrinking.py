"""Lists that lost too many tags at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from image_updater.domain.tags.history import TagEvent
from image_updater.domain.tags.shrinking import BELIEVE, LASTING, explain_disbelief

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TAGS = [f"1.{number}.0" for number in range(10)]


def history(vanished: int, before: timedelta) -> list[TagEvent]:
    """Ten tags long ago, some of which vanished together."""
    appeared = [TagEvent(NOW - timedelta(days=90), tag, "appeared") for tag in TAGS]
    return [*appeared, *(TagEvent(NOW - before, tag, "vanished") for tag in TAGS[:vanished])]


@given(st.integers(0, 10), st.integers(0, 100))
def test_a_list_is_believed_as_long_as_it_lost_no_more_than_the_share(vanished: int, share: int) -> None:
    cause = explain_disbelief(TAGS[vanished:], history(vanished, timedelta(hours=1)), share, {}, NOW)

    assert bool(cause) == (vanished * 100 > 10 * share)


def test_tags_gone_for_a_week_count_as_cleaned_up() -> None:
    gone = history(9, LASTING)

    assert explain_disbelief(TAGS[9:], gone, 20, {}, NOW) == ""
    assert explain_disbelief(TAGS[9:], gone, 20, {}, NOW - timedelta(hours=1)) != ""


def test_a_person_says_how_many_tags_are_right() -> None:
    gone = history(9, timedelta(hours=1))

    assert explain_disbelief(TAGS[9:], gone, 20, {BELIEVE: "1"}, NOW) == ""
    assert explain_disbelief(TAGS[9:], gone, 20, {BELIEVE: "2"}, NOW) != ""
    assert explain_disbelief(TAGS[9:], gone, 20, {BELIEVE: "many"}, NOW) != ""


def test_tags_that_came_back_are_not_missed() -> None:
    back = [*history(9, timedelta(hours=2)), *(TagEvent(NOW, tag, "appeared") for tag in TAGS[:9])]

    assert explain_disbelief(TAGS, back, 0, {}, NOW) == ""
