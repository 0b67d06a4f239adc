"""What a plan knows of the places that follow policies: nothing is passed over in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from image_updater.domain.files.places import ObjectIdentifier, parse_setter

State = Literal["applied", "pending", "held", "unmatched", "ambiguous", "unparsable"]
"""It says what the policy chose; it will; it must not be set; no policy of that name, or no place for it; two policies
want it; it cannot be read."""


class Change(NamedTuple):
    """One value that a commit changes, or would change if nobody held it."""

    file: str
    setter: str
    old: str
    new: str
    object: ObjectIdentifier = ObjectIdentifier()


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


@dataclass(frozen=True)
class CommitPlan:
    """New contents by path (those that change), and everything that was seen. Without edits there is nothing to do.

    Changes and sightings name files in UTF-8 (`mend`), whatever bytes their paths have.
    """

    edits: Mapping[str, bytes]
    changes: tuple[Change, ...]
    sightings: tuple[Sighting, ...]


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
