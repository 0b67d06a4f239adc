"""What is kept is what was used last, and never weighs more than it may."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gitops_core.recent import Recent


def test_the_least_recently_used_goes_first() -> None:
    recent: Recent[str, str] = Recent(10)
    recent.put("a", "A", 4)
    recent.put("b", "B", 4)
    recent.get("a")

    recent.put("c", "C", 4)

    assert [recent.get(key) for key in "abc"] == ["A", None, "C"]
    assert recent.weight == 8


def test_a_heavy_value_displaces_as_many_as_it_takes() -> None:
    recent: Recent[int, str] = Recent(10)
    for key in range(5):
        recent.put(key, "x", 2)

    recent.put(9, "heavy", 7)

    assert [key for key in range(10) if recent.get(key)] == [4, 9]


def test_a_value_heavier_than_the_capacity_displaces_nothing() -> None:
    recent: Recent[str, str] = Recent(10)
    recent.put("a", "A", 10)

    recent.put("b", "B", 11)

    assert (recent.get("a"), recent.get("b")) == ("A", None)


def test_a_value_that_became_too_heavy_does_not_leave_its_former_one() -> None:
    recent: Recent[str, str] = Recent(10)
    recent.put("a", "old", 1)

    recent.put("a", "new", 11)

    assert recent.get("a") is None
    assert recent.weight == 0


def test_a_value_that_weighs_nothing_stays() -> None:
    recent: Recent[str, str] = Recent(0)

    recent.put("a", "A", 0)

    assert recent.get("a") == "A"


def test_threads_that_share_it_neither_fail_nor_lose_count() -> None:
    recent: Recent[int, str] = Recent(10)
    before = sys.getswitchinterval()

    def use(seed: int) -> None:
        chance = Random(seed)
        for _ in range(20_000):
            recent.put(chance.randrange(12), "x", chance.randrange(1, 4))
            recent.get(chance.randrange(12))
            recent.drop(chance.randrange(12))

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(use, range(4)))
    finally:
        sys.setswitchinterval(before)

    for key in range(12):
        recent.drop(key)
    assert recent.weight == len(recent) == 0


KEYS = st.integers(0, 5)
STEPS = st.lists(st.tuples(st.sampled_from(["get", "put", "drop"]), KEYS, st.integers(0, 12)))


@given(STEPS)
def test_the_last_used_values_that_fit_are_kept_and_their_weights_add_up(steps: list[tuple[str, int, int]]) -> None:
    recent: Recent[int, int] = Recent(10)
    used: list[tuple[int, int]] = []  # key and weight, the last used one last

    for verb, key, weight in steps:
        known = dict(used)
        if verb == "get":
            assert recent.get(key) == known.get(key)
        elif verb == "put":
            recent.put(key, weight, weight)
        else:
            recent.drop(key)
        used = [entry for entry in used if entry[0] != key]
        if verb == "get" and key in known:
            used.append((key, known[key]))
        if verb == "put" and weight <= 10:
            used.append((key, weight))
        while sum(weight for _, weight in used) > 10:
            used.pop(0)
        assert recent.list_items() == tuple(used)

    assert recent.weight == sum(weight for _, weight in used)
    assert len(recent) == len(used)
    assert [recent.get(key) for key, _ in used] == [weight for _, weight in used]
