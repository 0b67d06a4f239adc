"""When an ExternalSecret reads from its provider again.

    policy        never synced   its spec, labels or annotations changed   otherwise
    CreatedOnce   yes            no                                        no
    OnChange      yes            yes                                       no
    Periodic      yes            yes, unless the interval is 0             when the interval is about over

A Secret that is not what the last refresh wrote is read for again whatever the policy says.
Source: External Secrets, pkg/controllers/externalsecret.
"""

from __future__ import annotations

from datetime import datetime

from gitops_core.meta import seconds
from secrets_sync.api import ExternalSecret
from secrets_sync.domain.hashing import synced_version

EARLY = 0.1
"""The share of the interval by which a look may come early: the runtime spreads looks by less than that."""


def is_due(wanted: ExternalSecret, now: datetime) -> bool:
    """Whether to read from the provider although the Secret is as it should be."""
    status = wanted.status
    if not status.synced_resource_version or status.refresh_time is None:
        return True
    changed = status.synced_resource_version != synced_version(wanted.metadata)
    match wanted.spec.refresh_policy:
        case "CreatedOnce":
            return False
        case "OnChange":
            return changed
    interval = interval_of(wanted)
    if interval <= 0:
        return False
    elapsed = (now - status.refresh_time).total_seconds()
    return changed or elapsed < 0 or elapsed >= interval * (1 - EARLY)


def next_look(wanted: ExternalSecret, refreshed: datetime | None, now: datetime) -> float | None:
    """Seconds until the next refresh, at least one; None when only a change brings it about."""
    interval = interval_of(wanted)
    if wanted.spec.refresh_policy != "Periodic" or interval <= 0:
        return None
    if refreshed is None:
        return interval
    return max(1.0, interval - (now - refreshed).total_seconds())


def interval_of(wanted: ExternalSecret) -> float:
    """The refresh interval in seconds; 0 and less mean never again. Raises ValueError: not a duration."""
    return seconds(wanted.spec.refresh_interval)
