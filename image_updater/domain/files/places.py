"""What the edits of a file are about: values in it that follow a policy.

    image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "shop:app"}      a marker's place      walks, readings
    {"image": {"tag": "1.0.0"}}                                      a target's place      leaves, targets

Whoever finds a place says where its spelling stands; whoever judges, sets or reports one need not know who found it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


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


class ObjectIdentifier(NamedTuple):
    """The object that a value belongs to; in an item of a `kind: List`, that item. Empty where the file has none."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""


class Demand(NamedTuple):
    """What a target asks of a place beyond what its setter sets.

    Attributes:
        group: places of a file with the same number change together or not at all.
        desired: what is to stand there in place of the setter's value: a piece of it, or two of them; None for neither.
        obstacle: why it must not be set, whatever is desired.
    """

    group: int
    desired: str | None = None
    obstacle: str = ""


class Place(NamedTuple):
    """A value in a file that follows a policy, by a marker or by a target.

    Attributes:
        setter: the policy and the part of its image, as a marker names them.
        value: as the file's format reads it; where a template writes it, as it is spelled.
        start, end: the characters of the text that spell it, quotes included.
        line: counted from 1.
        style: the quote that it stands in.
        demand: a target's; a marker has none.
    """

    setter: str
    value: str
    style: str
    start: int
    end: int
    line: int
    object: ObjectIdentifier = ObjectIdentifier()
    demand: Demand | None = None

    def find_desired(self, values: Mapping[str, str]) -> str | None:
        """Return what is to stand here; "" when the policy has no such value, None when there is no such policy.

        Args:
            values: what each setter sets.
        """
        if self.demand is not None and self.demand.desired is not None:
            return self.demand.desired
        return values.get(self.setter)
