"""What a policy would have chosen, and when."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from image_updater.domain.guards.replays import replay
from image_updater.domain.guards.rules import Rules
from image_updater.domain.guards.verdicts import Request
from image_updater.domain.tags.history import TagEvent
from image_updater.domain.tags.listings import Listing
from image_updater.domain.tags.policies import SemVerPolicy, select_latest

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def request(rules: Rules = Rules(), range_: str = ">=1.0.0") -> Request:  # noqa: B008  # an immutable value
    return Request(SemVerPolicy(range_), Listing(()), START, rules=rules)


def event(day: float, tag: str, what: str = "appeared") -> TagEvent:
    return TagEvent(START + day * DAY, tag, what)  # type: ignore[arg-type]  # one of three words


def steps(rules: Rules, *events: TagEvent, days: float = 30) -> list[tuple[float, str]]:
    found = replay(request(rules), events, START + days * DAY)
    return [((step.at - START) / DAY, step.tag) for step in found]


def test_each_new_version_is_chosen_when_it_appears() -> None:
    assert steps(Rules(), event(0, "1.0.0"), event(2, "1.1.0"), event(3, "0.9.0")) == [(0, "1.0.0"), (2, "1.1.0")]


def test_a_tag_that_vanished_is_given_up() -> None:
    played = steps(Rules(), event(0, "1.0.0"), event(1, "1.1.0"), event(2, "1.1.0", "vanished"))

    assert played == [(0, "1.0.0"), (1, "1.1.0"), (2, "1.0.0")]


def test_a_tag_is_chosen_when_it_is_old_enough() -> None:
    aged = Rules(guards=("g",), min_age=86400.0)

    assert steps(aged, event(0, "1.0.0"), event(5, "1.1.0")) == [(0, ""), (1, "1.0.0"), (6, "1.1.0")]


def test_an_event_of_the_future_is_not_played() -> None:
    assert steps(Rules(), event(0, "1.0.0"), event(5, "1.1.0"), days=3) == [(0, "1.0.0")]


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["1.0.0", "1.1.0", "2.0.0", "x"])), max_size=12))
def test_at_the_end_it_is_what_the_policy_chooses_now(happened: list[tuple[int, str]]) -> None:
    events = [event(day, tag) for day, tag in sorted(happened)]
    known = {tag for _, tag in happened}

    played = steps(Rules(), *events)

    versions = known - {"x"}
    assert (played[-1][1] if played else "") == (select_latest(known, SemVerPolicy(">=1.0.0")) if versions else "")
    assert all(one[1] != other[1] for one, other in itertools.pairwise(played))
