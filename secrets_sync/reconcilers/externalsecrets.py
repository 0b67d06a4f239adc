"""The loop body of ExternalSecret: read, decide, write, tell.

    its store and its Secret ── must the provider be read? ──no──> as it was
                                       yes
    plan_reads ──> the provider's values ── render, plan_target ──> one write ──> Secrets of earlier names go

Whatever it reads or writes lies in its own namespace: the cluster handle knows no other.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field

from gitops_core.errors import AlreadyExists, ClusterError, Conflict, GitOpsError, NotFound, NotLeader
from gitops_core.meta import ObjectKey
from gitops_core.ports import Clock, Cluster, Compute, Objects
from gitops_core.runtime.authority.bounded import NamespaceBound
from gitops_core.runtime.reconciling import Notice, Outcome
from gitops_core.runtime.sharing.computing import IN_PLACE
from secrets_sync.api import ExternalSecret, SecretStore
from secrets_sync.domain.provider.reading import Reading
from secrets_sync.domain.provider.reads import ReadPlan, plan_reads
from secrets_sync.domain.secret.acceptance import refuse_unsupported
from secrets_sync.domain.secret.live import LiveSecret
from secrets_sync.domain.secret.plan import Plan, Refuse, is_ours, plan_target
from secrets_sync.domain.secret.refresh import is_due, is_edited, is_in_order
from secrets_sync.domain.secret.rendering import render
from secrets_sync.domain.secret.rivals import SHARING, list_rivals
from secrets_sync.domain.secret.succession import find_orphans, may_leave_orphans
from secrets_sync.errors import WriteFailed
from secrets_sync.ports import ProviderFactories
from secrets_sync.reconcilers.reading import Surroundings, read_provider
from secrets_sync.reconcilers.stores import find_store, open_store, require_ready
from secrets_sync.reconcilers.telling import (
    NO_CLEARING,
    NO_DATA,
    NO_UPDATE,
    tell_failed,
    tell_missing,
    tell_refused,
    tell_synced,
    tell_undisturbed,
)
from secrets_sync.reconcilers.writing import clear_away, delete, mute, write
from secrets_sync.runtime.reads import WHENEVER, Reads

WRITE_ATTEMPTS = 3
"""How often a write is planned anew, at once, because somebody else wrote the Secret since it was read."""


@dataclass(frozen=True)
class ExternalSecretReconciler:
    """Implements gitops_core.runtime.reconciling.Reconciler for ExternalSecret.

    `_synced` remembers which settings of its store each one was last synced with, so that an edit of the store counts
    as a change. It may be lost: then the next refresh finds the difference.
    """

    cluster: Cluster
    objects: Objects
    clock: Clock
    factories: ProviderFactories
    reads: Reads
    compute: Compute = IN_PLACE
    _synced: dict[ObjectKey, str] = field(default_factory=dict)

    async def reconcile(self, wanted: ExternalSecret) -> Outcome:
        started, arrival = self.clock.now().replace(microsecond=0), self.reads.arrive()
        around = self._make_surroundings(wanted)
        live = await around.read_secret()
        try:
            refuse_unsupported(wanted)
            store = await find_store(wanted, self.objects)
            if not await self._must_read(wanted, store, live):
                return tell_undisturbed(wanted, started)
            store = require_ready(store, wanted)
            reads = plan_reads(wanted.spec)
            is_asked_for = is_edited(wanted) or self._has_other_settings(store, wanted)
            reading = await self._read(reads, store, arrival if is_asked_for else WHENEVER)
            missing = tell_missing(wanted, reads, reading)
            is_shared = wanted.spec.target.creation_policy in SHARING
            others = list_rivals(wanted, await around.list_external_secrets()) if is_shared else ()
        except NotLeader:
            raise
        except GitOpsError as error:
            raise tell_failed(error, wanted, NO_DATA) from error
        plan, written = await self._carry_out(around, reading, live)
        cleared = await self._clear_away_orphans(around, plan)
        self._synced[wanted.key] = _identify_settings(store)
        return tell_synced(wanted, plan, started, others, (*missing, *written, *cleared))

    async def finalize(self, wanted: ExternalSecret) -> None:
        """Delete the Secret if the deletionPolicy says so; otherwise garbage collection takes what is controlled."""
        self._synced.pop(wanted.key, None)
        if wanted.spec.target.deletion_policy != "Delete":
            return
        around = self._make_surroundings(wanted)
        live = await around.read_secret()
        if live is None or not is_ours(wanted, live):
            return
        try:
            await delete(around.cluster, live)
        except ClusterError as error:
            raise mute(error, f"delete {live.ref}") from None

    def _make_surroundings(self, wanted: ExternalSecret) -> Surroundings:
        cluster = NamespaceBound(self.cluster, wanted.metadata.namespace)
        return Surroundings(wanted, cluster, self.objects, self.compute)

    async def _must_read(self, wanted: ExternalSecret, store: SecretStore | None, live: LiveSecret | None) -> bool:
        if store is not None and self._has_other_settings(store, wanted):
            return True
        if not wanted.status.is_ready or is_due(wanted, self.clock.now()):
            return True
        return not await self.compute.run(_weigh(live), is_in_order, wanted, live)

    def _has_other_settings(self, store: SecretStore, wanted: ExternalSecret) -> bool:
        """Return whether `store` has other settings than `wanted` was last synced with."""
        known = self._synced.get(wanted.key)
        return known is not None and known != _identify_settings(store)

    async def _read(self, reads: ReadPlan, store: SecretStore, arrival: int) -> Reading:
        async with aclosing(await open_store(store, self.cluster, self.factories)) as provider:
            return await read_provider(reads, provider, self.reads, arrival, self.compute)

    async def _carry_out(
        self, around: Surroundings, reading: Reading, live: LiveSecret | None
    ) -> tuple[Plan, tuple[Notice, ...]]:
        """Plan and write, anew when somebody else wrote meanwhile. Returns what was done, and what is told of it."""
        wanted, attempts = around.wanted, 0
        rendered = await self.compute.run(reading.weight, render, wanted, reading)
        while True:
            attempts += 1
            yields = await around.find_yielding(live)
            weight = reading.weight + _weigh(live)
            plan = await self.compute.run(weight, plan_target, wanted, reading, rendered, live, yields)
            if isinstance(plan, Refuse):
                raise tell_refused(plan, wanted)
            try:
                return plan, await write(plan, wanted, around.cluster, live)
            except (Conflict, AlreadyExists, NotFound) as error:
                if attempts == WRITE_ATTEMPTS:
                    failure = WriteFailed("somebody else keeps writing the Secret", retry_after=1.0)
                    raise tell_failed(failure, wanted, NO_UPDATE) from error
                live = await around.read_secret()
            except NotLeader:
                raise
            except ClusterError as error:
                raise tell_failed(mute(error, "take the Secret"), wanted, NO_UPDATE) from None

    async def _clear_away_orphans(self, around: Surroundings, plan: Plan) -> tuple[Notice, ...]:
        """See to Secrets of earlier names, now that there is one of the new name. Returns what is told of them."""
        wanted = around.wanted
        if not may_leave_orphans(wanted, plan, moved=is_edited(wanted)):
            return ()
        orphans = find_orphans(wanted, await around.list_labelled(), await around.list_external_secrets())
        notices: tuple[Notice, ...] = ()
        for orphan in orphans:
            try:
                notices += await clear_away(orphan, wanted, around.cluster)
            except WriteFailed as error:
                raise tell_failed(error, wanted, NO_CLEARING) from None
        return notices


def _identify_settings(store: SecretStore) -> str:
    return f"{store.metadata.uid}/{store.metadata.generation}"


def _weigh(live: LiveSecret | None) -> int:
    return live.weight if live is not None else 0
