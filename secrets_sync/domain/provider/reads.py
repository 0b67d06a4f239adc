"""What an ExternalSecret reads from its provider, in which order: spec.dataFrom, then spec.data.

entry                reads
data                 one key, for one value
dataFrom[].extract   one key, for all that its value holds
dataFrom[].find      first which names there are, then each that is meant
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitops_core.errors import GitOpsError, StalledError, TransientError
from gitops_core.meta import Sensitive
from secrets_sync.api import ExternalSecretSpec, Find, RemoteRef
from secrets_sync.domain.provider.extract import extract_map, extract_value
from secrets_sync.domain.provider.finding import take_found
from secrets_sync.domain.provider.payload import Payload, SecretRef


@dataclass(frozen=True)
class Entry:
    """An entry of the spec that names a key: where it stands, what it wants, and the Secret's key (None: its own)."""

    path: str
    wants: RemoteRef
    secret_key: str | None = None

    @property
    def ref(self) -> SecretRef:
        return SecretRef(self.wants.key, self.wants.version)

    @property
    def label(self) -> str:
        """The name that notices call it by."""
        return self.path if self.secret_key is None else f"{self.path} (key={self.wants.key})"

    def take(self, payload: Payload, where: str) -> Mapping[str, Sensitive]:
        """Return the values that the entry makes of a payload. Raises what `extract_value` and `extract_map` do."""
        if self.secret_key is None:
            return extract_map(payload, self.wants, where)
        return {self.secret_key: extract_value(payload, self.wants, where)}

    def locate(self, error: GitOpsError) -> GitOpsError:
        """Return a new error of the same kind, which also says which entry it was."""
        return _locate(
            error, f"{self.path}.extract" if self.secret_key is None else f"{self.path} (key: {self.wants.key})"
        )


@dataclass(frozen=True)
class FindEntry:
    """An entry of the spec that means whatever fits: where it stands, and what fits."""

    path: str
    wants: Find

    @property
    def label(self) -> str:
        """The name that notices call it by."""
        return self.path

    def take(self, found: Mapping[str, Payload], where: str) -> Mapping[str, Sensitive]:
        """Return the values that the entry makes of payloads, by name. Raises what `take_found` does."""
        return take_found(found, self.wants, where)

    def locate(self, error: GitOpsError) -> GitOpsError:
        """Return a new error of the same kind, which also says which entry it was."""
        return _locate(error, f"{self.path}.find")


@dataclass(frozen=True)
class ReadPlan:
    """The entries, in the order in which they fill the Secret: of equal keys the later wins."""

    entries: tuple[Entry | FindEntry, ...]

    @property
    def refs(self) -> tuple[SecretRef, ...]:
        """Return each key and version to read once, in the order in which they are first wanted."""
        return tuple(dict.fromkeys(entry.ref for entry in self.entries if isinstance(entry, Entry)))


def plan_reads(spec: ExternalSecretSpec) -> ReadPlan:
    """Return what `spec` reads."""
    return ReadPlan(tuple(_list_entries(spec)))


def _list_entries(spec: ExternalSecretSpec) -> Iterator[Entry | FindEntry]:
    for i, source in enumerate(spec.data_from):
        if source.extract is not None:
            yield Entry(f"spec.dataFrom[{i}]", source.extract)
        if source.find is not None:
            yield FindEntry(f"spec.dataFrom[{i}]", source.find)
    for i, entry in enumerate(spec.data):
        yield Entry(f"spec.data[{i}]", entry.remote_ref, entry.secret_key)


def _locate(error: GitOpsError, place: str) -> GitOpsError:
    message = f"error processing {place}, err: {error}"
    if isinstance(error, StalledError):
        return StalledError(message, reason=error.reason)
    return TransientError(message, reason=error.reason, retry_after=getattr(error, "retry_after", None))
