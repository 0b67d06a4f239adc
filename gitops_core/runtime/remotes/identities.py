"""A ServiceAccount as a cloud knows it: its role, and the tokens that prove it."""

from __future__ import annotations

from gitops_core.domain.sources.identities import Provider, find_role
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import SERVICE_ACCOUNT, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import CloudIdentity, Cluster


async def read_identity(cluster: Cluster, provider: Provider, account: ObjectKey) -> CloudIdentity:
    """Read which identity a ServiceAccount has in a cloud. Raises CredentialsInvalid, which names it; ClusterError."""
    ref = ObjectRef(SERVICE_ACCOUNT, account)
    manifest = await cluster.get(ref)
    if manifest is None:
        raise CredentialsInvalid(f"{ref} not found")
    metadata = manifest["metadata"]
    try:
        role = find_role(provider, metadata.get("annotations") or {})
    except ValueError as error:
        raise CredentialsInvalid(f"{ref} has no identity of provider {provider!r}: {error}") from None

    async def prove() -> Sensitive:
        return (await cluster.request_token(account, (role.audience,))).token

    return CloudIdentity(account, metadata.get("uid", ""), role, prove)
