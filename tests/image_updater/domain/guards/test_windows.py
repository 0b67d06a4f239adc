"""Laws of update windows and freezes, on the days when clocks change too."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_updater.api import Freeze, UpdateWindow
from image_updater.domain.guards.windows import (
    Closed,
    Open,
    WindowInvalid,
    decide_state,
    find_next_change,
    find_opening,
)

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
NIGHTLY = UpdateWindow(schedule="0 22 * * *", duration="4h", time_zone="Europe/Berlin")

windows = st.builds(
    UpdateWindow,
    schedule=st.sampled_from(
        ["0 22 * * *", "30 2 * * *", "*/20 1-3 * * 1-5", "0 0 1 * *", "15 * * * 0", "0 9 L * *", "0 3 * * 2#1"]
    ),
    duration=st.sampled_from(["1m", "45m", "4h", "25h", "400000h"]),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
CHANGES = ("2026-03-29T01:00", "2026-10-25T01:00", "2026-03-08T07:00", "2026-11-01T06:00")
"""When clocks change, in Europe and America."""
moments = st.one_of(
    st.integers(0, 3 * 366 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes)),
    st.builds(
        lambda change, minutes: datetime.fromisoformat(change + "Z") + timedelta(minutes=minutes),
        st.sampled_from(CHANGES),
        st.integers(-300, 300),
    ),
)


@given(windows, moments)
def test_a_window_that_is_closed_opens_when_it_says(window: UpdateWindow, now: datetime) -> None:
    found = decide_state((window,), (), now)

    if isinstance(found, Closed):
        assert found.until is not None
        assert found.until > now
        assert decide_state((window,), (), found.until) == Open()
        assert isinstance(decide_state((window,), (), found.until - timedelta(seconds=1)), Closed)
        assert find_next_change((window,), (), now) == found.until
    else:
        opened = find_opening(window, now)
        assert opened is not None
        assert opened <= now


@given(st.lists(windows, max_size=3), moments)
def test_the_next_change_is_never_now(some: list[UpdateWindow], now: datetime) -> None:
    """Else who waits for it would look again at once, for ever."""
    openings = [moment for window in some if (moment := find_opening(window, now)) is not None]

    for moment in (now, *openings):
        coming = find_next_change(some, (), moment)
        assert coming is None or coming > moment


def test_a_window_is_open_from_its_first_second_to_before_its_last() -> None:
    begins, ends = datetime(2026, 6, 1, 20, tzinfo=UTC), datetime(2026, 6, 2, 0, tzinfo=UTC)
    second = timedelta(seconds=1)

    found = [decide_state((NIGHTLY,), (), moment) for moment in (begins - second, begins, ends - second, ends)]

    assert [isinstance(each, Open) for each in found] == [False, True, True, False]
    assert find_next_change((NIGHTLY,), (), begins - second) == begins
    assert find_next_change((NIGHTLY,), (), begins) is None
    assert find_next_change((NIGHTLY,), (Freeze(end=ends),), begins) == ends


def test_a_window_in_the_hour_that_comes_twice_is_open_in_the_first_one() -> None:
    """02:30 is at 00:30 and at 01:30 UTC on that day; cron runs a job once."""
    half_past = UpdateWindow(schedule="30 2 * * *", duration="45m", time_zone="Europe/Berlin")
    day = datetime(2026, 10, 25, tzinfo=UTC)
    minutes = (29, 30, 74, 75, 90, 115)

    found = [isinstance(decide_state((half_past,), (), day + timedelta(minutes=m)), Open) for m in minutes]

    assert found == [False, True, True, False, False, False]
    assert find_opening(half_past, day + timedelta(minutes=115)) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@given(windows, moments, st.integers(0, 3000))
def test_looking_later_never_finds_an_earlier_opening(window: UpdateWindow, now: datetime, minutes: int) -> None:
    first, later = find_opening(window, now), find_opening(window, now + timedelta(minutes=minutes))

    assert first is not None
    assert later is not None
    assert first <= later


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-03-28T20:59:59+00:00", False),  # 21:59:59 in winter
        ("2026-03-28T21:00:00+00:00", True),
        ("2026-03-29T00:59:59+00:00", True),  # four hours pass although the clock shows five: 03:59 in summer
        ("2026-03-29T01:00:00+00:00", False),
        ("2026-03-29T20:00:00+00:00", True),  # 22:00 in summer
        ("2026-10-24T20:00:00+00:00", True),
        ("2026-10-24T23:59:59+00:00", True),
        ("2026-10-25T00:00:00+00:00", False),
        ("2026-10-25T21:00:00+00:00", True),
    ],
)
def test_a_nightly_window_follows_the_clocks_of_its_zone(moment: str, is_open: bool) -> None:
    found = decide_state((NIGHTLY,), (), datetime.fromisoformat(moment))

    assert (found == Open()) == is_open


def test_a_window_in_the_skipped_hour_opens_after_it_and_one_in_the_repeated_hour_once() -> None:
    window = UpdateWindow(schedule="30 2 * * *", duration="10m", time_zone="Europe/Berlin")

    assert find_opening(window, datetime(2026, 3, 29, 0, 30, tzinfo=UTC)) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert find_opening(window, datetime(2026, 10, 25, 0, 0, tzinfo=UTC)) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert find_opening(window, datetime(2026, 10, 25, 1, 0, tzinfo=UTC)) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_any_open_window_is_enough_and_any_freeze_too_much() -> None:
    noon = UpdateWindow(schedule="0 12 * * *", duration="1h")
    holidays = Freeze(start=NOW - timedelta(days=1), end=NOW + timedelta(days=1), reason="holidays")
    past = Freeze(end=NOW)

    assert decide_state((NIGHTLY, noon), (past,), NOW) == Open()
    assert decide_state((), (), NOW) == Open()
    assert decide_state((noon,), (holidays,), NOW) == Closed("updates are frozen (holidays)", holidays.end)
    assert decide_state((noon,), (holidays, Freeze()), NOW) == Closed("updates are frozen", None)
    assert find_next_change((noon,), (holidays,), NOW) == holidays.end


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (UpdateWindow(schedule="0 22 * *", duration="1h"), "'0 22 * *' is not a cron expression of five fields"),
        (UpdateWindow(schedule="0 0 22 * * *", duration="1h"), "is not a cron expression of five fields"),
        (UpdateWindow(schedule="61 * * * *", duration="1h"), "'61 * * * *' is not a cron expression of five fields"),
        (UpdateWindow(schedule="0 0 31 2 *", duration="1h"), "'0 0 31 2 *' is not a cron expression of five fields"),
        (UpdateWindow(schedule="0 0 * * *", duration="1h", time_zone="Mars/Base"), "there is no time zone 'Mars/Base'"),
        (UpdateWindow(schedule="0 0 * * *", duration="1h", time_zone="../etc/passwd"), "there is no time zone"),
        (UpdateWindow(schedule="0 0 * * *", duration="0s"), "a window of 0s is never open"),
        (UpdateWindow(schedule="0 0 * * *", duration="soon"), "not a duration: 'soon'"),
    ],
)
def test_a_window_that_cannot_be_read_says_what_is_wrong(window: UpdateWindow, message: str) -> None:
    with pytest.raises(WindowInvalid) as caught:
        decide_state((window,), (), NOW)

    assert message in str(caught.value)


@given(st.text(alphabet="0123456789*/,-#LW MON", max_size=24), st.text(max_size=8))
def test_any_schedule_is_read_or_refused(schedule: str, zone: str) -> None:
    for window in (
        UpdateWindow(schedule=schedule, duration="1h"),
        UpdateWindow(schedule="0 0 * * *", duration="1h", time_zone=zone),
    ):
        with suppress(WindowInvalid):
            find_opening(window, NOW)


def test_a_closed_window_says_that_it_is_closed_and_when_it_opens() -> None:
    opens = datetime(2026, 3, 10, 21, tzinfo=UTC)

    assert decide_state((NIGHTLY,), (), NOW) == Closed("no update window is open", opens)


def test_a_freeze_is_on_from_the_moment_it_begins() -> None:
    assert isinstance(decide_state((), (Freeze(start=NOW),), NOW), Closed)
    assert decide_state((), (Freeze(start=NOW + timedelta(seconds=1)),), NOW) == Open()
