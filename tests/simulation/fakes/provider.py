"""A provider of secrets in memory: pure asyncio, with faults on demand. Passes the contract of real providers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_core.errors import GitOpsError
from gitops_core.meta import Sensitive
from gitops_core.ports import Cluster
from secrets_sync.domain.provider.openings import Opening
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.domain.provider.reading import Absent
from secrets_sync.ports import SecretProvider


async def _nothing() -> None:
    return None


class MemoryProvider:
    """Implements secrets_sync.ports.SecretProvider. Versions are counted from 1; "" is the newest.

    Attributes:
        before_read: awaited before each read; the place for delays, failures and races.
        fails: raised by every read and validation.
        hangs: keys whose reads never end.
        reads: how often something was read.
    """

    where = identity = "memory"
    capabilities = "ReadWrite"

    def __init__(self, payloads: Mapping[str, str] = {}) -> None:
        self._versions: dict[str, list[Sensitive]] = {}
        self.before_read: Callable[[], Awaitable[None]] = _nothing
        self.fails: GitOpsError | None = None
        self.hangs: set[str] = set()
        self.reads = 0
        for key, value in payloads.items():
            self.put(key, value)

    def put(self, key: str, value: str) -> None:
        self._versions.setdefault(key, []).append(Sensitive(value))

    def remove(self, key: str) -> None:
        self._versions.pop(key, None)

    async def validate(self) -> None:
        await self.before_read()
        if self.fails is not None:
            raise self.fails

    async def fetch(self, ref: SecretRef) -> Payload | Absent:
        key, version = ref
        await self.before_read()
        self.reads += 1
        if key in self.hangs:
            await asyncio.Event().wait()
        if self.fails is not None:
            raise self.fails
        versions = self._versions.get(key, [])
        if not versions or (version and not 1 <= int(version) <= len(versions)):
            return Absent(self.where, key, version, "never stored, or removed")
        return Payload(versions[int(version) - 1 if version else -1])

    async def aclose(self) -> None:
        return None


@dataclass
class MemoryFactory:
    """Implements secrets_sync.ports.ProviderFactory: every store is the same provider."""

    provider: MemoryProvider = field(default_factory=MemoryProvider)

    async def open(self, opening: Opening[Any], cluster: Cluster) -> SecretProvider:
        return self.provider

    async def close(self) -> None:
        return None
