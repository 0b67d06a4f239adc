"""The process: a candidate that waits for the lease, then a leader that reconciles until it is told to stop.

    informers: from the start to the end
    candidate ── lease ──► version barrier ──► leading: queues, workers, timers, events ── stop ──► grace ──► release
        ▲                                                      │
        └───────────────────── lease lost ─────────────────────┘

A candidate mirrors what it will lead, and serves reads; it takes over without a list (informers.py says why its mirrors
may be trusted then). When the lease is lost, everything under way is cancelled and nothing more is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitops_core.ports import Chance, Clock, Cluster, Clusters, Compute, Git
from gitops_core.runtime.authority.bounded import AccountBound
from gitops_core.runtime.authority.fencing import FencedCluster, FencedClusters, FencedGit
from gitops_core.runtime.authority.leading import Leadership, LeaseSettings
from gitops_core.runtime.authority.leave import Open
from gitops_core.runtime.loop.controlling import ControllerLoop, KindState, Surroundings, list_queries
from gitops_core.runtime.loop.events import EventRecorder
from gitops_core.runtime.loop.statuses import StatusWriter
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.reconciling import Controller, Platform
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.runtime.timers import Timers
from gitops_core.runtime.watching.informers import Informers
from gitops_core.runtime.watching.objects import WatchedObjects

log = logging.getLogger(__name__)

EVENTS_FLUSH = 2.0


@dataclass(frozen=True)
class Settings:
    """How the process behaves; times in seconds.

    Attributes:
        lease: whose holder leads; None for a process that has no rivals and leads from the start.
        instance: this process's name in events.
        namespace: only its objects are reconciled; "" for all namespaces.
        labels: label selector of the objects to reconcile; "" for all.
        grace: how long reconciliations under way may go on after a stop.
        reconcile_timeout: after which a reconciliation that hangs gives its worker back.
    """

    lease: LeaseSettings | None = None
    instance: str = "sealoop"
    namespace: str = ""
    labels: str = ""
    grace: float = 10.0
    reconcile_timeout: float = 1800.0


@dataclass
class Health:
    """What the health endpoints tell. A candidate is ready too: it stands by for the leader.

    Attributes:
        synced: whether all kinds are reconciled.
        states: of each kind that is to be reconciled, by its name, now.
    """

    leading: bool = False
    synced: bool = False
    states: Callable[[], Mapping[str, KindState]] = dict

    @property
    def is_ready(self) -> bool:
        """Tell whether what can be done is done: a kind that is not installed keeps nobody from the others."""
        if not self.leading:
            return True
        states = set(self.states().values())
        return "ready" in states and "not read yet" not in states

    @property
    def told(self) -> str:
        """One line for people."""
        found = self.states()
        parts = [
            f"{state}: {', '.join(kinds)}"
            for state in ("not read yet", "not installed")
            if (kinds := sorted(kind for kind, its in found.items() if its == state))
        ]
        return "; ".join(["ok" if self.is_ready else "not ready", *parts])


async def run(
    *,
    cluster: Cluster,
    clusters: Clusters,
    git: Git,
    clock: Clock,
    chance: Chance,
    assemble: Callable[[Platform], Sequence[Controller[Any]]],
    settings: Settings,
    stop: asyncio.Event,
    metrics: Metrics,
    health: Health,
    compute: Compute = IN_PLACE,
    policy: Policy = DEFAULT_POLICY,
) -> None:
    """Reconcile until `stop` is set; returns when all is wound up and the lease released.

    Args:
        clusters: `cluster` as whom objects say, and those that they name.
        assemble: the controllers, made of the ports it is given; anew for each term, which knows nothing of the last.
            What they reconcile and watch is mirrored from then on, also while another process leads.
    """
    leadership = Leadership(settings.lease, cluster.connect_apart(), clock, chance) if settings.lease else None
    fence = leadership or Open()
    fenced = FencedCluster(cluster, fence)
    informers = Informers(cluster, clock, chance, metrics)
    statuses, objects = StatusWriter(fenced, informers.show_written), WatchedObjects(informers, cluster)

    async def serve_term(mirror: Callable[[], None]) -> None:
        """Stand by, then lead, until the lease is lost or `stop` is set."""
        events = EventRecorder(fenced, clock, chance, metrics, settings.instance)
        platform = Platform(
            fenced if policy.cross_namespace_references else AccountBound(fenced),
            FencedClusters(clusters, fence),
            FencedGit(git, fence),
            clock,
            chance,
            events,
            statuses,
            objects,
            metrics,
            compute,
            policy,
        )
        around = Surroundings(
            cluster=fenced,
            fence=fence,
            clock=clock,
            chance=chance,
            events=events,
            statuses=statuses,
            informers=informers,
            timers=Timers(clock),
            metrics=metrics,
            namespace=settings.namespace,
            labels=settings.labels,
            reconcile_timeout=settings.reconcile_timeout,
        )
        controllers = assemble(platform)
        for controller in controllers:
            for query, type_ in list_queries(controller, settings.namespace, settings.labels):
                informers.keep(query, type_)
        if leadership is not None and not await _wait_until_leading(leadership, stop, mirror):
            return
        informers.doubt()
        mirror()  # who leads at once lists now: nothing is to be doubted
        health.leading = True
        metrics.leading.set(1)
        try:
            await _Term(controllers, around, events, leadership, settings.grace, health).serve(stop)
        finally:
            health.leading = health.synced = False
            health.states = dict
            metrics.leading.set(0)

    async with asyncio.TaskGroup() as group:
        try:
            while not stop.is_set():
                await serve_term(lambda: informers.start(group))
        finally:
            informers.stop()


class _Term:
    """One time of leading, all of it fresh but the mirrors: what we or others remember of another may be outdated."""

    def __init__(
        self,
        controllers: Sequence[Controller[Any]],
        around: Surroundings,
        events: EventRecorder,
        leadership: Leadership | None,
        grace: float,
        health: Health,
    ) -> None:
        around.metrics.objects.clear()  # what the last term counted
        self._loops = [ControllerLoop(controller, around) for controller in controllers]
        self._around, self._events, self._leadership = around, events, leadership
        self._grace, self._health = grace, health
        health.states = lambda: {loop.kind.KIND.kind: loop.state for loop in self._loops}

    async def serve(self, stop: asyncio.Event) -> None:
        """Reconcile until `stop` is set or the lease is lost."""
        around = self._around
        try:
            async with asyncio.TaskGroup() as group:
                keeper = group.create_task(self._keep(), name="lease")
                chores = [
                    keeper,
                    group.create_task(around.timers.run(), name="timers"),
                    group.create_task(self._events.run(), name="events"),
                    group.create_task(self._watch_health(), name="health"),
                    *(group.create_task(self._start(loop, group), name="start") for loop in self._loops),
                ]
                stopping = group.create_task(_wait_for(stop), name="stop")
                await asyncio.wait({keeper, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not keeper.done():
                    await self._wind_up(keeper)
                for loop in self._loops:
                    loop.abandon()
                for task in (stopping, *chores):
                    task.cancel()
        finally:
            for loop in self._loops:
                loop.close()
        if self._leadership is not None:
            await self._leadership.release()

    async def _keep(self) -> None:
        """Keep the lease, and return when it is lost."""
        if self._leadership is None:
            await asyncio.Event().wait()
        else:
            await self._leadership.keep()

    async def _start(self, loop: ControllerLoop[Any], group: asyncio.TaskGroup) -> None:
        """Begin to reconcile a kind once its objects and those it watches are known."""
        await loop.wait_until_synced()
        await loop.queue_all()
        loop.start(group)

    async def _watch_health(self) -> None:
        for loop in self._loops:
            await loop.wait_until_synced()
        self._health.synced = True

    async def _finish(self) -> None:
        await asyncio.gather(*(loop.finish() for loop in self._loops))

    async def _wind_up(self, keeper: asyncio.Task[None]) -> None:
        """Let what is under way end within the grace period, and the last events out; the lease is kept meanwhile."""
        ending = asyncio.create_task(self._finish())
        await asyncio.wait({keeper, ending}, timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            ending.cancel()
            log.warning("abandoned what was under way", extra={"grace": self._grace})
        if not keeper.done():
            await self._events.flush(EVENTS_FLUSH)


async def _wait_until_leading(leadership: Leadership, stop: asyncio.Event, standing_by: Callable[[], None]) -> bool:
    """Wait for the lease: True once it is ours, False when told to stop first."""
    acquiring, stopping = asyncio.create_task(leadership.acquire(standing_by)), asyncio.create_task(_wait_for(stop))
    try:
        await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if acquiring.done():
            await acquiring
        return acquiring.done()
    finally:
        acquiring.cancel()
        stopping.cancel()


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()
