"""ImagePolicy: which of a repository's tags is the latest.

    tags and guards -> request -> decide ──Need──> ask the registry, decide again
                                     └──> Chosen: status.latestRef    Nothing: what was chosen stays, and why is told

Without guards and digests nothing but what the watches know is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from gitops_core.errors import GitOpsError, KindUnknown, StalledError, TransientError
from gitops_core.meta import Condition, ObjectKey, ObjectRef, parse_duration
from gitops_core.ports import Clock, CloudLogins, Cluster, Compute, Objects
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy, ReferenceRefused
from gitops_core.runtime.reconciling import Notice, Outcome
from gitops_core.runtime.sharing.computing import IN_PLACE
from image_updater.api import ImagePolicy, ImagePolicyStatus, ImageRef, ImageRepository, Proven, UpdateGuard
from image_updater.domain.guards.rules import Rules, collect_rules
from image_updater.domain.guards.verdicts import Chosen, Facts, Need, Nothing, Request, decide
from image_updater.domain.guards.vouching import make_catalog_name
from image_updater.domain.registry.references import parse_repository
from image_updater.domain.tags.choices import (
    get_choice,
    get_filter,
    skips_unparsable,
    write_ready_message,
)
from image_updater.domain.tags.filters import PatternInvalid
from image_updater.domain.tags.history import SeenTag, TagEvent
from image_updater.domain.tags.listings import Listing, Listings
from image_updater.domain.tags.scans import is_outdated
from image_updater.domain.tags.shrinking import explain_disbelief
from image_updater.errors import GuardInvalid, ListShrank, NoTagQualifies, RepositoryNotReady
from image_updater.ports import ImageReader, Registry, TagCatalog
from image_updater.reconcilers.access import find_repository, is_open, read_labels
from image_updater.reconcilers.evidence import Witness

DEPENDENCY_RETRY = 30.0
FIRST_LOOK = 1.0
"""Seconds until the next look for a repository that is being listed again; doubled up to DEPENDENCY_RETRY."""
ELSEWHERE = 30.0
"""Seconds between two looks at what is proven in another namespace: its guards do not wake us."""
TAG_WEIGHT = 4
"""What a tag counts that is filtered, parsed and compared."""
MOST_TOLD = 3
"""Candidates that were passed over and are named in the Ready condition."""


class Relisted(Exception):
    """The catalog does not have what was listed, or not yet: what was chosen holds until it is listed again."""


@dataclass(frozen=True)
class ImagePolicyReconciler:
    """Implements Reconciler for ImagePolicy.

    `_waits` remembers the seconds of the last wait for a lost catalog; it may be lost as well.
    """

    cluster: Cluster
    clock: Clock
    objects: Objects
    catalog: TagCatalog
    registry: Registry
    reader: ImageReader
    listings: Listings
    logins: CloudLogins | None = None
    compute: Compute = IN_PLACE
    operator: Policy = DEFAULT_POLICY
    _waits: dict[ObjectKey, float] = field(default_factory=dict)

    async def reconcile(self, wanted: ImagePolicy) -> Outcome:
        notices: list[Notice] = []
        try:
            _check_interval(wanted)
            repository = await find_repository(self.cluster, self.objects, self.operator, wanted)
            await self._check_catalog(repository)
            request = await self._make_request(wanted, repository)
            request, found = await self._decide(wanted, repository, request, notices)
            if isinstance(found, Nothing):
                raise NoTagQualifies(found.message, retry_after=_find_next_look(wanted, repository, request, found))
            decision = found
            status = set_latest(wanted.status, make_latest(decision, wanted, repository))
        except Relisted:
            return _repeat(wanted, self._lengthen_wait(wanted.key))
        except GuardInvalid as error:  # it is not the policy that has to be edited
            raise error.carry(wanted.status) from None
        except StalledError:
            raise
        except GitOpsError as error:  # status.latestRef stays: what was chosen stays in use
            raise error.carry(wanted.status, _make_progress(wanted)) from None
        self._waits.pop(wanted.key, None)
        message = write_ready_message(status)
        return Outcome(
            status=status,
            message=message + _explain_passed(decision, request.rules),
            requeue_after=_find_next_look(wanted, repository, request, decision),
            notices=(*notices, *_make_notices(wanted, message)),
        )

    async def explain(self, wanted: ImagePolicy) -> tuple[Request, Chosen | Nothing]:
        """Return the decision and all that it depends on, with what registries were asked for it; write nothing.

        Raises:
            GitOpsError: it cannot be decided; Relisted: the catalog does not know the repository.
        """
        repository = await find_repository(self.cluster, self.objects, self.operator, wanted)
        return await self._decide(wanted, repository, await self._make_request(wanted, repository), [])

    async def finalize(self, wanted: ImagePolicy) -> None:
        """Forget what the policy waits for; it made nothing in the world."""
        self._waits.pop(wanted.key, None)

    def _lengthen_wait(self, key: ObjectKey) -> float:
        wait = min(DEPENDENCY_RETRY, 2 * self._waits.get(key, FIRST_LOOK / 2))
        self._waits[key] = wait
        return wait

    async def _check_catalog(self, repository: ImageRepository) -> None:
        """Raise Relisted when another process has led and listed since the catalog was filled."""
        name = make_catalog_name(repository, repository.status.canonical_image_name)
        if is_outdated(await self.catalog.find_newest_listing(name), repository):
            raise Relisted

    # what is read before anything is decided

    async def _make_request(self, wanted: ImagePolicy, repository: ImageRepository) -> Request:
        """Return all that the decision depends on, as far as it is known here."""
        policy = get_choice(wanted)  # a policy that cannot be is said to be wrong also before there are tags
        canonical = str(parse_repository(repository.spec.image))
        name = make_catalog_name(repository, canonical)
        listing = await self._get_listing(repository, canonical)
        rules = collect_rules(wanted, await list_guards(self.objects, wanted.metadata.namespace))
        if rules.faults:
            raise GuardInvalid("; ".join(rules.faults))
        if rules.max_shrink is not None:
            await self._check_shrinking(wanted, listing, name, rules.max_shrink, repository)
        seen = await self.catalog.list_seen(name) if rules.min_age else ()
        kept = _find_kept(wanted, repository)  # without guards nobody wants to know whether its tag was moved
        return Request(
            policy=policy,
            listing=listing,
            now=self.clock.now(),
            tag_filter=get_filter(wanted),
            skip_unparsable=skips_unparsable(wanted),
            rules=rules,
            seen=await self.compute.run(len(seen), _index_by_tag, seen),
            proven={p.policy: await self._find_proven(p.policy, wanted) for p in rules.promotions},
            digest=wanted.spec.digest_reflection_policy != "Never",
            facts={kept.tag: Facts(digest=kept.digest)} if kept is not None and not rules.guards else {},
        )

    async def _get_listing(self, repository: ImageRepository, canonical: str) -> Listing:
        """Return the listed tags. Raises Relisted, or RepositoryNotReady: it was not listed yet, or is empty."""
        status = repository.status
        scanned = status.last_scan_result is not None and status.canonical_image_name == canonical
        name = make_catalog_name(repository, canonical)
        listed = await self.catalog.list_tags(name) if scanned else None
        if scanned and listed is None:
            raise Relisted
        try:
            tags, excluded = listed or (), status.observed_exclusion_list
            weight = len(tags) * (1 + len(excluded))
            listing = await self.compute.run(weight, self.listings.get_listing, name, tags, excluded)
        except PatternInvalid as error:
            raise RepositoryNotReady(str(error), retry_after=DEPENDENCY_RETRY) from None
        if not listing.tags:
            raise RepositoryNotReady("retrying in 30s error: no tags in database", retry_after=DEPENDENCY_RETRY)
        return listing

    async def _check_shrinking(
        self, wanted: ImagePolicy, listing: Listing, name: str, share: int, repository: ImageRepository
    ) -> None:
        """Raise ListShrank when so many tags have vanished that the listing is not believed."""
        events = await self.catalog.list_events(name)
        annotations, now = wanted.metadata.annotations, self.clock.now()
        weight = len(events) * (1 + len(listing.exclusions))
        cause = await self.compute.run(weight, _explain_shrinking, events, listing, share, annotations, now)
        if cause:
            raise ListShrank(cause, retry_after=parse_duration(repository.spec.interval))

    async def _find_proven(self, policy: ObjectKey, wanted: ImagePolicy) -> tuple[Proven, ...] | str:
        """Return what ran Healthy where `policy` decides, as its guards saw it; or why `wanted` cannot see it."""
        namespace = wanted.metadata.namespace
        try:
            self.operator.check_reference(wanted.ref, ObjectRef(ImagePolicy.KIND, policy))
        except ReferenceRefused as error:
            return str(error)
        guards = [guard for guard in await list_guards(self.objects, policy.namespace) if not guard.spec.suspend]
        if policy.namespace != namespace:
            labels = await read_labels(self.cluster, namespace)
            guards = [guard for guard in guards if guard.spec.access_from and is_open(guard.spec.access_from, labels)]
            if not guards:
                return (
                    f"no UpdateGuard of namespace {policy.namespace!r} is open to namespace {namespace!r} (accessFrom)"
                )
        return tuple(entry for guard in guards for entry in guard.status.proven if entry.policy == policy.name)

    # the decision

    async def _decide(
        self, wanted: ImagePolicy, repository: ImageRepository, request: Request, notices: list[Notice]
    ) -> tuple[Request, Chosen | Nothing]:
        """Return the decision, and the request with the facts that it took. Raises the registry's errors."""
        rules, facts = request.rules, dict(request.facts)
        witness = Witness(
            self.cluster,
            self.registry,
            self.reader,
            self.catalog,
            self.logins,
            repository,
            parse_repository(repository.spec.image, insecure=repository.spec.insecure),
            wanted.metadata.namespace,
            rules.verify,
            self.clock,
            self.compute,
            _find_kept(wanted, repository),
            strict=not rules.guards,
            notices=notices,
            default_account=self.operator.default_service_account,
        )
        weight = len(request.listing.listed) * TAG_WEIGHT
        while isinstance(found := await self.compute.run(weight, decide, replace(request, facts=facts)), Need):
            facts[found.tag] = await witness.answer(found, facts.get(found.tag, Facts()))
        return replace(request, facts=facts), found


