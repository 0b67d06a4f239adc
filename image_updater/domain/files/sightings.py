"""What is known of each place that follows a policy: nothing is passed over in silence.

another policy wants it as well     ambiguous
there is no such policy             unmatched
it says what is desired             applied
it cannot be set, somebody holds
it, or a part of its target stays   held
none of this                        pending
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from image_updater.domain.files.helm import ACTION
from image_updater.domain.files.places import Place, parse_setter
from image_updater.domain.files.scalars import can_spell

State = Literal["applied", "pending", "held", "unmatched", "ambiguous", "unparsable"]
"""It says what the policy chose; it will; it must not be set; no policy of that name, or no place for it; two policies
want it; it cannot be read."""


class Spot(NamedTuple):
    """A marked value that would change: who holds it back is asked about this."""

    file: str
    setter: str
    current: str
    desired: str


def hold_nothing(spot: Spot) -> str:
    """Say why `spot` must not change now; "" when it may."""
    return ""


class Sighting(NamedTuple):
    """One place, or one file that could not be read.

    Attributes:
        line: counted from 1; 0 for a whole file.
        cause: why it is held, unmatched, ambiguous or unparsable.
    """

    file: str
    line: int
    setter: str
    current: str
    desired: str
    state: State
    cause: str = ""


def sight(file: str, places: Sequence[Place], values: Mapping[str, str], hold: Callable[[Spot], str]) -> list[Sighting]:
    """Judge each of a file's places, in their order.

    Args:
        values: what each setter sets.
        hold: why a value that would change must not; "" when it may.
    """
    seen = []
    for place in places:
        desired = place.desired(values)
        state, cause = _judge(file, place, desired, values, hold)
        seen.append(Sighting(file, place.line, place.setter, place.value, desired or "", state, cause))
    return seen if all(place.demand is None for place in places) else _judge_together(places, seen)


def _judge(
    file: str, place: Place, desired: str | None, values: Mapping[str, str], hold: Callable[[Spot], str]
) -> tuple[State, str]:
    """Say what becomes of a place and why, as if it were the only one."""
    obstacle = place.demand.obstacle if place.demand is not None else ""
    if desired is None:
        return "unmatched", _explain_unknown(place.setter, values)
    if desired == place.value and not obstacle:
        return "applied", ""
    cause = obstacle or _find_obstacle(desired, place.value) or hold(Spot(file, place.setter, place.value, desired))
    return ("held", cause) if cause else ("pending", "")


def _judge_together(places: Sequence[Place], seen: list[Sighting]) -> list[Sighting]:
    """Leave alone what two policies want, and hold what changes together with something that stays."""
    times = Counter(place.start for place in places)
    stuck: dict[int, Sighting] = {}
    for number, place in enumerate(places):
        if times[place.start] > 1:
            seen[number] = seen[number]._replace(state="ambiguous", cause="two policies want this value")
        if place.demand is not None and seen[number].state not in ("applied", "pending"):
            stuck.setdefault(place.demand.group, seen[number])
    for number, place in enumerate(places):
        other = stuck.get(place.demand.group) if place.demand is not None else None
        if other is not None and seen[number].state == "pending":
            seen[number] = seen[number]._replace(state="held", cause=f"line {other.line}: {other.cause}")
    return seen


def _explain_unknown(setter: str, values: Mapping[str, str]) -> str:
    """Say why there is nothing that `setter` could set."""
    namespace, _, rest = setter.partition(":")
    name, _, part = rest.partition(":")
    if not namespace or not name:
        return "it is not of the form namespace:name, with :tag, :name or :digest behind it or nothing"
    if f"{namespace}:{name}" in values:
        return f"there is no {part!r} of an image: there are tag, name and digest"
    return "no policy of this namespace has this name and chose an image"


def _find_obstacle(desired: str, current: str) -> str:
    """Say why `desired` can never be set; "" when it can."""
    if not desired:  # the original writes an empty digest over the value
        return "the policy has no such value: a value is never emptied"
    if not can_spell(desired):
        return "the policy's image is not one that a file could name"
    return "a template writes this value" if ACTION in current else ""


def find_torn_images(sightings: Iterable[Sighting]) -> dict[tuple[str, str], str]:
    """Find the policies whose values in a file must not move, and say why, by file and setter base.

    Name, tag and digest are one image: of a policy that sets these apart, one alone would name an image that nobody
    chose.
    """
    parts: dict[tuple[str, str], set[str]] = {}
    causes: dict[tuple[str, str], str] = {}
    for sighting in sightings:
        setter = parse_setter(sighting.setter)
        key = sighting.file, setter.base
        if setter.part and sighting.state != "unparsable":
            parts.setdefault(key, set()).add(setter.part)
            if sighting.state in ("held", "unmatched", "ambiguous"):
                causes.setdefault(key, sighting.cause or sighting.state)
    return {key: cause for key, cause in causes.items() if len(parts[key]) > 1}
