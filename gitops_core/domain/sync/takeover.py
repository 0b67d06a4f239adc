"""Fields that kubectl applied become ours, so that what the manifest does not say goes away.

An object made by `kubectl apply` and then taken into Git has its fields twice: kubectl's and ours. A field that Git
drops would stay, because kubectl still owns it. So kubectl's entries in managedFields are merged into ours; the next
apply then removes what the manifest does not say.

    kubectl* (Apply, Update), before-first-apply* (Update)  ->  the owner's manager (Apply)
    the owner's manager (Update)                            ->  the owner's manager (Apply)

kubectl signs as kubectl-client-side-apply, kubectl-edit, kubectl-patch and more. Directives that somebody set by hand
(`kustomize.toolkit.fluxcd.io/prune: disabled`) stay his: they are meant for us.

Source: Flux, ApplyCleanupOptions of kustomize-controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gitops_core.domain.objects.fieldmanagers import Entry, is_by, list_entries
from gitops_core.domain.sync.ownership import Ownership
from gitops_core.meta import Manifest

TAKEN_OVER = {"Apply": ("kubectl",), "Update": ("kubectl", "before-first-apply")}
REMOVED_ANNOTATIONS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/checksum",
    "fluxcd.io/sync-checksum",
)
REMOVED_LABELS = ("fluxcd.io/sync-gc-mark",)

Fields = dict[str, Any]


def make_takeover_patch(live: Manifest, ownership: Ownership) -> list[dict[str, Any]]:
    """Make a JSON patch that gives the fields of the managers above to the owner's; empty when none is needed.

    Args:
        live: as the API server returned it from the owner's apply, so that there is an entry of its manager.
    """
    metadata, entries = live["metadata"], list_entries(live)
    places = (("annotations", REMOVED_ANNOTATIONS), ("labels", REMOVED_LABELS))
    removed = [(place, name) for place, names in places for name in names if name in (metadata.get(place) or {})]
    manager = ownership.manager
    if not any(is_by(entry, manager, "Apply") for entry in entries):  # the owner has no entry to take them into
        return []
    taken: Fields = {}
    others: list[Entry] = []
    for entry in entries:
        kept, given = _split(entry, ownership.directives.names) if _is_taken(entry, manager) else (entry, {})
        taken = _merge(taken, given)
        if kept:  # an entry that gave all its fields away goes
            others.append(kept)
    if not (taken or removed):
        return []
    left = [
        {**entry, "fieldsV1": _merge(entry.get("fieldsV1") or {}, taken)} if is_by(entry, manager, "Apply") else entry
        for entry in others
    ]
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": left},
    ]
    return patch + [{"op": "remove", "path": f"/metadata/{place}/{_escape(name)}"} for place, name in removed]


def _is_taken(entry: Entry, manager: str) -> bool:
    prefixes = TAKEN_OVER.get(entry.get("operation", ""), ())
    is_kubectls = str(entry.get("manager", "")).startswith(prefixes) and not entry.get("subresource")
    return is_kubectls or is_by(entry, manager, "Update")


def _split(entry: Entry, directives: Iterable[str]) -> tuple[Entry | None, Fields]:
    """Return what stays of an entry (its directives), and the fields that are taken from it."""
    fields = entry.get("fieldsV1") or {}
    metadata = fields.get("f:metadata") or {}
    kept: Fields = {}
    for place in ("f:annotations", "f:labels"):
        found: Fields = {f"f:{name}": {} for name in sorted(directives) if f"f:{name}" in (metadata.get(place) or {})}
        if found:
            kept[place] = found
    if not kept:
        return None, fields
    return {**entry, "fieldsV1": {"f:metadata": kept}}, _subtract(fields, {"f:metadata": kept})


def _subtract(fields: Mapping[str, Any], kept: Mapping[str, Any]) -> Fields:
    """Subtract from `fields` what is `kept`, and what holds nothing else (`.` stands for the map itself)."""
    rest: Fields = {}
    for name, value in fields.items():
        if name not in kept:
            rest[name] = value
        elif kept[name] and (inner := _subtract(value or {}, kept[name])) and set(inner) != {"."}:
            rest[name] = inner
    return rest


def _merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> Fields:
    merged = dict(one)
    for name, value in other.items():
        merged[name] = _merge(merged.get(name) or {}, value or {})
    return merged


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
