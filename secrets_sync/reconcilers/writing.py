"""What is written for an ExternalSecret: its Secret, and what becomes of those it made under other names.

No error here quotes a value: the API server's own words stay out of it.
"""

from __future__ import annotations

from gitops_core.errors import ClusterError, NotFound
from gitops_core.ports import Cluster
from gitops_core.runtime.reconciling import Notice
from secrets_sync.api import ExternalSecret
from secrets_sync.domain.secret.hashing import name_field_manager
from secrets_sync.domain.secret.live import LiveSecret
from secrets_sync.domain.secret.plan import DELETED, Create, Delete, Plan, Update, is_ours, release
from secrets_sync.domain.secret.refusals import explain_refusal
from secrets_sync.domain.secret.succession import Orphan
from secrets_sync.errors import WriteFailed


async def write(plan: Plan, wanted: ExternalSecret, cluster: Cluster, live: LiveSecret | None) -> tuple[Notice, ...]:
    """Carry out `plan`, and return what is told of it. Raises ClusterError, which may quote values."""
    manager = name_field_manager(wanted.metadata.name)
    match plan:
        case Create(manifest=manifest):
            await cluster.create(manifest, field_manager=manager)
            return (Notice("Normal", "Created", "secret created"),)
        case Update(manifest=manifest):
            await cluster.replace(manifest, field_manager=manager)
            return (Notice("Normal", "Updated", "secret updated"),)
        case Delete() if live is not None:
            await delete(cluster, live)
            return (Notice("Normal", "Deleted", DELETED.message),)
    return ()


async def delete(cluster: Cluster, live: LiveSecret) -> None:
    """Delete the Secret that was read, and no other of its name. Raises ClusterError, which may quote values."""
    uid, version = str(live.metadata.get("uid", "")), str(live.metadata.get("resourceVersion", ""))
    try:
        await cluster.delete(live.ref, uid=uid, resource_version=version)
    except NotFound:
        return


async def clear_away(orphan: Orphan, wanted: ExternalSecret, cluster: Cluster) -> tuple[Notice, ...]:
    """Delete the orphan or leave it to the next one, and return what is told of it. Raises WriteFailed."""
    try:
        if orphan.is_awaited:
            await _release(wanted, cluster, orphan)
            return ()
        await cluster.delete(orphan.ref, uid=orphan.uid, resource_version=orphan.resource_version)
    except NotFound:
        return ()
    except ClusterError as error:
        raise mute(error, f"delete {orphan.ref}") from None
    return (Notice("Normal", "Deleted", "secret deleted because it was orphaned"),)


async def _release(wanted: ExternalSecret, cluster: Cluster, orphan: Orphan) -> None:
    """Give up the Secret, if it still is `wanted`'s."""
    manifest = await cluster.get(orphan.ref)
    if manifest is not None and is_ours(wanted, live := LiveSecret.of(manifest)):
        await cluster.replace(release(wanted, live), field_manager=name_field_manager(wanted.metadata.name))


def mute(error: ClusterError, deed: str) -> WriteFailed:
    """Return a refusal of the API server without what could quote the Secret. Raise it from None."""
    return WriteFailed(f"the API server did not {deed}: {explain_refusal(error)}", retry_after=error.retry_after)
