"""Who names whom: from a changed object to the keys that must look again.

    ImagePolicy shop/app names ImageRepository/shop/app    a change of that object wakes shop/app
    Kustomization x names ConfigMap/shop/*                  a change of any ConfigMap in shop wakes x
    UpdateGuard x names Kustomization/*/*                   a change of any Kustomization wakes x

The index holds references in both directions, so an object that goes takes its own with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitops_core.meta import Kind, ObjectKey, ObjectRef

_NOBODY: frozenset[ObjectKey] = frozenset()


class ReferenceIndex:
    """References of the keys of one kind, and their reverse. The work of an update is proportional to what changed."""

    def __init__(self) -> None:
        self._named: dict[ObjectKey, frozenset[ObjectRef]] = {}
        self._referrers: dict[ObjectRef, set[ObjectKey]] = {}
        self._kinds: dict[Kind, int] = {}

    def update(self, key: ObjectKey, references: Iterable[ObjectRef]) -> None:
        """Let `key` name `references` and nothing else from now on."""
        new = frozenset(references)
        old = self._named.get(key, frozenset())
        for reference in old - new:
            self._unlink(key, reference)
        for reference in new - old:
            self._referrers.setdefault(reference, set()).add(key)
            self._kinds[reference.kind] = self._kinds.get(reference.kind, 0) + 1
        if new:
            self._named[key] = new
        else:
            self._named.pop(key, None)

    def list_referrers(self, changed: ObjectRef) -> frozenset[ObjectKey]:
        """List the keys that name `changed`, or all of its kind in its namespace, or all of its kind."""
        kind, namespace = changed.kind, changed.key.namespace
        wider = (ObjectRef(kind, ObjectKey(namespace, "*")), ObjectRef(kind, ObjectKey("*", "*")))
        found = [keys for ref in (changed, *wider) if (keys := self._referrers.get(ref))]
        return frozenset().union(*found) if found else _NOBODY

    def list_references(self, key: ObjectKey) -> frozenset[ObjectRef]:
        return self._named.get(key, frozenset())

    @property
    def keys(self) -> tuple[ObjectKey, ...]:
        """The keys that name anything."""
        return tuple(self._named)

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds that anybody names."""
        return frozenset(self._kinds)

    def _unlink(self, key: ObjectKey, reference: ObjectRef) -> None:
        keys = self._referrers[reference]
        keys.discard(key)
        if not keys:
            del self._referrers[reference]
        self._kinds[reference.kind] -= 1
        if not self._kinds[reference.kind]:
            del self._kinds[reference.kind]
