"""Bucket: list the objects once an interval, and keep the files when a key or an ETag is another one.

The status is what others act on, as of every source. A bucket that nothing changed in costs a HEAD, the pages of a
listing, and a GET for its `.sourceignore`. An empty one is Ready, for there is nothing wrong with it; a Kustomization
never takes it for the wish to delete everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import msgspec

from gitops_core.api import Artifact, Bucket, BucketStatus
from gitops_core.domain.sources.buckets import compute_revision, place_files, select_objects
from gitops_core.domain.sources.identities import split_address
from gitops_core.domain.sources.ignore import EVERY_FILE, IGNORE_FILE, IgnoreRules, IgnoreRulesInvalid, parse_own_rules
from gitops_core.errors import (
    BucketError,
    BucketUnknown,
    CredentialsInvalid,
    ObjectUnknown,
    SourceFailed,
    StalledError,
    TreeLost,
)
from gitops_core.meta import Condition, ObjectKey, Tree, parse_duration
from gitops_core.oci.reaching import ProxyUnsupported
from gitops_core.ports import BucketPlace, Buckets, Clock, Cluster, Compute, StoredObject
from gitops_core.reconcilers.bucketproofs import GOOGLE, Prover, read_way
from gitops_core.reconcilers.kepttrees import KeptTrees
from gitops_core.reconcilers.telling import (
    LATEST,
    SERVED,
    is_ours,
    list_failure,
    list_notices,
    make_artifact,
    write_path,
)
from gitops_core.runtime.loop.refusing import refuse_unsupported
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.reconciling import Outcome
from gitops_core.runtime.remotes.registries import read_proxy_secret
from gitops_core.runtime.sharing.slots import Slots

GROUP = Bucket.KIND.group
FAILED, DENIED = "BucketOperationFailed", "AuthenticationFailed"
AT_ONCE = 8
"""Objects of one bucket that are fetched at the same time."""
KEPT_AT_ONCE = 2
"""Buckets whose files are in memory."""
LARGEST_IGNORE_FILE = 1 << 20
OBJECT_WEIGHT = 20
"""What an object of a listing counts that is compared with patterns."""


class Index(NamedTuple):
    """The objects that count, and the text of the bucket's own ignore file (None: there is none)."""

    objects: Mapping[str, StoredObject]
    ignore_file: bytes | None

    @property
    def revision(self) -> str:
        return compute_revision({key: each.etag for key, each in self.objects.items()})


