"""The face of gitops_core: what it reconciles, and what wakes what.

GitRepository    its Secrets (those labelled reconcile.fluxcd.io/watch=Enabled), the ServiceAccount that it names, and
                 the artifacts that it includes
OCIRepository    its Secrets, and the ServiceAccount that it names with its Secrets
Bucket           its Secrets, and the ServiceAccount that it names
Receiver         likewise
Kustomization    its source's artifact, the readiness of its dependencies, its kubeconfig (a Secret so labelled) or what
                 describes its cluster (a ConfigMap), and while it waits for them its objects
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gitops_core.api import KINDS, Bucket, GitRepository, Kustomization, OCIRepository, Receiver
from gitops_core.domain.sync.dependencies import get_source_name, list_dependencies
from gitops_core.domain.sync.owners import OWNER_NAME
from gitops_core.domain.sync.prunelimit import CONFIRM, LIMIT
from gitops_core.domain.sync.targets import find_description, find_kubeconfig
from gitops_core.meta import SERVICE_ACCOUNT, ObjectKey, ObjectRef, Resource
from gitops_core.ports import (
    Clock,
    Cluster,
    Compute,
    Decryptor,
    Expressions,
    Pushes,
    Query,
    Remotes,
    Renderer,
)
from gitops_core.reconcilers import (
    BucketReconciler,
    BucketSource,
    Folders,
    GitRepositoryReconciler,
    GitSource,
    KustomizationReconciler,
    OCIRepositoryReconciler,
    OciSource,
    ReceiverReconciler,
    Webhooks,
)
from gitops_core.reconcilers.bucketproofs import Prover
from gitops_core.reconcilers.building import Builder
from gitops_core.reconcilers.decrypting import MAC, Decrypter, find_keys
from gitops_core.reconcilers.evaluating import Evaluator
from gitops_core.reconcilers.kepttrees import KeptTrees
from gitops_core.reconcilers.keyservices import KeyServices
from gitops_core.reconcilers.readonly import ReadOnly
from gitops_core.reconcilers.remoteclusters import RemoteClusters
from gitops_core.reconcilers.risks import REPLAY
from gitops_core.reconcilers.sources import NAMED_BY, SourceKind, SourceKinds
from gitops_core.reconcilers.targets import Targets
from gitops_core.reconcilers.variables import CONFIG_MAP, find_reference
from gitops_core.reconcilers.verifying import Verifier
from gitops_core.runtime.loop.controlling import is_significant
from gitops_core.runtime.loop.tellers import FLUX
from gitops_core.runtime.permissions import READ, RUNTIME, Permission
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.reconciling import Component, Controller, Platform, Watch
from gitops_core.runtime.remotes.credentials import SECRET, list_secrets
from gitops_core.runtime.remotes.registries import list_named_for_access
from gitops_core.runtime.routes import Route

WATCHED = "reconcile.fluxcd.io/watch=Enabled"

PERMISSIONS = (
    Permission("", "secrets", READ, "credentials of sources, keys of signatures, tokens of Receivers"),
    Permission("", "configmaps", READ, "variables of Kustomizations, and where other clusters are"),
    Permission("", "pods", ("list",), "what keeps a rollout, for the message of its failure"),
    Permission("", "serviceaccounts", ("impersonate",), "with whose rights Kustomizations are applied"),
    Permission("", "serviceaccounts", READ, "their imagePullSecrets, and their roles in clouds"),
    Permission("", "serviceaccounts/token", ("create",), "their tokens, which clouds and other clusters take as proof"),
)
APPLIES = (
    Permission("*", "*", (*READ, "create", "patch", "delete"), "whatever lies in the folders of Kustomizations"),
)
"""Narrow it to the kinds that your folders hold; with RBAC among them, `bind` and `escalate` are needed too."""

component = Component(name="gitops", kinds=KINDS, permissions=(*RUNTIME, *PERMISSIONS), applies=APPLIES)


NO_REMOTES = Remotes()


class Sources(NamedTuple):
    """One of each kind, for who fetches and for who reads: what each bounds and remembers, it does for both."""

    git: GitSource
    oci: OciSource
    buckets: BucketSource

    def get_kinds(self) -> SourceKinds:
        """Return the table of all that Kustomizations may be applied from."""
        return {source.type_.KIND.kind: source for source in self}


def make_sources(platform: Platform, remotes: Remotes = NO_REMOTES) -> Sources:
    cluster, trees, compute, policy = platform.cluster, KeptTrees(platform.git), platform.compute, platform.policy
    return Sources(
        GitSource(cluster, platform.git, platform.objects, compute, remotes.clouds, policy),
        OciSource(cluster, trees, remotes.artifacts, remotes.logins, compute, policy),
        BucketSource(cluster, trees, remotes.buckets, Prover(cluster, remotes.clouds, policy), compute, policy),
    )


def make_controllers(
    platform: Platform,
    renderer: Renderer,
    decryptor: Decryptor,
    expressions: Expressions,
    choose: Callable[[Sources], SourceKinds] = Sources.get_kinds,
    remotes: Remotes = NO_REMOTES,
) -> tuple[Controller[Any], ...]:
    """Make one controller for each kind.

    Args:
        choose: which sources Kustomizations may name.
    """
    sources = make_sources(platform, remotes)
    kinds = choose(sources)
    folders = Folders(kinds, platform.compute)
    remote_clusters = RemoteClusters(platform.cluster, remotes.clouds, platform.policy)
    targets = Targets(platform.cluster, platform.clusters, platform.clock, platform.policy, remote_clusters)
    compute, policy = platform.compute, platform.policy
    is_lent = not policy.default_service_account  # else everybody has the rights of an account of his own
    services = KeyServices(platform.cluster, remotes.clouds)
    decrypter = Decrypter(platform.cluster, renderer, decryptor, compute, policy.sops_age_secret, is_lent, services)
    builder = Builder(renderer, decrypter, compute)
    return (
        *_make_source_controllers(platform, sources, folders),
        Controller(
            Kustomization,
            KustomizationReconciler(platform, folders, builder, Evaluator(expressions), targets),
            FLUX,
            references=lambda wanted: _list_kustomization_references(wanted, kinds),
            watches=(
                *(Watch(Query(kind.type_.KIND), kind.type_, _make_artifact_check(kind)) for kind in kinds.values()),
                Watch(Query(Kustomization.KIND), Kustomization, _has_readiness_changed),
                Watch(Query(SECRET, labels=WATCHED)),
                Watch(Query(CONFIG_MAP, labels=WATCHED)),
            ),
            significant=_is_asked_for,
            observed_labels=OWNER_NAME,
            acts_on={NAMED_BY: kinds},
        ),
        Controller(
            Receiver,
            ReceiverReconciler(platform.cluster, platform.policy),
            FLUX,
            references=_list_secret,
            watches=(Watch(Query(SECRET, labels=WATCHED)),),
        ),
    )


def _make_source_controllers(platform: Platform, sources: Sources, folders: Folders) -> tuple[Controller[Any], ...]:
    return (
        Controller(
            GitRepository,
            GitRepositoryReconciler(
                sources.git,
                folders,
                platform.clock,
                Verifier(platform.cluster, platform.compute),
                ReadOnly(platform.policy, platform.metrics),
            ),
            FLUX,
            references=_list_named_by_repository,
            watches=(
                Watch(Query(SECRET, labels=WATCHED)),
                Watch(Query(SERVICE_ACCOUNT)),
                Watch(Query(GitRepository.KIND), GitRepository, changed=is_new_include),
            ),
        ),
        Controller(
            OCIRepository,
            OCIRepositoryReconciler(sources.oci, platform.clock),
            FLUX,
            references=_list_named_by_artifact,
            watches=(Watch(Query(SECRET)), Watch(Query(SERVICE_ACCOUNT))),  # mended credentials are tried at once
        ),
        Controller(
            Bucket,
            BucketReconciler(sources.buckets, platform.clock),
            FLUX,
            references=_list_named_by_bucket,
            watches=(Watch(Query(SECRET)), Watch(Query(SERVICE_ACCOUNT))),
        ),
    )


def make_routes(
    cluster: Cluster, clock: Clock, compute: Compute, pushes: Pushes, policy: Policy = DEFAULT_POLICY
) -> tuple[Route, ...]:
    """Receivers' webhooks. They only wake, so that every replica may take them."""
    return (Route("/hook/{digest}", Webhooks(cluster, clock, compute, pushes, policy)),)


