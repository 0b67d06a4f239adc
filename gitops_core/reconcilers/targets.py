"""Opens the cluster that a Kustomization is applied to, as whom it says (domain/sync/targets)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gitops_core.api import Kustomization
from gitops_core.domain.sync.durations import get_retry_interval
from gitops_core.domain.sync.owners import make_kustomization_ownership
from gitops_core.domain.sync.targets import (
    KEYS,
    AccountInvalid,
    KubeConfig,
    find_account,
    find_description,
    find_kubeconfig,
)
from gitops_core.errors import CredentialsInvalid, StalledError, TransientError
from gitops_core.meta import SERVICE_ACCOUNT, ObjectRef, Sensitive
from gitops_core.ports import Clock, Cluster, Clusters, RemoteCluster
from gitops_core.reconcilers.applying import Applier
from gitops_core.reconcilers.remoteclusters import DescriptionMissing, RemoteClusters
from gitops_core.reconcilers.variables import CONFIG_MAP
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.remotes.credentials import SECRET, decode_data
from gitops_core.runtime.remotes.identities import AccountMissing


class TargetUnusable(TransientError):
    """What names the cluster to apply to is missing, or is nothing that we use. It may not be watched."""

    reason = "ReconciliationFailed"


class KubeConfigMissing(TargetUnusable):
    """There is no Secret with the kubeconfig, or no kubeconfig in it; no ConfigMap, or not whose tokens it names."""


@dataclass(frozen=True)
class Targets:
    """Attributes:
    cluster: our own, where Secrets, ConfigMaps and service accounts are looked up.
    """

    cluster: Cluster
    clusters: Clusters
    clock: Clock
    policy: Policy
    remotes: RemoteClusters

    @asynccontextmanager
    async def open(self, wanted: Kustomization) -> AsyncIterator[Applier]:
        """Yield what applies where the Kustomization says, with the rights of its service account if it has one.

        Raises:
            KubeConfigMissing, TargetUnusable: the kubeconfig, or the ConfigMap, which the message names.
            AccountInvalid: nobody can be called as the service account is.
        """
        account = find_account(wanted, self.policy.default_service_account)
        ownership, delay = make_kustomization_ownership(wanted.key), get_retry_interval(wanted.spec)
        named, about = await self._find_named(wanted, delay)
        async with AsyncExitStack() as stack:
            try:
                target = await stack.enter_async_context(self.clusters.open(named, account, about=about))
            except StalledError as error:
                if named is None:
                    raise
                raise TargetUnusable(str(error), retry_after=delay) from None
            yield Applier(target.cluster, self.clock, ownership, target.id, force=wanted.spec.force)

    async def explain_loss(self, wanted: Kustomization) -> str:
        """Explain why nobody can prune any more: who applied it is gone, or never was; "" else.

        That what names another cluster is gone is told by `open`.
        """
        try:
            account = find_account(wanted, self.policy.default_service_account)
        except AccountInvalid as error:
            return str(error)
        if account is None or wanted.spec.kube_config is not None:
            return ""
        if await self.cluster.get(ObjectRef(SERVICE_ACCOUNT, account)) is not None:
            return ""
        return f"ServiceAccount/{account}, which applied them, is gone"

    async def _find_named(self, wanted: Kustomization, delay: float) -> tuple[Sensitive | RemoteCluster | None, str]:
        """Find the cluster that a Kustomization names, and what errors call what names it. Raises TargetUnusable."""
        if (description := find_description(wanted)) is not None:
            about = f"the cluster that {ObjectRef(CONFIG_MAP, description)} describes"
            try:
                return await self.remotes.find(description), about
            except (DescriptionMissing, AccountMissing) as error:
                raise KubeConfigMissing(f"{about} cannot be used: {error}", retry_after=delay) from None
            except (ValueError, CredentialsInvalid, StalledError) as error:
                raise TargetUnusable(f"{about} cannot be used: {error}", retry_after=delay) from None
        if (named := find_kubeconfig(wanted)) is None:
            return None, ""
        kubeconfig = await self._find_kubeconfig(named)
        if kubeconfig is None:
            raise KubeConfigMissing(f"{_describe(named)} is not there", retry_after=delay)
        return kubeconfig, _describe(named)

    async def _find_kubeconfig(self, named: KubeConfig) -> Sensitive | None:
        manifest = await self.cluster.get(ObjectRef(SECRET, named.secret))
        try:
            data = decode_data(manifest) if manifest is not None else {}
        except ValueError:
            return None
        return Sensitive(data[key]) if (key := named.choose_key(data)) is not None else None


def _describe(named: KubeConfig) -> str:
    return f"the kubeconfig in Secret/{named.secret} ({named.key or ' or '.join(KEYS)})"
