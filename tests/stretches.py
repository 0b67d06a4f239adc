"""How long the event loop's own thread computes at a stretch.

What counts is the CPU time of the thread in one callback of the loop, so a busy machine fails nothing.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

LONGEST = 0.1


class Stretches:
    """The longest CPU time that the loop's thread spent in one callback, and in which; and the longest that passed."""

    def __init__(self) -> None:
        self.longest, self.where = 0.0, ""
        self.passed = 0.0
        self._elsewhere = 0.0

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """What is computed in the block is another process's where the cluster is a real one."""
        began = time.thread_time()
        try:
            yield
        finally:
            self._elsewhere += time.thread_time() - began

    @contextmanager
    def measured(self) -> Iterator[None]:
        plain: Callable[[asyncio.Handle], None] = asyncio.Handle._run

        def timed(handle: asyncio.Handle) -> None:
            self._elsewhere, began, moment = 0.0, time.thread_time(), time.monotonic()
            plain(handle)
            took = time.thread_time() - began - self._elsewhere
            self.passed = max(self.passed, time.monotonic() - moment)
            if took > self.longest:
                self.longest, self.where = took, repr(handle)

        gc.collect()
        gc.freeze()  # for good: what the tests are made of is none of the service's, nor worth another look later
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.Handle, "_run", timed)
            yield