def _list_named_by_bucket(wanted: Bucket) -> Iterable[ObjectRef]:
    spec = wanted.spec
    namespace, sts = wanted.metadata.namespace, spec.sts
    yield from list_secrets(namespace, spec.secret_ref, spec.cert_secret_ref, spec.proxy_secret_ref)
    if sts is not None:
        yield from list_secrets(namespace, sts.secret_ref, sts.cert_secret_ref)
    if spec.service_account_name:
        yield ObjectRef(SERVICE_ACCOUNT, ObjectKey(namespace, spec.service_account_name))


def _list_named_by_artifact(wanted: OCIRepository) -> Iterable[ObjectRef]:
    yield from list_named_for_access(wanted)
    if wanted.spec.verify is not None:
        yield from list_secrets(wanted.metadata.namespace, wanted.spec.verify.secret_ref)


def _list_named_by_repository(wanted: GitRepository) -> Iterable[ObjectRef]:
    spec = wanted.spec
    keys = spec.verify.secret_ref if spec.verify is not None else None
    for include in spec.include:
        yield ObjectRef(GitRepository.KIND, ObjectKey(wanted.metadata.namespace, include.repository.name))
    yield from list_secrets(wanted.metadata.namespace, spec.secret_ref, spec.proxy_secret_ref, keys)
    if spec.service_account_name:
        yield ObjectRef(SERVICE_ACCOUNT, ObjectKey(wanted.metadata.namespace, spec.service_account_name))


