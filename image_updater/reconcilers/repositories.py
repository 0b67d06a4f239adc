"""ImageRepository: the tags of one repository, listed again and again, into the catalog.

However many objects want one image's tags with the same credentials, they are asked for once a cycle: who comes later
takes that listing. Other credentials ask for themselves, because they may not be allowed to see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from weakref import WeakValueDictionary

import msgspec

from gitops_core.errors import ImageInvalid, ImageUnknown, RegistryDenied, RegistryError, RegistryUnavailable
from gitops_core.meta import Condition, ObjectKey, parse_duration
from gitops_core.oci.credentials import RegistryAccess
from gitops_core.oci.references import Repository
from gitops_core.ports import Clock, CloudLogins, Cluster, Compute
from gitops_core.recent import Recent
from gitops_core.runtime.reconciling import Outcome
from gitops_core.runtime.remotes.registries import identify_access, read_registry_access
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.runtime.sharing.flights import Flights
from image_updater.api import ImageRepository, ImageRepositoryStatus, ScanResult
from image_updater.domain.guards.vouching import make_catalog_name, may_ask
from image_updater.domain.registry.pushes import Push, select_since
from image_updater.domain.registry.references import parse_repository
from image_updater.domain.tags.filters import PatternInvalid
from image_updater.domain.tags.listings import Listings
from image_updater.domain.tags.scans import (
    LATEST,
    LOST,
    Scan,
    Wait,
    compute_checksum,
    is_outdated,
    is_shared,
    plan_scan,
)
from image_updater.ports import Registry, TagCatalog
from image_updater.reconcilers.checkpoints import Checkpoints
from image_updater.reconcilers.notices import make_ready_notices

log = logging.getLogger(__name__)

SOON = 1.0
"""Seconds after which a checkpoint is written: what was found is told first."""
MOST_REMEMBERED = 16 << 20
"""Bytes of all listings as registries sent them, and as many of the tags that something was said of."""

Asked = tuple[Repository, str]  # which repository is listed, and the identity of who asks


class Listed(NamedTuple):
    """What a registry listed: what was pushed after it was asked may not be in it, all of it was there at the end."""

    tags: tuple[str, ...]
    asked_at: datetime
    answered_at: datetime


@dataclass(frozen=True)
class ImageRepositoryReconciler:
    """Implements Reconciler for ImageRepository.

    `_scanned` remembers of each list of exclusions what was said of its newest listing, `_asked` which pushes the
    registry was asked about since which listing; both may be lost.
    """

    cluster: Cluster
    clock: Clock
    registry: Registry
    catalog: TagCatalog
    logins: CloudLogins | None
    checkpoints: Checkpoints
    listings: Listings
    compute: Compute = IN_PLACE
    default_account: str = ""
    newest: Recent[Asked, Listed] = field(default_factory=lambda: Recent(MOST_REMEMBERED))
    _asked: dict[ObjectKey, tuple[datetime, frozenset[Push]]] = field(default_factory=dict)
    _swept: set[str] = field(default_factory=set)
    _scanned: Recent[tuple[str, tuple[str, ...]], tuple[Sequence[str], ScanResult]] = field(
        default_factory=lambda: Recent(MOST_REMEMBERED)
    )
    _listings_under_way: Flights[Listed] = field(default_factory=Flights)
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def reconcile(self, wanted: ImageRepository) -> Outcome:
        repository = parse_repository(wanted.spec.image, insecure=wanted.spec.insecure)
        canonical = str(repository)
        access = await read_registry_access(
            self.cluster, wanted, repository, self.logins, self.compute, self.default_account
        )
        if not self._swept:  # what was deleted while another process led
            self._swept.add("")
            await self._forget(await self.catalog.list_repositories())
        plan, name = plan_scan(wanted, canonical, self.clock.now()), make_catalog_name(wanted, canonical)
        newest = await self.catalog.find_newest_listing(name)
        if newest is not None and not is_outdated(newest, wanted):
            await self.checkpoints.save(wanted, name)  # what the last look found: it was told first
        elif isinstance(plan, Wait):
            plan = LOST
        try:
            if isinstance(plan, Scan):
                listed_at: datetime | None = await self._scan(wanted, repository, access, plan)
            else:
                listed_at = last.scan_time if (last := wanted.status.last_scan_result) is not None else None
            if listed_at is not None:
                await self._look_for_pushed(wanted, repository, access, listed_at)
            result = await self._make_result(wanted, name, listed_at)
        except RegistryError as error:
            reason = plan.reason if isinstance(plan, Scan) else "tags were pushed"
            progress = Condition(
                type="Reconciling", status="True", reason="ProgressingWithRetry", message=f"scanning: {reason}"
            )
            failure = type(error)(f"scan failed: {error}", retry_after=error.retry_after)
            raise failure.carry(wanted.status, progress) from error
        delay = plan.seconds if isinstance(plan, Wait) else self._find_delay(wanted, result)
        if await self.checkpoints.is_due(wanted, name):
            delay = min(delay, SOON)
        if wanted.status.canonical_image_name not in ("", canonical):
            await self._forget(_list_names(wanted) - {name}, wanted)
        status = msgspec.structs.replace(wanted.status, last_scan_result=result)
        return _make_outcome(wanted, status, canonical, delay, self.checkpoints.explain_trouble(wanted))

    async def finalize(self, wanted: ImageRepository) -> None:
        """Forget in the catalog what nobody else of the namespace lists; nothing was made in the world."""
        self.checkpoints.forget(wanted)
        self._asked.pop(wanted.key, None)
        await self._forget(_list_names(wanted), wanted)

    async def _forget(self, names: Iterable[str], without: ImageRepository | None = None) -> None:
        """Forget those of these names in the catalog that no ImageRepository stands for any more."""
        listed = await self.checkpoints.objects.list(ImageRepository)
        used = {name for found in listed if without is None or found.key != without.key for name in _list_names(found)}
        for name in names:
            if name not in used:
                await self.catalog.forget(name)
                self.checkpoints.forget_image(name)

    async def _scan(
        self, wanted: ImageRepository, repository: Repository, access: RegistryAccess, plan: Scan
    ) -> datetime:
        """Bring a listing into the catalog that is as new as the plan wants it; when it was asked for."""
        # what came over plain HTTP may be anybody's: it is shared with those only who take that, too
        asked = repository, f"{identify_access(access)}{'+http' if repository.insecure else ''}"
        listing = self.newest.get(asked)
        if listing is None or not is_shared(plan, listing.asked_at, self.clock.now()):
            began = self.clock.now()
            listing = await self._list_shared(wanted, repository, access, asked)
            if plan.since is not None and listing.asked_at < min(plan.since, began):  # it was under way before
                listing = await self._list_shared(wanted, repository, access, asked)
        await self._keep(wanted, make_catalog_name(wanted, str(repository)), listing, asked[1])
        return listing.asked_at

    async def _list_shared(
        self, wanted: ImageRepository, repository: Repository, access: RegistryAccess, asked: Asked
    ) -> Listed:
        """Return a new listing; who asks for it meanwhile gets the same one."""
        limit = max(1.0, parse_duration(wanted.spec.timeout or wanted.spec.interval))
        try:
            async with asyncio.timeout(limit):
                return await self._listings_under_way.join(asked, lambda: self._list(repository, access, asked))
        except TimeoutError:
            raise RegistryUnavailable(f"{repository} did not list its tags within {limit:g}s") from None

    async def _list(self, repository: Repository, access: RegistryAccess, asked: Asked) -> Listed:
        asked_at = self.clock.now()
        tags = await self.registry.list_tags(repository, access)
        listing = Listed(tags, asked_at, self.clock.now())
        self.newest.put(asked, listing, _weigh(tags))
        return listing

    async def _keep(self, wanted: ImageRepository, name: str, listing: Listed, identity: str) -> None:
        """Bring a listing into the namespace's catalog, once however many objects of it share it."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            if await self.catalog.find_listing_begin(name, identity) == listing.asked_at:
                return
            await self.checkpoints.recall(wanted, name, listing.tags)
            # all tags, also excluded ones: other ImageRepositories of the same image exclude others
            await self.catalog.store(name, listing.tags, listing.answered_at, identity, listing.asked_at)

    async def _look_for_pushed(
        self, wanted: ImageRepository, repository: Repository, access: RegistryAccess, listed_at: datetime
    ) -> None:
        """Observe the tags that webhooks reported since the listing, as far as the registry has them, too."""
        name, pushes = make_catalog_name(wanted, str(repository)), select_since(wanted.metadata.annotations, listed_at)
        since, asked = self._asked.get(wanted.key, (listed_at, frozenset()))
        asked = asked if since == listed_at else frozenset()
        for push in pushes:
            if push in asked:
                continue
            if not may_ask(asked):
                log.warning(
                    "pushed tags wait for the next listing", extra={"key": str(wanted.key), "asked": len(asked)}
                )
                break
            digest = await self._find_digest(repository, push.tag, access)
            asked |= {push}
            self._asked[wanted.key] = listed_at, asked
            if digest is None:
                log.info("a pushed tag is not there", extra={"key": str(wanted.key), "tag": push.tag})
            else:
                await self.catalog.observe(name, push.tag, digest, self.clock.now())  # a webhook's time is a word, too

    async def _find_digest(self, repository: Repository, tag: str, access: RegistryAccess) -> str | None:
        """Return the digest that the tag names, None when this credential sees none. Raises RegistryUnavailable."""
        try:
            return await self.registry.resolve_digest(repository, tag, access)
        except (ImageUnknown, RegistryDenied):
            return None

    async def _make_result(self, wanted: ImageRepository, name: str, listed_at: datetime | None) -> ScanResult | None:
        """Return the scan result of the listing in the catalog, which was asked for at `listed_at`."""
        if listed_at is None:
            return wanted.status.last_scan_result
        try:
            tags = await self.catalog.list_tags(name) or ()
            weight = len(tags) * (1 + len(wanted.spec.exclusion_list))
            listing = await self.compute.run(weight, self.listings.get_listing, name, tags, wanted.spec.exclusion_list)
            kept = listing.tags
        except PatternInvalid as error:
            raise RegistryError(str(error)) from None
        key = (name, wanted.spec.exclusion_list)
        scanned = self._scanned.get(key)
        if scanned is None or scanned[0] is not kept:
            scanned = kept, await self.compute.run(len(kept), make_scan_result, kept, listed_at)
            self._scanned.put(key, scanned, _weigh(kept))
        result = scanned[1]
        return msgspec.structs.replace(result, scan_time=listed_at.replace(microsecond=0))

    def _find_delay(self, wanted: ImageRepository, result: ScanResult | None) -> float:
        """Return the seconds until one interval after the listing, which another object may have made."""
        interval = parse_duration(wanted.spec.interval)
        if result is None or result.scan_time is None:
            return interval
        age = (self.clock.now() - result.scan_time).total_seconds()
        return max(1.0, interval - age) if age >= 1 else interval


