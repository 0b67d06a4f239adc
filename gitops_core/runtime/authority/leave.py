"""Whose leave a write needs, asked for twice: when it is decided on, and right before its first byte leaves.

    reconciler ── fenced handle: check ── queue · credentials · connection ── adapter: check_again ── bytes

What lies between the two may take minutes, and the process may be deposed meanwhile. The fence travels with the running
task, so no adapter is told who leads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Fence(Protocol):
    def check(self) -> None:
        """Raise NotLeader unless this process certainly leads right now."""
        ...


class Open:
    """The fence of a process that has no rivals."""

    def check(self) -> None:
        return


FENCE: ContextVar[Fence] = ContextVar("FENCE", default=Open())  # noqa: B039  it holds nothing
"""The fence that the running task's writes have to pass."""


@contextmanager
def behind(fence: Fence) -> Iterator[None]:
    """Put what the block writes under the leave of `fence`, which is asked at once, too. Raises NotLeader."""
    fence.check()
    token = FENCE.set(fence)
    try:
        yield
    finally:
        FENCE.reset(token)


def check_again() -> None:
    """Check the leave again: for an adapter with nothing left to wait for before a write. Raises NotLeader."""
    FENCE.get().check()
