"""When to look again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gitops_core.errors import ClusterUnavailable, Postponed, StalledError, TransientError
from gitops_core.meta import Status
from gitops_core.runtime.reconciling import Outcome
from gitops_core.runtime.retry import FIRST_RETRY, LAST_RETRY, choose_delay, compute_backoff

JITTER = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10_000), JITTER)
def test_backoff_stays_within_half_and_whole_of_its_step(failures: int, jitter: float) -> None:
    step = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, 30))

    assert step / 2 <= compute_backoff(failures, jitter) <= step


@given(st.integers(1, 100), JITTER)
def test_backoff_never_shrinks(failures: int, jitter: float) -> None:
    assert compute_backoff(failures, jitter) <= compute_backoff(failures + 1, jitter)


@given(st.floats(0, 1e6), JITTER)
def test_an_interval_is_met_within_five_percent(interval: float, jitter: float) -> None:
    delay = choose_delay(Outcome(Status(), "", interval), 0, jitter)

    assert delay is not None
    assert abs(delay - max(interval, 1.0)) <= interval * 0.05 + 1e-9
    assert delay >= 1.0, "no interval is a loop"


@given(st.floats(0, 1e6), st.integers(1, 100), JITTER)
def test_nobody_comes_back_before_the_peer_said(retry_after: float, failures: int, jitter: float) -> None:
    delay = choose_delay(TransientError("busy", retry_after=retry_after), failures, jitter)

    assert delay is not None
    assert delay >= max(retry_after, 1.0)


@given(st.integers(0, 100), JITTER, JITTER)
def test_those_whose_turn_has_not_come_come_back_soon_and_apart(failures: int, one: float, other: float) -> None:
    first, second = (choose_delay(Postponed("many wait"), failures, jitter) for jitter in (one, other))

    assert first is not None
    assert second is not None
    assert 1.0 <= first <= 3.0
    assert abs(first - second) >= abs(one - other) - 1e-9


def test_a_retry_after_is_kept_with_little_delay() -> None:
    assert choose_delay(TransientError("busy", retry_after=100.0), 1, 0.0) == 100.0
    assert choose_delay(TransientError("busy", retry_after=100.0), 1, 1.0) == 105.0


def test_an_interval_is_drawn_from_five_percent_sooner_to_five_percent_later() -> None:
    drawn = [choose_delay(Outcome(Status(), "", 100.0), 0, jitter) for jitter in (0.0, 0.5, 1.0)]

    assert drawn == [95.0, 100.0, 105.0]


@given(st.integers(1, 10_000), JITTER)
def test_trouble_with_the_own_api_server_is_waited_for_no_longer_than_a_minute(failures: int, jitter: float) -> None:
    delay = choose_delay(ClusterUnavailable("away"), failures, jitter)

    assert delay == min(60.0, 0.75 * 2.0 ** min(failures - 1, 30)) * (1 - jitter / 2)


@given(st.integers(1, 10_000), JITTER, st.floats(0, 1e6))
def test_what_fails_waits_no_longer_than_its_interval(failures: int, jitter: float, interval: float) -> None:
    for failure in (TransientError("refused"), KeyError("x"), ClusterUnavailable("away")):
        delay = choose_delay(failure, failures, jitter, interval)
        unbound = choose_delay(failure, failures, jitter)

        assert delay is not None
        assert unbound is not None
        assert delay <= max(1.0, interval)
        assert delay == unbound or delay >= max(1.0, interval) / 2


def test_what_a_peer_asks_for_is_kept_to_beyond_the_interval() -> None:
    assert choose_delay(TransientError("busy", retry_after=100.0), 1, 0.0, 10.0) == 100.0


def test_a_back_off_is_shortened_by_half_at_most() -> None:
    assert [compute_backoff(1, jitter) for jitter in (0.0, 0.5, 1.0)] == [0.75, 0.5625, 0.375]


def test_a_stalled_object_waits_for_an_edit() -> None:
    assert choose_delay(StalledError("not a range"), 1, 0.5) is None
    assert choose_delay(Outcome(Status(), "", None), 0, 0.5) is None


def test_a_bug_backs_off_as_a_failure_does() -> None:
    assert choose_delay(KeyError("x"), 2, 0.0) == compute_backoff(2, 0.0)
