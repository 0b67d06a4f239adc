"""UpdateGuard: watches what the bumps of its policies lead to, and takes back what fails.

    the policies it selects -> the automations that commit them -> the sources those update -> the Kustomizations that
    apply these -> the workloads that run the policies' images: Healthy, or failing?

The reconciler reads and records. What it records (what is proven, what is quarantined) is an input of the policies'
next choice; nothing else is done about a failure, least of all to a live object.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from gitops_core.api import GitRepository, Kustomization
from gitops_core.errors import ImageInvalid, KindUnknown
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, parse_duration
from gitops_core.ports import Query
from gitops_core.runtime.policy import ReferenceRefused
from gitops_core.runtime.reconciling import Notice, Outcome, Platform
from gitops_core.runtime.watching.informers import list_live_manifests
from image_updater.api import ImagePolicy, ImageRef, ImageUpdateAutomation, Quarantined, UpdateGuard
from image_updater.domain.guards import workloads
from image_updater.domain.guards.rollouts import Applied, Followed, observe, runs, write_overview
from image_updater.domain.guards.rules import find_faults
from image_updater.domain.guards.selectors import selects
from image_updater.domain.guards.vouching import (
    Written,
    applies,
    is_in_inventory,
    is_labelled,
    is_of_release,
    make_catalog_name,
    make_labels,
)
from image_updater.domain.guards.workloads import State, Workload
from image_updater.domain.registry.references import parse_repository
from image_updater.domain.tags.choices import get_choice, get_filter
from image_updater.domain.tags.filters import PatternInvalid
from image_updater.domain.tags.history import SeenTag
from image_updater.errors import (
    AccessDenied,
    GuardInvalid,
    PolicyInvalid,
    RepositoryNotReady,
    SelectorInvalid,
    SourceMissing,
)
from image_updater.ports import HealthRule, TagCatalog
from image_updater.reconcilers.access import find_repository
from image_updater.reconcilers.sources import find_source

POD = Kind("", "v1", "Pod")
RELEASE = Kind("helm.toolkit.fluxcd.io", "v2", "HelmRelease")
KUSTOMIZE, HELM = "kustomize.toolkit.fluxcd.io", RELEASE.group
HELM_RELEASE = f"{RELEASE.group}_{RELEASE.kind}"
LOOK = 5.0
"""Seconds between two looks at Pods that do not become ready: they are not watched."""
SCHEDULE_WEIGHT, WORKLOAD_WEIGHT = 3000, 200
"""What a window and a workload count that are looked at: the next time of a schedule may be years away."""
_PODS_MATTER = (workloads.DEPLOYMENT, workloads.STATEFUL_SET, workloads.DAEMON_SET, workloads.ROLLOUT)


def _find_digest(seen: Iterable[SeenTag], tag: str) -> str:
    return next((each.digest for each in seen if each.tag == tag), "")


@dataclass(frozen=True)
class UpdateGuardReconciler:
    """Implements Reconciler for UpdateGuard."""

    platform: Platform
    catalog: TagCatalog
    health: HealthRule

    async def reconcile(self, wanted: UpdateGuard) -> Outcome:
        now = self.platform.clock.now().replace(microsecond=0)
        run = self.platform.compute.run
        if faults := await run(len(wanted.spec.windows) * SCHEDULE_WEIGHT, find_faults, wanted.spec, now):
            raise GuardInvalid("; ".join(faults))
        followed = await self._list_followed(wanted)
        applied = await self._list_applied(wanted, followed) if followed else ()
        weight = (len(followed) + len(applied)) * WORKLOAD_WEIGHT
        seen = await run(weight, observe, wanted.spec, wanted.status, followed, applied, now)
        return Outcome(
            status=seen.status,
            message=write_overview(seen.status, seen.troubles),
            requeue_after=LOOK if seen.waiting and wanted.spec.rollback is not None else None,
            watch=frozenset(found.workload.ref for found in applied),
            notices=tuple(map(_make_notice, seen.taken_back)),
        )

    async def finalize(self, wanted: UpdateGuard) -> None:
        """Do nothing: a guard makes nothing."""

    # what is read

    async def _list_followed(self, wanted: UpdateGuard) -> tuple[Followed, ...]:
        """Return the selected policies that chose something."""
        found, operator = [], self.platform.policy
        for policy in await self.platform.objects.list(ImagePolicy, wanted.metadata.namespace):
            if policy.status.latest_ref is None or not selects(wanted.spec.policy_selector, policy.metadata.labels):
                continue
            try:
                repository = await find_repository(self.platform.cluster, self.platform.objects, operator, policy)
                canonical = str(parse_repository(repository.spec.image))
            except (RepositoryNotReady, AccessDenied, ReferenceRefused):
                continue  # said by the policy
            except ImageInvalid:
                continue  # said by the ImageRepository
            latest = await self._add_digest(make_catalog_name(repository, canonical), policy.status.latest_ref)
            try:
                found.append(Followed(policy.metadata.name, canonical, latest, get_choice(policy), get_filter(policy)))
            except (PolicyInvalid, PatternInvalid):
                continue  # said by the policy
        return tuple(found)

    async def _add_digest(self, name: str, latest: ImageRef) -> ImageRef:
        """Return the chosen image with the digest that the policy saw: the tag may name another image by now."""
        if latest.digest:
            return latest
        seen = await self.catalog.list_seen(name)
        digest = await self.platform.compute.run(len(seen), _find_digest, seen, latest.tag)
        return msgspec.structs.replace(latest, digest=digest)

    async def _list_applied(self, wanted: UpdateGuard, followed: Sequence[Followed]) -> tuple[Applied, ...]:
        """Return the workloads with images of the policies, wherever what their automations update is applied."""
        images = {each.repository for each in followed}
        found: list[Applied] = []
        for kustomization, policies in await self._list_kustomizations(wanted.metadata.namespace, followed):
            status = kustomization.status
            revision = status.last_attempted_revision or status.last_applied_revision
            async for workload in self._list_workloads(wanted, kustomization, images):
                found.append(Applied(workload, revision, policies))
        return tuple(found)

    async def _list_kustomizations(
        self, namespace: str, followed: Sequence[Followed]
    ) -> list[tuple[Kustomization, frozenset[str]]]:
        """Return those that apply what automations of followed policies update, each with these policies."""
        written = await self._list_written(namespace, followed)
        found = []
        for kustomization in await self.platform.objects.list(Kustomization) if written else ():
            url = await self._find_url(kustomization)
            policies = [policy for each, policy in written if applies(kustomization, url, each)]
            if policies:
                found.append((kustomization, frozenset(policies)))
        return found

    async def _list_written(self, namespace: str, followed: Sequence[Followed]) -> list[tuple[Written, str]]:
        """Return what the namespace's automations write, each with a followed policy that it selects."""
        labels = {p.metadata.name: p.metadata.labels for p in await self.platform.objects.list(ImagePolicy, namespace)}
        found = []
        for automation in await self.platform.objects.list(ImageUpdateAutomation, namespace):
            try:
                source = await find_source(self.platform, automation)
            except (SourceMissing, ReferenceRefused):
                continue  # said by the automation
            written = Written(automation, source)
            with contextlib.suppress(SelectorInvalid):  # the automation says so
                chosen = [e for e in followed if selects(automation.spec.policy_selector, labels.get(e.policy, {}))]
                found += [(written, each.policy) for each in chosen]
        return found

    async def _find_url(self, kustomization: Kustomization) -> str:
        reference = kustomization.spec.source_ref
        if reference.kind != GitRepository.KIND.kind:
            return ""
        key = ObjectKey(reference.namespace or kustomization.metadata.namespace, reference.name)
        source = await self.platform.objects.get(GitRepository, key)
        return source.spec.url if source is not None else ""

    async def _list_workloads(
        self, wanted: UpdateGuard, kustomization: Kustomization, images: Iterable[str]
    ) -> AsyncIterator[Workload]:
        inventory = kustomization.status.inventory
        ids = frozenset(entry.id for entry in inventory.entries) if inventory is not None else frozenset[str]()
        kinds = [kind for kind in workloads.KINDS if any(i.endswith(f"_{kind.group}_{kind.kind}") for i in ids)]
        manifests = await self._list_labelled(KUSTOMIZE, kustomization.key, kinds)
        found = [manifest for manifest in manifests if is_in_inventory(ObjectRef.of(manifest), ids)]
        for id_ in sorted(ids):
            if id_.endswith(HELM_RELEASE):
                namespace, _, rest = id_.partition("_")
                release = ObjectKey(namespace, rest.removesuffix(f"_{HELM_RELEASE}"))
                found += await self._list_installed(release, kustomization)
        speakers = {
            (manifest["metadata"]["namespace"], *target): manifest
            for manifest in found
            if (target := workloads.find_spoken_for(manifest)) is not None
        }
        for manifest in found:
            workload = await self._judge(wanted, manifest, speakers.get(_get_target(manifest)))
            if any(runs(workload, image) for image in images):
                yield workload

    async def _list_installed(self, release: ObjectKey, kustomization: Kustomization) -> list[Manifest]:
        """Return the workloads of a HelmRelease, if the Kustomization applied that."""
        try:
            manifest = await self.platform.cluster.get(ObjectRef(RELEASE, release))
        except KindUnknown:
            return []
        if manifest is None or not is_labelled(manifest, KUSTOMIZE, kustomization.key):
            return []
        labelled = await self._list_labelled(HELM, release, workloads.KINDS[:3])
        return [found for found in labelled if is_of_release(ObjectRef.of(found), manifest)]

    async def _list_labelled(self, prefix: str, owner: ObjectKey, kinds: Iterable[Kind]) -> list[Manifest]:
        """Return the objects that carry the labels of an owner's objects, which proves nothing."""
        labels = ",".join(f"{name}={value}" for name, value in make_labels(prefix, owner).items())
        return [manifest for kind in kinds for manifest in await self._list(Query(kind, labels=labels))]

    async def _judge(self, wanted: UpdateGuard, manifest: Manifest, speaker: Manifest | None) -> Workload:
        """Return the workload with the state that a Canary or Rollout reports that speaks for it."""
        ref, images = ObjectRef.of(manifest), workloads.read_images(manifest)
        state, message = self._read_state(speaker if speaker is not None else manifest)
        if state == "Progressing" and wanted.spec.rollback and speaker is None and ref.kind in _PODS_MATTER:
            patience = parse_duration(wanted.spec.rollback.pull_errors)
            selector = workloads.write_pod_selector(manifest)
            query = Query(POD, namespace=ref.key.namespace, labels=selector)
            pods = await self._list(query) if selector else []
            trouble = workloads.explain_pod_trouble(pods, images, self.platform.clock.now(), patience)
            state, message = ("Failed", trouble) if trouble else (state, message)
        return Workload(ref, images, state, message)

    def _read_state(self, manifest: Manifest) -> tuple[State, str]:
        if manifest.get("kind") == workloads.CANARY.kind:
            return workloads.read_canary_state(manifest)
        if manifest.get("kind") == workloads.ROLLOUT.kind:
            found = workloads.read_rollout_state(manifest)
            return workloads.read_running_state(manifest) if found[0] == "Healthy" else found
        verdict, message = self.health(manifest, self.platform.clock.now())
        match verdict:
            case "Current":
                return workloads.read_running_state(manifest)
            case "Failed":
                return "Failed", message
            case _:
                return "Progressing", message

    async def _list(self, query: Query) -> list[Manifest]:
        try:
            return await list_live_manifests(self.platform.cluster, query)
        except KindUnknown:
            return []


def _get_target(manifest: Manifest) -> tuple[str, str, str]:
    ref = ObjectRef.of(manifest)
    return ref.key.namespace, ref.kind.kind, ref.key.name


def _make_notice(entry: Quarantined) -> Notice:
    failed, previous = entry.tag, entry.previous_tag
    if failed == previous:  # the tag was moved
        failed, previous = f"{failed}@{entry.digest}", f"{previous}@{entry.previous_digest}"
    text = f"{entry.policy} {failed} fails and is quarantined; {previous} is committed again: {entry.reason}"
    return Notice("Warning", "TakenBack", text, {"sealoop.dev/revision": entry.revision})
