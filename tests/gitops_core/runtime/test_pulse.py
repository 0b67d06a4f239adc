"""The watchdog of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from prometheus_client import CollectorRegistry

from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.pulse import REMEMBERED, LongestPause, watch_loop


async def test_a_loop_that_was_blocked_shows_in_the_metric_and_is_told() -> None:
    registry = CollectorRegistry()
    told: list[Any] = []
    task = asyncio.create_task(watch_loop(Metrics(registry), lambda *args, **about: told.append(about["extra"])))
    await asyncio.sleep(0)

    time.sleep(1.3)  # noqa: ASYNC251  # what must never happen
    await asyncio.sleep(0.15)

    assert (registry.get_sample_value("sealoop_loop_pause_seconds") or 0.0) >= 1.0
    assert told[0]["seconds"] >= 1.0
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_a_long_pause_is_shown_for_one_to_two_minutes_and_then_forgotten() -> None:
    longest = LongestPause()

    assert longest.note(3.0, 1.0) == 3.0
    assert longest.note(0.1, 1.0 + REMEMBERED - 2) == 3.0
    assert longest.note(0.2, 1.0 + REMEMBERED) == 3.0
    assert longest.note(0.1, 1.0 + 2 * REMEMBERED - 2) == 3.0
    assert longest.note(0.1, 1.0 + 2 * REMEMBERED + 1) == 0.2
    assert longest.note(0.1, 10_000.0) == 0.1
