"""What was pushed lately, as an ImageRepository's annotation tells its reconciler.

    sealoop.dev/pushed: 2026-03-04T05:06:07.000008Z=1.2.0@sha256:<64 hex> 2026-03-04T05:06:09.1Z=1.2.1

Written by whichever replica received a registry's webhook, read by the one that reconciles. A push counts until the
tags are listed again: the listing knows better.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

PUSHED = "sealoop.dev/pushed"
MOST = 20

_PUSH = re.compile(
    r"(?P<at>[0-9TZ:.-]{20,32})=(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)


class Push(NamedTuple):
    """A tag that was pushed; digest "" when the registry did not tell."""

    at: datetime
    tag: str
    digest: str = ""

    def __str__(self) -> str:
        moment = self.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return f"{moment}={self.tag}{'@' if self.digest else ''}{self.digest}"


def read_pushes(annotation: str) -> tuple[Push, ...]:
    """Return the pushes that an annotation lists, in its order; what is not a push is passed over.

    >>> read_pushes("2026-03-04T05:06:07.000000Z=1.2.0 nonsense")
    (Push(at=datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.timezone.utc), tag='1.2.0', digest=''),)
    """
    return tuple(push for push in map(_parse_push, annotation.split()[-MOST:]) if push is not None)


def select_since(annotations: Mapping[str, str], moment: datetime) -> tuple[Push, ...]:
    """Return the pushes that a listing of `moment` may not have."""
    return tuple(push for push in read_pushes(annotations.get(PUSHED, "")) if push.at >= moment)


def add_pushes(annotation: str, pushes: Iterable[Push]) -> str:
    """Return the annotation with the newest pushes added, the newest last; of each tag only its newest push stays."""
    newest = {push.tag: push for push in sorted((*read_pushes(annotation), *pushes))}
    return " ".join(map(str, sorted(newest.values())[-MOST:]))


def _parse_push(text: str) -> Push | None:
    match = _PUSH.fullmatch(text)
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(match["at"])
    except ValueError:
        return None
    return None if moment.tzinfo is None else Push(moment, match["tag"], match["digest"] or "")
