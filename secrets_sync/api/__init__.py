"""What users write to get secrets into a cluster: SecretStore and ExternalSecret, with all of their fields."""

from secrets_sync.api.externalsecret import (
    Binding,
    DataEntry,
    DataFromEntry,
    ExternalSecret,
    ExternalSecretSpec,
    ExternalSecretStatus,
    Find,
    FindName,
    RemoteRef,
    StoreRef,
    Target,
)
from secrets_sync.api.secretstore import (
    FakeEntry,
    FakeProvider,
    SecretStore,
    SecretStoreProvider,
    SecretStoreSpec,
    SecretStoreStatus,
)
from secrets_sync.api.selectors import CaProvider, SecretKeySelector
from secrets_sync.api.vault import VaultAppRole, VaultAuth, VaultProvider

KINDS = (SecretStore, ExternalSecret)

__all__ = [
    "KINDS",
    "Binding",
    "CaProvider",
    "DataEntry",
    "DataFromEntry",
    "ExternalSecret",
    "ExternalSecretSpec",
    "ExternalSecretStatus",
    "FakeEntry",
    "FakeProvider",
    "Find",
    "FindName",
    "RemoteRef",
    "SecretKeySelector",
    "SecretStore",
    "SecretStoreProvider",
    "SecretStoreSpec",
    "SecretStoreStatus",
    "StoreRef",
    "Target",
    "VaultAppRole",
    "VaultAuth",
    "VaultProvider",
]
