"""The plan for one file that targets speak of: their places and its markers, judged and edited together.

places of targets, marked values  ->  two policies on one value? ambiguous
                                  ->  judged one by one; a pair of which one part cannot be set is held
                                  ->  spelled, read again, compared
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from image_updater.domain.files.edits import Splice, splice
from image_updater.domain.files.leaves import Format, Leaf, NoPlace, check
from image_updater.domain.files.markers import ObjectIdentifier, Unparsable
from image_updater.domain.files.readings import Reading, decode
from image_updater.domain.files.sightings import Judge, Sighting
from image_updater.domain.files.targets import DeclaredTarget, Place, find_places, format_of


class Placed(NamedTuple):
    """A place, what becomes of it, and the object it belongs to."""

    place: Place
    sighting: Sighting
    object: ObjectIdentifier = ObjectIdentifier()


def place_file(
    path: str, content: bytes, reading: Reading, declared: Sequence[DeclaredTarget], judge: Judge
) -> tuple[bytes, tuple[Placed, ...], tuple[Sighting, ...]]:
    """The new content, what becomes of each place (those that are pending changed), and the targets without a place.

    The markers' strays are not among these.

    Raises:
        Unparsable: the file is of no format that targets can speak of, or not of its format; nothing was judged.
    """
    form = format_of(path)
    if form is None:
        raise Unparsable("files of this name are not read: targets lead into YAML, JSON, TOML and .env files")
    mark, text = decode(content)
    leaves = form.leaves(text)
    found, missing = _declared_places(path, leaves, declared, judge.values)
    marked = _marked_places(reading, leaves, judge.values, len(declared))
    objects = {m.start: m.object for m in reading.marked}
    together = _once_each([*marked, *found])
    placed = _held_together(_placed(path, place, together, judge, objects) for place in together)
    pending = [p for p in placed if p.sighting.state == "pending"]
    try:
        return mark + _set(form, text, pending).encode(), placed, missing
    except Unparsable as error:
        refused = (p._replace(sighting=p.sighting._replace(state="unparsable", cause=str(error))) for p in pending)
        return content, (*(p for p in placed if p.sighting.state != "pending"), *refused), missing


def _declared_places(
    path: str, leaves: tuple[Leaf, ...], declared: Sequence[DeclaredTarget], values: Mapping[str, str]
) -> tuple[list[Place], tuple[Sighting, ...]]:
    found: list[Place] = []
    missing: list[Sighting] = []
    for group, target in enumerate(declared):
        try:
            found += find_places(target, leaves, values, group)
        except NoPlace as error:
            missing.append(Sighting(path, 0, target.setter, "", "", error.state, str(error)))
    return found, tuple(missing)


def _marked_places(reading: Reading, leaves: tuple[Leaf, ...], values: Mapping[str, str], group: int) -> list[Place]:
    """The marked values as places, each a group of its own: also a boolean's, which no target may lead to."""
    by_start = {leaf.start: leaf._replace(cause="") for leaf in leaves}
    return [
        Place(
            marked.setter, values.get(marked.setter), by_start[marked.start]._replace(line=marked.line), group + number
        )
        for number, marked in enumerate(reading.marked)
        if marked.start in by_start
    ]


def _once_each(found: Iterable[Place]) -> list[Place]:
    """The places, those that say the same of the same value (a marker and a target, two targets) once."""
    return list({(place.leaf.start, place.setter, place.desired): place for place in found}.values())


def _placed(
    path: str, place: Place, together: list[Place], judge: Judge, objects: Mapping[int, ObjectIdentifier]
) -> Placed:
    leaf = place.leaf
    owner = objects.get(leaf.start, ObjectIdentifier())
    if any(other is not place and other.leaf.start == leaf.start for other in together):
        cause = "two policies want this value"
        sighting = Sighting(path, leaf.line, place.setter, leaf.value, place.desired or "", "ambiguous", cause)
    else:
        sighting = judge.place(path, leaf.line, place.setter, leaf.value, place.desired, place.obstacle)
    return Placed(place, sighting, owner)


def _held_together(placed: Iterable[Placed]) -> tuple[Placed, ...]:
    """What belongs together changes together: where one part may not change, the others are held, too."""
    found = tuple(placed)
    stuck: dict[int, Sighting] = {}
    for place, sighting, _ in found:
        if sighting.state not in ("applied", "pending"):
            stuck.setdefault(place.group, sighting)
    return tuple(
        p._replace(sighting=p.sighting._replace(state="held", cause=f"line {other.line}: {other.cause}"))
        if p.sighting.state == "pending" and (other := stuck.get(p.place.group))
        else p
        for p in found
    )


def _set(form: Format, text: str, pending: Sequence[Placed]) -> str:
    """The text with the places set. Raises Unparsable."""
    if not pending:
        return text
    wanted = [(p.place.leaf, p.sighting.desired) for p in pending]
    result = splice(text, (Splice(leaf.start, leaf.end, form.spell(value, leaf.style)) for leaf, value in wanted))
    check(form, text, result, {leaf.key: value for leaf, value in wanted})
    return result
