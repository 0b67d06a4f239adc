"""The watchdog: how long the event loop kept everything else waiting.

    sleep BEAT ─► late by 0.3 s ─► sealoop_loop_pause_seconds 0.3, and a warning from WORTH_TELLING on

A machine that is too busy makes it late as well: what matters to the lease is that it is late, not why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gitops_core.runtime.metrics import Metrics

log = logging.getLogger(__name__)

BEAT = 0.1
REMEMBERED = 60.0
"""Seconds after which a new longest pause is looked for; the one before is shown beside it for as long."""
WORTH_TELLING = 1.0


class LongestPause:
    """The longest of the pauses that were noted lately."""

    def __init__(self) -> None:
        self._since, self._now, self._before = 0.0, 0.0, 0.0

    def note(self, pause: float, moment: float) -> float:
        """Note a pause, and return the longest of the last REMEMBERED seconds and at most as many before."""
        if moment - self._since >= REMEMBERED:
            self._before = self._now if moment - self._since < 2 * REMEMBERED else 0.0
            self._now, self._since = 0.0, moment
        self._now = max(self._now, pause)
        return max(self._now, self._before)


async def watch_loop(metrics: Metrics, tell: Callable[..., None] = log.warning) -> None:
    """Measure until cancelled."""
    loop, longest = asyncio.get_running_loop(), LongestPause()
    while True:
        due = loop.time() + BEAT
        await asyncio.sleep(BEAT)
        moment = loop.time()
        pause = max(0.0, moment - due)
        metrics.loop_pause.set(longest.note(pause, moment))
        if pause >= WORTH_TELLING:
            tell("the event loop was kept waiting", extra={"seconds": round(pause, 3)})
