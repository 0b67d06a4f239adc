"""Watching what reconciliations ask for: the objects that `Outcome.watch` names, whatever their kind.

Kinds come and go: the first key that names an object of a kind starts a metadata-only informer for it, and some time
after nobody names the kind any more it is stopped. What cannot be watched (we may not, say) is looked at instead, every
BLIND seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from gitops_core.meta import Kind, ObjectKey, ObjectRef, Resource
from gitops_core.ports import PartialObject, Query
from gitops_core.runtime.timers import Timers
from gitops_core.runtime.watching.informers import Informer, Informers, Listener, parse_resource_version
from gitops_core.runtime.watching.references import ReferenceIndex

LINGER = 60.0
"""Seconds that an unused informer stays: rollouts come in waves, and a new list costs more than an idle watch."""

MOMENT = 1.0
"""Seconds until a mirror has what was there when a reconciliation read it: what it has not then is gone."""

BLIND = 5.0
"""Seconds between two looks of who is told nothing."""

Wake = Callable[[ObjectKey, ObjectRef, int], None]
"""(who must look again, what changed, its resourceVersion)."""


class Observer:
    """What the objects of one kind have asked to be told about."""

    def __init__(self, informers: Informers, timers: Timers, labels: str, wake: Wake) -> None:
        self._informers, self._timers, self._labels, self._wake = informers, timers, labels, wake
        self._index = ReferenceIndex()
        self._watching: dict[Kind, tuple[Informer[PartialObject], Listener]] = {}
        self._leaving: set[Kind] = set()  # watched, though nobody names them any more

    def mark(self) -> dict[Kind, int]:
        """Return where every watch stands: for update() after a reconciliation that begins now."""
        return {kind: informer.version for kind, (informer, _) in self._watching.items()}

    def update(
        self,
        key: ObjectKey,
        watched: Iterable[ObjectRef],
        since: Mapping[Kind, int],
        seen: Collection[ObjectRef] = frozenset(),
    ) -> None:
        """Let `key` be woken by `watched` from now on; at once by those that changed after `since`.

        A change between the reconciliation's read of an object and this call would otherwise go unnoticed; and so
        would the deletion of what was `seen`, of which no mirror tells afterwards.
        """
        known = self._index.list_references(key)
        self._index.update(key, watched)
        for kind in sorted(self._index.kinds - self._watching.keys()):
            self._start(kind)
        for kind in sorted(self._watching.keys() - self._index.kinds - self._leaving):
            self._leaving.add(kind)  # once: looks come more often than LINGER, and would put it off for ever
            self._timers.schedule((id(self), kind), LINGER, lambda kind=kind: self._stop(kind))  # type: ignore[misc]
        for kind in sorted(self._leaving & self._index.kinds):
            self._leaving.discard(kind)
            self._timers.cancel((id(self), kind))
        fresh = sorted(self._index.list_references(key) - known)
        for ref in fresh:
            informer, _ = self._watching[ref.kind]
            present = informer.objects.get(ref.key)
            if present is not None:
                version = parse_resource_version(present.metadata.resource_version)
                if version > since.get(ref.kind, -1):
                    self._wake(key, ref, version)
        if missing := [ref for ref in fresh if ref in seen and self._is_missing(ref)]:
            self._timers.schedule((id(self), key), MOMENT, lambda: self._look_for(key, missing))
        else:
            self._look_after(key)

    def _look_for(self, key: ObjectKey, missing: Iterable[ObjectRef]) -> None:
        """Wake `key` if one of these is not there, as a mirror knows by now."""
        named = (ref for ref in missing if self.names(key, ref) and self._is_missing(ref))
        gone = next((ref for ref in named if self._watching[ref.kind][0].synced.is_set()), None)
        if gone is not None:
            self._wake(key, gone, -1)
        self._look_after(key)

    def _is_missing(self, ref: ObjectRef) -> bool:
        return ref.key not in self._watching[ref.kind][0].objects

    def _look_after(self, key: ObjectKey) -> None:
        """Wake `key` in BLIND seconds if a watch of what it names does not work then either."""
        if self._find_unwatched(key) is None:
            self._timers.cancel((id(self), key))
        else:
            self._timers.schedule((id(self), key), BLIND, lambda: self._wake_blind(key))

    def _wake_blind(self, key: ObjectKey) -> None:
        if (ref := self._find_unwatched(key)) is not None:
            self._wake(key, ref, -1)

    def _find_unwatched(self, key: ObjectKey) -> ObjectRef | None:
        """Find an object that `key` names, and of which no watch would tell now."""
        blind = {kind for kind, (informer, _) in self._watching.items() if not informer.synced.is_set()}
        return min((ref for ref in self._index.list_references(key) if ref.kind in blind), default=None)

    def names(self, key: ObjectKey, ref: ObjectRef) -> bool:
        return ref in self._index.list_references(key)

    def forget(self, key: ObjectKey) -> None:
        self.update(key, (), {})

    def close(self) -> None:
        """Watch nothing any more."""
        for key in self._index.keys:
            self._timers.cancel((id(self), key))
        for kind in tuple(self._watching):
            self._stop(kind)

    def _start(self, kind: Kind) -> None:
        query = Query(kind, labels=self._labels, metadata_only=True)
        informer = self._informers.acquire(query, PartialObject)
        listener = self._make_listener(kind)
        informer.subscribe(listener)
        self._watching[kind] = (informer, listener)

    def _stop(self, kind: Kind) -> None:
        self._leaving.discard(kind)
        informer, listener = self._watching.pop(kind)
        informer.unsubscribe(listener)
        self._informers.release(informer)

    def _make_listener(self, kind: Kind) -> Listener:
        def listen(old: PartialObject | None, new: PartialObject | None) -> None:
            wake_referrers(self._index, kind, old, new, self._wake)

        return listen


def wake_referrers(
    index: ReferenceIndex,
    kind: Kind,
    old: Resource | PartialObject | None,
    new: Resource | PartialObject | None,
    wake: Wake,
) -> None:
    """Wake whoever names the object that changed from `old` to `new`. A deletion has no version and always wakes."""
    if (present := new or old) is None:
        return
    metadata = present.metadata
    ref = ObjectRef(kind, ObjectKey(metadata.namespace, metadata.name))
    version = -1 if new is None else parse_resource_version(metadata.resource_version)
    for key in sorted(index.list_referrers(ref)):  # in the same order in every run: simulations replay
        wake(key, ref, version)
