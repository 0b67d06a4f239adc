"""What a provider is opened with: the settings, whose they are, and where their credentials may be read.

Today that is always a SecretStore. A ClusterSecretStore, and a generator that logs in, are opened by the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gitops_core.meta import ObjectKey
from secrets_sync.api import SecretStore
from secrets_sync.errors import StoreInvalid

S = TypeVar("S")


@dataclass(frozen=True)
class Reach:
    """Where Secrets and ConfigMaps may be that settings name.

    Attributes:
        namespace: the one that is meant where none is named; no other may be.
    """

    namespace: str

    def resolve_namespace(self, named: str, path: str) -> str:
        """Return the namespace of an object that the settings name at `path`. Raises StoreInvalid: out of reach."""
        if named not in ("", self.namespace):
            own = self.namespace
            raise StoreInvalid(f"{path}.namespace: a SecretStore names objects of its own namespace {own!r} only")
        return self.namespace


@dataclass(frozen=True)
class Opening(Generic[S]):
    """An object whose settings say how a provider is reached.

    Attributes:
        kind, key, uid, generation: which object, and which of its edits.
        settings: the provider's own, such as spec.provider.vault.
    """

    kind: str
    key: ObjectKey
    uid: str
    generation: int
    settings: S = field(repr=False)
    reach: Reach


def find_provider(store: SecretStore) -> str:
    """Find the name of the store's provider. Raises StoreInvalid: it names none or several."""
    provider = store.spec.provider
    named = [name for name in provider.__struct_fields__ if getattr(provider, name) is not None]
    if len(named) != 1:
        raise StoreInvalid(f"spec.provider names {len(named)} providers: exactly one is needed")
    return named[0]


def make_opening(store: SecretStore) -> Opening[Any]:
    """Make what opens `store`. Raises StoreInvalid as `find_provider` does."""
    metadata, settings = store.metadata, getattr(store.spec.provider, find_provider(store))
    return Opening(store.KIND.kind, store.key, metadata.uid, metadata.generation, settings, Reach(metadata.namespace))
