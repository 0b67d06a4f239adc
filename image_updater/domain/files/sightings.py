"""What is known of each place that follows a policy: nothing is passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from image_updater.domain.files.helm import ACTION
from image_updater.domain.files.scalars import can_spell

State = Literal["applied", "pending", "held", "unmatched", "ambiguous", "unparsable"]
"""It says what the policy chose; it will; it must not be set; no policy of that name, or no place for it; two policies
want it; it cannot be read."""


class Setter(NamedTuple):
    """`namespace:name` and the part that a marker sets: "", tag, name or digest."""

    base: str
    part: str


def parse_setter(text: str) -> Setter:
    """Split the text of a setter into its policy and its part.

    >>> parse_setter("shop:web:tag"), parse_setter("shop:web")
    (Setter(base='shop:web', part='tag'), Setter(base='shop:web', part=''))
    """
    namespace, _, rest = text.partition(":")
    name, _, part = rest.partition(":")
    return Setter(f"{namespace}:{name}", part)


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


def find_torn_images(sightings: Iterable[Sighting]) -> dict[tuple[str, str], str]:
    """Why the values of a policy in a file must not move, by file and setter base: name, tag and digest are one image.

    Of a policy that sets these apart, one alone would name an image that nobody chose.
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


def _obstacle(desired: str, current: str) -> str:
    if not desired:  # the original writes an empty digest over the value
        return "the policy has no such value: a value is never emptied"
    if not can_spell(desired):
        return "the policy's image is not one that a file could name"
    return "a template writes this value" if ACTION in current else ""
