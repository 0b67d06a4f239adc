"""What becomes of each place that follows a policy.

The first of these that is true:

    another policy wants it as well                                     ambiguous
    there is no such policy                                             unmatched
    it says what is desired                                             applied
    it can never be set, somebody holds it, a part of its target stays  held
    none of this                                                        pending
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from image_updater.domain.files.helm import ACTION
from image_updater.domain.files.places import Place
from image_updater.domain.files.scalars import can_spell
from image_updater.domain.files.sightings import Change, Sighting, State


def hold_nothing(change: Change) -> str:
    """Say why `change` must not be made now; "" when it may."""
    return ""


def sight(
    file: str, places: Sequence[Place], values: Mapping[str, str], hold: Callable[[Change], str]
) -> list[Sighting]:
    """Judge each of a file's places, in their order.

    Args:
        values: what each setter sets.
        hold: why a value that would change must not; "" when it may.
    """
    seen = []
    for place in places:
        desired = place.find_desired(values)
        state, cause = _judge(place, desired, values)
        if desired and state == "pending":
            cause = hold(Change(file, place.setter, place.value, desired, place.object))
            state = "held" if cause else "pending"
        seen.append(Sighting(file, place.line, place.setter, place.value, desired or "", state, cause))
    return seen if all(place.demand is None for place in places) else _judge_together(places, seen)


def _judge(place: Place, desired: str | None, values: Mapping[str, str]) -> tuple[State, str]:
    """Say what becomes of a place and why, as if it were the only one and nobody held it."""
    if desired is None:
        return "unmatched", _explain_unknown(place.setter, values)
    obstacle = place.demand.obstacle if place.demand is not None else ""
    if desired == place.value and not obstacle:
        return "applied", ""
    obstacle = obstacle or _find_obstacle(desired, place.value)
    return ("held", obstacle) if obstacle else ("pending", "")


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
