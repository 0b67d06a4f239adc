"""The places of one file: those of its markers, and those that targets lead to.

markers alone    ->  the reading has them, and proves what is set there
targets as well  ->  the file is parsed for them; what is set anywhere in it is proven by all that it says
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from image_updater.domain.files.leaves import NoPlace, Parsed
from image_updater.domain.files.markers import Unparsable
from image_updater.domain.files.places import Place
from image_updater.domain.files.readings import Reading, decode
from image_updater.domain.files.sightings import Sighting
from image_updater.domain.files.targets import DeclaredTarget, find_format, find_targeted


class Placed(NamedTuple):
    """What follows policies in a file.

    Attributes:
        known: what was made of the file, for the proof of edits.
        missing: the targets that lead nowhere in it.
    """

    places: Sequence[Place]
    known: Reading | Parsed
    missing: Sequence[Sighting] = ()


def find_places(
    file: str, content: bytes, reading: Reading, declared: Sequence[DeclaredTarget], values: Mapping[str, str]
) -> Placed:
    """Find the places of a file that targets speak of.

    Args:
        values: what each setter sets.
    """
    try:
        parsed = _parse(file, content)
    except Unparsable as error:
        unread = [Sighting(file, 0, target.setter, "", "", "unparsable", str(error)) for target in declared]
        return Placed(reading.places, reading, unread)
    found, missing = list(reading.places), list[Sighting]()
    for group, target in enumerate(declared):
        try:
            found += find_targeted(target, parsed.leaves, values, group)
        except NoPlace as error:
            missing.append(Sighting(file, 0, target.setter, "", "", error.state, str(error)))
    return Placed(_drop_repeated(found, values), parsed, missing)


def _parse(file: str, content: bytes) -> Parsed:
    """Parse a file for targets.

    Raises:
        Unparsable: it is of no format that targets can speak of, or not of its format.
    """
    form = find_format(file)
    if form is None:
        raise Unparsable("files of this name are not read: targets lead into YAML, JSON, TOML and .env files")
    return Parsed(form, form.leaves(decode(content)[1]))


def _drop_repeated(found: Sequence[Place], values: Mapping[str, str]) -> list[Place]:
    """Leave out what says the same of the same value (a marker and a target, two targets), but for the last one.

    A value that is marked keeps the object that it belongs to.
    """
    objects = {place.start: place.object for place in reversed(found)}
    once = {(place.start, place.setter, place.find_desired(values)): place for place in found}
    return [place._replace(object=objects[place.start]) for place in once.values()]
