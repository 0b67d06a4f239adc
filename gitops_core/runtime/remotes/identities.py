"""A ServiceAccount as a cloud knows it: its role, and the tokens that prove it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops_core.domain.sources.identities import Provider, find_role
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import SERVICE_ACCOUNT, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import CloudIdentity, Cluster


class AccountMissing(CredentialsInvalid):
    """There is no such ServiceAccount (any more)."""


async def read_identity(cluster: Cluster, provider: Provider, account: ObjectKey) -> CloudIdentity:
    """Read which identity a ServiceAccount has in a cloud. Raises CredentialsInvalid, which names it; ClusterError."""
    ref, metadata = ObjectRef(SERVICE_ACCOUNT, account), await read_account(cluster, account)
    try:
        role = find_role(provider, metadata.get("annotations") or {})
    except ValueError as error:
        raise CredentialsInvalid(f"{ref} has no identity of provider {provider!r}: {error}") from None

    async def prove() -> Sensitive:
        return (await cluster.request_token(account, (role.audience,))).token

    return CloudIdentity(account, metadata.get("uid", ""), role, prove)


async def read_account(cluster: Cluster, account: ObjectKey) -> Mapping[str, Any]:
    """Read the metadata of a ServiceAccount. Raises AccountMissing; ClusterError."""
    ref = ObjectRef(SERVICE_ACCOUNT, account)
    manifest = await cluster.get(ref)
    if manifest is None:
        raise AccountMissing(f"{ref} not found")
    metadata: Mapping[str, Any] = manifest["metadata"]
    return metadata
