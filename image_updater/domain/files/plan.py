"""What to commit so that the marked files of a folder say what the policies chose.

    files (path -> bytes) and images (policy -> image)  ->  CommitPlan: new bytes by path, and every marker's state

A plan is made from one commit and is pure: when somebody else pushed, it is made again on the new commit. Planning what
a plan leads to leads to nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from image_updater.api import ImageRef
from image_updater.domain.files.edits import Edit, set_values
from image_updater.domain.files.markers import ObjectIdentifier, Unparsable, mend
from image_updater.domain.files.placing import place_file
from image_updater.domain.files.readings import REMEMBERED, Reading, Readings, blob_id, decode, kind_of, read, remember
from image_updater.domain.files.sightings import (
    Judge,
    Sighting,
    Spot,
    State,
    find_torn_images,
    hold_nothing,
    parse_setter,
)
from image_updater.domain.files.targets import DeclaredTarget, glob_pattern

__all__ = ["Change", "CommitPlan", "Sighting", "Spot", "State", "plan_commit", "setters"]


class Change(NamedTuple):
    """One value that the commit changes."""

    file: str
    object: ObjectIdentifier
    old: str
    new: str
    setter: str


@dataclass(frozen=True)
class CommitPlan:
    """New contents by path (those that change), and everything that was seen. Without edits there is nothing to do.

    Changes and sightings name files in UTF-8 (`mend`), whatever bytes their paths have.
    """

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
        values[setter] = str(image)
        values[f"{setter}:tag"] = image.tag
        values[f"{setter}:name"] = image.name
        values[f"{setter}:digest"] = image.digest
    return values


def plan_commit(
    files: Mapping[str, bytes],
    values: Mapping[str, str],
    *,
    hold: Callable[[Spot], str] = hold_nothing,
    targets: Iterable[DeclaredTarget] = (),
    readings: Readings = REMEMBERED,
    blobs: Mapping[str, str] = MappingProxyType({}),
) -> CommitPlan:
    """The edits that bring every marked value of `files` to `values`, which `setters` made.

    Args:
        files: those that hold `SCREEN` and those that `select_targeted` names; others do no harm.
        hold: why a value that would change must not; "" when it may.
        readings: what is known from earlier plans, and learns from this one.
        blobs: Git's names for the files' contents. A file that has one and was read before is only asked for its
            content when it is to change.
    """
    declared = tuple(targets)

    def plan(hold: Callable[[Spot], str]) -> CommitPlan:
        made = _Plan(files, Judge(values, hold), declared, readings)
        for path in sorted(files):
            made.add(path, blobs.get(path, ""))
        return made.complete()

    first = plan(hold)
    held = find_torn_images(first.sightings)
    if not any(s.state == "pending" and (s.file, parse_setter(s.setter).base) in held for s in first.sightings):
        return first
    return plan(lambda spot: held.get((spot.file, parse_setter(spot.setter).base), "") or hold(spot))


class _Plan:
    """A plan in the making."""

    def __init__(
        self, files: Mapping[str, bytes], judge: Judge, targets: tuple[DeclaredTarget, ...], known: Readings
    ) -> None:
        self.files, self.judge, self.known = files, judge, known
        self.targets = [(glob_pattern(declared.target.file), declared) for declared in targets]
        self.reached: set[DeclaredTarget] = set()
        self.edits: dict[str, bytes] = {}
        self.changes: list[Change] = []
        self.sightings: list[Sighting] = []

    def add(self, path: str, blob: str) -> None:
        """Plan one file."""
        reading, blob = self._reading(path, blob)
        declared = [target for glob, target in self.targets if glob.fullmatch(path)]
        seen = self._placed(path, reading, declared) if declared else self._marked(path, reading, blob)
        seen += (Sighting(mend(path), s.line, s.setter, s.current, "", s.state, s.cause) for s in reading.strays)
        self.sightings += sorted(seen, key=lambda sighting: sighting.line)

    def complete(self) -> CommitPlan:
        for _, declared in self.targets:
            if declared not in self.reached:
                glob, cause = declared.target.file, "no file of this folder has such a name"
                self.sightings.append(Sighting(glob, 0, declared.setter, "", "", "unmatched", cause))
        return CommitPlan(self.edits, tuple(self.changes), tuple(self.sightings))

    def _reading(self, path: str, blob: str) -> tuple[Reading, str]:
        """What the file asks for, and Git's name for its content."""
        kind = kind_of(path)
        blob = blob or blob_id(self.files[path])
        found = self.known.get((kind, blob))
        if found is None:
            found = read(kind, self.files[path])
            remember(self.known, kind, blob, found)
        return found, blob

    def _marked(self, path: str, reading: Reading, blob: str) -> list[Sighting]:
        """Plan a file that markers alone speak of."""
        name = mend(path)
        seen = [self.judge.marker(name, m.line, m.setter, m.value) for m in reading.marked]
        pending = [Edit(m, s.desired) for m, s in zip(reading.marked, seen, strict=True) if s.state == "pending"]
        if not pending:
            return seen
        try:
            mark, text = decode(self.files[path])
            text, after = set_values(text, reading, pending)
        except Unparsable as error:
            return [s._replace(state="unparsable", cause=str(error)) if s.state == "pending" else s for s in seen]
        self.edits[path] = edited = mark + text.encode()
        remember(self.known, "yaml", blob_id(edited, like=blob), after)
        self.changes += (Change(name, m.object, m.value, value, m.setter) for m, value in pending)
        return seen

    def _placed(self, path: str, reading: Reading, declared: list[DeclaredTarget]) -> list[Sighting]:
        """Plan a file that targets speak of."""
        self.reached.update(declared)
        name, content = mend(path), self.files[path]
        try:
            edited, placed, missing = place_file(name, content, reading, declared, self.judge)
        except Unparsable as error:
            unread = [Sighting(name, 0, target.setter, "", "", "unparsable", str(error)) for target in declared]
            return unread + self._marked(path, reading, blob_id(content))
        if edited != content:
            self.edits[path] = edited
        for place, sighting, owner in placed:
            if sighting.state == "pending":
                self.changes.append(Change(name, owner, place.leaf.value, sighting.desired, place.setter))
        return [*missing, *(p.sighting for p in placed)]
