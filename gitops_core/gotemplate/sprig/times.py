"""sprig's durations. Moments are made by `toDate` of numeric layouts only, and are in UTC.

    toDate "2006-01-02" "2026-11-23"   ->   2026-11-23 00:00:00 +0000 UTC

Source: Masterminds/sprig v3.3, date.go; Go, time/time.go and time/format.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from gitops_core.gotemplate.constants import decimal_or_zero, quote
from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.functions import Function
from gitops_core.gotemplate.values import Int64, Object, Value

_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_LONGER = (("y", 365 * 86400), ("mo", 30 * 86400), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_LAYOUT = re.compile("2006|01|02|15|04|05|Z07:00")
_DIGITS = {"2006": r"(?P<y>\d{4})", "01": r"(?P<m>\d\d)", "02": r"(?P<d>\d\d)", "15": r"(?P<H>\d\d)"}
_DIGITS |= {"04": r"(?P<M>\d\d)", "05": r"(?P<S>\d\d)", "Z07:00": r"(?P<zone>Z|[+-]\d\d:\d\d)"}
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


def duration_text(nanoseconds: int) -> str:
    """Write a duration like Go's Duration.String.

    >>> duration_text(3_723_000_000_000), duration_text(1_500_000), duration_text(0)
    ('1h2m3s', '1.5ms', '0s')
    """
    size, sign = abs(nanoseconds), "-" if nanoseconds < 0 else ""
    if size < 10**9:
        unit, each = next(
            (u, e)
            for u, e in (("s", 0), ("ns", 1), ("µs", 1000), ("ms", 10**6))
            if size < (e or 1) * 1000 and (e or not size)
        )
        return sign + (_decimal(size, each) if each else "0") + unit
    minutes, rest = divmod(size, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    return (
        sign
        + (f"{hours}h" if hours else "")
        + (f"{minutes}m" if hours or minutes else "")
        + _decimal(rest, 10**9)
        + "s"
    )


def _decimal(size: int, each: int) -> str:
    whole, rest = divmod(size, each)
    fraction = str(rest).rjust(len(str(each)) - 1, "0").rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def parse_duration(text: str) -> int | None:
    """Parse a duration into nanoseconds, or None."""
    negative, rest = text.startswith("-"), text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    total = position = 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if match is None or not (match[1] or match[2]):
            return None
        unit, fraction = _UNITS[match[3]], (match[2] or "")[:18]
        total += int(match[1][:19] or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        position = match.end()
    return (-total if negative else total) if rest and total < 2**63 else None


def duration(seconds: Value) -> str:
    number = 0
    if isinstance(seconds, str):
        number = decimal_or_zero(seconds)
    elif isinstance(seconds, Int64):
        number = seconds
    return duration_text(Int64(number * 10**9))


def duration_round(value: Value) -> str:
    number = int(value) if isinstance(value, Int64) else (parse_duration(value) or 0) if isinstance(value, str) else 0
    size = abs(number)
    return next((f"{size // (each * 10**9)}{unit}" for unit, each in _LONGER if size > each * 10**9), "0s")


def moment(when: datetime) -> Object:
    text = when.strftime("-%m-%d %H:%M:%S") + (f".{when.microsecond:06d}".rstrip("0") if when.microsecond else "")
    parts = {"Year": when.year, "Day": when.day, "Hour": when.hour, "Minute": when.minute, "Second": when.second}
    seconds = int((when - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1))
    members = {**parts, "YearDay": when.timetuple().tm_yday, "Unix": Int64(seconds), "IsZero": when == _BEGINNING}
    return Object("time.Time", "struct", f"{when.year:04d}{text} +0000 UTC", members, when)


def to_date(layout: str, text: str) -> Object:
    """Parse a time by a layout. Raises CallError."""
    pattern, last = "", 0
    for match in _LAYOUT.finditer(layout):
        pattern += re.escape(layout[last : match.start()]) + _DIGITS.get(match[0], "")
        last = match.end()
    try:
        found = re.fullmatch(pattern + re.escape(layout[last:]), text, re.ASCII)
        known = not re.search("[A-Za-z]", _LAYOUT.sub("", layout).replace("T", ""))
        given = found.groupdict() if found and known else {"m": "none"}
        zone = given.pop("zone", "Z").replace("Z", "+00:00")
        number = {"y": 0, "m": 1, "d": 1, "H": 0, "M": 0, "S": 0} | {key: int(value) for key, value in given.items()}
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:])) * (-1 if zone[0] == "-" else 1)
        return moment(datetime(*number.values(), tzinfo=UTC) - offset)  # type: ignore[misc,arg-type]  # six numbers
    except (ValueError, re.error, OverflowError):
        raise CallError(f"parsing time {quote(text)} as {quote(layout)}: cannot parse it") from None


def _to_date_or_none(layout: str, text: str) -> Object:
    try:
        return to_date(layout, text)
    except CallError:
        return moment(_BEGINNING)


def modify(change: str, when: Object) -> Object:
    """Add a duration to a time. Raises CallError."""
    nanoseconds = parse_duration(change)
    if nanoseconds is None:
        raise CallError(f"time: invalid duration {quote(change)}")
    return moment(when.content + timedelta(microseconds=nanoseconds / 1000))


TIMES: Mapping[str, Function] = {
    "duration": Function("any", duration),
    "durationRound": Function("any", duration_round),
    "toDate": Function("string, string", _to_date_or_none),
    "mustToDate": Function("string, string", to_date),
    "mustDateModify": Function("string, time", modify),
    "must_date_modify": Function("string, time", modify),
    "unixEpoch": Function("time", lambda when: str(int(when.members["Unix"]))),
}
