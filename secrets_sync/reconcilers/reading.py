"""What is read for an ExternalSecret: its namespace, and the provider. Nothing here decides or writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gitops_core.errors import GitOpsError
from gitops_core.meta import ObjectMeta
from gitops_core.ports import Cluster, Compute, Objects, PartialObject, Query
from gitops_core.runtime.watching.informers import read_every_page
from secrets_sync.api import ExternalSecret
from secrets_sync.domain.provider.extract import weigh_extraction
from secrets_sync.domain.provider.finding import (
    MAX_VALUE_BYTES,
    Breadth,
    Named,
    make_matcher,
    make_search,
    weigh_pattern,
)
from secrets_sync.domain.provider.payload import Payload
from secrets_sync.domain.provider.reading import Absent, Answer, NoneFound, Reading
from secrets_sync.domain.provider.reads import Entry, FindEntry, ReadPlan
from secrets_sync.domain.secret.hashing import hash_owner
from secrets_sync.domain.secret.live import CREATED_BY, SECRET, LiveSecret, weigh_manifest
from secrets_sync.domain.secret.plan import get_target
from secrets_sync.domain.secret.succession import is_contested, moves_away
from secrets_sync.errors import NotSupported
from secrets_sync.ports import BatchReader, Finder, SecretProvider
from secrets_sync.runtime.reads import Reads


@dataclass(frozen=True)
class Surroundings:
    """The namespace of one ExternalSecret; `cluster` knows no other."""

    wanted: ExternalSecret
    cluster: Cluster
    objects: Objects
    compute: Compute

    async def read_secret(self, of: ExternalSecret | None = None) -> LiveSecret | None:
        """Return the Secret that `of` makes, by default `wanted`."""
        manifest = await self.cluster.get(get_target(of or self.wanted))
        return None if manifest is None else await self.compute.run(weigh_manifest(manifest), LiveSecret.of, manifest)

    async def list_external_secrets(self) -> tuple[ExternalSecret, ...]:
        return await self.objects.list(ExternalSecret, self.wanted.metadata.namespace)

    async def list_labelled(self) -> tuple[ObjectMeta, ...]:
        """Return the metadata of the Secrets that say that `wanted` made them."""
        selector = f"{CREATED_BY}={hash_owner(self.wanted.key)}"
        query = Query(SECRET, self.wanted.metadata.namespace, labels=selector, metadata_only=True)
        return tuple(found.metadata for found in await read_every_page(self.cluster, query, PartialObject))

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


async def read_provider(
    plan: ReadPlan, provider: SecretProvider, reads: Reads, arrival: int, compute: Compute
) -> Reading:
    """Read what is planned, and return what each entry is. Raises the first entry's failure, which says where it is.

    Args:
        arrival: see Reads.
    """
    payloads = await reads.read(provider, plan.refs, arrival)
    answers: list[Answer] = []
    for entry in plan.entries:
        if isinstance(entry, FindEntry):
            answers.append(await _find(entry, provider, reads, arrival, compute))
            continue
        payload = payloads[entry.ref]
        if isinstance(payload, GitOpsError):
            raise entry.locate(payload) from payload
        if isinstance(payload, Absent):
            answers.append(payload)
            continue
        with _locating(entry):
            weight = weigh_extraction(payload, entry.wants)
            answers.append(await compute.run(weight, entry.take, payload, provider.where))
    return Reading(tuple(answers))


async def _find(entry: FindEntry, provider: SecretProvider, reads: Reads, arrival: int, compute: Compute) -> Answer:
    where, wants = provider.where, entry.wants
    with _locating(entry):
        if not isinstance(provider, Finder):
            raise NotSupported(f"{where}: this provider cannot list what it has; name its keys one by one")
        matcher = await compute.run(weigh_pattern(wants), make_matcher, wants)
    listing = await reads.list_names(provider, make_search(wants), arrival)
    if isinstance(listing, GitOpsError):
        raise entry.locate(listing) from listing
    if isinstance(listing, Absent):
        return listing
    with _locating(entry):
        names = await compute.run(matcher.weigh(listing), matcher.select, listing, where)
    found: dict[str, Payload] = {}
    size, breadth = 0, Breadth(where, matcher.path)
    for some in _divide(names, provider):
        payloads = await reads.read(provider, [one.ref for one in some], arrival)
        for one in some:
            payload = payloads[one.ref]
            if isinstance(payload, GitOpsError):
                raise entry.locate(payload) from payload
            if isinstance(payload, Payload):  # else it went since it was listed, or its newest version is deleted
                found[one.name] = payload
                size += payload.weight
        with _locating(entry):
            breadth.limit("bytes of values", size, MAX_VALUE_BYTES)
    if not found:
        return NoneFound(where, listing.proof)
    with _locating(entry):
        return await compute.run(size, entry.take, found, where)


def _divide(names: Sequence[Named], provider: SecretProvider) -> Iterator[Sequence[Named]]:
    """Divide the names into what is read at once, so that no more is in memory than one find may have."""
    at_once = provider.at_once if isinstance(provider, BatchReader) else 1
    return (names[begin : begin + at_once] for begin in range(0, len(names), at_once))


@contextmanager
def _locating(entry: Entry | FindEntry) -> Iterator[None]:
    try:
        yield
    except GitOpsError as error:
        raise entry.locate(error) from error
