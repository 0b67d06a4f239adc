"""Which Namespaces and definitions an owner made: it deletes no others, because a Namespace goes with everything
in it, and a CustomResourceDefinition with everybody's objects of that kind.

What we create is created with an annotation that the field manager `sealoop` owns. A copy of the manifest, or the same
annotation in Git, has another owner and so proves nothing; nor does being the one who applies it now. What another
owner made is somebody else's: that one, or who relies on it, did not ask for its end.

    sealoop.dev/created-by: <namespace>/<name of the Kustomization>, or what else the ownership says
"""

from __future__ import annotations

from typing import Any

from gitops_core.domain.objects.fieldmanagers import is_by, list_entries, owns_metadata
from gitops_core.domain.sync.ownership import Ownership, add_metadata
from gitops_core.meta import Kind, Manifest

NAMESPACE = Kind("", "v1", "Namespace")
DEFINITION = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
CREATOR = "sealoop"
CREATED_BY = "sealoop.dev/created-by"


def holds_others(kind: Kind) -> bool:
    """Return whether other objects go with one of that kind."""
    return (kind.group, kind.kind) in {(known.group, known.kind) for known in (NAMESPACE, DEFINITION)}


def make_blank(manifest: Manifest, ownership: Ownership) -> Manifest:
    """Make what to create, with the field manager CREATOR, before `manifest` is applied: no more than it must have.

    Of a definition that is what can never change: CREATOR owns nothing that a later manifest could leave out.
    """
    metadata = {"name": manifest["metadata"]["name"], "annotations": {CREATED_BY: ownership.creator}}
    about = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": metadata}
    return about | {"spec": _make_blank_spec(manifest["spec"])} if manifest["kind"] == DEFINITION.kind else about


def note_creator(manifest: Manifest, ownership: Ownership) -> Manifest:
    """Note that the owner created `manifest`, as that will be, where others' objects may go with it."""
    is_noted = holds_others(Kind.of_manifest(manifest))
    return add_metadata(manifest, {}, {CREATED_BY: ownership.creator}) if is_noted else manifest


def may_be_deleted(live: Manifest, ownership: Ownership) -> bool:
    """Return whether the owner made it; True for what no other objects go with."""
    if not holds_others(Kind.of_manifest(live)):
        return True
    creator = (live["metadata"].get("annotations") or {}).get(CREATED_BY)
    ours = (entry for entry in list_entries(live) if is_by(entry, CREATOR, "Update"))
    is_proven = any(owns_metadata(entry, CREATED_BY) for entry in ours)
    return is_proven and creator == ownership.creator


def is_adopted(live: Manifest | None, ownership: Ownership) -> bool:
    """Return whether applying to `live` gives the owner what others' objects go with, and what it did not make."""
    return live is not None and not may_be_deleted(live, ownership) and not ownership.owns(live)


def _make_blank_spec(spec: dict[str, Any]) -> dict[str, Any]:
    names = {name: spec["names"][name] for name in ("plural", "kind")}
    stored = next(version["name"] for version in spec["versions"] if version.get("storage"))
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": stored, "served": False, "storage": True, "schema": schema}
    return {"group": spec["group"], "scope": spec["scope"], "names": names, "versions": [version]}
