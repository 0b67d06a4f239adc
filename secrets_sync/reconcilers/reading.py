"""What is read for an ExternalSecret: its namespace, and the provider. Nothing here decides or writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitops_core.errors import GitOpsError
from gitops_core.meta import ObjectMeta, Sensitive
from gitops_core.ports import Cluster, Compute, Objects, PartialObject, Query
from gitops_core.runtime.watching.informers import read_every_page
from secrets_sync.api import ExternalSecret
from secrets_sync.domain.provider.extract import weigh_extraction
from secrets_sync.domain.provider.reading import Absent, Reading
from secrets_sync.domain.provider.reads import ReadPlan
from secrets_sync.domain.secret.hashing import hash_owner
from secrets_sync.domain.secret.live import CREATED_BY, SECRET, LiveSecret, weigh_manifest
from secrets_sync.domain.secret.plan import get_target
from secrets_sync.domain.secret.succession import is_contested, moves_away
from secrets_sync.ports import SecretProvider
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
    answers: list[Mapping[str, Sensitive] | Absent] = []
    for entry in plan.entries:
        payload = payloads[entry.ref]
        if isinstance(payload, GitOpsError):
            raise entry.locate(payload) from payload
        if isinstance(payload, Absent):
            answers.append(payload)
            continue
        try:
            weight = weigh_extraction(payload, entry.wants)
            answers.append(await compute.run(weight, entry.take, payload, provider.where))
        except GitOpsError as error:
            raise entry.locate(error) from error
    return Reading(tuple(answers))
