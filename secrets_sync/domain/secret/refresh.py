"""When an ExternalSecret reads from its provider again.

    policy        never synced   its spec, labels or annotations changed   otherwise
    CreatedOnce   yes            no                                        no
    OnChange      yes            yes                                       no
    Periodic      yes            yes, unless the interval is 0             when the interval is about over

Whatever the policy says, a Secret that is not what the last refresh wrote is read for again, and so is one for which
somebody asks: a value of the annotation `force-sync` that no refresh has seen yet. Which one the last refresh saw
stands behind the version in the status, where the original does not look at more than that there is one:

    3-<hash>                     policies that every edit refreshes: the hash is of all annotations
    3-<hash>/<hash of request>   CreatedOnce, and Periodic with interval 0

Source: External Secrets, pkg/controllers/externalsecret.
"""

from __future__ import annotations

from datetime import datetime

from gitops_core.meta import parse_duration
from secrets_sync.api import ExternalSecret
from secrets_sync.domain.secret.hashing import hash_request, write_synced_version
from secrets_sync.domain.secret.live import LiveSecret

EARLY = 0.1
"""The share of the interval by which a look may come early: the runtime spreads looks by less than that."""


def is_due(wanted: ExternalSecret, now: datetime) -> bool:
    """Tell whether to read from the provider although the Secret is as it should be."""
    status = wanted.status
    if not status.synced_resource_version or status.refresh_time is None:
        return True
    changed = is_edited(wanted)
    match wanted.spec.refresh_policy:
        case "CreatedOnce":
            return _is_asked_for(wanted)
        case "OnChange":
            return changed
    interval = parse_interval(wanted)
    if interval <= 0:
        return _is_asked_for(wanted)
    elapsed = (now - status.refresh_time).total_seconds()
    return changed or elapsed < 0 or elapsed >= interval * (1 - EARLY)


def is_edited(wanted: ExternalSecret) -> bool:
    """Return whether `wanted` is not what the last refresh was of, or there was none."""
    return wanted.status.synced_resource_version != write_version(wanted)


def is_in_order(wanted: ExternalSecret, live: LiveSecret | None) -> bool:
    """Return whether the Secret is what the last refresh left, or one that we would not make or mend."""
    policy = wanted.spec.target.creation_policy
    if policy in ("Orphan", "None") or (policy == "Merge" and live is None):
        return True
    return live is not None and live.is_as_written


def write_version(wanted: ExternalSecret) -> str:
    """Write what the status says of a refresh: of which generation, metadata and request it was."""
    plain, asked = write_synced_version(wanted.metadata), hash_request(wanted.metadata)
    return f"{plain}/{asked}" if asked and not _is_refreshed_by_edits(wanted) else plain


def _is_asked_for(wanted: ExternalSecret) -> bool:
    """Tell whether there is a request that the last refresh did not see."""
    asked, recorded = hash_request(wanted.metadata), wanted.status.synced_resource_version
    unchanged = recorded == write_synced_version(wanted.metadata)  # by the original, which ignores requests here
    return bool(asked) and asked != recorded.partition("/")[2] and not unchanged


def _is_refreshed_by_edits(wanted: ExternalSecret) -> bool:
    policy = wanted.spec.refresh_policy
    return policy == "OnChange" or (policy == "Periodic" and parse_interval(wanted) > 0)


def find_next_look(wanted: ExternalSecret, refreshed: datetime | None, now: datetime) -> float | None:
    """Find the seconds until the next refresh, at least one; None when only a change brings it about."""
    interval = find_interval(wanted)
    if interval is None:
        return None
    if refreshed is None:
        return interval
    return max(1.0, interval - (now - refreshed).total_seconds())


def find_interval(wanted: ExternalSecret) -> float | None:
    """Find the seconds between two refreshes; None where it is refreshed by changes alone."""
    try:
        interval = parse_interval(wanted)
    except ValueError:
        return None
    return interval if wanted.spec.refresh_policy == "Periodic" and interval > 0 else None


def parse_interval(wanted: ExternalSecret) -> float:
    """Parse the refresh interval into seconds; 0 and less mean never again. Raises ValueError: not a duration."""
    return parse_duration(wanted.spec.refresh_interval)
