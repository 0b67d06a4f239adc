"""Who writes: the one process that holds the Lease.

    0 s             10 s                15 s
    renewed ......... we stop writing ... the others may take over

A lease that was renewed is ours for 10 s from the moment the renewal was *sent*; the others wait 15 s from the moment
they *saw* it. Both sides use their own monotonic clock, so clocks need not agree. In the 5 s between, what was under
way is cancelled and nobody writes.

The fields are client-go's, so any client that knows Leases can be the other side.

Source: client-go, tools/leaderelection; coordination.k8s.io/v1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from gitops_core.errors import AlreadyExists, ClusterError, Conflict, NotFound, NotLeader
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Chance, Clock, Cluster
from gitops_core.runtime.repetition import Repetition

LEASE = Kind("coordination.k8s.io", "v1", "Lease")
FIELD_MANAGER = "sealoop"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseSettings:
    """Times in seconds, client-go's defaults.

    Attributes:
        identity: what people know us by; the holder is this and something that no other process has.
    """

    namespace: str
    name: str
    identity: str
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(LEASE, ObjectKey(self.namespace, self.name))


class Leadership:
    """Implements Fence: the candidate's side of one Lease."""

    def __init__(self, settings: LeaseSettings, cluster: Cluster, clock: Clock, chance: Chance) -> None:
        self._settings, self._cluster, self._clock, self._chance = settings, cluster, clock, chance
        # Two processes may have been given one name (a copied Deployment, a fixed POD_NAME): both would lead.
        self._identity = f"{settings.identity}_{uuid4()}"
        self._until = float("-inf")
        self._lease: Manifest | None = None
        self._seen_spec: Mapping[str, Any] | None = None
        self._seen_at = 0.0
        self._trouble = Repetition()

    @property
    def is_certain(self) -> bool:
        """Tell whether nobody else can hold the lease right now."""
        return self._clock.monotonic() < self._until

    def check(self) -> None:
        if not self.is_certain:
            raise NotLeader(f"{self._identity} no longer leads: it does not hold {self._settings.ref}")

    async def acquire(self, standing_by: Callable[[], None] = lambda: None) -> None:
        """Wait until the lease is ours. `standing_by` is called whenever it is not."""
        while not await self._attempt():
            standing_by()
            await self._clock.sleep(self._settings.retry * (1 + 0.2 * self._chance.random()))
        log.info("leading", extra={"lease": str(self._settings.ref), "identity": self._identity})

    async def keep(self) -> None:
        """Renew until the lease is lost; returns then, with every write already refused."""
        while self.is_certain:
            await self._clock.sleep(min(self._settings.retry, max(0.0, self._until - self._clock.monotonic())))
            if self.is_certain:
                await self._attempt()
        self._until = float("-inf")
        log.warning("lost the lease", extra={"lease": str(self._settings.ref), "identity": self._identity})

    async def release(self) -> None:
        """Let the next one lead at once. Nothing is written if the lease is not certainly ours."""
        if not self.is_certain or self._lease is None:
            return
        spec = self._lease["spec"]
        left = {
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "acquireTime": spec["acquireTime"],
            "renewTime": _write_micro_time(self._clock.now()),
            "leaseTransitions": spec.get("leaseTransitions", 0),
        }
        lease, self._lease = self._lease, None
        try:
            async with asyncio.timeout(max(0.0, self._until - self._clock.monotonic())):
                await self._cluster.replace({**lease, "spec": left}, field_manager=FIELD_MANAGER)
        except (ClusterError, TimeoutError) as error:
            log.warning("could not release the lease; it runs out by itself", extra={"cause": str(error)})
        self._until = float("-inf")

    async def _attempt(self) -> bool:
        """Try once to take or renew the lease; tell whether it is ours after that."""
        sent = self._clock.monotonic()
        patience = self._settings.renew_deadline / 2  # one request that hangs leaves time for another
        if self.is_certain:
            patience = min(patience, self._until - sent)
        try:
            async with asyncio.timeout(patience):
                ours = await self._take_or_renew()
        except (ClusterError, TimeoutError) as error:
            self._note_trouble(str(error) or "no answer in time")
            return self.is_certain
        if self._trouble.end():
            log.info("reached the lease again", extra={"lease": str(self._settings.ref)})
        self._until = sent + self._settings.renew_deadline if ours else float("-inf")
        return ours

    def _note_trouble(self, cause: str) -> None:
        level = logging.WARNING if self._trouble.note(cause, self._clock.monotonic()) else logging.DEBUG
        extra = {"lease": str(self._settings.ref), "cause": cause, "times": self._trouble.times}
        log.log(level, "cannot reach the lease", extra=extra)

    async def _take_or_renew(self) -> bool:
        if self._lease is not None and self.is_certain:
            try:
                return await self._store(self._lease)
            except (Conflict, NotFound):
                self._lease = None  # somebody wrote it: read who
        lease = await self._cluster.get(self._settings.ref)
        try:
            if lease is None:
                return await self._create()
            return self._is_free(lease) and await self._store(lease)
        except (AlreadyExists, Conflict):
            return False  # somebody was faster

    def _is_free(self, lease: Manifest) -> bool:
        """Tell whether we hold the lease, nobody does, or its holder let it run out under our eyes."""
        spec = lease.get("spec") or {}
        if spec != self._seen_spec:
            self._seen_spec, self._seen_at = spec, self._clock.monotonic()
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        # The holder's own promise counts: it may have been started with other times than we.
        duration = max(float(spec.get("leaseDurationSeconds") or 0), self._settings.duration)
        return self._clock.monotonic() >= self._seen_at + duration

    async def _create(self) -> bool:
        s = self._settings
        self._lease = await self._cluster.create(
            {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": {"name": s.name, "namespace": s.namespace},
                "spec": self._make_spec({}),
            },
            field_manager=FIELD_MANAGER,
        )
        return True

    async def _store(self, lease: Manifest) -> bool:
        """Write ourselves into the lease as we read it. Raises Conflict: somebody was faster."""
        self._lease = await self._cluster.replace(
            {**lease, "spec": {**(lease.get("spec") or {}), **self._make_spec(lease.get("spec") or {})}},
            field_manager=FIELD_MANAGER,
        )
        self._seen_spec, self._seen_at = self._lease["spec"], self._clock.monotonic()
        return True

    def _make_spec(self, before: Mapping[str, Any]) -> dict[str, Any]:
        now = _write_micro_time(self._clock.now())
        kept = before.get("holderIdentity") == self._identity
        transitions = int(before.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._settings.duration),
            "acquireTime": before.get("acquireTime") or now if kept else now,
            "renewTime": now,
            "leaseTransitions": transitions if kept or not before else transitions + 1,
        }


def _write_micro_time(moment: datetime) -> str:
    """Write a time as a MicroTime, in UTC.

    >>> _write_micro_time(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC))
    '2026-01-02T03:04:05.000006Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
