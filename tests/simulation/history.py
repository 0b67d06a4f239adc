"""One simulated history: a seed decides what happens to the world, what fails, and at which await a process dies.

    virtual time   0 ... TROUBLE: deeds, failing peers, crashes and restarts      TROUBLE ...: nothing but work
                                                                                            ├─ invariants at rest
                                                                a drill: a stall or a death ┴─ and again, soon

The same seed plays the same history, step by step. Each of the FAULTS that came later is drawn from random numbers of
its own and can be left out, so that a seed which once broke a promise goes on telling that history.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from gitops_core.adapters.expressions import SandboxedExpressions
from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.local import workloads
from gitops_core.adapters.sops import Sops
from gitops_core.errors import RegistryUnavailable
from gitops_core.runtime import process
from gitops_core.runtime.authority.leading import LeaseSettings
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.sharing.computing import IN_PLACE
from image_updater.adapters.catalog import SqliteCatalog
from image_updater.errors import CatalogUnavailable
from sealoop.wiring import Ports, make_controllers
from secrets_sync.errors import ProviderUnavailable
from tests.simulation.invariants import Invariants
from tests.simulation.leases import Interval
from tests.simulation.loop import SeededChance, VirtualClock, VirtualLoop, virtually
from tests.simulation.mortal import ACTING, Killed, Life, Mortal
from tests.simulation.safety import DEEDS, Demands, Safety
from tests.simulation.world import World

TROUBLE, REST = 300.0, 900.0
"""Virtual seconds of trouble, and of peace after it at most: more than any backoff."""
RECOVERY = 90.0
"""Virtual seconds in which all is well again after a stall or a death: the longest of a restart (10), a takeover, and
two intervals of what is asked for news (30 each)."""
FAULTS = frozenset({"mischief", "digests", "queues", "drill", "kept", "watches"})
"""Those that came later; "kept" is a policy that keeps a digest, whatever its tag names."""
STALLS = (1.0, 4.0, 12.0, 20.0, 40.0)
GUARDED = 0.5
"""How many worlds have a guard."""


@dataclass
class Report:
    """What a history came to."""

    seed: int
    bumps: int = 0
    lives: int = 0
    deeds: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)


class History:
    """One seed, played in the running (virtual) loop."""

    def __init__(self, seed: int, faults: frozenset[str] = FAULTS) -> None:
        self.faults = faults
        self.random = random.Random(seed)
        self.clock = VirtualClock()
        self.later = {fault: random.Random(f"{fault} {seed}") for fault in FAULTS}
        self.world = World(seed, self.clock, self._safety() if self.random.random() < GUARDED else None)
        self.invariants = Invariants(self.world)
        self.report = Report(seed)
        self.trouble: dict[str, float] = {}
        self.mischief, self.drill = self.later["mischief"], self.later["drill"]
        self.peace = False
        self.broken: BaseException | None = None

    def _safety(self) -> Safety:
        demands = Demands.drawn(self.random)
        is_kept = demands.digests and "kept" in self.faults and self.later["kept"].random() < 0.5
        return Safety(replace(demands, kept=is_kept))

    async def play(self) -> Report:
        """Play the history. Raises Broken when an invariant does not hold."""
        await self.world.begin()
        rivals = 2 if self.random.random() < 0.2 else 1
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(workloads.run(self.world.cluster, self.world.starting, self.clock))]
            running += [tasks.create_task(self._service(f"process-{n}", rivals > 1)) for n in range(rivals)]
            faulty = [tasks.create_task(self._mischief(rivals))]
            if self.world.safety is not None:  # who else asks for digests?
                faulty.append(tasks.create_task(self._now_and_then("digests")))
            if rivals > 1:
                faulty.append(tasks.create_task(self._now_and_then("queues")))
                faulty.append(tasks.create_task(self._now_and_then("watches")))
            await self._trouble()
            for task in faulty:
                task.cancel()
            for peer in list(self.trouble):
                self._fail(peer, 0.0)
            self.trouble.clear()
            self.peace = True
            if self.world.safety is not None:
                await self.world.safety.make_peace(self.world)
            try:
                await self._come_to_rest()
                if "drill" in self.faults:
                    await self._recover()
                if rivals > 1:
                    self.invariants.in_terms()
            except AssertionError as error:
                self.broken = self.broken or error
            for task in running:
                task.cancel()
        if self.broken is not None:
            raise self.broken
        await self.invariants.after_write("the end")
        self.report.bumps = await self.invariants.in_commits()
        self.world.cluster.close()
        return self.report

    async def _trouble(self) -> None:
        """Do what others do, and say which peers are away meanwhile."""
        safety = self.world.safety
        while self.clock.monotonic() < TROUBLE:
            await self.clock.sleep(self.random.expovariate(1 / 15))
            if self.random.random() < 0.3:
                peer = self.random.choice(["cluster", "git", "registry", "provider", *(["disk"] if safety else [])])
                self._fail(peer, self.random.choice([0.0, 0.0, 0.1, 1.0]))
            if safety is not None and self.random.random() < 0.6:
                await self._run(guarded := self.random.choice(DEEDS), guarded(safety, self.world))
            else:
                await self._run(deed := self.random.choice(World.DEEDS), deed(self.world))

    async def _mischief(self, rivals: int) -> None:
        """Let more go wrong in half of the histories: anybody dies, everybody stalls, answers are late or lie."""
        if "mischief" not in self.faults or self.mischief.random() < 0.5:
            return
        kinds = ["death", "stall", "statuses", "listings", *(["lease", "lease", "death"] if rivals > 1 else [])]
        while True:
            await self.clock.sleep(self.mischief.expovariate(1 / 30))
            match self.mischief.choice(kinds):
                case "death":
                    self._kill(self.mischief)
                case "stall":
                    self._stall(self.mischief.choice(STALLS))
                case trouble:
                    self._fail(trouble, self.mischief.choice([0.0, 0.0, 0.3, 1.0]))

    async def _now_and_then(self, peer: str) -> None:
        """Let `peer` begin and end to fail or lie, in half of the histories that it can mean anything to."""
        chance = self.later[peer]
        if peer not in self.faults or chance.random() < 0.5:
            return
        while True:
            await self.clock.sleep(chance.expovariate(1 / 20))
            self._fail(peer, chance.choice([0.0, 0.0, 0.3, 1.0]))

    def _fail(self, peer: str, share: float) -> None:
        """Let `peer` fail, or lie, as often as `share` says from now on."""
        self.trouble[peer] = share
        self.world.chronicle.trouble(peer, share)
        self._note(f"{peer} fails {share:.0%} of the time")

    def _kill(self, chance: random.Random) -> None:
        self._note("somebody is killed")
        living = [life for life in self.world.chronicle.lives if not life.dead]
        for life in chance.sample(living, min(1, len(living))):
            life.end()

    def _stall(self, seconds: float) -> None:
        """Let time pass, of which nobody gets any."""
        loop, start = asyncio.get_running_loop(), self.clock.monotonic()
        assert isinstance(loop, VirtualLoop)
        loop.jump(seconds)
        self.world.chronicle.stalls.append(Interval(start, start + seconds))
        self._note(f"nothing ran for {seconds:g}s")

    async def _run(self, deed: Callable[..., Any], doing: Awaitable[None]) -> None:
        self.report.deeds[deed.__name__] += 1
        self._note(deed.__name__)
        await doing

    async def _come_to_rest(self) -> None:
        """Return when the invariants of rest have held twice, a minute apart: at rest, and staying there.

        Raises Broken: they do not hold after REST.
        """
        deadline, held = self.clock.monotonic() + REST, 0
        while held < 2:
            await self.clock.sleep(60.0)
            if self.world.safety is not None and self.world.safety.demands.approvals:
                await self.world.safety.approve(self.world)
            try:
                await self.invariants.at_rest()
                held += 1
            except AssertionError:
                held = 0
                if self.clock.monotonic() > deadline:
                    raise

    async def _recover(self) -> None:
        """Drill: in the midst of changes everybody stalls, or somebody dies, and soon all is as it should be.

        Raises Broken: it is not, RECOVERY after it.
        """
        deeds = [World.rotate, World.commit_config, World.remove_config, World.commit_elsewhere, World.rotate]
        for deed in self.drill.sample(deeds, 3):
            await self._run(deed, deed(self.world))
            await self.clock.sleep(self.drill.random() * 20)
        if self.drill.random() < 0.5:
            self._stall(self.drill.choice(STALLS))
        else:
            self._kill(self.drill)
        await self.clock.sleep(RECOVERY)
        await self.invariants.at_rest()

    async def _service(self, identity: str, has_rivals: bool) -> None:
        """Run a process that is started again whenever it dies."""
        while True:
            self.report.lives += 1
            life = Life(
                self.clock,
                random.Random(self.random.random()),
                dies_at=0 if self.peace else self.random.choice([0, self.random.randrange(1, 400)]),
                troubled=self.trouble,
                on_write=self._after_write,
            )
            name = f"{identity}-{self.report.lives}"
            if has_rivals:
                life.on_send = partial(self.world.chronicle.sends, name)
            await self._live(name, life, self._disk(identity), has_rivals)
            self._note(f"{identity} died at checkpoint {life.checkpoints}")
            await self.clock.sleep(self.random.random() * 10)

    def _disk(self, identity: str) -> SqliteCatalog:
        """Return the catalog that the process's last life left behind, unless the disk was lost."""
        disks = self.world.disks
        if identity not in disks or self.random.random() < 0.6:
            disks[identity] = SqliteCatalog.open(None)
        return disks[identity]

    async def _live(self, identity: str, life: Life, catalog: SqliteCatalog, has_rivals: bool) -> None:
        """Run one process until it dies. Its caches die with it."""
        died = asyncio.Event()
        life.on_death = died.set
        self.world.chronicle.lives.append(life)
        task = asyncio.create_task(self._process(identity, life, catalog, has_rivals))
        waiting = asyncio.create_task(died.wait())
        try:
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            life.end()
            task.cancel()
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError, Killed, BaseExceptionGroup):
                await task

    async def _process(self, identity: str, life: Life, catalog: SqliteCatalog, has_rivals: bool) -> None:
        world, lease = self.world, LeaseSettings("default", "sealoop", identity)
        ACTING.set(life)  # for every task that begins in this one
        mortal_store = Mortal(world.store, "provider", life, lambda deed: ProviderUnavailable(f"{deed}: away"))
        mortal_registry = Mortal(world.registry_of(life), "registry", life, lambda deed: _refused(deed, life.chance))
        mortal_catalog = Mortal(catalog, "disk", life, lambda deed: CatalogUnavailable(f"{deed}: the disk is full"))
        ports = Ports(
            renderer=Kustomize(),
            decryptor=Sops(),
            expressions=SandboxedExpressions(),
            registry=mortal_registry,
            reader=mortal_registry,
            catalog=mortal_catalog,
            providers={"fake": mortal_store},
        )
        cluster = Mortal(world.cluster, "cluster", life)
        await process.run(
            cluster=cluster,
            clusters=KubernetesClusters(cluster, IN_PLACE),
            git=Mortal(world.git, "git", life),
            clock=self.clock,
            chance=SeededChance(self.random.randrange(2**32)),
            assemble=lambda platform: make_controllers(platform, ports),
            settings=process.Settings(lease=lease if has_rivals else None, instance=identity),
            stop=asyncio.Event(),
            metrics=Metrics(CollectorRegistry()),
            health=process.Health(),
        )

    async def _after_write(self, deed: str) -> None:
        try:
            await self.invariants.after_write(deed)
        except AssertionError as error:
            # Raised here it would be a reconciler's error: keep the first, and fail the history with it.
            self.broken = self.broken or error

    def _note(self, what: str) -> None:
        self.report.trace.append(f"{self.clock.monotonic():8.1f} {what}")


def _refused(deed: str, chance: random.Random) -> RegistryUnavailable:
    """Return a refusal: 500, or 429 with a time to wait."""
    wait = chance.choice([None, None, 5.0])
    return RegistryUnavailable(f"{deed}: {'away' if wait is None else 'too many requests'}", retry_after=wait)


def play(seed: int, faults: frozenset[str] = FAULTS) -> Report:
    """Play one history, with those of the FAULTS. Raises Broken, with the trace as a note."""
    history: list[History] = []

    async def played() -> Report:
        history.append(History(seed, faults))
        return await history[0].play()

    logging.disable(logging.CRITICAL)  # failing peers are the point: thousands of warnings say nothing
    try:
        return virtually(played())
    except BaseException as error:
        error.add_note(f"seed {seed}\n" + "\n".join(history[0].report.trace if history else ()))
        raise
    finally:
        logging.disable(logging.NOTSET)
