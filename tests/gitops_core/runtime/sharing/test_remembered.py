from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gitops_core.runtime.sharing.remembered import Kept, Remembered


def asking(value: str, asked: list[str], seconds: float = 60.0) -> Callable[[], Coroutine[Any, Any, Kept[str]]]:
    async def ask() -> Kept[str]:
        asked.append(value)
        await asyncio.sleep(0.01)
        return Kept(value, seconds)

    return ask


async def test_many_ask_once() -> None:
    remembered, asked = Remembered[str, str](100, len), list[str]()

    answers = await asyncio.gather(*(remembered.get("a", asking("x", asked)) for _ in range(20)))
    later = await remembered.get("a", asking("y", asked))

    assert {*answers, later} == {"x"}
    assert asked == ["x"]


async def test_an_answer_that_is_too_old_is_asked_for_again() -> None:
    remembered, asked = Remembered[str, str](100, len), list[str]()

    await remembered.get("a", asking("x", asked, seconds=0.02))
    await asyncio.sleep(0.03)

    assert await remembered.get("a", asking("y", asked)) == "y"


@pytest.mark.parametrize("seconds", [0.0, -5.0])
async def test_an_answer_for_now_is_not_kept(seconds: float) -> None:
    remembered, asked = Remembered[str, str](100, len), list[str]()

    await remembered.get("a", asking("x", asked, seconds))

    assert await remembered.get("a", asking("y", asked)) == "y"


async def test_the_value_not_asked_for_the_longest_goes_first() -> None:
    remembered, asked = Remembered[str, str](2, len), list[str]()

    for key in ("a", "b", "a", "c", "a", "b"):
        await remembered.get(key, asking(key, asked))

    assert asked == ["a", "b", "c", "b"]


async def test_a_heavy_answer_displaces_as_many_as_it_takes() -> None:
    remembered, asked = Remembered[str, str](10, len), list[str]()

    for key in ("aaa", "bbb", "ccc", "heavy..", "ccc", "aaa"):
        await remembered.get(key, asking(key, asked))

    assert asked == ["aaa", "bbb", "ccc", "heavy..", "aaa"]


async def test_a_failure_is_everybodys_and_then_forgotten() -> None:
    remembered, asked = Remembered[str, str](100, len), list[str]()

    async def fail() -> Kept[str]:
        asked.append("failed")
        await asyncio.sleep(0.01)
        raise OSError("no")

    failures = await asyncio.gather(*(remembered.get("a", fail) for _ in range(5)), return_exceptions=True)

    assert all(isinstance(failure, OSError) for failure in failures)
    assert await remembered.get("a", asking("x", asked)) == "x"
    assert asked == ["failed", "x"]