def _index_by_tag(seen: Sequence[SeenTag]) -> dict[str, SeenTag]:
    return {each.tag: each for each in seen}


def _explain_shrinking(
    events: Sequence[TagEvent], listing: Listing, share: int, annotations: Mapping[str, str], now: datetime
) -> str:
    """Say why the listing is not believed, "" when it is."""
    kept = frozenset(Listing((event.tag for event in events), listing.exclusions).tags)
    return explain_disbelief(listing.tags, [event for event in events if event.tag in kept], share, annotations, now)


async def list_guards(objects: Objects, namespace: str) -> tuple[UpdateGuard, ...]:
    try:
        return await objects.list(UpdateGuard, namespace)
    except KindUnknown:  # not installed: nobody wants any
        return ()


def set_latest(status: ImagePolicyStatus, latest: ImageRef) -> ImagePolicyStatus:
    """Return the status that names `latest`, and what was named before it."""
    if status.latest_ref == latest:
        return status
    return msgspec.structs.replace(status, latest_ref=latest, observed_previous_ref=status.latest_ref)


def make_latest(decision: Chosen, wanted: ImagePolicy, repository: ImageRepository) -> ImageRef:
    """Return status.latestRef of the decision: with a digest only where the policy reflects it."""
    digest = "" if wanted.spec.digest_reflection_policy == "Never" else decision.digest
    return ImageRef(name=repository.spec.image, tag=decision.tag, digest=digest)


