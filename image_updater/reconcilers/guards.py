"""UpdateGuard: watches what the bumps of its policies lead to, and takes back what fails.

    the policies it selects -> the automations that commit them -> the sources those update -> the Kustomizations that
    apply these -> the workloads that run the policies' images: Healthy, or failing?

The reconciler reads and records. What it records (what is proven, what is quarantined) is an input of the policies'
next choice; nothing else is done about a failure, least of all to a live object.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from gitops_core.api import GitRepository, Kustomization
from gitops_core.errors import KindUnknown
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, seconds
from gitops_core.ports import Query
from gitops_core.runtime.informers import listed_manifests
from gitops_core.runtime.reconciling import Notice, Outcome, Platform
from image_updater.api import ImagePolicy, ImageRef, ImageRepository, ImageUpdateAutomation, Quarantined, UpdateGuard
from image_updater.domain import workloads
from image_updater.domain.guards import faults_of
from image_updater.domain.history import SeenTag
from image_updater.domain.references import parse_repository
from image_updater.domain.rollouts import Applied, Followed, observe, overview, runs
from image_updater.domain.scans import catalog_name
from image_updater.domain.selectors import selects
from image_updater.domain.workloads import State, Workload
from image_updater.errors import GuardInvalid, ImageInvalid
from image_updater.ports import HealthRule, TagCatalog
from image_updater.reconcilers.automations import source_key
from image_updater.reconcilers.policies import repository_key

POD = Kind("", "v1", "Pod")
HELM_RELEASE = "helm.toolkit.fluxcd.io_HelmRelease"
DEFAULT_PATIENCE = 30.0
LOOK = 5.0
"""Seconds between two looks at Pods that do not become ready: they are not watched."""
SCHEDULE_WEIGHT, WORKLOAD_WEIGHT = 3000, 200
"""What a window and a workload count that are looked at: the next time of a schedule may be years away."""
_PODS_MATTER = (workloads.DEPLOYMENT, workloads.STATEFUL_SET, workloads.DAEMON_SET, workloads.ROLLOUT)


def _digest_of(seen: Iterable[SeenTag], tag: str) -> str:
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
        if faults := await run(len(wanted.spec.windows) * SCHEDULE_WEIGHT, faults_of, wanted.spec, now):
            raise GuardInvalid("; ".join(faults))
        followed = await self._followed(wanted)
        applied = await self._applied(wanted, followed) if followed else ()
        weight = (len(followed) + len(applied)) * WORKLOAD_WEIGHT
        seen = await run(weight, observe, wanted.spec, wanted.status, followed, applied, now)
        return Outcome(
            status=seen.status,
            message=overview(seen.status, seen.troubles),
            requeue_after=LOOK if seen.waiting and wanted.spec.rollback is not None else None,
            watch=frozenset(found.workload.ref for found in applied),
            notices=tuple(map(_taken_back, seen.taken_back)),
        )

    async def finalize(self, wanted: UpdateGuard) -> None:
        """Nothing: a guard makes nothing."""

    # what is read

    async def _followed(self, wanted: UpdateGuard) -> tuple[Followed, ...]:
        """The selected policies that chose something."""
        found = []
        for policy in await self.platform.objects.list(ImagePolicy, wanted.metadata.namespace):
            if policy.status.latest_ref is None or not selects(wanted.spec.policy_selector, policy.metadata.labels):
                continue
            repository = await self.platform.objects.get(ImageRepository, repository_key(policy))
            if repository is None:
                continue
            try:
                canonical = str(parse_repository(repository.spec.image))
            except ImageInvalid:
                continue  # said by the ImageRepository
            latest = await self._with_digest(catalog_name(repository, canonical), policy.status.latest_ref)
            found.append(Followed(policy.metadata.name, canonical, latest))
        return tuple(found)

    async def _with_digest(self, name: str, latest: ImageRef) -> ImageRef:
        """What was chosen, with the digest that the policy saw: another image under the same tag is another one."""
        if latest.digest:
            return latest
        seen = await self.catalog.seen(name)
        digest = await self.platform.compute.run(len(seen), _digest_of, seen, latest.tag)
        return msgspec.structs.replace(latest, digest=digest)

    async def _applied(self, wanted: UpdateGuard, followed: Sequence[Followed]) -> tuple[Applied, ...]:
        """The workloads with images of the policies, wherever a source of the namespace's automations is applied."""
        images = {each.repository for each in followed}
        found: list[Applied] = []
        for kustomization in await self._kustomizations(wanted.metadata.namespace):
            status = kustomization.status
            revision = status.last_attempted_revision or status.last_applied_revision
            async for workload in self._workloads(wanted, kustomization, images):
                found.append(Applied(workload, revision))
        return tuple(found)

    async def _kustomizations(self, namespace: str) -> tuple[Kustomization, ...]:
        """Those that apply what the namespace's automations update, by repository and folder.

        Only those of this namespace and of the updated GitRepository's: a tenant elsewhere must not be able to make a
        bump fail here.
        """
        places: list[tuple[str, str]] = []
        trusted = {namespace}
        for automation in await self.platform.objects.list(ImageUpdateAutomation, namespace):
            source = await self.platform.objects.get(GitRepository, source_key(automation))
            if source is not None:
                places.append((source.spec.url, automation.spec.update.path))
                trusted.add(source.metadata.namespace)
        found = []
        for kustomization in await self.platform.objects.list(Kustomization) if places else ():
            if kustomization.metadata.namespace not in trusted:
                continue
            url = await self._url(kustomization)
            if any(url == its and overlap(kustomization.spec.path, path) for its, path in places):
                found.append(kustomization)
        return tuple(found)

    async def _url(self, kustomization: Kustomization) -> str:
        reference = kustomization.spec.source_ref
        if reference.kind != GitRepository.KIND.kind:
            return ""
        key = ObjectKey(reference.namespace or kustomization.metadata.namespace, reference.name)
        source = await self.platform.objects.get(GitRepository, key)
        return source.spec.url if source is not None else ""

    async def _workloads(
        self, wanted: UpdateGuard, kustomization: Kustomization, images: Iterable[str]
    ) -> AsyncIterator[Workload]:
        entries = kustomization.status.inventory.entries if kustomization.status.inventory is not None else ()
        key = kustomization.key
        ids = [entry.id for entry in entries]
        kinds = [kind for kind in workloads.KINDS if any(i.endswith(f"_{kind.group}_{kind.kind}") for i in ids)]
        owners = [(_labels("kustomize.toolkit.fluxcd.io", key), kinds)]
        for id_ in ids:
            if id_.endswith(HELM_RELEASE):
                namespace, _, rest = id_.partition("_")
                name = rest.removesuffix(f"_{HELM_RELEASE}")
                owners.append(
                    (_labels("helm.toolkit.fluxcd.io", ObjectKey(namespace, name)), list(workloads.KINDS[:3]))
                )
        for labels, its_kinds in owners:
            manifests = [m for kind in its_kinds for m in await self._listed(Query(kind, labels=labels))]
            canaries = {_target(m): m for m in manifests if m.get("kind") == workloads.CANARY.kind}
            for manifest in manifests:
                workload = await self._judged(wanted, manifest, canaries.get(_place(manifest)))
                if any(runs(workload, image) for image in images):
                    yield workload

    async def _judged(self, wanted: UpdateGuard, manifest: Manifest, canary: Manifest | None) -> Workload:
        """The workload; one that a Canary targets is what the Canary says."""
        ref, images = ObjectRef.of(manifest), workloads.images_of(manifest)
        if canary is not None:
            return Workload(ref, images, *workloads.canary_state(canary))
        state, message = self._state(manifest)
        if state == "Progressing" and wanted.spec.rollback is not None and ref.kind in _PODS_MATTER:
            patience = seconds(wanted.spec.rollback.pull_errors)
            selector = workloads.pod_selector(manifest)
            query = Query(POD, namespace=ref.key.namespace, labels=selector)
            pods = await self._listed(query) if selector else []
            trouble = workloads.pod_trouble(pods, images, self.platform.clock.now(), patience)
            state, message = ("Failed", trouble) if trouble else (state, message)
        return Workload(ref, images, state, message)

    def _state(self, manifest: Manifest) -> tuple[State, str]:
        if manifest.get("kind") == workloads.ROLLOUT.kind:
            return workloads.rollout_state(manifest)
        verdict, message = self.health(manifest, self.platform.clock.now())
        match verdict:
            case "Current":
                return "Healthy", ""
            case "Failed":
                return "Failed", message
            case _:
                return "Progressing", message

    async def _listed(self, query: Query) -> list[Manifest]:
        try:
            return await listed_manifests(self.platform.cluster, query)
        except KindUnknown:
            return []


def overlap(one: str, other: str) -> bool:
    """Whether one of two folders of a repository lies in the other.

    >>> overlap("./apps/prod", "apps"), overlap("", "apps"), overlap("apps-2", "apps")
    (True, True, False)
    """
    parts = [[part for part in path.split("/") if part not in ("", ".")] for path in (one, other)]
    shorter = min(map(len, parts))
    return parts[0][:shorter] == parts[1][:shorter]


def _labels(prefix: str, owner: ObjectKey) -> str:
    return f"{prefix}/name={owner.name},{prefix}/namespace={owner.namespace}"


def _place(manifest: Manifest) -> tuple[str, str, str]:
    ref = ObjectRef.of(manifest)
    return ref.key.namespace, ref.kind.kind, ref.key.name


def _target(canary: Manifest) -> tuple[str, str, str]:
    return (ObjectRef.of(canary).key.namespace, *workloads.canary_target(canary))


def _taken_back(entry: Quarantined) -> Notice:
    text = (
        f"{entry.policy} {entry.tag} fails and is quarantined; {entry.previous_tag} is committed again: {entry.reason}"
    )
    return Notice("Warning", "TakenBack", text, {"sealoop.dev/revision": entry.revision})
