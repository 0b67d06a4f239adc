"""What a plain YAML scalar means: the rules by which Flux reads manifests, which no Python library has as shipped.

    true, True, TRUE            booleans; yes, no, on, off are strings
    017, 0o17, 0x1F, 0b11, 1_0  whole numbers
    1e3, 1.0, .5                floats; those that are whole numbers become such, as JSON has one kind of number
    ~, null, (nothing)          null
    2020-01-01                  the string 2020-01-01T00:00:00Z
    12:30, 1.2.3, 08:15         strings

Source: go.yaml.in/yaml/v3, resolve.go, as kustomize uses it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NOT_JSON = frozenset(
    sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN")
) - {"+.nan", "+.NaN", "+.NAN", "-.nan", "-.NaN", "-.NAN"}
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_TIME = re.compile(
    r"(?P<y>\d{4})-(?P<m>\d\d?)-(?P<d>\d\d?)"
    r"(?:(?P<sep>[Tt ])(?P<H>\d\d?):(?P<M>\d\d?):(?P<S>\d\d?)(?:\.(?P<f>\d{1,9}))?(?P<zone>Z|[-+]\d\d:\d\d)?)?"
)
_LARGEST_EXACT = 2**63
MOST_DIGITS = 4000
"""Of a whole number; a longer one is larger than every float, and a text."""


def resolve(text: str) -> Scalar:
    """Resolve a plain scalar to its value.

    >>> [resolve(text) for text in ("yes", "017", "1e3", "12:30", "2020-01-01", "~", "1.10")]
    ['yes', 15, 1000, '12:30', '2020-01-01T00:00:00Z', None, 1.1]

    Raises:
        ValueError: a number that JSON cannot say (.inf, .nan).
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if text in _NOT_JSON:
        raise ValueError(f"the number {text} cannot be written as JSON: quote it")
    moment = _read_timestamp(text)
    return moment if moment is not None else _parse_number(text)


_OLD_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF"), False),
}


def resolve_old(text: str) -> Scalar:
    """Resolve a plain scalar as sigs.k8s.io/yaml does: by YAML 1.1, whose booleans have more words; dates are texts.

    >>> [resolve_old(text) for text in ("yes", "0644", "2020-01-01", "v1")]
    [True, 420, '2020-01-01', 'v1']

    Raises:
        ValueError: a number that JSON cannot say (.inf, .nan).
    """
    if text in _OLD_WORDS:
        return _OLD_WORDS[text]
    found = resolve(text)
    return text if isinstance(found, str) else found


def _parse_number(text: str) -> Scalar:
    plain = text.replace("_", "")
    if len(plain) <= MOST_DIGITS and _INTEGER.fullmatch(plain):
        value = _read_integer(plain)
        if -_LARGEST_EXACT <= value < 2 * _LARGEST_EXACT:
            return value
    if not _FLOAT.fullmatch(plain):
        return text
    number = float(plain)
    if number in (float("inf"), float("-inf")):
        return text
    return int(number) if number.is_integer() and abs(number) < _LARGEST_EXACT else number


def _read_integer(plain: str) -> int:
    sign = -1 if plain[0] == "-" else 1
    digits = plain.lstrip("+-").lower()
    for prefix, base in (("0x", 16), ("0b", 2), ("0o", 8)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * int(digits, 8 if digits.startswith("0") and len(digits) > 1 else 10)


def _read_timestamp(text: str) -> str | None:
    """Write a time in RFC 3339 as Go does, or None when `text` is not a time."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    sep, zone = match["sep"], match["zone"]
    if (sep in ("T", "t") and not zone) or (sep == " " and zone):
        return None
    fraction = (match["f"] or "").rstrip("0")
    year, month, day, hour, minute, second = (int(match[part] or 0) for part in ("y", "m", "d", "H", "M", "S"))
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=_read_zone(zone))
    except ValueError:
        return None
    date = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return (
        f"{date}{'.' + fraction if fraction else ''}{zone if zone and zone not in ('Z', '+00:00', '-00:00') else 'Z'}"
    )


def _read_zone(zone: str | None) -> timezone:
    if zone is None or zone == "Z":
        return UTC
    sign = -1 if zone[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6])))
