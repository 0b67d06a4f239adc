"""How long a Kustomization takes and may take, and how that is told: as Go prints it.

Source: Go, time.Duration.String; Flux, KustomizationSpec.GetTimeout.
"""

from __future__ import annotations

from gitops_core.api import KustomizationSpec
from gitops_core.meta import parse_duration

SHORTEST_TIMEOUT = 30.0


def write_duration(length: float) -> str:
    """Write `length` seconds in Go's notation.

    >>> [write_duration(length) for length in (0, 0.02078433, 1.5, 30, 600, 3661)]
    ['0s', '20.78433ms', '1.5s', '30s', '10m0s', '1h1m1s']
    """
    nanoseconds = round(length * 1e9)
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if 0 < nanoseconds < size * 10**3:
            return f"{_write_decimal(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{_write_decimal(rest, 10**9)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _write_decimal(amount: int, unit: int) -> str:
    whole, part = divmod(amount, unit)
    digits = str(part).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def get_timeout(spec: KustomizationSpec) -> float:
    """Return the seconds that health checks may take: the spec's, else the interval less 30 s; never under 30 s."""
    chosen = parse_duration(spec.timeout) if spec.timeout else parse_duration(spec.interval) - 30.0
    return max(SHORTEST_TIMEOUT, chosen)


def get_retry_interval(spec: KustomizationSpec) -> float:
    return parse_duration(spec.retry_interval or spec.interval)
