"""The provider fake: secrets written down in the store itself, for examples and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gitops_core.meta import Sensitive
from gitops_core.ports import Cluster
from secrets_sync.api import SecretStore
from secrets_sync.domain.extract import PropertyRule
from secrets_sync.domain.reading import Absent
from secrets_sync.errors import StoreInvalid
from secrets_sync.ports import SecretProvider


@dataclass(frozen=True)
class Fake:
    """Implements secrets_sync.ports.SecretProvider. `payloads` are by key and version."""

    where: str
    payloads: Mapping[tuple[str, str], Sensitive] = field(repr=False)
    rule: PropertyRule = PropertyRule.PATH
    capabilities: str = "ReadWrite"

    async def validate(self) -> None:
        for key, version in self.payloads:
            if not key or not self.payloads[key, version]:
                raise StoreInvalid(f"{self.where}: an entry of spec.provider.fake.data has no key or no value")

    async def fetch(self, key: str, version: str = "") -> Sensitive | Absent:
        payload = self.payloads.get((key, version))
        return payload if payload is not None else Absent(self.where, key, version, "not in spec.provider.fake.data")

    async def aclose(self) -> None:
        return None


class FakeFactory:
    """Implements secrets_sync.ports.ProviderFactory."""

    async def open(self, store: SecretStore, cluster: Cluster) -> SecretProvider:
        settings = store.spec.provider.fake
        if settings is None:
            raise StoreInvalid("spec.provider.fake is not set")
        payloads = {(entry.key, entry.version): Sensitive(entry.value) for entry in settings.data}
        return Fake(f"fake store {store.metadata.name!r}", payloads)

    async def close(self) -> None:
        return None
