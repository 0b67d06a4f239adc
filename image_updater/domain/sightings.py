"""What is known of each place that follows a policy: nothing is passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from image_updater.domain.helm import ACTION
from image_updater.domain.scalars import can_spell

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
    """Why `spot` must not change now; "" when it may."""
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


class Judge(NamedTuple):
    """Decides what becomes of each place."""

    values: Mapping[str, str]
    hold: Callable[[Spot], str]

    def marker(self, file: str, line: int, setter: str, current: str) -> Sighting:
        return self.place(file, line, setter, current, self.values.get(setter))

    def place(
        self, file: str, line: int, setter: str, current: str, desired: str | None, obstacle: str = ""
    ) -> Sighting:
        """What becomes of a value that follows `setter` and says `current`.

        Args:
            desired: None when there is no such policy, "" when it has no such value.
            obstacle: why the value must not be set, whatever is desired.
        """
        found = Sighting(file, line, setter, current, desired or "", "pending")
        if desired is None:
            return found._replace(state="unmatched", cause=self._unknown(setter))
        if desired == current and not obstacle:
            return found._replace(state="applied")
        cause = obstacle or _obstacle(desired, current) or self.hold(Spot(file, setter, current, desired))
        return found._replace(state="held", cause=cause) if cause else found

    def _unknown(self, setter: str) -> str:
        """Why there is nothing that `setter` could set."""
        namespace, _, rest = setter.partition(":")
        name, _, part = rest.partition(":")
        if not namespace or not name:
            return "it is not of the form namespace:name, with :tag, :name or :digest behind it or nothing"
        if f"{namespace}:{name}" in self.values:
            return f"there is no {part!r} of an image: there are tag, name and digest"
        return "no policy of this namespace has this name and chose an image"


def _obstacle(desired: str, current: str) -> str:
    if not desired:  # the original writes an empty digest over the value
        return "the policy has no such value: a value is never emptied"
    if not can_spell(desired):
        return "the policy's image is not one that a file could name"
    return "a template writes this value" if ACTION in current else ""
