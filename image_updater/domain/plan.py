"""What to commit so that the marked files of a folder say what the policies chose.

    files (path -> bytes) and images (policy -> image)  ->  CommitPlan: new bytes by path, and every marker's state

A plan is made from one commit and is pure: when somebody else pushed, it is made again on the new commit. Planning what
a plan leads to leads to nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from image_updater.api import ImageRef
from image_updater.domain.edits import Edit, decode, set_values
from image_updater.domain.markers import Marked, ObjectIdentifier, Unparsable, find_markers, is_considered
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
) -> CommitPlan:
    """The edits that bring every marked value of `files` to `values`, which `setters` made.

    Files of other names than *.yaml, *.yml and Kustomization are not looked at.

    Args:
        files: those that hold `SCREEN` and those that `targeted` names; others do no harm.
        hold: why a value that would change must not; "" when it may. It is asked once for each.
    """
    edits: dict[str, bytes] = {}
    changes: list[Change] = []
    sightings: list[Sighting] = []
    for path in sorted(files):
        if not is_considered(path):
            continue
        try:
            content, seen, changed = _plan_file(path, files[path], values, hold)
        except Unparsable as error:
            sightings.append(Sighting(path, 0, "", "", "", "unparsable", str(error)))
            continue
        sightings += seen
        if changed:
            edits[path] = content
            changes += changed
    return CommitPlan(edits, tuple(changes), tuple(sightings))


def _plan_file(
    path: str, content: bytes, values: Mapping[str, str], hold: Callable[[Spot], str]
) -> tuple[bytes, list[Sighting], list[Change]]:
    mark, text = decode(content)
    pending: list[Edit] = []
    seen: list[Sighting] = []
    parsed = find_markers(text)
    for marked in parsed.marked:
        sighting = _judge(path, marked, values)
        if sighting.state == "pending" and (cause := hold(Spot(path, marked.setter, marked.value, sighting.desired))):
            sighting = sighting._replace(state="held", cause=cause)
        seen.append(sighting)
        if sighting.state == "pending":
            pending.append(Edit(marked, sighting.desired))
    if not pending:
        return content, seen, []
    changed = [Change(path, m.object, m.value, value, m.setter) for m, value in pending]
    return mark + set_values(parsed, pending).encode(), seen, changed


def _judge(path: str, marked: Marked, values: Mapping[str, str]) -> Sighting:
    desired = values.get(marked.setter)
    found = Sighting(path, marked.line, marked.setter, marked.value, desired or "", "pending")
    if desired is None:
        return found._replace(state="unmatched", cause="no policy of this namespace has this name and form")
    if desired == marked.value:
        return found._replace(state="applied")
    if not desired:  # the original writes an empty digest over the value
        return found._replace(state="held", cause="the policy has no such value: a value is never emptied")
    if not can_spell(desired):
        return found._replace(state="held", cause="the policy's image is not one that a file could name")
    return found
