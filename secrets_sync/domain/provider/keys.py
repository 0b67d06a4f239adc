"""Keys of a Secret made of names that a provider allows and Kubernetes does not.

    a/b   Default -> a_b        Unicode -> a_U002f_b

Source: External Secrets, runtime/esutils. Unlike there, letters beyond ASCII are refused here: the API server would.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Literal, TypeVar

T = TypeVar("T")

MAX_LENGTH = 253


def convert(entries: Mapping[str, T], strategy: Literal["Default", "Unicode"]) -> dict[str, T]:
    """Replace foreign characters in the keys of `entries`. Raises ValueError: two keys become the same."""
    result: dict[str, T] = {}
    for name, value in entries.items():
        key = "".join(_convert_character(character, strategy) for character in name)
        if key in result:
            raise ValueError(f"two keys become {key!r}: choose conversionStrategy Unicode, or rename one")
        result[key] = value
    return result


def _convert_character(character: str, strategy: Literal["Default", "Unicode"]) -> str:
    if character in "-._" or unicodedata.category(character)[0] in "LN":
        return character
    return "_" if strategy == "Default" else f"_U{ord(character):04x}_"


def check(entries: Mapping[str, T]) -> dict[str, T]:
    """Check `entries`, without the empty key, which names nothing. Raises ValueError: a key that no Secret may have."""
    for key in entries:
        if len(key.encode(errors="replace")) > MAX_LENGTH:
            raise ValueError(f"the key {key[:40]!r}... has more than {MAX_LENGTH} characters")
        if not re.fullmatch(r"[-._a-zA-Z0-9]*", key):
            raise ValueError(f"the key {key!r} has other characters than letters, digits, '-', '.' and '_'")
    return {key: value for key, value in entries.items() if key}
