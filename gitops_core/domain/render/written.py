"""Objects as they are kept, each as JSON: a fifth of what they take, and read one by one, so that other threads have
their turns.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gitops_core.decoding import decode_json
from gitops_core.meta import Manifest

Written = tuple[bytes, ...]

BYTES_OF_WEIGHT = 8
"""Bytes of JSON that C decodes while Python looks at one character."""


def write_manifests(manifests: Iterable[Manifest]) -> Written:
    return tuple(map(msgspec.json.encode, manifests))


def read_written(written: Written) -> tuple[Manifest, ...]:
    return tuple(map(decode_json, written))


def estimate_reading(written: Written) -> int:
    """Estimate the weight of reading it (Compute.run)."""
    return sum(map(len, written)) // BYTES_OF_WEIGHT
