"""What is read for an ExternalSecret: its namespace, and the provider. Nothing here decides or writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitops_core.errors import GitOpsError, StalledError, TransientError
from gitops_core.meta import ObjectMeta, Sensitive
from gitops_core.ports import Cluster, Compute, Objects, PartialObject, Query
from gitops_core.runtime.informers import every_page
from secrets_sync.api import ExternalSecret, RemoteRef
from secrets_sync.domain.extract import map_of, value_of, weight_of
from secrets_sync.domain.hashing import created_by
from secrets_sync.domain.live import CREATED_BY, SECRET, LiveSecret, weight_of_manifest
from secrets_sync.domain.plan import target_of
from secrets_sync.domain.reading import Absent, Reading
from secrets_sync.domain.succession import is_contested, moves_away
from secrets_sync.ports import SecretProvider


@dataclass(frozen=True)
class Surroundings:
    """The namespace of one ExternalSecret; `cluster` knows no other."""

    wanted: ExternalSecret
    cluster: Cluster
    objects: Objects
    compute: Compute

    async def read_secret(self, of: ExternalSecret | None = None) -> LiveSecret | None:
        """Return the Secret that `of` makes, by default `wanted`."""
        manifest = await self.cluster.get(target_of(of or self.wanted))
        return (
            None if manifest is None else await self.compute.run(weight_of_manifest(manifest), LiveSecret.of, manifest)
        )

    async def list_external_secrets(self) -> tuple[ExternalSecret, ...]:
        return await self.objects.list(ExternalSecret, self.wanted.metadata.namespace)

    async def list_labelled(self) -> tuple[ObjectMeta, ...]:
        """Return the metadata of the Secrets that say that `wanted` made them."""
        selector = f"{CREATED_BY}={created_by(self.wanted.key)}"
        query = Query(SECRET, self.wanted.metadata.namespace, labels=selector, metadata_only=True)
        return tuple(found.metadata for found in await every_page(self.cluster, query, PartialObject))

    async def find_yielding(self, live: LiveSecret | None) -> str:
        """Return the uid of the ExternalSecret that controls `live` and gives it up to `wanted`; "" for none.

        It does when it is to make another Secret, and waits for that in a circle that ends at `wanted`'s own.
        """
        if not is_contested(self.wanted, live):
            return ""
        everyone = {one.metadata.uid: one for one in await self.list_external_secrets()}
        held, passed = live, list[str]()
        while held is not None and held.controller is not None:
            uid = str(held.controller.get("uid"))
            if uid == self.wanted.metadata.uid:
                return passed[0]
            holder = everyone.get(uid)
            if holder is None or uid in passed or not moves_away(holder, held):
                break
            passed.append(uid)
            held = await self.read_secret(holder)
        return ""


@dataclass(frozen=True)
class Entry:
    """An entry of spec.dataFrom or spec.data: what to read, and the key to keep it under (None: its own keys)."""

    path: str
    ref: RemoteRef
    secret_key: str | None = None

    def values_in(self, payload: Sensitive, provider: SecretProvider) -> Mapping[str, Sensitive]:
        if self.secret_key is None:
            return map_of(payload, self.ref, provider.rule, provider.where)
        return {self.secret_key: value_of(payload, self.ref, provider.rule, provider.where)}


def entries_of(wanted: ExternalSecret) -> Iterator[Entry]:
    for i, source in enumerate(wanted.spec.data_from):
        if source.extract is not None:
            yield Entry(f"spec.dataFrom[{i}]", source.extract)
    for i, entry in enumerate(wanted.spec.data):
        yield Entry(f"spec.data[{i}]", entry.remote_ref, entry.secret_key)


async def read_provider(wanted: ExternalSecret, provider: SecretProvider, compute: Compute) -> Reading:
    """Read all that `wanted` names: each distinct key and version once."""
    payloads: dict[tuple[str, str], Sensitive | Absent] = {}
    answers: list[Mapping[str, Sensitive] | Absent] = []
    for entry in entries_of(wanted):
        known = (entry.ref.key, entry.ref.version)
        try:
            if known not in payloads:
                payloads[known] = await provider.fetch(*known)
            payload = payloads[known]
            if isinstance(payload, Absent):
                answers.append(payload)
            else:
                weight = weight_of(payload, entry.ref)
                answers.append(await compute.run(weight, entry.values_in, payload, provider))
        except GitOpsError as error:
            raise located(error, entry) from error
    return Reading(tuple(answers))


def located(error: GitOpsError, entry: Entry) -> GitOpsError:
    """Return the same kind of failure, which also says which entry it was."""
    place = f"{entry.path}.extract" if entry.secret_key is None else f"{entry.path} (key: {entry.ref.key})"
    message = f"error processing {place}, err: {error}"
    if isinstance(error, StalledError):
        return StalledError(message, reason=error.reason)
    return TransientError(message, reason=error.reason, retry_after=getattr(error, "retry_after", None))
