"""The provider fake: secrets written down in the store itself, for examples and tests."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from gitops_core.meta import Sensitive
from gitops_core.ports import Cluster
from secrets_sync.api import FakeProvider
from secrets_sync.domain.provider.finding import Listing, Named, Search
from secrets_sync.domain.provider.openings import Opening
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.domain.provider.reading import Absent
from secrets_sync.errors import NotSupported, StoreInvalid
from secrets_sync.ports import SecretProvider


@dataclass(frozen=True)
class Fake:
    """Implements secrets_sync.ports.Finder."""

    where: str
    identity: Hashable
    values: Mapping[SecretRef, Sensitive] = field(repr=False)
    capabilities: str = "ReadWrite"

    async def validate(self) -> None:
        for ref, value in self.values.items():
            if not ref.key or not value:
                raise StoreInvalid(f"{self.where}: an entry of spec.provider.fake.data has no key or no value")

    async def fetch(self, ref: SecretRef) -> Payload | Absent:
        value = self.values.get(ref)
        return Payload(value) if value is not None else Absent(self.where, *ref, "not in spec.provider.fake.data")

    async def list_names(self, search: Search) -> Listing:
        if search.has_tags:
            raise NotSupported(f"{self.where}: its entries have no tags to find them by")
        newest: dict[str, SecretRef] = {}
        for ref in sorted(self.values):  # of versions the last one in the order of their texts is the newest
            if not search.path or ref.key.startswith(f"{search.path}/"):
                newest[ref.key] = ref
        return Listing(tuple(map(Named, newest, newest.values())), "all of spec.provider.fake.data")

    async def aclose(self) -> None:
        return None


class FakeFactory:
    """Implements secrets_sync.ports.ProviderFactory."""

    async def open(self, opening: Opening[FakeProvider], cluster: Cluster) -> SecretProvider:
        values = {SecretRef(entry.key, entry.version): Sensitive(entry.value) for entry in opening.settings.data}
        identity = ("fake", opening.kind, opening.key, opening.uid, opening.generation)  # its settings are its secrets
        return Fake(f"fake store {opening.key.name!r}", identity, values)

    async def close(self) -> None:
        return None
