"""ImagePolicy: which of a repository's tags is the latest."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from gitops_core.errors import GitOpsError, StalledError, TransientError
from gitops_core.meta import Condition, Kind, ObjectKey, ObjectRef
from gitops_core.ports import Cluster, Objects
from gitops_core.runtime.reconciling import Outcome
from gitops_core.runtime.refusing import refuse_unsupported
from image_updater.api import ImagePolicy, ImagePolicyStatus, ImageRef, ImageRepository
from image_updater.domain.choices import choice_of, filter_of, ready_message
from image_updater.domain.policies import select_latest
from image_updater.domain.references import parse_repository
from image_updater.domain.scans import without_excluded
from image_updater.errors import AccessDenied, RepositoryNotReady
from image_updater.ports import TagCatalog
from image_updater.reconcilers.notices import ready_notices

NAMESPACE = Kind("", "v1", "Namespace")
DEPENDENCY_RETRY = 30.0
FIRST_LOOK = 1.0
"""Seconds until the next look for a repository that is being listed again; doubled up to DEPENDENCY_RETRY."""


class Relisted(Exception):
    """The catalog was lost since the repository was listed: what was chosen holds until it is listed again."""


@dataclass(frozen=True)
class ImagePolicyReconciler:
    """Implements Reconciler for ImagePolicy.

    `_waits` remembers the seconds of the last wait for a lost catalog; it may be lost as well.
    """

    cluster: Cluster
    objects: Objects
    catalog: TagCatalog
    _waits: dict[ObjectKey, float] = field(default_factory=dict)

    async def reconcile(self, wanted: ImagePolicy) -> Outcome:
        refuse_unsupported(wanted, harmless=())
        try:
            repository = await self._repository(wanted)
            tags = await self._tags(wanted, repository)
            latest = select_latest(tags, choice_of(wanted), filter_of(wanted))
        except Relisted:
            return _as_before(wanted, self._next_wait(wanted.key))
        except StalledError:
            raise
        except GitOpsError as error:  # status.latestRef stays: what was chosen stays in use
            raise error.carrying(wanted.status, _progress(wanted)) from None
        self._waits.pop(wanted.key, None)
        status = with_latest(wanted.status, ImageRef(name=repository.spec.image, tag=latest))
        message = ready_message(status)
        notices = ready_notices(wanted, message)
        return Outcome(status=status, message=message, requeue_after=None, notices=notices)

    async def finalize(self, wanted: ImagePolicy) -> None:
        """Nothing in the world: a policy makes nothing."""
        self._waits.pop(wanted.key, None)

    def _next_wait(self, key: ObjectKey) -> float:
        wait = min(DEPENDENCY_RETRY, 2 * self._waits.get(key, FIRST_LOOK / 2))
        self._waits[key] = wait
        return wait

    async def _repository(self, wanted: ImagePolicy) -> ImageRepository:
        """The ImageRepository, when there is one and this namespace may use it."""
        key = repository_key(wanted)
        trouble = "failed to get the referred ImageRepository"
        repository = await self.objects.get(ImageRepository, key)
        if repository is None:
            kind = f"ImageRepository.{ImageRepository.KIND.group}"
            raise RepositoryNotReady(
                f'{trouble}: referenced ImageRepository does not exist: {kind} "{key.name}" not found'
            )
        if key.namespace != wanted.metadata.namespace:
            await self._check_access(repository, wanted.metadata.namespace, f"{trouble}: access denied")
        return repository

    async def _check_access(self, repository: ImageRepository, namespace: str, trouble: str) -> None:
        access = repository.spec.access_from
        if access is None:
            raise AccessDenied(
                f"{trouble}: '{repository.key}' can't be accessed due to missing ACL labels on 'accessFrom'"
            )
        manifest = await self.cluster.get(ObjectRef(NAMESPACE, ObjectKey("", namespace))) or {}
        labels = (manifest.get("metadata") or {}).get("labels") or {}
        if not any(selector.match_labels.items() <= labels.items() for selector in access.namespace_selectors):
            raise AccessDenied(
                f"{trouble}: '{repository.key}' can't be accessed due to ACL labels mismatch on namespace '{namespace}'"
            )

    async def _tags(self, wanted: ImagePolicy, repository: ImageRepository) -> tuple[str, ...]:
        """Raises Relisted, or RepositoryNotReady: it was not listed yet, or is empty."""
        canonical = str(parse_repository(repository.spec.image))
        choice_of(wanted)  # a policy that cannot be is said to be wrong also before there are tags
        status = repository.status
        scanned = status.last_scan_result is not None and status.canonical_image_name == canonical
        listed = await self.catalog.tags(canonical) if scanned else None
        if scanned and listed is None:
            raise Relisted
        tags = without_excluded(listed or (), status.observed_exclusion_list)
        if not tags:
            raise RepositoryNotReady("retrying in 30s error: no tags in database", retry_after=DEPENDENCY_RETRY)
        return tags


def repository_key(policy: ImagePolicy) -> ObjectKey:
    reference = policy.spec.image_repository_ref
    return ObjectKey(reference.namespace or policy.metadata.namespace, reference.name)


def with_latest(status: ImagePolicyStatus, latest: ImageRef) -> ImagePolicyStatus:
    """The status that names `latest`, and what was named before it."""
    if status.latest_ref == latest:
        return status
    return msgspec.structs.replace(status, latest_ref=latest, observed_previous_ref=status.latest_ref)


def _as_before(wanted: ImagePolicy, delay: float) -> Outcome:
    """What the policy said before of this generation, and a look in `delay` seconds; raises the failure that it was."""
    status, generation = wanted.status, wanted.metadata.generation
    ready = next((c for c in status.conditions if c.type == "Ready" and c.observed_generation == generation), None)
    if ready is not None and ready.status == "True":
        return Outcome(status=status, message=ready.message, requeue_after=delay, reason=ready.reason)
    if ready is not None and ready.status == "False":
        failure = TransientError(ready.message, reason=ready.reason, retry_after=delay)
        raise failure.carrying(status, _progress(wanted)).told("None", {})
    return Outcome(status=status, message="waiting for the next scan", requeue_after=delay, ready="Unknown")


def _progress(wanted: ImagePolicy) -> Condition:
    observed, generation = wanted.status.observed_generation or -1, wanted.metadata.generation
    message = "reconciliation in progress"
    if observed != generation:
        message = f"processing object: new generation {observed} -> {generation}"
    return Condition(type="Reconciling", status="True", reason="ProgressingWithRetry", message=message)
