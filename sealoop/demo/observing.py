"""What the cluster says, as it says it: the newest state of some kinds, and a way to wait until something is so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from gitops_core.errors import ClusterError
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster, Query, Unreadable


class Observer:
    """The live objects of some kinds, kept by watches."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.objects: dict[ObjectRef, Manifest] = {}
        self.changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def watch(self, kinds: Iterable[Kind]) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._watch(kind)) for kind in kinds]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()

    async def _watch(self, kind: Kind) -> None:
        while True:
            # The CRDs of our own kinds are there only once the service has started.
            with contextlib.suppress(ClusterError):
                page = await self.cluster.list(Query(kind), dict[str, Any])
                for manifest in page.items:
                    await self._note("ADDED", kind, manifest)
                async for event in self.cluster.watch(Query(kind), dict[str, Any], page.resource_version):
                    await self._note(event.type, kind, event.object)
            await asyncio.sleep(0.1)

    async def _note(self, type_: str, kind: Kind, manifest: dict[str, Any] | Unreadable | None) -> None:
        if not isinstance(manifest, dict):
            return
        metadata = manifest["metadata"]
        ref = ObjectRef(kind, ObjectKey(metadata.get("namespace", ""), metadata["name"]))
        async with self.changed:
            if type_ == "DELETED":
                self.objects.pop(ref, None)
            else:
                self.objects[ref] = manifest
            self.changed.notify_all()

    def get(self, kind: Kind, name: str) -> Any:
        """Return the object in namespace default, or an empty mapping."""
        return self.objects.get(ObjectRef(kind, ObjectKey("default", name)), {})

    async def wait_until(self, claim: Callable[[], object], patience: float) -> None:
        """Wait until `claim` holds. Raises TimeoutError after `patience` seconds."""
        async with asyncio.timeout(patience), self.changed:
            await self.changed.wait_for(lambda: bool(claim()))
