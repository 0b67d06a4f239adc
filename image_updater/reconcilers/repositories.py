"""ImageRepository: the tags of one repository, listed again and again, into the catalog.

However many objects want one image's tags with the same credentials, they are asked for once a cycle: who comes later
takes what is in the catalog. Other credentials ask for themselves, because they may not be allowed to see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from weakref import WeakValueDictionary

import msgspec

from gitops_core.meta import Condition, seconds
from gitops_core.ports import Clock, Cluster, Compute
from gitops_core.runtime.computing import IN_PLACE
from gitops_core.runtime.flights import Flights
from gitops_core.runtime.reconciling import Outcome
from image_updater.api import ImageRepository, ImageRepositoryStatus, ScanResult
from image_updater.domain.credentials import RegistryAccess
from image_updater.domain.filters import PatternInvalid
from image_updater.domain.listings import Listings
from image_updater.domain.pushes import Push, pushed_since
from image_updater.domain.references import Repository, parse_repository
from image_updater.domain.scans import LATEST, LOST, PUSHED, Scan, Wait, catalog_name, checksum, is_shared, plan_scan
from image_updater.errors import RegistryError, RegistryUnavailable
from image_updater.ports import CloudLogins, Registry, TagCatalog
from image_updater.reconcilers.access import access_identity, registry_access
from image_updater.reconcilers.checkpoints import Checkpoints
from image_updater.reconcilers.notices import ready_notices

SOON = 1.0
"""Seconds after which a checkpoint is written: what was found is told first."""


@dataclass(frozen=True)
class ImageRepositoryReconciler:
    """Implements Reconciler for ImageRepository.

    `_scanned` remembers of each list of exclusions what was said of its newest listing; it may be lost.
    """

    cluster: Cluster
    clock: Clock
    registry: Registry
    catalog: TagCatalog
    logins: CloudLogins | None
    checkpoints: Checkpoints
    listings: Listings
    compute: Compute = IN_PLACE
    _scanned: dict[tuple[str, tuple[str, ...]], tuple[Sequence[str], ScanResult]] = field(default_factory=dict)
    _listings_under_way: Flights[datetime] = field(default_factory=Flights)
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def reconcile(self, wanted: ImageRepository) -> Outcome:
        repository = parse_repository(wanted.spec.image, insecure=wanted.spec.insecure)
        canonical = str(repository)
        access = await registry_access(self.cluster, wanted, repository, self.logins)
        plan, name = plan_scan(wanted, canonical, self.clock.now()), catalog_name(wanted, canonical)
        known = await self.catalog.tags(name)
        if known is not None:
            await self.checkpoints.save(wanted, name)  # what the last look found: it was told first
        elif isinstance(plan, Wait):
            plan = LOST
        pushes = self._pushes(wanted) if isinstance(plan, Wait) else ()
        if pushes and await self._is_others(wanted, name):
            plan = PUSHED
        try:
            if isinstance(plan, Wait):
                result = await self._with_pushes(wanted, name, pushes)
            else:
                result = await self._scan(wanted, repository, access, plan)
        except RegistryError as error:
            reason = plan.reason if isinstance(plan, Scan) else PUSHED.reason
            progress = Condition(
                type="Reconciling", status="True", reason="ProgressingWithRetry", message=f"scanning: {reason}"
            )
            failure = type(error)(f"scan failed: {error}", retry_after=error.retry_after)
            raise failure.carrying(wanted.status, progress) from error
        delay = plan.seconds if isinstance(plan, Wait) else self._until_next(wanted, result)
        if await self.checkpoints.is_due(wanted, name):
            delay = min(delay, SOON)
        return _outcome(wanted, msgspec.structs.replace(wanted.status, last_scan_result=result), canonical, delay)

    async def finalize(self, wanted: ImageRepository) -> None:
        """Nothing in the world: another ImageRepository may list the same repository."""
        self.checkpoints.forget(wanted)

    async def _scan(
        self, wanted: ImageRepository, repository: Repository, access: RegistryAccess, plan: Scan
    ) -> ScanResult:
        name, began = catalog_name(wanted, str(repository)), self.clock.now()
        # what came over plain HTTP may be anybody's: it is shared with those only who take that, too
        identity = f"{access_identity(access)}{'+http' if repository.insecure else ''}"
        listed_at = await self.catalog.listed_at(name, identity)
        if listed_at is None or not is_shared(plan, listed_at, began):
            listed_at = await self._listed(wanted, repository, access, identity)
        return await self._result(wanted, name, listed_at)

    async def _listed(
        self, wanted: ImageRepository, repository: Repository, access: RegistryAccess, identity: str
    ) -> datetime:
        """When the listing was made that is in the catalog then; who asks for it meanwhile gets the same one."""
        limit = max(1.0, seconds(wanted.spec.timeout or wanted.spec.interval))
        try:
            async with asyncio.timeout(limit):
                return await self._listings_under_way.join(
                    (repository, identity), lambda: self._list(wanted, repository, access, identity)
                )
        except TimeoutError:
            raise RegistryUnavailable(f"{repository} did not list its tags within {limit:g}s") from None

    async def _list(
        self, wanted: ImageRepository, repository: Repository, access: RegistryAccess, identity: str
    ) -> datetime:
        name = catalog_name(wanted, str(repository))
        listed = await self.registry.tags(repository, access)
        async with self._locks.setdefault(name, asyncio.Lock()):
            await self.checkpoints.recall(wanted, name, listed)
            now = self.clock.now()
            # all tags, also excluded ones: other ImageRepositories of the same image exclude others
            await self.catalog.store(name, listed, now, identity)
        return now

    def _pushes(self, wanted: ImageRepository) -> tuple[Push, ...]:
        last = wanted.status.last_scan_result
        if last is None or last.scan_time is None:
            return ()
        return pushed_since(wanted.metadata.annotations, last.scan_time)

    async def _is_others(self, wanted: ImageRepository, name: str) -> bool:
        """Whether another namespace lists the image, too: it need not believe what somebody tells this one."""
        return any(
            catalog_name(found, found.status.canonical_image_name) == name
            and found.metadata.namespace != wanted.metadata.namespace
            for found in await self.checkpoints.objects.list(ImageRepository)
        )

    async def _with_pushes(self, wanted: ImageRepository, name: str, pushes: Sequence[Push]) -> ScanResult | None:
        """What there is now, as far as webhooks and others' listings told the catalog; the registry is not asked."""
        last = wanted.status.last_scan_result
        if last is None or last.scan_time is None:
            return last
        now = self.clock.now()
        for push in pushes:
            await self.catalog.observe(name, push.tag, push.digest, min(push.at, now))
        return await self._result(wanted, name, last.scan_time)

    async def _result(self, wanted: ImageRepository, name: str, listed_at: datetime) -> ScanResult:
        """What status says of the listing in the catalog, which was made at `listed_at`."""
        try:
            tags = await self.catalog.tags(name) or ()
            weight = len(tags) * (1 + len(wanted.spec.exclusion_list))
            listing = await self.compute.run(weight, self.listings.listing, name, tags, wanted.spec.exclusion_list)
            kept = listing.tags
        except PatternInvalid as error:
            raise RegistryError(str(error)) from None
        key = (name, wanted.spec.exclusion_list)
        said = self._scanned.pop(key, None)
        if said is not None and said[0] is kept:
            result = said[1]
        else:
            result = await self.compute.run(len(kept), scan_result, kept, listed_at)
        self._scanned[key] = (kept, result)
        if len(self._scanned) > 100:
            del self._scanned[next(iter(self._scanned))]
        return msgspec.structs.replace(result, scan_time=listed_at.replace(microsecond=0))

    def _until_next(self, wanted: ImageRepository, result: ScanResult | None) -> float:
        """Seconds until an interval after the listing, which may be another one's."""
        interval = seconds(wanted.spec.interval)
        if result is None or result.scan_time is None:
            return interval
        age = (self.clock.now() - result.scan_time).total_seconds()
        return max(1.0, interval - age) if age >= 1 else interval


def scan_result(tags: Sequence[str], now: datetime) -> ScanResult:
    """What status says of a listing in descending order."""
    moment = now.replace(microsecond=0)
    return ScanResult(tag_count=len(tags), revision=checksum(tags), scan_time=moment, latest_tags=tuple(tags[:LATEST]))


def _outcome(wanted: ImageRepository, status: ImageRepositoryStatus, canonical: str, delay: float) -> Outcome:
    scan = status.last_scan_result or ScanResult(tag_count=0)
    message = f"successful scan: found {scan.tag_count} tags with checksum {scan.revision}"
    excluded = wanted.spec.exclusion_list
    return Outcome(
        status=msgspec.structs.replace(status, canonical_image_name=canonical, observed_exclusion_list=excluded),
        message=message,
        requeue_after=delay,
        notices=ready_notices(wanted, message),
    )
