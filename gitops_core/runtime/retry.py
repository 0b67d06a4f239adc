"""When to look again.

    Outcome          requeue_after, 5 % sooner or later, so that equal intervals drift apart
    TransientError   what the peer asked for, or 0.75 s, 1.5 s, 3 s, ... 15 min, shortened by up to a half; what has an
                     interval waits no longer than that
    StalledError     not at all: an edit wakes
    Postponed        1 to 3 s: those that wait for one thing do not come back together
    a bug            as TransientError

Nothing is looked at sooner than after a second, whatever was asked for: `interval: 0s` is no loop.
Trouble with our own API server is waited for no longer than a minute: when it is back, so are we.
"""

from __future__ import annotations

from gitops_core.errors import ClusterUnavailable, Postponed, StalledError, TransientError
from gitops_core.runtime.reconciling import Outcome

FIRST_RETRY = 0.75
LAST_RETRY = 900.0
LAST_CLUSTER_RETRY = 60.0
INTERVAL_JITTER = 0.05
LEAST = 1.0


def choose_delay(
    result: Outcome | Exception, failures: int, jitter: float, interval: float | None = None
) -> float | None:
    """Return the seconds until the next attempt, or None to wait for a change.

    Args:
        failures: how many attempts failed in a row, this one included.
        jitter: from 0 to 1, drawn by the caller: objects that failed together do not retry together.
        interval: seconds between two looks that the object asks for, None where it asks for none: who fails is looked
            at no less often than who does well.
    """
    last = LAST_RETRY if interval is None else max(LEAST, min(LAST_RETRY, interval))
    match result:
        case Outcome(requeue_after=None) | StalledError():
            return None
        case Outcome(requeue_after=float() | int() as delay):
            return max(LEAST, delay * (1 + INTERVAL_JITTER * (2 * jitter - 1)))
        case Postponed():
            return LEAST + 2 * LEAST * jitter
        case TransientError(retry_after=float() | int() as delay):
            return max(LEAST, delay * (1 + INTERVAL_JITTER * jitter))  # never sooner than the peer said
        case ClusterUnavailable():
            return compute_backoff(failures, jitter, last=min(last, LAST_CLUSTER_RETRY))
        case _:
            return compute_backoff(failures, jitter, last=last)


def compute_backoff(failures: int, jitter: float, *, first: float = FIRST_RETRY, last: float = LAST_RETRY) -> float:
    """Compute the seconds to wait: `first` doubled with every failure up to `last`, shortened by up to a half."""
    doublings = min(max(failures, 1) - 1, 30)  # 2.0 ** 1024 overflows
    return min(last, first * 2.0**doublings) * (1 - jitter / 2)