@dataclass(frozen=True)
class BucketSource:
    """Implements SourceKind for Bucket: a tree of the files in it."""

    cluster: Cluster
    trees: KeptTrees
    buckets: Buckets
    prover: Prover
    compute: Compute
    policy: Policy = DEFAULT_POLICY
    type_: ClassVar[type[Bucket]] = Bucket
    _slots: Slots = field(default_factory=lambda: Slots(KEPT_AT_ONCE, "buckets"))

    def find_artifact(self, source: Bucket) -> Artifact | None:
        return source.status.artifact

    def get_origin(self, source: Bucket) -> str:
        return source.status.artifact.digest if source.status.artifact else ""

    def get_ignore(self, source: Bucket) -> IgnoreRules:
        return EVERY_FILE

    async def read_tree(self, source: Bucket, revision: str, path: str = "") -> Tree:
        return await self.trees.read(source, revision, path, lambda artifact: self._bring(source, artifact))

    async def _bring(self, source: Bucket, artifact: Artifact) -> None:
        """Bring the files of the artifact again, if the bucket still has them."""
        place = await self.open(source)
        index = await self.read_index(source, place, source.status.observed_ignore)
        revision, tree, _ = await self.fetch(source, place, index)
        if (revision, f"sha256:{tree}") != (artifact.revision, artifact.digest):
            raise TreeLost(f"the files of {artifact.revision} are others now: {source.ref} has to be reconciled first")

    async def open(self, wanted: Bucket) -> BucketPlace:
        """Find the bucket, and how `wanted` reaches it. Raises SourceFailed, StalledError, ClusterError."""
        spec, namespace = wanted.spec, wanted.metadata.namespace
        if "/" in spec.endpoint or "?" in spec.endpoint or "#" in spec.endpoint or "@" in spec.endpoint:
            raise SourceFailed("Endpoint url cannot have fully qualified paths.", reason=DENIED)
        if not split_address(f"https://{spec.endpoint}").hostname:
            raise SourceFailed(
                f"Endpoint: {spec.endpoint[:200]} does not follow ip address or domain name standards.", reason=DENIED
            )
        try:
            proxy = None
            if spec.proxy_secret_ref is not None:
                proxy = await read_proxy_secret(self.cluster, ObjectKey(namespace, spec.proxy_secret_ref.name))
            way = await read_way(self.cluster, namespace, spec.cert_secret_ref, proxy)
            proof = await self.prover.prove(wanted, proxy)
        except ProxyUnsupported as error:
            raise StalledError(str(error), reason=DENIED) from None
        except (ValueError, CredentialsInvalid) as error:
            raise SourceFailed(str(error), reason=DENIED) from None
        endpoint = GOOGLE if spec.provider == "gcp" else f"{'http' if spec.insecure else 'https'}://{spec.endpoint}"
        return BucketPlace(endpoint, spec.bucket_name, spec.region, proof.keys, proof.token, way)

    async def read_index(self, wanted: Bucket, place: BucketPlace, ignore: str | None) -> Index:
        """Read which objects are there and count. Raises SourceFailed."""
        try:
            await self.buckets.check(place)
        except BucketUnknown as error:
            raise SourceFailed(str(error), reason=FAILED) from None
        except BucketError as error:
            trouble = f"failed to confirm existence of '{place.name}' bucket"
            raise SourceFailed(f"{trouble}: {error}", reason=FAILED) from None
        try:
            own = await self._read_ignore_file(place)
            listed = await self.buckets.list_objects(place, wanted.spec.prefix, most=self.policy.git_files)
            return await self.compute.run(OBJECT_WEIGHT * len(listed), _make_index, listed, own, ignore)
        except IgnoreRulesInvalid as error:
            raise SourceFailed(str(error), reason=error.reason) from None
        except BucketError as error:
            raise _make_failure(place, str(error)) from None

    async def _read_ignore_file(self, place: BucketPlace) -> bytes | None:
        try:
            return (await self.buckets.fetch(place, IGNORE_FILE, limit=LARGEST_IGNORE_FILE))[0]
        except ObjectUnknown:
            return None

    async def fetch(self, wanted: Bucket, place: BucketPlace, index: Index) -> tuple[str, str, int]:
        """Fetch what the index names, and keep it; return the revision of what was there, its tree, and how many.

        Raises:
            SourceFailed; Postponed: others are before it.
        """
        size = sum(each.size for each in index.objects.values())
        if size > self.policy.artifact_unpacked:
            cause = f"its objects have {size} bytes together, the limit is {self.policy.artifact_unpacked}"
            raise _make_failure(place, cause)
        async with self._slots.taken(wanted.metadata.namespace):
            contents, etags = await self._fetch_all(place, sorted(index.objects))
            if index.ignore_file is not None:
                contents[IGNORE_FILE] = index.ignore_file
            weight = OBJECT_WEIGHT * len(contents)
            try:
                files = await self.compute.run(weight, place_files, contents, self.policy.git_files)
            except ValueError as error:
                raise _make_failure(place, str(error)) from None
            tree = await self.trees.keep(wanted, files)
        return compute_revision(etags), tree, len(etags)

    async def _fetch_all(self, place: BucketPlace, keys: list[str]) -> tuple[dict[str, bytes], dict[str, str]]:
        """Fetch objects by key: their contents, and their ETags as they are now. One that is gone is left out."""
        contents, etags, left = dict[str, bytes](), dict[str, str](), self.policy.artifact_unpacked
        for at in range(0, len(keys), AT_ONCE):
            some = keys[at : at + AT_ONCE]
            limit = min(self.policy.git_file_size, left)
            asked = (self.buckets.fetch(place, key, limit=limit) for key in some)
            for key, answer in zip(some, await asyncio.gather(*asked, return_exceptions=True), strict=True):
                match answer:
                    case ObjectUnknown():
                        continue
                    case BucketError():
                        raise _make_failure(place, f"failed to get '{key[:200]}' object: {answer}") from None
                    case BaseException():
                        raise answer
                    case (body, etag):
                        contents[key], etags[key] = body, etag
                        left -= len(body)
            if left < 0:
                most = self.policy.artifact_unpacked
                raise _make_failure(place, f"its objects are larger than {most} bytes together")
        return contents, etags