def _find_kept(wanted: ImagePolicy, repository: ImageRepository) -> ImageRef | None:
    """Return the image that was reflected before and stays, whatever its tag names by now."""
    known = wanted.status.latest_ref
    if wanted.spec.digest_reflection_policy != "IfNotPresent" or known is None or known.name != repository.spec.image:
        return None
    return known if known.digest else None


def _check_interval(wanted: ImagePolicy) -> None:
    if wanted.spec.digest_reflection_policy == "Always" and wanted.spec.interval is None:
        raise StalledError(
            "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'",
            reason="IntervalNotConfigured",
        )


def _find_next_look(
    wanted: ImagePolicy, repository: ImageRepository, request: Request, decision: Chosen | Nothing
) -> float | None:
    """Return the seconds until the next look, None to wait for a change."""
    looks = []
    if wanted.spec.digest_reflection_policy == "Always" and wanted.spec.interval is not None:
        looks.append(parse_duration(wanted.spec.interval))
    if request.rules.watches_digests:
        looks.append(parse_duration(repository.spec.interval))
    if decision.again is not None:
        looks.append((decision.again - request.now).total_seconds())
    elsewhere = any(p.policy.namespace != wanted.metadata.namespace for p in request.rules.promotions)
    if elsewhere and any(verdict.kind == "not promoted" for verdict in decision.passed):
        looks.append(ELSEWHERE)
    return max(1.0, min(looks)) if looks else None


def _explain_passed(decision: Chosen, rules: Rules) -> str:
    """Say why better tags were passed over, to follow the original's words in the Ready condition."""
    if not rules.guards:
        return ""
    causes = [verdict.steady for verdict in decision.passed[:MOST_TOLD]]
    if decision.how != "chosen":
        causes.insert(0, "it is pinned" if decision.how == "pinned" else "taken back to it")
    more = "; ..." if len(decision.passed) > MOST_TOLD else ""
    return "".join(f"; {cause}" for cause in causes) + more


def _make_notices(wanted: ImagePolicy, message: str) -> Sequence[Notice]:
    """Return the notice of a choice, unless it was sent before: what is said of other tags is no news."""
    ready = wanted.status.ready
    if ready is not None and ready.status == "True" and f"{ready.message};".startswith(f"{message};"):
        return ()
    return (Notice("Normal", "Succeeded", message),)


def _repeat(wanted: ImagePolicy, delay: float) -> Outcome:
    """Return the former outcome of this generation and a look in `delay` seconds; raises the failure that it was."""
    status, generation = wanted.status, wanted.metadata.generation
    ready = next((c for c in status.conditions if c.type == "Ready" and c.observed_generation == generation), None)
    if ready is not None and ready.status == "True":
        return Outcome(status=status, message=ready.message, requeue_after=delay, reason=ready.reason)
    if ready is not None and ready.status == "False":
        failure = TransientError(ready.message, reason=ready.reason, retry_after=delay)
        raise failure.carry(status, _make_progress(wanted)).record_as("None", {})
    return Outcome(status=status, message="waiting for the next scan", requeue_after=delay, ready="Unknown")


def _make_progress(wanted: ImagePolicy) -> Condition:
    observed, generation = wanted.status.observed_generation or -1, wanted.metadata.generation
    message = "reconciliation in progress"
    if observed != generation:
        message = f"processing object: new generation {observed} -> {generation}"
    return Condition(type="Reconciling", status="True", reason="ProgressingWithRetry", message=message)
