"""Which objects belong to one: what it is made from, what it applied, and what came of that.

    GitRepository ◄── Kustomization ──inventory──► Deployment ◄──owner── ReplicaSet ◄──owner── Pod
                           └── inventory ──► Kustomization ── ...

Owners are looked up when somebody asks about an object: of each kind and namespace all at once, the first time, and
after that one by one, as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gitops_core.api import Kustomization
from gitops_core.domain.sync.inventory import spell_literally
from gitops_core.domain.sync.owners import OWNER_NAME, OWNER_NAMESPACE
from gitops_core.errors import ClusterError
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster, Query
from sealoop.objects.reading import find_source, find_source_name, is_elsewhere, list_inventory
from sealoop.objects.showing import list_all

DEEPEST = 8
"""Kustomizations within each other, and owners above each other."""

Identity = tuple[str, str, str, str]


class Roots(NamedTuple):
    """What belongs to an object without having an owner.

    Attributes:
        refs: the object itself first.
        is_elsewhere: what it applied is in another cluster.
    """

    refs: tuple[ObjectRef, ...]
    is_elsewhere: bool = False


async def find_roots(cluster: Cluster, ref: ObjectRef) -> Roots:
    """Find the object, what it is made from and what it applied, also by Kustomizations within; itself if it is gone.

    Raises:
        ClusterError: it cannot be read.
    """
    found: dict[ObjectRef, None] = {ref: None}
    live = await cluster.get(ref)
    if live is None:
        return Roots((ref,))
    if (source := await _find_source(cluster, live)) is not None:
        found[source] = None
    open_, elsewhere = [live] if _is_kustomization(ref) else [], False
    for _ in range(DEEPEST):
        applied = [one for each in open_ if not is_elsewhere(each) for one in list_inventory(each)]
        elsewhere |= any(map(is_elsewhere, open_))
        new = [one for one in applied if one not in found]
        found |= dict.fromkeys(spelled for one in applied for spelled in (one, spell_literally(one)))
        open_ = [inner for one in new if _is_kustomization(one) and (inner := await _find(cluster, one)) is not None]
        if not open_:
            break
    return Roots(tuple(found), elsewhere)


def _is_kustomization(ref: ObjectRef) -> bool:
    return (ref.kind.group, ref.kind.kind) == (Kustomization.KIND.group, Kustomization.KIND.kind)


async def _find(cluster: Cluster, ref: ObjectRef) -> Manifest | None:
    try:
        return await cluster.get(ref)
    except ClusterError:
        return None


async def _find_source(cluster: Cluster, live: Manifest) -> ObjectRef | None:
    if (named := find_source_name(live)) is None:
        return None
    group, name = named
    return await find_source(cluster, name, live["metadata"].get("namespace", ""), group)


class Family:
    """The objects that belong to some roots, as far as their owners are known.

    Attributes:
        is_growing: objects may have come since the roots were found and their kind was listed; else those that were not
            there are gone. What a Kustomization applied since says so by its labels.
    """

    is_growing = False

    def __init__(self, cluster: Cluster, roots: Iterable[ObjectRef]) -> None:
        self._cluster = cluster
        self._roots = {ref.identity for ref in roots}
        self._owners: dict[Identity, tuple[ObjectRef, ...]] = {}
        self._listed: set[tuple[Kind, str]] = set()

    async def holds(self, ref: ObjectRef) -> bool:
        """Tell whether an object is a root, or one owns it."""
        generation = [ref]
        for _ in range(DEEPEST):
            if any(map(self._is_root, generation)):
                return True
            generation = [owner for one in generation for owner in await self._list_owners(one)]
        return False

    def _is_root(self, ref: ObjectRef) -> bool:
        """Tell whether it is a root, or would be one as an owner that has no namespace."""
        group, kind, _, name = ref.identity
        return ref.identity in self._roots or (group, kind, "", name) in self._roots

    async def _list_owners(self, ref: ObjectRef) -> tuple[ObjectRef, ...]:
        if ref.identity not in self._owners:
            await self._learn(ref)
        return self._owners.setdefault(ref.identity, ())

    async def _learn(self, ref: ObjectRef) -> None:
        """Learn who owns an object; whoever may not look knows of no owner."""
        place = (ref.kind, ref.key.namespace)
        try:
            if place not in self._listed:
                self._listed.add(place)
                found, _ = await list_all(self._cluster, Query(ref.kind, ref.key.namespace, metadata_only=True))
            elif self.is_growing and (live := await self._cluster.get(ref)) is not None:
                found = [live]
            else:
                return
        except ClusterError:
            return
        for live in found:
            metadata = live["metadata"]
            key = ObjectKey(metadata.get("namespace", ""), metadata["name"])
            owners = (*_read_owners(metadata), *(_read_appliers(metadata) if self.is_growing else ()))
            self._owners[ObjectRef(ref.kind, key).identity] = owners


def _read_owners(metadata: Mapping[str, Any]) -> Iterable[ObjectRef]:
    for owner in metadata.get("ownerReferences") or ():
        kind = Kind.of(owner.get("apiVersion", ""), owner.get("kind", ""))
        yield ObjectRef(kind, ObjectKey(metadata.get("namespace", ""), owner.get("name", "")))


def _read_appliers(metadata: Mapping[str, Any]) -> Iterable[ObjectRef]:
    labels = metadata.get("labels") or {}
    if OWNER_NAME in labels and OWNER_NAMESPACE in labels:
        yield ObjectRef(Kustomization.KIND, ObjectKey(labels[OWNER_NAMESPACE], labels[OWNER_NAME]))
