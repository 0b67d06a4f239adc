"""Which of many equal failures are worth a line in the log: the first, then one after 1 min, 2 min, 4 min, ... 1 h."""

from __future__ import annotations

from collections.abc import Hashable

FIRST_PAUSE, LAST_PAUSE = 60.0, 3600.0


class Repetition:
    """What goes wrong with one thing, again and again.

    Attributes:
        times: how often in a row the same was said.
        failures: how often in a row anything was.
    """

    def __init__(self) -> None:
        self.times = self.failures = 0
        self._said: Hashable = None
        self._pause = self._quiet_until = 0.0

    def note(self, said: Hashable, now: float) -> bool:
        """Note a failure, and tell whether it is worth telling."""
        self.failures += 1
        if said != self._said:
            self._said, self.times, self._pause = said, 0, FIRST_PAUSE
        elif now < self._quiet_until:
            self.times += 1
            return False
        else:
            self._pause = min(2 * self._pause, LAST_PAUSE)
        self.times += 1
        self._quiet_until = now + self._pause
        return True

    def end(self) -> int:
        """Note a success, and return how often in a row it had failed."""
        failures, self.times, self.failures, self._said = self.failures, 0, 0, None
        return failures
