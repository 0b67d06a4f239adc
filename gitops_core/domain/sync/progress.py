"""How a Kustomization tells its progress: durations as Go prints them, time-outs, the history of attempts.

Source: Flux, pkg/apis/meta/history.go; Go, time.Duration.String.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from gitops_core.api import KustomizationSpec, KustomizationStatus, Snapshot
from gitops_core.meta import seconds

HISTORY = 5
SHORTEST_TIMEOUT = 30.0


def go_duration(length: float) -> str:
    """`length` seconds in Go's notation.

    >>> [go_duration(length) for length in (0, 0.02078433, 1.5, 30, 600, 3661)]
    ['0s', '20.78433ms', '1.5s', '30s', '10m0s', '1h1m1s']
    """
    nanoseconds = round(length * 1e9)
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if 0 < nanoseconds < size * 10**3:
            return f"{_trimmed(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{_trimmed(rest, 10**9)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _trimmed(amount: int, unit: int) -> str:
    whole, part = divmod(amount, unit)
    digits = str(part).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def timeout_of(spec: KustomizationSpec) -> float:
    """Seconds that health checks may take: the spec's, else the interval less 30 s; never under 30 s."""
    chosen = seconds(spec.timeout) if spec.timeout else seconds(spec.interval) - 30.0
    return max(SHORTEST_TIMEOUT, chosen)


def retry_interval_of(spec: KustomizationSpec) -> float:
    return seconds(spec.retry_interval or spec.interval)


def applied_revisions(status: KustomizationStatus) -> frozenset[str]:
    """Every revision whose objects were applied, and the others pruned, as far back as the status tells."""
    told = (s for s in status.history if s.last_reconciled_status in ("ReconciliationSucceeded", "HealthCheckFailed"))
    return frozenset({status.last_applied_revision, *(s.metadata.get("revision", "") for s in told)} - {""})


def with_attempt(
    history: Sequence[Snapshot], digest: str, outcome: str, *, revision: str, now: datetime, took: float
) -> tuple[Snapshot, ...]:
    """`history` with one more attempt on top: counted with the earlier ones of the same objects and outcome."""
    now = now.replace(microsecond=0)
    same = next((s for s in history if (s.digest, s.last_reconciled_status) == (digest, outcome)), None)
    fresh = Snapshot(
        digest=digest,
        first_reconciled=now,
        last_reconciled=now,
        last_reconciled_duration=go_duration(took),
        last_reconciled_status=outcome,
        total_reconciliations=1,
        metadata={"revision": revision},
    )
    if same is not None:
        count, first = same.total_reconciliations + 1, same.first_reconciled
        fresh = msgspec.structs.replace(fresh, total_reconciliations=count, first_reconciled=first)
    return (fresh, *(s for s in history if s is not same))[:HISTORY]
