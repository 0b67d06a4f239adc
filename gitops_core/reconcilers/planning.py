"""From a Kustomization's spec and its built objects to a plan: one for who carries it out and who only shows it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from gitops_core.api import Inventory, InventoryEntry, Kustomization, KustomizationStatus
from gitops_core.api.kustomization import CommonMetadata
from gitops_core.domain.sync import inventory
from gitops_core.domain.sync.history import list_applied_revisions
from gitops_core.domain.sync.ignoring import IgnoreRules
from gitops_core.domain.sync.normalization import normalize
from gitops_core.domain.sync.ownership import Ownership, add_metadata
from gitops_core.domain.sync.plan import SyncPlan, plan_sync
from gitops_core.domain.sync.prunelimit import CONFIRM, PruneGuarded, PruneLimit, list_confirmations
from gitops_core.errors import StalledError
from gitops_core.meta import Manifest, ObjectRef
from gitops_core.ports import Overlay


def make_plan(
    wanted: Kustomization, scoped: Sequence[Manifest], ownership: Ownership, confirmations: Collection[str] = ()
) -> SyncPlan:
    """Plan the sync of the built objects.

    Args:
        confirmations: texts of the annotation by which a person means whatever is deleted.

    Raises:
        PruneGuarded: it would delete more than it may.
        StalledError: something in the spec, the annotations or the inventory cannot be read.
    """
    annotations, common = wanted.metadata.annotations, wanted.spec.common_metadata
    return plan_sync(
        [_mark(normalize(manifest), ownership, common) for manifest in scoped],
        parse_inventory(wanted.status),
        ownership,
        prune=wanted.spec.prune,
        limit=PruneLimit.of(annotations),
        confirmed=annotations.get(CONFIRM, "").strip() in confirmations,
        ignore=IgnoreRules.parse(wanted.spec.ignore),
    )


def plan_revision(wanted: Kustomization, scoped: Sequence[Manifest], ownership: Ownership, revision: str) -> SyncPlan:
    """Plan the sync of the objects built at `revision`, whose deletions a person may have confirmed.

    Raises:
        PruneGuarded: it would delete more than it may; the message says how to confirm it.
        StalledError: as make_plan.
    """
    names = list_confirmations(revision, list_applied_revisions(wanted.status), wanted.metadata.generation)
    try:
        return make_plan(wanted, scoped, ownership, names)
    except PruneGuarded as error:
        hint = f"mend Git, or confirm this with the annotation {CONFIRM}: {names[0]}"
        raise PruneGuarded(f"{error}; {hint}") from None


def make_overlay(wanted: Kustomization) -> Overlay:
    """Return what the spec adds to the folder that it names."""
    spec = wanted.spec
    lists = {
        "images": msgspec.to_builtins(spec.images),
        "patches": msgspec.to_builtins(spec.patches),
        "components": [] if spec.ignore_missing_components else list(spec.components),
        "buildMetadata": list(spec.build_metadata),
    }
    return Overlay(
        namespace=spec.target_namespace or "",
        name_prefix=spec.name_prefix or "",
        name_suffix=spec.name_suffix or "",
        fields=tuple((name, items) for name, items in lists.items() if items),
        optional_components=spec.components if spec.ignore_missing_components else (),
    )


def _mark(manifest: Manifest, ownership: Ownership, common: CommonMetadata | None) -> Manifest:
    """Return `manifest` with the common metadata, and the owner's mark, which wins: what is ours must be pruned."""
    with_metadata = add_metadata(manifest, common.labels, common.annotations) if common else manifest
    return ownership.add_mark(with_metadata)


def list_entries(stored: Inventory | None) -> tuple[InventoryEntry, ...]:
    return stored.entries if stored is not None else ()


def parse_inventory(status: KustomizationStatus) -> tuple[ObjectRef, ...]:
    """Parse the inventory's objects. Raises StalledError: an entry is not one of ours or Flux's."""
    refs, faults = sift_inventory(status)
    if faults:
        raise StalledError(f"status.inventory: {faults[0]}: take it out (kubectl edit --subresource=status)")
    return refs


def sift_inventory(status: KustomizationStatus) -> tuple[tuple[ObjectRef, ...], tuple[str, ...]]:
    """Sift the inventory: its objects, and what is wrong with entries that name none."""
    refs, faults = [], []
    for entry in list_entries(status.inventory):
        try:
            refs.append(inventory.parse_id(entry.id, entry.v))
        except ValueError as error:
            faults.append(str(error))
    return tuple(refs), tuple(faults)
