"""Fields that kubectl applied become ours, so that what the manifest does not say goes away.

An object made by `kubectl apply` and then taken into Git has its fields twice: kubectl's and ours. A field that Git
drops would stay, because kubectl still owns it. So kubectl's entries in managedFields are merged into ours; the next
apply then removes what the manifest does not say.

    kubectl* (Apply, Update), before-first-apply (Update)  ->  kustomize-controller (Apply)
    kustomize-controller (Update)                          ->  kustomize-controller (Apply)

The names are prefixes: kubectl signs as kubectl-client-side-apply, kubectl-edit, kubectl-patch and more.

Source: Flux, ApplyCleanupOptions of kustomize-controller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops_core.meta import Manifest

MANAGER = "kustomize-controller"
TAKEN_OVER = {"Apply": ("kubectl",), "Update": ("kubectl", "before-first-apply", MANAGER)}
REMOVED_ANNOTATIONS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/checksum",
    "fluxcd.io/sync-checksum",
)
REMOVED_LABELS = ("fluxcd.io/sync-gc-mark",)


def takeover_patch(live: Manifest) -> list[dict[str, Any]]:
    """A JSON patch that gives the fields of the managers above to us; empty when there is nothing to do.

    Args:
        live: as the API server returned it from our own apply, so that there is an entry of ours.
    """
    metadata = live["metadata"]
    entries = list(metadata.get("managedFields") or ())
    ours = next((entry for entry in entries if _is(entry, MANAGER, "Apply")), None)
    taken = [entry for entry in entries if _is_taken(entry)]
    places = (("annotations", REMOVED_ANNOTATIONS), ("labels", REMOVED_LABELS))
    removed = [(place, name) for place, names in places for name in names if name in (metadata.get(place) or {})]
    if ours is None or not (taken or removed):
        return []
    fields: Mapping[str, Any] = ours.get("fieldsV1") or {}
    for entry in taken:
        fields = _merged(fields, entry.get("fieldsV1") or {})
    kept = [{**entry, "fieldsV1": fields} if entry is ours else entry for entry in entries if not _is_taken(entry)]
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": kept},
    ]
    return patch + [{"op": "remove", "path": f"/metadata/{place}/{_pointer(name)}"} for place, name in removed]


def _is(entry: Mapping[str, Any], manager: str, operation: str) -> bool:
    return (entry.get("manager"), entry.get("operation"), entry.get("subresource", "")) == (manager, operation, "")


def _is_taken(entry: Mapping[str, Any]) -> bool:
    prefixes = TAKEN_OVER.get(entry.get("operation", ""), ())
    return str(entry.get("manager", "")).startswith(prefixes) and not entry.get("subresource")


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for name, value in other.items():
        merged[name] = _merged(merged.get(name) or {}, value or {})
    return merged


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
