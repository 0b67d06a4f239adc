"""Reading our own kinds: from a mirror that holds them, or else from the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, TypeVar

from gitops_core.meta import ObjectKey, ObjectRef, Resource
from gitops_core.ports import Change, Cluster, Query
from gitops_core.runtime.watching.indexing import TermIndex
from gitops_core.runtime.watching.informers import Informers, list_objects
from gitops_core.schema import read_manifest

R = TypeVar("R", bound=Resource)


class WatchedObjects:
    """Implements gitops_core.ports.Objects."""

    def __init__(self, informers: Informers, cluster: Cluster) -> None:
        self._informers, self._cluster = informers, cluster
        self._indexes: dict[tuple[type[Any], Callable[[Any], Iterable[str]]], TermIndex[Any]] = {}

    async def get(self, type_: type[R], key: ObjectKey) -> R | None:
        if (informer := self._informers.find_synced(type_, key.namespace)) is not None:
            return informer.objects.get(key)
        manifest = await self._cluster.get(ObjectRef(type_.KIND, key))
        return None if manifest is None else read_manifest(type_, manifest)

    async def list(self, type_: type[R], namespace: str = "") -> tuple[R, ...]:
        if (informer := self._informers.find_synced(type_, namespace)) is not None:
            found = [item for key, item in informer.objects.items() if namespace in ("", key.namespace)]
        else:
            found = await list_objects(self._cluster, type_, namespace)
        return tuple(sorted(found, key=lambda item: item.key))

    async def find(
        self, type_: type[R], list_terms: Callable[[R], Iterable[str]], terms: Iterable[str]
    ) -> tuple[R, ...]:
        informer = self._informers.find_synced(type_, "")
        if informer is None:
            wanted = frozenset(terms)
            return tuple(one for one in await self.list(type_) if not wanted.isdisjoint(list_terms(one)))
        index = self._indexes.get((type_, list_terms))
        if index is None or index.informer is not informer:
            index = self._indexes[type_, list_terms] = TermIndex(informer, list_terms)
        return index.find(terms)

    async def follow(self, type_: type[R], namespace: str = "") -> AsyncGenerator[Change[R], None]:
        shared = next(iter(self._informers.list_holding(type_, namespace)), None)
        query = Query(type_.KIND, namespace=namespace) if shared is None else shared.query
        informer = self._informers.acquire(query, type_)
        unread: dict[ObjectKey, Change[R]] = {}
        news = asyncio.Event()

        def listen(old: R | None, new: R | None) -> None:
            if (present := new if new is not None else old) is None or namespace not in ("", present.key.namespace):
                return
            before = unread.pop(present.key).old if present.key in unread else old
            if before is not None or new is not None:  # who came and went unread was never there
                unread[present.key] = Change(before, new)
            news.set()

        for present in informer.objects.values():
            listen(None, present)
        informer.subscribe(listen)
        try:
            while True:
                while unread:
                    yield unread.pop(next(iter(unread)))
                news.clear()
                await news.wait()
        finally:
            informer.unsubscribe(listen)
            self._informers.release(informer)
