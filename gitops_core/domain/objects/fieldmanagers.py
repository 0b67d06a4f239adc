"""Who owns what of a live object, as its metadata.managedFields say.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops_core.meta import Manifest

Entry = Mapping[str, Any]


def list_entries(live: Manifest) -> tuple[Entry, ...]:
    return tuple((live.get("metadata") or {}).get("managedFields") or ())


def is_by(entry: Entry, manager: str, operation: str) -> bool:
    found = entry.get("manager"), entry.get("operation"), entry.get("subresource", "")
    return found == (manager, operation, "")


def owns_metadata(entry: Entry, name: str) -> bool:
    """Tell whether an entry owns the annotation or label `name`."""
    metadata = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
    return any(f"f:{name}" in (metadata.get(place) or {}) for place in ("f:annotations", "f:labels"))


def applies_metadata(live: Manifest, name: str, manager: str) -> bool:
    """Tell whether `manager` applied the annotation or label `name` of `live`."""
    return any(is_by(entry, manager, "Apply") and owns_metadata(entry, name) for entry in list_entries(live))
