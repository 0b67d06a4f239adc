"""What objects say of themselves and of others, read from what a cluster holds: anything may stand there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gitops_core.domain.sync.inventory import parse_id
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster

SOURCES = "source.toolkit.fluxcd.io"


def find_condition(live: Manifest, type_: str) -> Mapping[str, Any]:
    """Find a condition of an object; {} when it says none of that type."""
    conditions: Sequence[Mapping[str, Any]] = (live.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == type_), {})


def list_inventory(kustomization: Manifest) -> list[ObjectRef]:
    """List what a Kustomization made, in the order of its inventory, without what is no entry of one."""
    found = []
    for entry in ((kustomization.get("status") or {}).get("inventory") or {}).get("entries") or ():
        try:
            found.append(parse_id(str(entry["id"]), str(entry["v"])))
        except (KeyError, ValueError):
            continue
    return found


def find_source_name(live: Manifest) -> tuple[str, Mapping[str, Any]] | None:
    """Find what an object is made from, as its spec names it: the group of its kind, and kind, name, namespace."""
    spec = live.get("spec") or {}
    policy, source = spec.get("imageRepositoryRef"), spec.get("sourceRef")
    named: Mapping[str, Any] | None = {"kind": "ImageRepository", **policy} if policy else source
    if not named or not named.get("kind") or not named.get("name"):
        return None
    return Kind.of_manifest(live).group if policy else SOURCES, named


def is_elsewhere(kustomization: Manifest) -> bool:
    """Tell whether a Kustomization is applied to another cluster: objects of the same names here are not its own."""
    return bool((kustomization.get("spec") or {}).get("kubeConfig"))


async def find_source(
    cluster: Cluster, named: Mapping[str, Any], namespace: str, group: str = SOURCES
) -> ObjectRef | None:
    """Find the object that a reference of kind, name and perhaps namespace means.

    Args:
        namespace: of who refers to it.

    Returns:
        None: the cluster does not serve its kind.
    """
    served = await cluster.list_api_resources()
    kind = next((one.kind for one in served if (one.kind.group, one.kind.kind) == (group, named["kind"])), None)
    return None if kind is None else ObjectRef(kind, ObjectKey(named.get("namespace") or namespace, named["name"]))