def _list_names(wanted: ImageRepository) -> set[str]:
    """Return the names in the catalog of what the object lists, and of what it listed last."""
    canonical = {wanted.status.canonical_image_name} - {""}
    with contextlib.suppress(ImageInvalid):
        canonical.add(str(parse_repository(wanted.spec.image)))
    return {make_catalog_name(wanted, each) for each in canonical}


def _weigh(tags: Sequence[str]) -> int:
    """Return about how many bytes tags take; no more than may be kept, so that the last ones always stay."""
    return min(1000 + 8 * len(tags) + sum(map(sys.getsizeof, tags)), MOST_REMEMBERED)


def make_scan_result(tags: Sequence[str], now: datetime) -> ScanResult:
    """Return the scan result of a listing in descending order."""
    moment = now.replace(microsecond=0)
    return ScanResult(
        tag_count=len(tags), revision=compute_checksum(tags), scan_time=moment, latest_tags=tuple(tags[:LATEST])
    )


def _make_outcome(
    wanted: ImageRepository, status: ImageRepositoryStatus, canonical: str, delay: float, trouble: str
) -> Outcome:
    scan = status.last_scan_result or ScanResult(tag_count=0)
    message = f"successful scan: found {scan.tag_count} tags with checksum {scan.revision}"
    excluded = wanted.spec.exclusion_list
    return Outcome(
        status=msgspec.structs.replace(status, canonical_image_name=canonical, observed_exclusion_list=excluded),
        message=message,
        requeue_after=delay,
        conditions=(Condition(type="AgesKept", status="False", reason="NotOurs", message=trouble),) if trouble else (),
        notices=make_ready_notices(wanted, message),
    )
