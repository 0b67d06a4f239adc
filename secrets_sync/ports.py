"""What secrets_sync needs from the world beside the cluster: a provider of secrets, for one store as one identity."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from gitops_core.errors import GitOpsError
from gitops_core.ports import Cluster
from secrets_sync.domain.provider.finding import Listing, Search
from secrets_sync.domain.provider.openings import Opening
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.domain.provider.reading import Absent


class SecretProvider(Protocol):
    """One store, opened.

    Attributes:
        where: what messages call it: `vault https://vault.example`.
        identity: all that its answers depend on beside what is asked: as whom which server is asked, and where there.
            Those who have the same may have each other's answers; nobody else may.
        capabilities: of the store's status: ReadOnly, WriteOnly or ReadWrite.
    """

    @property
    def where(self) -> str: ...

    @property
    def identity(self) -> Hashable: ...

    @property
    def capabilities(self) -> str: ...

    async def validate(self) -> None:
        """Prove that the store can be used: log in. Raises StoreInvalid, AccessDenied, ProviderUnavailable."""
        ...

    async def fetch(self, ref: SecretRef) -> Payload | Absent:
        """Return what is stored there, whole: a property is looked up by the caller.

        Absent costs a Secret its values, so it needs proof: the server says that there is no such key, or no such
        version of it, or a deleted one, and confirms that it was asked at the place that the store means. A wrong
        place, a server that is not the provider's, and every doubt are ProviderUnavailable.

        Raises:
            AccessDenied: the credentials are wrong or too weak.
            ProviderUnavailable: network trouble, throttling, a 5xx, or an answer that is none.
        """
        ...

    async def aclose(self) -> None:
        """Close the handle. What the factory keeps for the next one stays; until then nothing of it is taken away."""
        ...


Answers = Mapping[SecretRef, Payload | Absent | GitOpsError]


@runtime_checkable
class BatchReader(SecretProvider, Protocol):
    """A SecretProvider that can also read many keys in one call.

    Attributes:
        at_once: how many at most.
    """

    @property
    def at_once(self) -> int: ...

    async def fetch_many(self, refs: Sequence[SecretRef]) -> Answers:
        """Return what `fetch` answers or raises for each. Raises as it does where that is true of all."""
        ...


@runtime_checkable
class Finder(SecretProvider, Protocol):
    """A SecretProvider that can also list what it has."""

    async def list_names(self, search: Search) -> Listing | Absent:
        """List all secrets below a path, or say that there is no such path.

        What is not listed costs a Secret its keys, so a Listing needs the proof that Absent does: the server confirms
        that it was asked at the place that the store means. A listing that is cut short, or lacks what the credentials
        do not show, is an error as every doubt is. Who lists by several requests counts what comes by a `Breadth`.

        Raises:
            FindInvalid, NotSupported: this provider or store cannot be searched so.
            FindTooWide: there is more than a find may list.
            AccessDenied, ProviderUnavailable: as `fetch` does.
        """
        ...


class ProviderFactory(Protocol):
    """Opens stores of one provider.

    Keeps what is worth keeping between reconciliations, such as a login, for all stores of one identity, and gives it
    back when none of them needs it (see runtime/connections.py).
    """

    async def open(self, opening: Opening[Any], cluster: Cluster) -> SecretProvider:
        """Open a handle, to be closed; nothing has been asked of the provider yet.

        Args:
            cluster: bound to the opening's reach: credentials and certificates are read through it, nothing else.

        Raises:
            StoreInvalid: the settings, or the Secrets they name, need an edit.
        """
        ...

    async def close(self) -> None:
        """Give back all that was kept."""
        ...


ProviderFactories = Mapping[str, ProviderFactory]
"""By the provider's name in SecretStore.spec.provider."""
