"""What a Kustomization writes on its objects, and what it reads on them.

Written: two labels that name the owner, and spec.commonMetadata, which wins over what the manifest says.
Read, as annotation or label, value compared without case, in the manifest or, set by hand, in the cluster:

    kustomize.toolkit.fluxcd.io/reconcile: disabled     neither applied nor pruned
    kustomize.toolkit.fluxcd.io/ssa: Override           the default
                                     Merge              other managers keep their fields
                                     IfNotPresent       created, never changed
                                     Ignore             neither applied nor pruned
    kustomize.toolkit.fluxcd.io/prune: disabled         never pruned

A mark that we applied ourselves ends with the manifest that names it; one that somebody else owns holds until he takes
it away.

Source: Flux, kustomize-controller.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitops_core.domain.objects import fieldmanagers
from gitops_core.meta import Manifest, ObjectKey

PREFIX = "kustomize.toolkit.fluxcd.io"
OWNER_NAME = f"{PREFIX}/name"
OWNER_NAMESPACE = f"{PREFIX}/namespace"
MARKS = tuple(f"{PREFIX}/{key}" for key in ("reconcile", "ssa", "prune", "force", "substitute", "decrypt"))


def owner_labels(owner: ObjectKey) -> dict[str, str]:
    return {OWNER_NAME: owner.name, OWNER_NAMESPACE: owner.namespace}


def is_owned_by(manifest: Manifest, owner: ObjectKey) -> bool:
    labels = (manifest.get("metadata") or {}).get("labels") or {}
    return all(labels.get(key) == value for key, value in owner_labels(owner).items())


def is_owned(manifest: Manifest) -> bool:
    """Whether any Kustomization owns it: then its changes are watched."""
    return OWNER_NAME in ((manifest.get("metadata") or {}).get("labels") or {})


def with_metadata(manifest: Manifest, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Manifest:
    """`manifest` with these labels and annotations, which win; without any, the maps are left as they are."""
    metadata = dict(manifest.get("metadata") or {})
    if labels:
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    if annotations:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
    return {**manifest, "metadata": metadata}


def says(manifest: Manifest, key: str, value: str) -> bool:
    """Whether an annotation or label `kustomize.toolkit.fluxcd.io/<key>` has `value`, whatever its case."""
    metadata = manifest.get("metadata") or {}
    found = ((metadata.get(place) or {}).get(f"{PREFIX}/{key}") for place in ("annotations", "labels"))
    return any(isinstance(text, str) and text.lower() == value.lower() for text in found)


def is_excluded(manifest: Manifest) -> bool:
    """Neither applied nor pruned."""
    return says(manifest, "reconcile", "disabled") or says(manifest, "ssa", "Ignore")


def is_left_alone(wanted: Manifest, live: Manifest) -> bool:
    """Whether an object that exists is not to be applied, by its manifest or by marks that others set on it."""
    if is_excluded(live) or is_create_only(wanted):
        return True
    return is_create_only(live) and not fieldmanagers.applies_metadata(live, f"{PREFIX}/ssa")


def may_hide_marks(wanted: Manifest) -> bool:
    """Whether applying the manifest would replace a mark by which others exclude the object."""
    metadata = wanted.get("metadata") or {}
    places = [metadata.get(place) or {} for place in ("annotations", "labels")]
    return any(f"{PREFIX}/{key}" in place for key in ("reconcile", "ssa") for place in places)


def is_create_only(manifest: Manifest) -> bool:
    return says(manifest, "ssa", "IfNotPresent")


def keeps_other_managers(manifest: Manifest) -> bool:
    return says(manifest, "ssa", "Merge")


def may_be_pruned(live: Manifest, owner: ObjectKey) -> bool:
    """Whether `live` may be deleted on behalf of `owner`: it must be ours, and nobody asked to keep it."""
    return is_owned_by(live, owner) and not says(live, "prune", "disabled") and not is_excluded(live)
