"""Who owns what of a live object, as its metadata.managedFields say.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gitops_core.meta import Manifest

MANAGER = "kustomize-controller"
"""Who applies the objects of a Kustomization: Flux's name, so that both own the same fields."""

Entry = Mapping[str, Any]


def entries_of(live: Manifest) -> tuple[Entry, ...]:
    return tuple((live.get("metadata") or {}).get("managedFields") or ())


def is_by(entry: Entry, manager: str, operation: str) -> bool:
    found = entry.get("manager"), entry.get("operation"), entry.get("subresource", "")
    return found == (manager, operation, "")


def owns_metadata(entry: Entry, name: str) -> bool:
    """Tell whether an entry owns the annotation or label `name`."""
    metadata = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
    return any(f"f:{name}" in (metadata.get(place) or {}) for place in ("f:annotations", "f:labels"))


def applies_metadata(live: Manifest, name: str) -> bool:
    """Tell whether we applied the annotation or label `name` of `live`."""
    return any(owns_metadata(entry, name) for entry in _ours(live))


def _ours(live: Manifest) -> Iterator[Entry]:
    return (entry for entry in entries_of(live) if is_by(entry, MANAGER, "Apply"))
