"""What a plan leaves behind for people to read: how many marked places are in which state, and what stays undone.

sightings -> MarkerCounts · the first places that are not applied · the policies that are through · what was set back
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from image_updater.api import ImageRef, MarkerCounts, MarkerReport, Reverted
from image_updater.domain.files.markers import mend
from image_updater.domain.files.sightings import Sighting, State

Place = TypeVar("Place", Sighting, MarkerReport)

LONGEST_CAUSE, LONGEST_VALUE = 300, 200
MOST_REVERTED = 200


def counts(sightings: Iterable[Sighting]) -> MarkerCounts:
    number = Counter[str](sighting.state for sighting in sightings)
    return MarkerCounts(
        applied=number["applied"],
        pending=number["pending"],
        held=number["held"],
        unmatched=number["unmatched"],
        ambiguous=number["ambiguous"],
        unparsable=number["unparsable"],
    )


def printable(place: Sighting) -> Sighting:
    """The same place in texts that a status, JSON and a terminal can hold."""
    return place._replace(
        file=shown(place.file, LONGEST_CAUSE),
        setter=shown(place.setter, LONGEST_VALUE),
        current=shown(place.current, LONGEST_VALUE),
        desired=shown(place.desired, LONGEST_VALUE),
        cause=shown(place.cause, LONGEST_CAUSE),
    )


def where(place: Sighting | MarkerReport) -> str:
    return f"{place.file}:{place.line}" if place.line else place.file


def describe_place(place: Sighting | MarkerReport) -> str:
    """A place's state in one line, as every command prints it.

    >>> describe_place(Sighting("a.yaml", 3, "shop:web", "1", "", "unmatched", "there is no such policy"))
    'a.yaml:3: unmatched: shop:web: there is no such policy'
    """
    return f"{where(place)}: {describe_state(place)}"


def describe_state(place: Sighting | MarkerReport) -> str:
    """What `describe_place` says behind the place."""
    return ": ".join(part for part in (place.state, place.setter, place.cause) if part)


def select_noteworthy(places: Iterable[Place]) -> tuple[Place, ...]:
    """Those that a person should look at: all but the ones that follow, or will."""
    return tuple(place for place in places if place.state not in ("applied", "pending"))


def report_unsettled(sightings: Iterable[Sighting], most: int) -> tuple[MarkerReport, ...]:
    """The first `most` places that do not say what their policy chose, in the order of files and lines."""
    found = [sighting for sighting in sightings if sighting.state != "applied"][:most]
    return tuple(MarkerReport(**printable(each)._asdict()) for each in found)


def mark_applied(sightings: Iterable[Sighting]) -> tuple[Sighting, ...]:
    """The same places once the commit is there."""
    applied: State = "applied"
    return tuple(s._replace(state=applied, current=s.desired) if s.state == "pending" else s for s in sightings)


def find_settled_images(
    namespace: str, images: Mapping[str, ImageRef], former: Mapping[str, ImageRef], sightings: Iterable[Sighting]
) -> dict[str, ImageRef]:
    """What each policy (by name) is done with: its image, or the former one while one of its places is held back.

    A place that can never be set (a digest that nobody knows) does not count as held.
    """
    held = {_policy(sighting.setter) for sighting in sightings if sighting.state == "held" and sighting.desired}
    done = {}
    for name, image in images.items():
        if (namespace, name) not in held:
            done[name] = image
        elif name in former and former[name] != image:
            done[name] = former[name]
    return done


def find_set_back(before: Iterable[Sighting], now: Iterable[Sighting]) -> tuple[Reverted, ...]:
    """Values that were there before and were taken out since, by somebody else: nobody but we sets them.

    A new place that says another value takes nothing out.
    """
    was, is_ = _applied(before), _applied(now)
    there = {(each.file, each.setter) for each in now}
    return tuple(
        Reverted(file=file, setter=setter, refused=value)
        for (file, setter, value), number in sorted(was.items())
        if (file, setter) in there and is_[file, setter, value] < number
    )


class Step(NamedTuple):
    """What a commit made of the places that a plan speaks of, and whether one of us made it."""

    sightings: tuple[Sighting, ...]
    is_ours: bool = False


def find_refused_values(
    known: Iterable[Reverted], before: Sequence[Sighting], steps: Iterable[Step]
) -> tuple[Reverted, ...]:
    """What people refuse after the `steps`, oldest first, that led away from `before`; there they refused the `known`.

    Our own commit sets nothing back: where it changes a place, what was refused there is over.
    """
    found = set(known)
    for sightings, is_ours in steps:
        if is_ours:
            was, says = _said(before), _said(sightings)
            changed = {place[:2] for place, number in was.items() if says[place] != number}
            found = {each for each in found if (each.file, each.setter) not in changed}
        else:
            found.update(find_set_back(before, sightings))
        before = sightings
    return tuple(sorted(found, key=lambda each: (each.file, each.setter, each.refused)))


def keep_set_back(entries: Iterable[Reverted], sightings: Iterable[Sighting]) -> tuple[Reverted, ...]:
    """Those that still matter: the policy still chooses the refused value, and the place still says another one."""
    differing = {(s.file, s.setter, s.desired) for s in sightings if s.state in ("pending", "held", "ambiguous")}
    kept = {(each.file, each.setter, each.refused): each for each in entries}
    return tuple(each for place, each in sorted(kept.items()) if place in differing)[:MOST_REVERTED]


def shown(text: str, longest: int) -> str:
    """`text` as a status can hold it: UTF-8, in one line, not too long."""
    line = "".join(character if character.isprintable() else "?" for character in mend(text))
    return line if len(line) <= longest else line[: longest - 3] + "..."


def _applied(sightings: Iterable[Sighting]) -> Counter[tuple[str, str, str]]:
    return Counter((s.file, s.setter, s.desired) for s in sightings if s.state == "applied")


def _said(sightings: Iterable[Sighting]) -> Counter[tuple[str, str, str]]:
    return Counter((s.file, s.setter, s.current) for s in sightings)


def _policy(setter: str) -> tuple[str, str]:
    namespace, _, rest = setter.partition(":")
    return namespace, rest.partition(":")[0]
