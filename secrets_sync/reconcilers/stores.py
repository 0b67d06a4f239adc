"""From an ExternalSecret to its store, and from a store to a provider that can be asked."""

from __future__ import annotations

from gitops_core.meta import ObjectKey
from gitops_core.ports import Cluster, Objects
from gitops_core.runtime.authority.bounded import NamespaceBound
from secrets_sync.api import ExternalSecret, SecretStore
from secrets_sync.domain.provider.openings import find_provider, make_opening
from secrets_sync.errors import StoreInvalid, StoreNotReady
from secrets_sync.ports import ProviderFactories, SecretProvider


async def find_store(wanted: ExternalSecret, objects: Objects) -> SecretStore | None:
    """Return the store that `wanted` names, ready or not; None where there is none."""
    reference = wanted.spec.secret_store_ref
    return await objects.get(SecretStore, ObjectKey(wanted.metadata.namespace, reference.name if reference else ""))


def require_ready(store: SecretStore | None, wanted: ExternalSecret) -> SecretStore:
    """Return `store`, the one that `wanted` names. Raises StoreNotReady: there is none, or it was not validated."""
    reference = wanted.spec.secret_store_ref
    if reference is None or not reference.name:
        raise StoreNotReady("spec.secretStoreRef names no store")
    name = reference.name
    if store is None:
        raise StoreNotReady(f'could not get SecretStore "{name}", SecretStore.external-secrets.io "{name}" not found')
    if not store.status.is_ready:
        failure = StoreNotReady(f'SecretStore "{name}" is not ready')
        # one that nobody has looked at yet is no trouble to tell of: it will be validated in a moment
        raise failure if store.status.conditions else failure.record_as("None", {})
    return store


async def open_store(store: SecretStore, cluster: Cluster, factories: ProviderFactories) -> SecretProvider:
    """Open a provider for `store`. Raises StoreInvalid: it names none or several, or one that we do not have."""
    provider, opening = find_provider(store), make_opening(store)
    if provider not in factories:
        raise StoreInvalid(f"spec.provider.{provider} is not supported")
    return await factories[provider].open(opening, NamespaceBound(cluster, opening.reach.namespace))
