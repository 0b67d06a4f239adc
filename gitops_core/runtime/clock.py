"""Real time and real chance: the only module of the runtime that asks the machine for either."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime

# CLOCK_MONOTONIC stands still while a virtual machine sleeps. After waking up, a lease that somebody else took
# meanwhile would still look like ours; the boot-time clock counts the sleep.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """Implements gitops_core.ports.Clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.clock_gettime(_STEADY)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemChance:
    """Implements gitops_core.ports.Chance; for spreading work over time, not for secrets."""

    def random(self) -> float:
        return random.random()  # noqa: S311  jitter
