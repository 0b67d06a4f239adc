"""Which objects of a mirror have a term: ten thousand inventories are searched for an object by one look into a table.

list_terms(object) ──► "default_web_apps_Deployment", ...        of each object, whenever it changes
find("default_web_apps_Deployment") ──► the objects that list it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from gitops_core.meta import ObjectKey, Resource
from gitops_core.runtime.watching.informers import Informer

R = TypeVar("R", bound=Resource)
_NOBODY: tuple[ObjectKey, ...] = ()


class TermIndex(Generic[R]):
    """The objects of an informer by their terms, for as long as the informer lives."""

    def __init__(self, informer: Informer[R], list_terms: Callable[[R], Iterable[str]]) -> None:
        self.informer, self._list_terms = informer, list_terms
        self._keys: dict[str, tuple[ObjectKey, ...]] = {}
        for present in informer.objects.values():
            self._note_change(None, present)
        informer.subscribe(self._note_change)

    def find(self, terms: Iterable[str]) -> tuple[R, ...]:
        """Find the objects that list any of `terms`, ordered by key."""
        keys = {key for term in terms for key in self._keys.get(term, _NOBODY)}
        return tuple(self.informer.objects[key] for key in sorted(keys))

    def _note_change(self, old: R | None, new: R | None) -> None:
        if (present := new if new is not None else old) is None:
            return
        before, after = (frozenset(self._list_terms(o)) if o is not None else frozenset() for o in (old, new))
        for term in before - after:
            self._drop(term, present.key)
        for term in after - before:
            self._keys[term] = (*self._keys.get(term, _NOBODY), present.key)

    def _drop(self, term: str, key: ObjectKey) -> None:
        if left := tuple(one for one in self._keys[term] if one != key):
            self._keys[term] = left
        else:
            del self._keys[term]
