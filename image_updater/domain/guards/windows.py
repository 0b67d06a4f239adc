"""When bumps may be committed: windows that come again, and freezes.

    schedule: "0 22 * * 1-5"   timeZone: Europe/Berlin   duration: 4h      open from 22:00 until four hours later

A window's length is time that passes, whatever the clocks do meanwhile. Schedules are Debian cron's: an hour that the
clocks skip fires right after it, one that they repeat fires once, unless hour or minute is `*`.

Source: https://github.com/cuu508/cronsim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from gitops_core.meta import parse_duration
from image_updater.api import Freeze, UpdateWindow

LONGEST = timedelta(days=366)
"""No window is longer: who wants more wants no window."""


@dataclass(frozen=True)
class Open:
    """A bump may be made."""


@dataclass(frozen=True)
class Closed:
    """A bump may not be made; `until` is None when no end is known."""

    cause: str
    until: datetime | None = None


class WindowInvalid(ValueError):
    """A schedule, a time zone or a duration that cannot be read; the message says which."""


def decide_state(windows: Sequence[UpdateWindow], freezes: Iterable[Freeze], now: datetime) -> Open | Closed:
    """Decide whether a bump may be made: no freeze is on, and a window is open if there are any.

    Raises:
        WindowInvalid.
    """
    frozen = [_close_by(freeze) for freeze in freezes if is_on(freeze, now)]
    if frozen:
        return max(frozen, key=lambda closed: closed.until or datetime.max.replace(tzinfo=UTC))
    opens = [find_opening(window, now) for window in windows]
    if not windows or any(moment is not None and moment <= now for moment in opens):
        return Open()
    coming = min((moment for moment in opens if moment is not None), default=None)
    return Closed("no update window is open" if coming is not None else "no update window ever opens", coming)


def find_opening(window: UpdateWindow, now: datetime) -> datetime | None:
    """Return when the window that is open now or comes next opens; at most `now` when it is open; None for never.

    >>> nightly = UpdateWindow(schedule="0 22 * * *", duration="4h", time_zone="Europe/Berlin")
    >>> find_opening(nightly, datetime(2026, 6, 1, 21, 0, tzinfo=UTC)).isoformat()
    '2026-06-01T20:00:00+00:00'

    Raises:
        WindowInvalid.
    """
    zone, length = _load_zone(window.time_zone), _parse_length(window.duration)
    start = now.astimezone(UTC) - length
    try:
        for fire in CronSim(_check_five_fields(window.schedule), start.astimezone(zone)):
            moment = fire.astimezone(UTC)
            if moment > start:  # of an hour that comes twice, cronsim begins with the first
                return moment
    except (CronSimError, AssertionError, TypeError, ValueError, OverflowError):
        raise WindowInvalid(f"{window.schedule!r} is not a cron expression of five fields") from None
    return None


def is_on(freeze: Freeze, now: datetime) -> bool:
    return (freeze.start is None or freeze.start <= now) and (freeze.end is None or now < freeze.end)


def find_next_change(windows: Iterable[UpdateWindow], freezes: Iterable[Freeze], now: datetime) -> datetime | None:
    """Return the next moment after `now` at which something that is closed now may open. Raises WindowInvalid."""
    moments = [freeze.end for freeze in freezes if is_on(freeze, now)]
    moments += [find_opening(window, now) for window in windows]
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def _close_by(freeze: Freeze) -> Closed:
    return Closed("updates are frozen" + (f" ({freeze.reason})" if freeze.reason else ""), freeze.end)


@lru_cache(maxsize=256)
def _load_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise WindowInvalid(f"there is no time zone {name!r}") from None


def _parse_length(duration: str) -> timedelta:
    try:
        length = parse_duration(duration)
    except ValueError as error:
        raise WindowInvalid(str(error)) from None
    if length <= 0:
        raise WindowInvalid(f"a window of {duration} is never open")
    return min(LONGEST, timedelta(seconds=min(length, LONGEST.total_seconds())))


def _check_five_fields(schedule: str) -> str:
    if len(schedule.split()) != 5:  # cronsim also takes six, with seconds
        raise WindowInvalid(f"{schedule!r} is not a cron expression of five fields")
    return schedule
