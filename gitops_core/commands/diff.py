"""What the next reconciliation of a Kustomization would change: what its source fetched, against what is live.

    source ── its artifact's revision ──► folder ──► as `plan` ──► what would change, and what of it is drift

The files are fetched as the service fetches them, from where the source says and with what its Secret holds. Drift is
what differs from what was applied: a field that somebody else set since, an object that somebody deleted, and whatever
would change although this very build was applied last.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from gitops_core.api import Kustomization
from gitops_core.commands.plan import FolderPlan, Planned, make_applier, plan_folder
from gitops_core.domain.sync import dependencies
from gitops_core.domain.sync.history import APPLIED
from gitops_core.errors import GitOpsError, PathNotFound, StalledError
from gitops_core.meta import ObjectRef, Resource
from gitops_core.ports import Cluster
from gitops_core.reconcilers.applying import Applier
from gitops_core.reconcilers.building import Builder
from gitops_core.reconcilers.folders import Folder, Folders
from gitops_core.reconcilers.planning import parse_inventory
from gitops_core.reconcilers.sources import NAMED_BY, get_fetched
from gitops_core.reconcilers.targets import Targets
from gitops_core.runtime.authority.forwarding import Forwarding, Request
from gitops_core.runtime.loop.refusing import refuse_unsupported
from gitops_core.runtime.reconciling import Platform


class FilesUnreachable(StalledError):
    """The files that the source fetched cannot be had from here."""

    reason = "FilesUnreachable"


class Unwritten(Forwarding):
    """A cluster that is asked what it would make of a write, and never written."""

    def check(self, request: Request) -> None:
        if request.is_write and not request.dry_run:
            raise StalledError("this command only looks: nothing is written")


@dataclass(frozen=True)
class Comparison:
    """Attributes:
    revision: of the files that were compared.
    applied: the revision that was applied last, "" for none.
    planned: in the order in which it would be done.
    drift: the objects among them that differ from what was applied.
    notes: why it may not happen at the next reconciliation.
    """

    revision: str
    applied: str
    planned: tuple[Planned, ...]
    drift: frozenset[ObjectRef] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Differ:
    """Attributes:
    platform: reads our own cluster, with the rights of whoever asks.
    cluster: the same, and is asked for dry-runs.
    targets: opens clusters as the service does.
    impersonates: ask our own cluster with the rights of spec.serviceAccountName.
    is_abroad: ask the clusters that Kustomizations name, too.
    """

    platform: Platform
    cluster: Cluster
    folders: Folders
    builder: Builder
    targets: Targets
    impersonates: bool = False
    is_abroad: bool = False

    async def compare(self, wanted: Kustomization) -> Comparison:
        """Compare what the source of `wanted` fetched with the cluster that it is applied to.

        Raises:
            FilesUnreachable: they cannot be read from here.
            StalledError, TransientError: why the next reconciliation would fail, as the service would say it.
        """
        if wanted.metadata.deletion_timestamp is not None:
            raise StalledError(f"{wanted.ref} is being deleted: nothing of it is applied any more")
        kinds, platform = self.folders.kinds, self.platform
        refuse_unsupported(wanted, acts_on={NAMED_BY: kinds})
        if wanted.spec.kube_config is not None:
            self._check_abroad(wanted)
        source, artifact = await get_fetched(wanted, kinds, platform.objects, platform.policy)
        revision, applied = artifact.revision, wanted.status.last_applied_revision
        folder = await self._read_folder(wanted, source, revision)
        async with self._open(wanted) as applier:
            found = await plan_folder(wanted, folder, self.cluster, applier, self.builder, revision)
        drift = frozenset(find_drift(wanted, found))
        return Comparison(revision, applied, found.planned, drift, await self._list_notes(wanted, source, revision))

    def _check_abroad(self, wanted: Kustomization) -> None:
        """Raise StalledError where files would be sent to a server that somebody else may have named.

        Whoever asks may read all sources, and the service may have been told to let nobody name others'.
        """
        source, own = dependencies.get_source_name(wanted).key, wanted.metadata.namespace
        if source.namespace != own:
            raise StalledError(
                f"{wanted.ref} takes the files of namespace {source.namespace!r} to another cluster (spec.kubeConfig):"
                " they are not sent there; ask that one: sealoop plan -f FILE --checkout DIR --kubeconfig ITS"
            )
        if not self.is_abroad:
            raise StalledError(
                f"{wanted.ref} is for another cluster (spec.kubeConfig): --other-clusters sends its objects there for a"
                " dry-run, and compares"
            )

    async def _read_folder(self, wanted: Kustomization, source: Resource, revision: str) -> Folder:
        spec, key = wanted.spec, wanted.key
        try:
            return await self.folders.read_folder(source, revision, spec.path, beside=spec.components)
        except PathNotFound:
            raise
        except GitOpsError as error:
            instead = f"where you have them: sealoop plan ks/{key.name} -n {key.namespace} --checkout DIR"
            raise FilesUnreachable(f"the files of {source.ref} cannot be read from here: {error}; {instead}") from error

    @asynccontextmanager
    async def _open(self, wanted: Kustomization) -> AsyncIterator[Applier]:
        if wanted.spec.kube_config is None and not self.impersonates:
            yield make_applier(wanted, Unwritten(self.cluster), self.platform.clock)
            return
        async with self.targets.open(wanted) as applier:
            yield replace(applier, cluster=Unwritten(applier.cluster))

    async def _list_notes(self, wanted: Kustomization, source: Resource, revision: str) -> tuple[str, ...]:
        notes = ["it is suspended: nothing of this happens before it is resumed"] if wanted.spec.suspend else []
        for key, named in zip(dependencies.list_dependencies(wanted), wanted.spec.depends_on, strict=True):
            other = await self.platform.objects.get(Kustomization, key)
            if other is None:
                notes.append(f"it waits: {dependencies.explain_absence(key)}")
            elif not named.ready_expr and (why := dependencies.explain_unready(wanted, key, other, revision)):
                notes.append(f"it waits: {why}")
        ready = next((one for one in source.status.conditions if one.type == "Ready"), None)
        if ready is not None and ready.status == "False":
            notes.append(f"{source.ref} is not Ready, and may have fetched not the newest: {ready.message}")
        return tuple(notes)


def find_drift(wanted: Kustomization, found: FolderPlan) -> Iterable[ObjectRef]:
    """Find the objects that differ from what was applied of them."""
    known, is_same = {ref.identity for ref in parse_inventory(wanted.status)}, _was_applied_last(wanted, found.digest)
    for one in found.planned:
        if one.ref.identity not in known:
            continue
        was_deleted, was_set = one.change == "created", any(difference.by for difference in one.differences)
        if was_deleted or was_set or (is_same and one.is_change):
            yield one.ref


def _was_applied_last(wanted: Kustomization, digest: str) -> bool:
    """Tell whether the objects of that build are what was applied last.

    What is added to them after the build is the same as long as the spec is; variables of others' objects may not be.
    """
    spec, status = wanted.spec, wanted.status
    is_added_to = spec.post_build is not None or spec.common_metadata is not None or bool(spec.ignore)
    if is_added_to and status.observed_generation != wanted.metadata.generation:
        return False
    if spec.post_build is not None and spec.post_build.substitute_from:
        return False
    newest = next(iter(status.history), None)
    return newest is not None and newest.digest == digest and newest.last_reconciled_status in APPLIED