def _list_secret(wanted: Receiver) -> Iterable[ObjectRef]:
    return list_secrets(wanted.metadata.namespace, wanted.spec.secret_ref)


def _list_kustomization_references(wanted: Kustomization, kinds: SourceKinds) -> Iterable[ObjectRef]:
    name, key = get_source_name(wanted)
    if name in kinds:
        yield ObjectRef(kinds[name].type_.KIND, key)
    yield from (ObjectRef(Kustomization.KIND, key) for key in list_dependencies(wanted))
    if (kubeconfig := find_kubeconfig(wanted)) is not None:
        yield ObjectRef(SECRET, kubeconfig.secret)
    if (description := find_description(wanted)) is not None:
        yield ObjectRef(CONFIG_MAP, description)
    if (keys := find_keys(wanted)) is not None:
        yield ObjectRef(SECRET, keys)
    if wanted.spec.post_build is not None:
        yield from (find_reference(wanted, reference) for reference in wanted.spec.post_build.substitute_from)


def _is_asked_for(old: Kustomization, new: Kustomization) -> bool:
    before, after = old.metadata.annotations, new.metadata.annotations
    return is_significant(old, new) or any(
        before.get(name) != after.get(name) for name in (CONFIRM, LIMIT, MAC, REPLAY)
    )


def _make_artifact_check(kind: SourceKind[Any]) -> Callable[[Any, Any], bool]:
    """Make what tells whether the artifact of a source of that kind changed."""

    def get_known(source: Resource | None) -> tuple[str, str] | None:
        artifact = kind.find_artifact(source) if source is not None else None
        return (artifact.revision, artifact.digest) if artifact is not None else None

    return lambda old, new: get_known(old) != get_known(new)


def is_new_include(old: GitRepository | None, new: GitRepository | None) -> bool:
    """Tell whether who includes it has to look: at another artifact, or because the includes are no circle any more."""
    before, after = ((o.status.artifact, o.spec.include) if o is not None else None for o in (old, new))
    return before != after


def _has_readiness_changed(old: Kustomization | None, new: Kustomization | None) -> bool:
    return _get_readiness(old) != _get_readiness(new)


def _get_readiness(dependency: Kustomization | None) -> tuple[bool, bool, str] | None:
    if dependency is None:
        return None
    status = dependency.status
    is_observed = status.observed_generation == dependency.metadata.generation
    return is_observed, status.is_ready, status.last_applied_revision
