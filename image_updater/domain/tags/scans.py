"""When to list a repository's tags, and what to remember of the list.

Source: fluxcd/image-reflector-controller, internal/controller/imagerepository_controller.go and internal/database.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from gitops_core.meta import parse_duration
from image_updater.api import ImageRepository

REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
LATEST = 10


FRESH = 10.0


class Scan(NamedTuple):
    """List the tags now, and why.

    Attributes:
        patience: a listing that was made with the same credentials at most so many seconds ago will do: then many who
            want one image's tags ask for them once a cycle. 0 where somebody waits for what is there now.
        since: when somebody asked for what is there: a listing that began before will not do, as it may lack that. None
            where nobody asked.
    """

    reason: str
    patience: float = 0.0
    since: datetime | None = None


LOST = Scan("no tags in database")
"""The catalog does not know the repository any more, or as it was before another process led."""


SHARE = 0.9
"""Of an interval: who takes a listing of that age has its next look when that listing is an interval old, so those who
began apart come together."""


class Wait(NamedTuple):
    """Seconds until the tags are to be listed again."""

    seconds: float


def plan_scan(wanted: ImageRepository, canonical: str, now: datetime) -> Scan | Wait:
    """Decide whether to list the tags now, as far as the object itself tells: the catalog may have been lost.

    Args:
        canonical: the repository's canonical name, as spec.image names it now.
    """
    status, interval = wanted.status, parse_duration(wanted.spec.interval)
    last = status.last_scan_result
    if last is None or last.scan_time is None:
        return Scan("first scan", min(FRESH, SHARE * interval))
    requested = wanted.metadata.annotations.get(REQUESTED_AT, "")
    if requested and requested != status.last_handled_reconcile_at:
        return Scan("reconcile requested", since=_read_requested_at(requested, now))
    if canonical != status.canonical_image_name:
        return Scan("new image name")
    if sorted(wanted.spec.exclusion_list) != sorted(status.observed_exclusion_list):
        return Scan("updated exclusion list")
    remaining = interval - (now - last.scan_time).total_seconds()
    # a clock that was set back must not make us wait for more than an interval
    return Scan("triggered by interval", SHARE * interval) if remaining < 1 else Wait(min(remaining, interval))


def _read_requested_at(requested: str, now: datetime) -> datetime:
    """Return when a scan was requested, as the annotation says: webhooks and `flux reconcile` write the time."""
    try:
        moment = datetime.fromisoformat(requested)
    except ValueError:
        return now
    return now if moment.tzinfo is None else min(moment, now)


def is_shared(plan: Scan, listed_at: datetime | None, now: datetime) -> bool:
    """Tell whether the listing of `listed_at`, made with the same credentials, is as good as one of now."""
    return listed_at is not None and 0 <= (now - listed_at).total_seconds() < plan.patience


def is_outdated(listed: datetime | None, wanted: ImageRepository) -> bool:
    """Tell whether the catalog lacks a listing that the status reports: another process has led and listed since."""
    last = wanted.status.last_scan_result
    if last is None or last.scan_time is None:
        return False
    return listed is None or listed < last.scan_time


def compute_checksum(tags: Sequence[str]) -> str:
    """Return status.lastScanResult.revision of a list in descending order.

    >>> compute_checksum(["1.1.0", "1.0.0"]), compute_checksum([])
    ('495453000', '18153657')
    """
    encoded = json.dumps(list(tags), ensure_ascii=False, separators=(",", ":"))
    return str(zlib.adler32(encoded.encode()))
