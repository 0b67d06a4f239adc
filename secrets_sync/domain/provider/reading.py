"""What a provider answered for the entries of an ExternalSecret.

key is there, property found        its values
the server says that it is not      Absent: the only answer by which a Secret may lose something
nothing is what a find means        NoneFound: the same, of all that the server lists
anything else                       an error is raised, and nothing is decided: a mistake is no answer
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitops_core.meta import Sensitive


@dataclass(frozen=True)
class Absent:
    """A provider's word that it has no such key, or no such version of it.

    Attributes:
        where: the provider, as messages call it.
        proof: what the server said, of a place that the server confirms to be the one that the store means.
    """

    where: str
    key: str
    version: str
    proof: str

    def __str__(self) -> str:
        version = f" of version {self.version!r}" if self.version else ""
        return f"{self.where}: no key {self.key!r}{version} ({self.proof})"


@dataclass(frozen=True)
class NoneFound:
    """A provider's word that it has nothing that a find means.

    Attributes:
        proof: how the provider confirms that what it listed is all, at the place that the store means.
    """

    where: str
    proof: str


Answer = Mapping[str, Sensitive] | Absent | NoneFound

KEY_WEIGHT = 20
"""What a key counts, whatever its value: bytes that are as much work to hash and to encode."""


def weigh_values(values: Mapping[str, Sensitive]) -> int:
    return sum(KEY_WEIGHT + len(value.reveal()) for value in values.values())


@dataclass(frozen=True)
class Reading:
    """One answer for each entry: of spec.dataFrom, then of spec.data; of equal keys the later wins."""

    answers: tuple[Answer, ...] = ()

    @property
    def values(self) -> dict[str, Sensitive]:
        values: dict[str, Sensitive] = {}
        for answer in self.answers:
            if isinstance(answer, Mapping):
                values |= answer
        return values

    @property
    def weight(self) -> int:
        """About how much work the values are."""
        return sum(weigh_values(answer) for answer in self.answers if isinstance(answer, Mapping))

    @property
    def is_empty(self) -> bool:
        """Tell whether there are no values."""
        return not any(answer for answer in self.answers if isinstance(answer, Mapping))

    @property
    def is_gone(self) -> bool:
        """Tell whether the provider says of each entry that there is nothing; no entries are no such word."""
        return bool(self.answers) and not any(isinstance(answer, Mapping) for answer in self.answers)
