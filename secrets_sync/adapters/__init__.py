"""Providers of secrets, by the names that SecretStores give them."""

from gitops_core.ports import Clock, Compute
from gitops_core.runtime.sharing.computing import IN_PLACE
from secrets_sync.adapters.fake import FakeFactory
from secrets_sync.adapters.vault import VaultFactory
from secrets_sync.ports import ProviderFactories


def make_provider_factories(clock: Clock, compute: Compute = IN_PLACE) -> ProviderFactories:
    """Make the factories of all providers that this version knows. Close each when the process ends."""
    return {"fake": FakeFactory(), "vault": VaultFactory(clock, compute=compute)}


__all__ = ["FakeFactory", "VaultFactory", "make_provider_factories"]
