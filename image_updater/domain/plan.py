"""What to commit so that the marked files of a folder say what the policies chose.

    files (path -> bytes) and images (policy -> image)  ->  CommitPlan: new bytes by path, and every marker's state

A plan is made from one commit and is pure: when somebody else pushed, it is made again on the new commit. Planning what
a plan leads to leads to nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from image_updater.api import ImageRef
from image_updater.domain.edits import Edit, set_values
from image_updater.domain.helm import ACTION
from image_updater.domain.markers import Marked, ObjectIdentifier, Unparsable
from image_updater.domain.readings import Reading, Readings, blob_id, decode, kind_of, read
from image_updater.domain.scalars import can_spell
from image_updater.domain.targets import DeclaredTarget

State = Literal["applied", "pending", "held", "unmatched", "ambiguous", "unparsable"]
"""It says what the policy chose; it will; it must not be set; no policy of that name; two policies want the line; its
file cannot be read."""


class Spot(NamedTuple):
    """A marked value that would change: who holds it back is asked about this."""

    file: str
    setter: str
    current: str
    desired: str


def hold_nothing(spot: Spot) -> str:
    """Why `spot` must not change now; "" when it may."""
    return ""


class Change(NamedTuple):
    """One value that the commit changes."""

    file: str
    object: ObjectIdentifier
    old: str
    new: str
    setter: str


class Sighting(NamedTuple):
    """One marker, or one file that could not be read: nothing is passed over in silence.

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
    """New contents by path (those that change), and everything that was seen. Without edits there is nothing to do."""

    edits: Mapping[str, bytes]
    changes: tuple[Change, ...]
    sightings: tuple[Sighting, ...]


def setters(namespace: str, images: Mapping[str, ImageRef]) -> dict[str, str]:
    """What each setter sets, for the images that the policies (by name) of one namespace chose.

    >>> setters("default", {"app": ImageRef(name="ghcr.io/org/app", tag="1.2")})["default:app"]
    'ghcr.io/org/app:1.2'
    """
    values: dict[str, str] = {}
    for policy, image in images.items():
        setter = f"{namespace}:{policy}"
        values[setter] = image_text(image)
        values[f"{setter}:tag"] = image.tag
        values[f"{setter}:name"] = image.name
        values[f"{setter}:digest"] = image.digest
    return values


def image_text(image: ImageRef) -> str:
    return f"{image.name}:{image.tag}" + (f"@{image.digest}" if image.digest else "")


def plan_commit(
    files: Mapping[str, bytes],
    values: Mapping[str, str],
    *,
    hold: Callable[[Spot], str] = hold_nothing,
    targets: Iterable[DeclaredTarget] = (),
    readings: Readings | None = None,
    blobs: Mapping[str, str] = MappingProxyType({}),
) -> CommitPlan:
    """The edits that bring every marked value of `files` to `values`, which `setters` made.

    Args:
        files: those that hold `SCREEN` and those that `targeted` names; others do no harm.
        hold: why a value that would change must not; "" when it may. It is asked once for each.
        readings: what is known from earlier plans, and learns from this one.
        blobs: Git's names for the files' contents. A file that has one and was read before is only asked for its
            content when it is to change.
    """
    known = Readings() if readings is None else readings
    edits: dict[str, bytes] = {}
    changes: list[Change] = []
    sightings: list[Sighting] = []
    for path in sorted(files):
        reading, blob = _reading(path, files, known, blobs.get(path, ""))
        seen = [_judge(path, marked, values, hold) for marked in reading.marked]
        pending = [Edit(m, s.desired) for m, s in zip(reading.marked, seen, strict=True) if s.state == "pending"]
        if pending:
            try:
                edits[path] = _edited(files[path], reading, pending, known, blob)
                changes += (Change(path, m.object, m.value, value, m.setter) for m, value in pending)
            except Unparsable as error:
                seen = [s._replace(state="unparsable", cause=str(error)) if s.state == "pending" else s for s in seen]
        seen += (Sighting(path, s.line, s.setter, s.current, "", s.state, s.cause) for s in reading.strays)
        sightings += sorted(seen, key=lambda sighting: sighting.line)
    return CommitPlan(edits, tuple(changes), tuple(sightings))


def _reading(path: str, files: Mapping[str, bytes], known: Readings, blob: str) -> tuple[Reading, str]:
    """What the file asks for, and Git's name for its content."""
    kind = kind_of(path)
    blob = blob or blob_id(files[path])
    found = known.get(kind, blob)
    if found is None:
        found = read(kind, files[path])
        known.put(kind, blob, found)
    return found, blob


def _edited(content: bytes, reading: Reading, pending: list[Edit], known: Readings, blob: str) -> bytes:
    """The content with the edits made. Raises Unparsable."""
    mark, text = decode(content)
    text, after = set_values(text, reading, pending)
    edited = mark + text.encode()
    known.put("yaml", blob_id(edited, like=blob), after)
    return edited


def _judge(path: str, marked: Marked, values: Mapping[str, str], hold: Callable[[Spot], str]) -> Sighting:
    desired = values.get(marked.setter)
    found = Sighting(path, marked.line, marked.setter, marked.value, desired or "", "pending")
    if desired is None:
        return found._replace(state="unmatched", cause="no policy of this namespace has this name and form")
    if desired == marked.value:
        return found._replace(state="applied")
    if cause := _obstacle(desired, marked) or hold(Spot(path, marked.setter, marked.value, desired)):
        return found._replace(state="held", cause=cause)
    return found


def _obstacle(desired: str, marked: Marked) -> str:
    if not desired:  # the original writes an empty digest over the value
        return "the policy has no such value: a value is never emptied"
    if not can_spell(desired):
        return "the policy's image is not one that a file could name"
    return "a template writes this value" if ACTION in marked.value else ""
