"""Whoever's cluster: our own, or that of a kubeconfig, as itself or as a service account.

    open(None, None)        our own, as ourselves                     id ""
    open(None, account)     our own connections, Impersonate-User     id ""
    open(kubeconfig, ...)   connections of that very kubeconfig       id a keyed digest of it, and the account
    open(remote, ...)       connections to it as that identity        likewise

Source: Kubernetes, "User impersonation": the API server adds the groups of a service account that is impersonated.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from gitops_core.adapters.http import find_proxy
from gitops_core.adapters.kubernetes.cluster import AGENT, KubernetesCluster
from gitops_core.adapters.kubernetes.kubeconfig import (
    ConfigurationError,
    Endpoint,
    TokenLogin,
    read_tenants_endpoint,
)
from gitops_core.errors import BadRequest, StalledError
from gitops_core.meta import ObjectKey, Sensitive
from gitops_core.ports import Cluster, Compute, RemoteCluster, Target

LARGEST_ANSWER = 16 << 20
"""Bytes of an answer that are read from whoever a kubeconfig names; decoded, they take many times as much."""


@dataclass
class _Connection:
    cluster: KubernetesCluster
    users: int = 0


@dataclass
class KubernetesClusters:
    """Implements gitops_core.ports.Clusters.

    Attributes:
        own: what is opened without a kubeconfig; it is not closed here.
        environment: where the proxies on the way to kubeconfigs' servers are looked up.
    """

    own: Cluster
    compute: Compute
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    agent: str = AGENT
    _connections: dict[str, _Connection] = field(default_factory=dict)
    _key: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    @asynccontextmanager
    async def open(
        self, cluster: Sensitive | RemoteCluster | None, service_account: ObjectKey | None, *, about: str = ""
    ) -> AsyncIterator[Target]:
        if cluster is None:
            yield _impersonate(service_account, Target("", self.own))
            return
        async with self._connected(cluster, about or "the kubeconfig") as target:
            yield _impersonate(service_account, target)

    @asynccontextmanager
    async def _connected(self, cluster: Sensitive | RemoteCluster, about: str) -> AsyncIterator[Target]:
        # Under a key of this process: who sees the digest cannot try out what the kubeconfig may be.
        text = cluster.reveal() if isinstance(cluster, Sensitive) else _identify(cluster)
        digest = hashlib.blake2b(text, key=self._key, digest_size=16).hexdigest()
        if digest not in self._connections:
            endpoint = await self._find_endpoint(cluster, about)
            if digest not in self._connections:  # who asked beside us may have been faster
                self._connections[digest] = _Connection(
                    KubernetesCluster(endpoint, agent=self.agent, largest_answer=LARGEST_ANSWER, compute=self.compute)
                )
        connection = self._connections[digest]
        connection.users += 1
        try:
            yield Target(digest, connection.cluster)
        finally:
            connection.users -= 1
            if not connection.users:
                del self._connections[digest]
                await connection.cluster.close()

    async def _find_endpoint(self, cluster: Sensitive | RemoteCluster, about: str) -> Endpoint:
        if isinstance(cluster, RemoteCluster):
            proxy = find_proxy(cluster.server, self.environment)
            return Endpoint(cluster.server, TokenLogin(cluster.get_token), ca=cluster.ca, proxy=proxy)
        text = cluster.reveal()
        try:
            return await self.compute.run(len(text), read_tenants_endpoint, text, about, self.environment)
        except ConfigurationError as error:
            raise StalledError(str(error), reason=error.reason) from None


def _identify(cluster: RemoteCluster) -> bytes:
    return msgspec.json.encode([cluster.server, cluster.ca, cluster.identity])


def _impersonate(account: ObjectKey | None, target: Target) -> Target:
    if account is None:
        return target
    user = f"system:serviceaccount:{account.namespace}:{account.name}"
    try:
        return Target(target.id and f"{target.id}/{user}", target.cluster.impersonate(user))
    except BadRequest as error:
        raise StalledError(str(error)) from None
