"""What an ExternalSecret reads from its provider, in which order: spec.dataFrom, then spec.data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitops_core.errors import GitOpsError, StalledError, TransientError
from gitops_core.meta import Sensitive
from secrets_sync.api import ExternalSecretSpec, RemoteRef
from secrets_sync.domain.provider.extract import extract_map, extract_value
from secrets_sync.domain.provider.payload import Payload, SecretRef


@dataclass(frozen=True)
class Entry:
    """An entry of the spec: where it stands, what it wants, and the key to keep it under (None: its own keys)."""

    path: str
    wants: RemoteRef
    secret_key: str | None = None

    @property
    def ref(self) -> SecretRef:
        return SecretRef(self.wants.key, self.wants.version)

    def take(self, payload: Payload, where: str) -> Mapping[str, Sensitive]:
        """Return the values that the entry makes of a payload. Raises what `extract_value` and `extract_map` do."""
        if self.secret_key is None:
            return extract_map(payload, self.wants, where)
        return {self.secret_key: extract_value(payload, self.wants, where)}

    def locate(self, error: GitOpsError) -> GitOpsError:
        """Return a new error of the same kind, which also says which entry it was."""
        place = f"{self.path}.extract" if self.secret_key is None else f"{self.path} (key: {self.wants.key})"
        message = f"error processing {place}, err: {error}"
        if isinstance(error, StalledError):
            return StalledError(message, reason=error.reason)
        return TransientError(message, reason=error.reason, retry_after=getattr(error, "retry_after", None))


@dataclass(frozen=True)
class ReadPlan:
    """The entries, in the order in which they fill the Secret: of equal keys the later wins."""

    entries: tuple[Entry, ...]

    @property
    def refs(self) -> tuple[SecretRef, ...]:
        """Return each key and version to read once, in the order in which they are first wanted."""
        return tuple(dict.fromkeys(entry.ref for entry in self.entries))


def plan_reads(spec: ExternalSecretSpec) -> ReadPlan:
    """Return what `spec` reads."""
    return ReadPlan(tuple(_list_entries(spec)))


def _list_entries(spec: ExternalSecretSpec) -> Iterator[Entry]:
    for i, source in enumerate(spec.data_from):
        if source.extract is not None:
            yield Entry(f"spec.dataFrom[{i}]", source.extract)
    for i, entry in enumerate(spec.data):
        yield Entry(f"spec.data[{i}]", entry.remote_ref, entry.secret_key)