@dataclass(frozen=True)
class BucketReconciler:
    """Implements gitops_core.runtime.reconciling.Reconciler for Bucket."""

    source: BucketSource
    clock: Clock

    async def reconcile(self, wanted: Bucket) -> Outcome:
        refuse_unsupported(wanted, ())
        revision = [""]
        try:
            try:
                async with asyncio.timeout(parse_duration(wanted.spec.timeout)):
                    return await self._look(wanted, revision)
            except TimeoutError:
                told = f"fetch from bucket '{wanted.spec.bucket_name}' failed: not done within spec.timeout"
                raise SourceFailed(f"{told} ({wanted.spec.timeout})", reason=FAILED) from None
        except SourceFailed as error:
            status, known = wanted.status, wanted.status.artifact
            raise error.carry(
                status, *list_failure(error, status, known, revision[0], wanted.spec.bucket_name)
            ) from None

    async def finalize(self, wanted: Bucket) -> None:
        """Leave everything: what is kept of an object that is gone is removed when nobody used it for some days."""

    async def _look(self, wanted: Bucket, revision: list[str]) -> Outcome:
        """Look, and note in `revision` what is there as soon as it is known."""
        known, place = wanted.status.artifact, await self.source.open(wanted)
        index = await self.source.read_index(wanted, place, wanted.spec.ignore)
        revision[0] = index.revision
        same = known is not None and known.revision == revision[0] and is_ours(known)
        if known is not None and same and wanted.status.observed_ignore == wanted.spec.ignore:
            return self._report(wanted, known, len(index.objects))
        fetched, tree, number = await self.source.fetch(wanted, place, index)
        file = f"{fetched.removeprefix('sha256:')}.tar.gz"
        artifact = make_artifact(wanted, file, fetched, f"sha256:{tree}", self.clock)
        return self._report(wanted, artifact, number)

    def _report(self, wanted: Bucket, artifact: Artifact, number: int) -> Outcome:
        message = f"stored artifact: revision '{artifact.revision}'"
        status: BucketStatus = msgspec.structs.replace(
            wanted.status,
            url=f"{SERVED}/{write_path(Bucket.KIND, wanted.metadata, LATEST)}",
            artifact=artifact,
            observed_ignore=wanted.spec.ignore,
        )
        text = f"stored artifact with {number} fetched files from '{wanted.spec.bucket_name}' bucket"
        return Outcome(
            status,
            message,
            parse_duration(wanted.spec.interval),
            conditions=(Condition(type="ArtifactInStorage", status="True", reason="Succeeded", message=message),),
            changed=artifact is not wanted.status.artifact,
            notices=list_notices(wanted.status, wanted.status.artifact, artifact, text, GROUP),
        )


def _make_index(listed: tuple[StoredObject, ...], own: bytes | None, ignore: str | None) -> Index:
    rules = parse_own_rules((own or b"").decode("utf-8", "replace"), ignore)
    return Index(select_objects(listed, rules), own)


def _make_failure(place: BucketPlace, cause: str) -> SourceFailed:
    return SourceFailed(f"fetch from bucket '{place.name}' failed: {cause}", reason=FAILED)
