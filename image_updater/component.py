"""The face of the package: its kinds, and its controllers made of ports."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from gitops_core.api import GitRepository, Kustomization
from gitops_core.meta import SERVICE_ACCOUNT, ObjectKey, ObjectRef
from gitops_core.ports import NO_CLOUDS, CloudLogins, Clouds, Query
from gitops_core.runtime.loop.controlling import is_significant
from gitops_core.runtime.loop.tellers import FLUX
from gitops_core.runtime.permissions import READ, Permission
from gitops_core.runtime.reconciling import Component, Controller, Platform, Watch
from gitops_core.runtime.remotes.credentials import SECRET
from gitops_core.runtime.remotes.registries import list_named_for_access, read_registry_access
from image_updater.api import KINDS, ImagePolicy, ImageRepository, ImageUpdateAutomation, UpdateGuard
from image_updater.domain.guards.gates import APPROVE
from image_updater.domain.registry.pushes import PUSHED
from image_updater.domain.tags.choices import get_repository_key
from image_updater.domain.tags.listings import Listings
from image_updater.domain.tags.policies import SKIP_UNPARSABLE
from image_updater.domain.tags.shrinking import BELIEVE
from image_updater.ports import Forges, HealthRule, ImageReader, Registry, TagCatalog
from image_updater.reconcilers import (
    ImagePolicyReconciler,
    ImageRepositoryReconciler,
    ImageUpdateAutomationReconciler,
    UpdateGuardReconciler,
)
from image_updater.reconcilers.automations import get_source_key
from image_updater.reconcilers.checkpoints import Checkpoints
from image_updater.reconcilers.pullrequests import PullRequests

WORKLOADS = (
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("apps", "daemonsets"),
    ("argoproj.io", "rollouts"),
    ("flagger.app", "canaries"),
)
"""The plurals of domain.guards.workloads.KINDS."""
PERMISSIONS = (
    Permission("", "secrets", READ, "credentials of registries, forges and pushes, keys of signatures"),
    Permission("", "serviceaccounts", READ, "their imagePullSecrets"),
    Permission("", "namespaces", ("get",), "labels that accessFrom selects by"),
    Permission("", "configmaps", ("get", "create", "patch"), "checkpoints of the ages of tags"),
    *(Permission(group, plural, READ, "whether a bump is healthy") for group, plural in WORKLOADS),
    Permission("helm.toolkit.fluxcd.io", "helmreleases", ("get",), "whether a workload is a HelmRelease's"),
    Permission("", "pods", ("list",), "why a rollout does not get on"),
    Permission("helm.toolkit.fluxcd.io", "helmreleases", ("get",), "what a HelmRelease installed"),
)

component = Component(name="images", kinds=KINDS, permissions=PERMISSIONS)


OWNER_NAME = "kustomize.toolkit.fluxcd.io/name"
"""The label of whatever a Kustomization applied."""


def make_controllers(
    platform: Platform,
    registry: Registry,
    catalog: TagCatalog,
    *,
    health: HealthRule,
    reader: ImageReader,
    logins: CloudLogins | None = None,
    forges: Forges | None = None,
    clouds: Clouds = NO_CLOUDS,
) -> tuple[Controller[Any], ...]:
    """Make the controllers of all four kinds."""
    listings = Listings()
    repositories = ImageRepositoryReconciler(
        platform.cluster,
        platform.clock,
        registry,
        catalog,
        logins,
        Checkpoints(platform.cluster, platform.objects, platform.clock, catalog, platform.compute),
        listings,
        platform.compute,
        platform.policy.default_service_account,
    )
    policies = ImagePolicyReconciler(
        platform.cluster,
        platform.clock,
        platform.objects,
        catalog,
        registry,
        reader,
        listings,
        logins,
        platform.compute,
        platform.policy,
    )
    reach = partial(
        read_registry_access,
        platform.cluster,
        logins=logins,
        compute=platform.compute,
        default_account=platform.policy.default_service_account,
    )
    proposals = (
        PullRequests(
            platform.cluster, platform.clock, platform.objects, forges, reader, reach, platform.compute, platform.policy
        )
        if forges
        else None
    )
    return (
        Controller(
            kind=ImageRepository,
            reconciler=repositories,
            teller=FLUX,
            references=list_named_for_access,
            watches=(Watch(Query(SECRET)), Watch(Query(SERVICE_ACCOUNT))),  # mended credentials are tried at once
            significant=is_pushed_or_wanted,
        ),
        Controller(
            kind=ImagePolicy,
            reconciler=policies,
            teller=FLUX,
            references=_name_by_policy,
            watches=(
                Watch(Query(ImageRepository.KIND), ImageRepository, changed=concerns_policies),
                Watch(Query(UpdateGuard.KIND), UpdateGuard, changed=is_another_guard),
            ),
            significant=is_another_policy,
        ),
        _make_automations(ImageUpdateAutomationReconciler(platform, proposals, clouds)),
        _make_guards(platform, catalog, health),
    )


def _make_automations(reconciler: ImageUpdateAutomationReconciler) -> Controller[ImageUpdateAutomation]:
    return Controller(
        kind=ImageUpdateAutomation,
        reconciler=reconciler,
        teller=FLUX,
        references=_name_by_automation,
        watches=(
            Watch(Query(ImagePolicy.KIND), ImagePolicy, changed=concerns_automations),
            Watch(Query(GitRepository.KIND), GitRepository, changed=is_new_source),
            Watch(Query(UpdateGuard.KIND), UpdateGuard, changed=is_another_guard),
        ),
        significant=is_another_automation,
    )


def _make_guards(platform: Platform, catalog: TagCatalog, health: HealthRule) -> Controller[UpdateGuard]:
    return Controller(
        kind=UpdateGuard,
        reconciler=UpdateGuardReconciler(platform, catalog, health),
        teller=FLUX,
        references=_name_by_guard,
        watches=(
            Watch(Query(ImagePolicy.KIND), ImagePolicy, changed=concerns_automations),
            Watch(Query(Kustomization.KIND), Kustomization, changed=is_applied_anew),
        ),
        observed_labels=OWNER_NAME,
    )


def is_pushed_or_wanted(old: ImageRepository, new: ImageRepository) -> bool:
    """Tell whether the runtime's own rule says so, or a webhook reported pushed tags."""
    return is_significant(old, new) or old.metadata.annotations.get(PUSHED) != new.metadata.annotations.get(PUSHED)


