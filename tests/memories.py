"""What a reconciler remembers of an object: a process of months sees many names come and go."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from typing import Any


def remembering(reconciler: Any, name: str) -> list[str]:
    """The dicts and sets of a reconciler, and of the parts it is made of, with a key that tells of `name`."""
    found = []
    for field in dataclasses.fields(reconciler):
        value = getattr(reconciler, field.name)
        if dataclasses.is_dataclass(value) and ".reconcilers" in type(value).__module__:
            found += remembering(value, name)
        elif isinstance(value, Mapping | Set) and any(name in str(key) for key in value):
            found.append(f"{type(reconciler).__name__}.{field.name}")
    return found
