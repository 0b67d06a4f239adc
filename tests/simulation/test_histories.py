"""Two hundred simulated histories; `make simulate SEEDS=n` plays more."""

from __future__ import annotations

import pytest

from tests.simulation.history import play

GROUPS, EACH = 20, 10


@pytest.mark.parametrize("group", range(GROUPS))
def test_every_history_keeps_its_promises(group: int) -> None:
    reports = [play(seed) for seed in range(group * EACH, (group + 1) * EACH)]

    assert sum(report.bumps for report in reports) > 0
    assert sum(report.lives for report in reports) > EACH  # somebody died on the way


@pytest.mark.parametrize("seed", [319, 422, 652, 980, 1508, 1771, 1877])
def test_a_history_that_once_broke_a_promise_keeps_it(seed: int) -> None:
    play(seed)


def test_a_seed_plays_the_same_history_again() -> None:
    first, second = play(4711), play(4711)

    assert first == second
