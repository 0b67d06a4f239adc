"""Two hundred simulated histories; `make simulate SEEDS=n` plays more."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import Failed, tell
from tests.simulation.history import Report, play

GROUPS, EACH = 20, 10


@pytest.mark.parametrize("group", range(GROUPS))
def test_every_history_keeps_its_promises(group: int) -> None:
    reports = [play(seed) for seed in range(group * EACH, (group + 1) * EACH)]

    assert sum(report.bumps for report in reports) > 0
    assert sum(report.lives for report in reports) > EACH  # somebody died on the way


KEPT = {
    "": (319, 422, 652, 980, 1508, 1771, 1877),
    "mischief digests queues drill": (30070,),
    "mischief digests queues drill kept": (70152, 200525, 300040, 300554),
    "mischief digests queues drill kept watches": (500059, 700976, 710056, 710730, 730916),
}
"""Seeds, by the faults that there were when they broke a promise."""


@pytest.mark.parametrize(("seed", "faults"), [(seed, faults) for faults, seeds in KEPT.items() for seed in seeds])
def test_a_history_that_once_broke_a_promise_keeps_it(seed: int, faults: str) -> None:
    play(seed, frozenset(faults.split()))


def test_a_seed_plays_the_same_history_again() -> None:
    first, second = play(4711), play(4711)

    assert first == second


def test_a_run_goes_on_after_a_seed_that_fails_and_lists_all_that_did(capsys: pytest.CaptureFixture[str]) -> None:
    code = tell([Failed(9, "Broken: late\nmore", "trace 9"), Report(1, lives=2), Failed(3, "Idle: x", "trace 3")])

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert lines[0] == "trace 9"
    assert lines[-4:] == [
        "1 histories held: 2 lives, 0 bumps, 0 deeds",
        "2 failed:",
        "make simulate SEED=3    Idle: x",
        "make simulate SEED=9    Broken: late",
    ]


def test_a_run_in_which_all_held_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell([Report(1, lives=2, bumps=3)]) == 0
    assert capsys.readouterr().out == "1 histories held: 2 lives, 3 bumps, 0 deeds\n"
