"""What a policy would have chosen, and when: its decision made again at every moment of a recorded history.

    2026-01-01 1.0.0 appeared    -> chosen 1.0.0
    2026-02-01 1.1.0 appeared    -> 1.0.0 (1.1.0 is too young)
    2026-02-02 (24h later)       -> chosen 1.1.0
    2026-02-03 1.1.0 vanished    -> chosen 1.0.0

Only what was recorded is known: when tags appeared, vanished and moved. Platforms and signatures were not recorded and
are taken for good; promotions and quarantine are taken as they are now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from image_updater.domain.guards.verdicts import Chosen, Facts, Need, Nothing, Request, Verdict, decide
from image_updater.domain.tags.history import SeenTag, TagEvent
from image_updater.domain.tags.listings import Listing

MOST_STEPS = 10_000


class Step(NamedTuple):
    """A decision that differs from the one before: `tag` is "" when nothing could be chosen, for `cause`."""

    at: datetime
    tag: str
    cause: str = ""
    passed: tuple[Verdict, ...] = ()


@dataclass
class _Tape:
    """The tags as they are at one moment of the history."""

    request: Request
    tags: dict[str, SeenTag]

    def play(self, events: Iterable[TagEvent]) -> None:
        for event in events:
            known = self.tags.get(event.tag)
            match event.what:
                case "vanished":
                    self.tags.pop(event.tag, None)
                case "moved" if known is not None:
                    self.tags[event.tag] = known._replace(digest=event.digest, digest_seen=event.at)
                case _ if known is None:
                    self.tags[event.tag] = SeenTag(event.tag, event.at, event.digest)

    def decide(self, now: datetime) -> Chosen | Nothing:
        listing = Listing(self.tags, self.request.listing.exclusions, self.request.listing)
        self.request = replace(self.request, listing=listing)
        facts: dict[str, Facts] = {}
        while True:
            found = decide(replace(self.request, now=now, seen=self.tags, facts=facts))
            if not isinstance(found, Need):
                return found
            seen = self.tags.get(found.tag)
            digest = (seen.digest if seen is not None else "") or "unrecorded"
            facts[found.tag] = Facts(digest, platforms=self.request.rules.platforms, unsigned="")


def replay(request: Request, events: Iterable[TagEvent], until: datetime) -> Iterator[Step]:
    """Yield the decisions in order of time, each only where it differs from the one before.

    Args:
        request: how to decide; its listing gives the exclusions, its `now`, `seen` and `facts` do not count.
        events: oldest first; later ones than `until` are not played.

    Raises:
        PolicyInvalid: the range or the filter's pattern is not one.
    """
    tape = _Tape(replace(request, listing=Listing((), request.listing.exclusions)), {})
    moments = [(at, tuple(group)) for at, group in groupby((e for e in events if e.at <= until), lambda e: e.at)]
    last: str | None = None
    number = 0
    for place, (at, happened) in enumerate(moments):
        tape.play(happened)
        following = moments[place + 1][0] if place + 1 < len(moments) else until
        now: datetime | None = at
        while now is not None and number < MOST_STEPS:
            number += 1
            found = tape.decide(now)
            tag = found.tag if isinstance(found, Chosen) else ""
            if tag != last:
                yield Step(now, tag, found.message if isinstance(found, Nothing) else "", found.passed)
            last = tag
            now = found.again if found.again is not None and now < found.again < following else None
