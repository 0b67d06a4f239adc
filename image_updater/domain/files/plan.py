"""What to commit so that the files of a folder say what the policies chose.

    file  ->  its places (readings, placing)  ->  judged (judging)  ->  set and proven (edits)  ->  CommitPlan

A plan is made from one commit and is pure: when somebody else pushed, it is made again on the new commit. Planning what
a plan leads to leads to nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from image_updater.api import ImageRef
from image_updater.domain.files.edits import set_values
from image_updater.domain.files.judging import hold_nothing, sight
from image_updater.domain.files.markers import Unparsable, mend
from image_updater.domain.files.places import parse_setter
from image_updater.domain.files.placing import Placed, find_places
from image_updater.domain.files.readings import REMEMBERED, Reading, Readings, blob_id, decode, kind_of, read, remember
from image_updater.domain.files.sightings import Change, CommitPlan, Sighting, find_torn_images
from image_updater.domain.files.targets import DeclaredTarget, glob_pattern


def setters(namespace: str, images: Mapping[str, ImageRef]) -> dict[str, str]:
    """Return what each setter sets, for the images that the policies (by name) of one namespace chose.

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
    hold: Callable[[Change], str] = hold_nothing,
    targets: Iterable[DeclaredTarget] = (),
    readings: Readings = REMEMBERED,
    blobs: Mapping[str, str] = MappingProxyType({}),
) -> CommitPlan:
    """Plan the edits that bring every place of `files` to `values`, which `setters` made.

    Args:
        files: those that hold `SCREEN` and those that `select_targeted` names; others do no harm.
        hold: why a value that would change must not; "" when it may.
        readings: what is known from earlier plans, and learns from this one.
        blobs: Git's names for the files' contents. A file that has one and was read before is only asked for its
            content when it is to change.
    """
    declared = tuple(targets)

    def plan(hold: Callable[[Change], str]) -> CommitPlan:
        made = _Plan(files, values, hold, declared, readings)
        for path in sorted(files):
            made.add(path, blobs.get(path, ""))
        return made.complete()

    first = plan(hold)
    held = find_torn_images(first.sightings)
    if not any(s.state == "pending" and (s.file, parse_setter(s.setter).base) in held for s in first.sightings):
        return first
    return plan(lambda change: held.get((change.file, parse_setter(change.setter).base), "") or hold(change))


class _Plan:
    """A plan in the making."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        values: Mapping[str, str],
        hold: Callable[[Change], str],
        targets: tuple[DeclaredTarget, ...],
        known: Readings,
    ) -> None:
        self.files, self.values, self.hold, self.known = files, values, hold, known
        self.targets = [(glob_pattern(declared.target.file), declared) for declared in targets]
        self.reached: set[DeclaredTarget] = set()
        self.edits: dict[str, bytes] = {}
        self.changes: list[Change] = []
        self.sightings: list[Sighting] = []

    def add(self, path: str, blob: str) -> None:
        """Plan one file."""
        file = mend(path)
        reading, blob = self._read(path, blob)
        placed = self._place(path, reading)
        seen = sight(file, placed.places, self.values, self.hold)
        if any(sighting.state == "pending" for sighting in seen):
            seen = self._set(path, blob, placed, seen)
        strays = (Sighting(file, s.line, s.setter, s.current, "", s.state, s.cause) for s in reading.strays)
        self.sightings += sorted((*placed.missing, *seen, *strays), key=lambda sighting: sighting.line)

    def complete(self) -> CommitPlan:
        """Return the plan of all files that were added."""
        for _, declared in self.targets:
            if declared not in self.reached:
                glob, cause = declared.target.file, "no file of this folder has such a name"
                self.sightings.append(Sighting(glob, 0, declared.setter, "", "", "unmatched", cause))
        return CommitPlan(self.edits, tuple(self.changes), tuple(self.sightings))

    def _read(self, path: str, blob: str) -> tuple[Reading, str]:
        """Return what the file's markers ask for, and Git's name for its content."""
        kind = kind_of(path)
        blob = blob or blob_id(self.files[path])
        found = self.known.get((kind, blob))
        if found is None:
            found = read(kind, self.files[path])
            remember(self.known, kind, blob, found)
        return found, blob

    def _place(self, path: str, reading: Reading) -> Placed:
        """Return the file's places: those of its markers, and those that targets lead to."""
        declared = [target for glob, target in self.targets if glob.fullmatch(path)]
        if not declared:
            return Placed(reading.places, reading)
        self.reached.update(declared)
        return find_places(mend(path), self.files[path], reading, declared, self.values)

    def _set(self, path: str, blob: str, placed: Placed, seen: list[Sighting]) -> list[Sighting]:
        """Set the places that are pending, and return what was seen; an edit that cannot be proven is not made."""
        pending = [(place, s.desired) for place, s in zip(placed.places, seen, strict=True) if s.state == "pending"]
        try:
            mark, text = decode(self.files[path])
            text, after = set_values(text, placed, {place.start: desired for place, desired in pending})
        except Unparsable as error:
            return [s._replace(state="unparsable", cause=str(error)) if s.state == "pending" else s for s in seen]
        self.edits[path] = edited = mark + text.encode()
        if after is not None:
            remember(self.known, "yaml", blob_id(edited, like=blob), after)
        file = mend(path)
        self.changes += (Change(file, place.setter, place.value, desired, place.object) for place, desired in pending)
        return seen