def concerns_policies(old: ImageRepository | None, new: ImageRepository | None) -> bool:
    """Tell whether other tags may be chosen now."""
    return _select_listing(old) != _select_listing(new)


def concerns_automations(old: ImagePolicy | None, new: ImagePolicy | None) -> bool:
    """Tell whether another image is chosen, or the policy is (not) selected any more."""
    return _select_choice(old) != _select_choice(new)


def is_new_source(old: GitRepository | None, new: GitRepository | None) -> bool:
    """Tell whether there is another commit to look at, or another place to look for it."""
    return _select_source(old) != _select_source(new)


def is_applied_anew(old: Kustomization | None, new: Kustomization | None) -> bool:
    """Tell whether other objects, or the same ones from another revision, were applied."""
    return _select_applied(old) != _select_applied(new)


def is_another_guard(old: UpdateGuard | None, new: UpdateGuard | None) -> bool:
    """Tell whether other tags may be chosen: other rules, or another thing proven or quarantined."""
    return _select_rules(old) != _select_rules(new)


def is_another_policy(old: ImagePolicy, new: ImagePolicy) -> bool:
    """Tell whether the runtime's rule says so, labels changed (guards select by them), or annotations that choose."""
    return is_significant(old, new) or _select_wishes(old) != _select_wishes(new)


def is_another_automation(old: ImageUpdateAutomation, new: ImageUpdateAutomation) -> bool:
    """Tell whether the runtime's rule says so, or our annotations changed: who pushes, whether by pull request."""
    return is_significant(old, new) or _select_annotations(old) != _select_annotations(new)


def _name_by_policy(policy: ImagePolicy) -> Iterable[ObjectRef]:
    yield ObjectRef(ImageRepository.KIND, get_repository_key(policy))
    yield ObjectRef(UpdateGuard.KIND, ObjectKey(policy.metadata.namespace, "*"))


def _name_by_guard(guard: UpdateGuard) -> Iterable[ObjectRef]:
    yield ObjectRef(ImagePolicy.KIND, ObjectKey(guard.metadata.namespace, "*"))
    yield ObjectRef(Kustomization.KIND, ObjectKey("*", "*"))


def _name_by_automation(automation: ImageUpdateAutomation) -> Iterable[ObjectRef]:
    yield ObjectRef(GitRepository.KIND, get_source_key(automation))
    yield ObjectRef(ImagePolicy.KIND, ObjectKey(automation.metadata.namespace, "*"))
    yield ObjectRef(UpdateGuard.KIND, ObjectKey(automation.metadata.namespace, "*"))


def _select_annotations(automation: ImageUpdateAutomation) -> dict[str, str]:
    return {key: text for key, text in automation.metadata.annotations.items() if key.startswith("sealoop.dev/")}


def _select_listing(repository: ImageRepository | None) -> object:
    if repository is None:
        return None
    scan = repository.status.last_scan_result
    revision = scan.revision if scan is not None else None
    return revision, repository.status.canonical_image_name, repository.spec.access_from


def _select_rules(guard: UpdateGuard | None) -> object:
    if guard is None:
        return None
    return guard.metadata.generation, guard.status.proven, guard.status.quarantine


def _select_wishes(policy: ImagePolicy) -> object:
    annotations = policy.metadata.annotations
    return policy.metadata.labels, annotations.get(SKIP_UNPARSABLE), annotations.get(BELIEVE)


def _select_choice(policy: ImagePolicy | None) -> object:
    if policy is None or policy.status.latest_ref is None:
        return None
    return policy.status.latest_ref, policy.metadata.labels, policy.metadata.annotations.get(APPROVE)


def _select_source(repository: GitRepository | None) -> object:
    if repository is None:
        return None
    artifact = repository.status.artifact
    return repository.metadata.generation, artifact.revision if artifact is not None else None


def _select_applied(kustomization: Kustomization | None) -> object:
    if kustomization is None:
        return None
    status = kustomization.status
    return status.last_attempted_revision, status.last_applied_revision, status.inventory
