"""ImageRepository: the tags of one repository, listed again and again, into the catalog."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from gitops_core.meta import Condition, seconds
from gitops_core.ports import Clock, Cluster
from gitops_core.runtime.reconciling import Outcome
from image_updater.api import ImageRepository, ImageRepositoryStatus, ScanResult
from image_updater.domain.credentials import RegistryAccess
from image_updater.domain.filters import PatternInvalid
from image_updater.domain.references import Repository, parse_repository
from image_updater.domain.scans import LATEST, LOST, Wait, checksum, plan_scan, without_excluded
from image_updater.errors import RegistryError, RegistryUnavailable
from image_updater.ports import CloudLogins, Registry, TagCatalog
from image_updater.reconcilers.access import registry_access
from image_updater.reconcilers.notices import ready_notices


@dataclass(frozen=True)
class ImageRepositoryReconciler:
    """Implements Reconciler for ImageRepository."""

    cluster: Cluster
    clock: Clock
    registry: Registry
    catalog: TagCatalog
    logins: CloudLogins | None = None

    async def reconcile(self, wanted: ImageRepository) -> Outcome:
        repository = parse_repository(wanted.spec.image, insecure=wanted.spec.insecure)
        canonical = str(repository)
        access = await registry_access(self.cluster, wanted, repository, self.logins)
        plan = plan_scan(wanted, canonical, self.clock.now())
        if isinstance(plan, Wait) and await self.catalog.tags(canonical) is None:
            plan = LOST
        if isinstance(plan, Wait):
            return _outcome(wanted, wanted.status, canonical, plan.seconds)
        try:
            result = await self._scan(wanted, repository, access)
        except RegistryError as error:
            progress = Condition(
                type="Reconciling", status="True", reason="ProgressingWithRetry", message=f"scanning: {plan.reason}"
            )
            failure = type(error)(f"scan failed: {error}", retry_after=error.retry_after)
            raise failure.carrying(wanted.status, progress) from error
        status = msgspec.structs.replace(wanted.status, last_scan_result=result)
        return _outcome(wanted, status, canonical, seconds(wanted.spec.interval))

    async def finalize(self, wanted: ImageRepository) -> None:
        """Nothing: another ImageRepository may list the same repository."""

    async def _scan(self, wanted: ImageRepository, repository: Repository, access: RegistryAccess) -> ScanResult:
        limit = max(1.0, seconds(wanted.spec.timeout or wanted.spec.interval))
        try:
            async with asyncio.timeout(limit):
                listed = await self.registry.tags(repository, access)
        except TimeoutError:
            raise RegistryUnavailable(f"{repository} did not list its tags within {limit:g}s") from None
        try:
            kept = without_excluded(listed, wanted.spec.exclusion_list)
        except PatternInvalid as error:
            raise RegistryError(str(error)) from None
        now = self.clock.now()
        # all tags, also excluded ones: other ImageRepositories of the same image exclude others
        await self.catalog.store(str(repository), listed, now)
        return scan_result(kept, now)


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
