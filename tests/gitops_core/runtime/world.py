"""A world under test: the real runtime on the embedded cluster, in virtual time, with faults on demand."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from prometheus_client import CollectorRegistry

from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import ClusterUnavailable, Expired
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Resource, Sensitive
from gitops_core.ports import Cluster, Git, GitAccess, GitRemote, Page, Query, Signer, Trees, WatchEvent
from gitops_core.runtime.authority.forwarding import Forwarding, Request
from gitops_core.runtime.authority.leading import LeaseSettings
from gitops_core.runtime.loop.tellers import FLUX
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.process import Health, Settings, run
from gitops_core.runtime.reconciling import Controller, Outcome, Platform
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.schema import make_crd
from tests.gitops_core.runtime.kinds import TELLERS, Gadget, Plain, Widget, WidgetStatus
from tests.simulation.loop import SeededChance, VirtualClock

EVENT = Kind("", "v1", "Event")
Send = Callable[[], Awaitable[Any]]


class NoGit:
    """Implements Git for processes that have nothing to do with it."""

    def get_remote(self, url: str, access: GitAccess = GitAccess(), *, timeout: float = 60.0) -> GitRemote:  # noqa: B008
        raise NotImplementedError("nothing here uses Git")

    def get_trees(self, name: str) -> Trees:
        raise NotImplementedError("nothing here keeps files")

    async def load_signer(self, kind: str, values: Mapping[str, Sensitive], about: str) -> Signer:
        raise NotImplementedError("nothing here signs")


class Flaky(Forwarding):
    """A cluster behind a bad network.

    Attributes:
        down: every request fails.
        expire: the next watch is told that its version is forgotten.
        delay: virtual seconds that every write takes on its way to the server.
        lag: virtual seconds that every event of a watch takes, by kind.
        override: what to do with such a request instead of sending it, by method.
        watched_from: the versions that watches began at.
        watching: how many watches are open, by kind.
        requests: how many requests were made, by method and kind; a list of one object is an "ask".
    """

    def __init__(self, inner: Cluster) -> None:
        super().__init__(inner)
        self.down = False
        self.expire = False
        self.delay = 0.0
        self.lag: Mapping[str, float] = {}
        self.requests: Counter[str] = Counter()
        self.watched_from: list[int] = []
        self.watching: Counter[str] = Counter()
        self.override: dict[str, Callable[[Request, Send], Awaitable[Any]]] = {}
        self._cut = asyncio.Event()

    def become(self, inner: Cluster) -> None:
        """Answer for another cluster from now on, as one that is restored from a backup."""
        object.__setattr__(self, "inner", inner)

    def cut_watches(self) -> None:
        self._cut.set()
        self._cut = asyncio.Event()

    def connect_apart(self) -> Flaky:
        return self

    async def list(self, query: Query, type_: type[Any], *, limit: int = 500, continue_token: str = "") -> Page[Any]:
        page = await super().list(query, type_, limit=limit, continue_token=continue_token)
        if limit == 1:
            self.requests.update({f"ask {query.kind.kind}": 1, f"list {query.kind.kind}": -1})
        return page

    async def carry(self, request: Request, send: Send) -> Any:
        self.requests[f"{request.method} {kind_of(request)}"] += 1
        if self.down:
            raise ClusterUnavailable("connection refused")
        if request.is_write and self.delay:
            await asyncio.sleep(self.delay)
        if (instead := self.override.get(request.method)) is not None:
            return await instead(request, send)
        return await send()

    async def watch(
        self, query: Query, type_: type[Any], resource_version: str, *, seconds: int | None = None
    ) -> AsyncIterator[WatchEvent[Any]]:
        self.requests[f"watch {query.kind.kind}"] += 1
        self.watched_from.append(int(resource_version))
        if self.down:
            raise ClusterUnavailable("connection refused")
        if self.expire:
            self.expire = False
            raise Expired("too old")
        events = self.inner.watch(query, type_, resource_version, seconds=seconds)
        cutting = asyncio.create_task(_wait(self._cut))
        nexting: asyncio.Future[WatchEvent[Any]] | None = None
        self.watching[query.kind.kind] += 1
        try:
            while True:
                nexting = asyncio.ensure_future(anext(events))
                await asyncio.wait({nexting, cutting}, return_when=asyncio.FIRST_COMPLETED)
                if not nexting.done():
                    raise ClusterUnavailable("connection reset")
                try:
                    event = nexting.result()
                except StopAsyncIteration:
                    return
                if lag := self.lag.get(query.kind.kind):
                    await asyncio.sleep(lag)
                yield event
        finally:
            self.watching[query.kind.kind] -= 1
            waiting = {task for task in (nexting, cutting) if task is not None and not task.done()}
            for task in waiting:
                task.cancel()
            if waiting:
                await asyncio.wait(waiting)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def kind_of(request: Request) -> str:
    about = request.about
    return about.kind.kind if isinstance(about, ObjectRef | Query) else str(about["kind"])


Work = Callable[[Any, Platform], Any]


class Scripted:
    """A reconciler of tests: does what its script says, and remembers when it was asked about whom."""

    def __init__(self, platform: Platform, script: Callable[..., Any]) -> None:
        self.platform, self.script = platform, script

    async def reconcile(self, wanted: Any) -> Outcome:
        return cast(Outcome, await self.script(wanted, self.platform))

    async def finalize(self, wanted: Any) -> None:
        script = getattr(self.script, "finalize", None)
        if script is not None:
            await script(wanted, self.platform)


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.local = LocalCluster.open(None, self.clock, SeededChance(1))
        self.cluster = Flaky(self.local)

    def beside(self) -> World:
        """The same cluster as another process sees it, over a network of its own."""
        other = copy.copy(self)
        other.cluster = Flaky(self.local)
        return other

    async def install(self, *kinds: type[Resource]) -> None:
        for kind in kinds or (Widget, Gadget, Plain):
            await self.local.create(make_crd(kind), field_manager="test")
        await self.local.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}, field_manager="test"
        )

    @asynccontextmanager
    async def process(
        self, *controllers: Callable[[Platform], Controller[Any]], **settings: Any
    ) -> AsyncIterator[Process]:
        process = Process(self, controllers, Settings(**settings))
        try:
            yield process
        finally:
            await process.stop()

    async def put(self, kind: type[Resource], name: str, **spec: Any) -> Manifest:
        return await self.local.apply(manifest(kind, name, **spec), field_manager="test", force=True)

    async def get(self, kind: type[Resource], name: str) -> Any:
        return await self.local.get(ref(kind, name))

    async def annotate(self, kind: type[Resource], name: str, **annotations: str) -> None:
        patch = {"metadata": {"annotations": {k.replace("_", "/"): v for k, v in annotations.items()}}}
        await self.local.patch(ref(kind, name), patch, field_manager="test")

    async def events(self) -> list[Manifest]:
        return [dict(item) for item in (await self.local.list(Query(EVENT), dict)).items if isinstance(item, dict)]


class Process:
    """One run() of the runtime."""

    def __init__(
        self, world: World, controllers: Sequence[Callable[[Platform], Controller[Any]]], settings: Settings
    ) -> None:
        self.halt = asyncio.Event()
        self.health = Health()
        self.metrics = Metrics(CollectorRegistry())
        self.platform: Platform | None = None

        def assemble(platform: Platform) -> list[Controller[Any]]:
            self.platform = platform
            return [make(platform) for make in controllers]

        self.task = asyncio.create_task(
            run(
                cluster=world.cluster,
                clusters=KubernetesClusters(world.cluster, IN_PLACE),
                git=cast(Git, NoGit()),
                clock=world.clock,
                chance=SeededChance(2),
                assemble=assemble,
                settings=settings,
                stop=self.halt,
                metrics=self.metrics,
                health=self.health,
            )
        )

    async def stop(self) -> None:
        self.halt.set()
        await self.task

    async def kill(self) -> None:
        """As kill -9: nothing more is done, not even a lease released."""
        self.task.cancel()
        await asyncio.wait({self.task})


def controller(
    script: Callable[..., Any], kind: type[Resource] = Widget, **options: Any
) -> Callable[[Platform], Controller[Any]]:
    teller = options.pop("teller", None) or TELLERS.get(kind, FLUX)
    return lambda platform: Controller(kind, Scripted(platform, script), teller, **options)


def manifest(kind: type[Resource], name: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": kind.KIND.api_version,
        "kind": kind.KIND.kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
    }


def ref(kind: type[Resource], name: str) -> ObjectRef:
    return ObjectRef(kind.KIND, ObjectKey("shop", name))


def lease(identity: str) -> LeaseSettings:
    return LeaseSettings(namespace="shop", name="sealoop", identity=identity)


def outcome(wanted: Any, after: float | None = 3600.0, **options: Any) -> Outcome:
    return Outcome(WidgetStatus(size=wanted.spec.size), f"size {wanted.spec.size}", after, **options)


def condition(manifest: Any, type_: str) -> Any:
    """The condition of that type, or {}."""
    conditions = (manifest.get("status") or {}).get("conditions", ())
    return next((c for c in conditions if c["type"] == type_), {})
