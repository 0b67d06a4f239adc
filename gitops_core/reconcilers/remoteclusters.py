"""The cluster that a ConfigMap describes (domain/sync/remotes), and the tokens that it takes.

    generic           a token of the ServiceAccount, made for the cluster; kept for the better part of its hour
    aws, azure, gcp   what the cloud gives the ServiceAccount's role, or this process, for its cluster

Where this process itself asks a cloud, nothing but the cloud's word says where the cluster is, and whom to trust there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gitops_core.domain.sync.remotes import Remote, read_remote, refuse_audiences, write_address
from gitops_core.errors import ClusterUnavailable, CredentialsInvalid, StalledError
from gitops_core.meta import ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import CloudIdentity, Clouds, Cluster, RemoteCluster
from gitops_core.reconcilers.variables import CONFIG_MAP
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.remotes.identities import read_account, read_identity
from gitops_core.runtime.sharing.remembered import Kept, Remembered

TOKEN = 4 << 10
"""Bytes that a token takes, roughly."""
MOST_REMEMBERED = 2000 * TOKEN

_TokenKey = tuple[ObjectKey, str, tuple[str, ...]]


def _make_tokens() -> Remembered[_TokenKey, Sensitive]:
    return Remembered(MOST_REMEMBERED, lambda _: TOKEN)


class DescriptionMissing(ValueError):
    """There is no such ConfigMap."""


@dataclass(frozen=True)
class RemoteClusters:
    """Attributes:
    cluster: our own.
    """

    cluster: Cluster
    clouds: Clouds
    policy: Policy
    _tokens: Remembered[_TokenKey, Sensitive] = field(default_factory=_make_tokens)

    async def find(self, description: ObjectKey) -> RemoteCluster:
        """Find the cluster that a ConfigMap describes, and see that there is a token for it.

        Raises:
            DescriptionMissing, AccountMissing: the ConfigMap, or the ServiceAccount that it names, is not there.
            ValueError, CredentialsInvalid, StalledError: it describes none, or there is no token; ClusterError.
        """
        manifest = await self.cluster.get(ObjectRef(CONFIG_MAP, description))
        if manifest is None:
            raise DescriptionMissing("it is not there")
        remote = read_remote(manifest.get("data") or {}, self.policy.default_service_account)
        account = ObjectKey(description.namespace, remote.account) if remote.account else None
        if remote.provider == "generic":
            return await self._find_generic(remote, ObjectKey(description.namespace, remote.account))
        identity = await read_identity(self.cluster, remote.provider, account) if account is not None else None
        return await self._find_in_cloud(remote, identity)

    async def _find_generic(self, remote: Remote, account: ObjectKey) -> RemoteCluster:
        metadata = await read_account(self.cluster, account)
        key = (account, metadata.get("uid", ""), remote.audiences)

        async def get_token(refused: Sensitive | None) -> Sensitive:
            token = await self._tokens.get(key, lambda: self._make_token(account, remote.audiences))
            if token != refused:
                return token
            self._tokens.forget(key)
            return await self._tokens.get(key, lambda: self._make_token(account, remote.audiences))

        await get_token(None)
        return RemoteCluster(remote.address, remote.ca, repr(key), _tell_in_requests(get_token))

    async def _make_token(self, account: ObjectKey, audiences: tuple[str, ...]) -> Kept[Sensitive]:
        own = await self.cluster.request_token(account)
        refuse_audiences(audiences, own.audiences)
        given = await self.cluster.request_token(account, audiences)
        left = (given.expires - datetime.now(UTC)).total_seconds()
        return Kept(given.token, left * 0.8)

    async def _find_in_cloud(self, remote: Remote, identity: CloudIdentity | None) -> RemoteCluster:
        provider = remote.provider
        if provider == "generic":
            raise ValueError("provider generic is no cloud")
        server, ca = remote.address, remote.ca
        if identity is None or not server or ca is None:
            found = await self.clouds.find_cluster(provider, remote.cluster, identity)
            addresses = [write_address(address) for address in found.addresses]
            if not addresses or (server and server not in addresses):
                raise ValueError(f"address is {server!r}, but the cloud says {', '.join(addresses) or 'nothing'}")
            server, ca = server or addresses[0], found.ca if identity is None or ca is None else ca

        async def get_token(refused: Sensitive | None) -> Sensitive:
            token = await self.clouds.get_cluster_token(provider, remote.cluster, identity)
            if token != refused:
                return token
            return await self.clouds.get_cluster_token(provider, remote.cluster, identity, anew=True)

        await get_token(None)
        return RemoteCluster(server, ca, repr((provider, remote.cluster, identity)), _tell_in_requests(get_token))


def _tell_in_requests(
    get_token: Callable[[Sensitive | None], Awaitable[Sensitive]],
) -> Callable[[Sensitive | None], Awaitable[Sensitive]]:
    """Raise as a request's failure what keeps a token from being renewed."""

    async def get(refused: Sensitive | None) -> Sensitive:
        try:
            return await get_token(refused)
        except (ValueError, CredentialsInvalid, StalledError) as error:
            raise ClusterUnavailable(f"there is no token any more: {error}") from None

    return get
