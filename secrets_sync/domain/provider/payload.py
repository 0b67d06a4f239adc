"""What a provider is asked for, and what it holds there.

stored as          value                    members
one value          that value               none, even where the value happens to be a JSON object
names and values   the JSON object of all   each value under its name
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gitops_core.meta import Sensitive


class SecretRef(NamedTuple):
    """A key of a provider and one of its versions, "" for the newest."""

    key: str
    version: str = ""


@dataclass(frozen=True)
class Payload:
    """What is stored under one key.

    Attributes:
        value: all of it.
        members: its values by name, where the provider stores them so: a property means such a name before it means a
            path. None where it stores one value.
        metadata: what the provider says about it, as it says it; its `version` among it where versions are counted.
    """

    value: Sensitive
    members: Mapping[str, Sensitive] | None = field(default=None, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        members = self.members or {}
        return len(self.value.reveal()) + sum(len(name) + len(value.reveal()) for name, value in members.items())
