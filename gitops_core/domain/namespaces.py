"""Which Namespaces a Kustomization made: it deletes no others, because a Namespace goes with everything in it.

What we create is created with an annotation that the field manager `sealoop` owns. A copy of the manifest, or the same
annotation in Git, has another owner and so proves nothing; nor does being the one who applies it now. What another
Kustomization made is somebody else's: that one, or who relies on it, did not ask for its end.

    sealoop.dev/created-by: <namespace>/<name of the Kustomization>
"""

from __future__ import annotations

from gitops_core.domain import labels
from gitops_core.domain.fieldmanagers import entries_of, is_by, owns_metadata
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef

NAMESPACE = Kind("", "v1", "Namespace")
CREATOR = "sealoop"
CREATED_BY = "sealoop.dev/created-by"


def new_namespace(ref: ObjectRef, owner: ObjectKey) -> Manifest:
    """What to create, with the field manager CREATOR, before the manifest is applied."""
    metadata = {"name": ref.key.name, "annotations": {CREATED_BY: str(owner)}}
    return {"apiVersion": ref.kind.api_version, "kind": ref.kind.kind, "metadata": metadata}


def may_be_deleted(live: Manifest, owner: ObjectKey) -> bool:
    """Whether `owner` made it; True for whatever is no Namespace."""
    if Kind.of_manifest(live) != NAMESPACE:
        return True
    creator = (live["metadata"].get("annotations") or {}).get(CREATED_BY)
    is_proven = any(is_by(entry, CREATOR, "Update") and owns_metadata(entry, CREATED_BY) for entry in entries_of(live))
    return is_proven and creator == str(owner)


def is_adopted(live: Manifest | None, owner: ObjectKey) -> bool:
    """Whether applying to `live` gives `owner` a Namespace that it did not make."""
    return live is not None and not may_be_deleted(live, owner) and not labels.is_owned_by(live, owner)
