"""What an OCIRepository is asked for: which artifact its reference names, whether it is signed, and the files in it.

    url + ref ──HEAD or listing──> digest ──> signed? ──> manifest ──> layer ──> unpacked as it comes ──> a kept tree

The digest of the artifact in the status is the id of the kept tree. A tree may be lost with the disk: then whoever
reads it has it brought again, of the same digest and with the same rules, and it must be the same tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import msgspec

from gitops_core.api import Artifact, LayerSelector, OciReference, OCIRepository
from gitops_core.domain.sources.archives import ArchiveInvalid, ArchiveLimits, Unpacking
from gitops_core.domain.sources.ignore import EVERY_FILE, IgnoreRules, IgnoreRulesInvalid, select_files
from gitops_core.domain.sources.tags import choose_tag
from gitops_core.errors import (
    CredentialsInvalid,
    ImageInvalid,
    ImageUnreadable,
    RegistryError,
    SourceFailed,
    StalledError,
    TransientError,
    TreeLost,
    VerificationFailed,
)
from gitops_core.meta import Manifest, ObjectKey, ObjectRef, Tree, parse_duration
from gitops_core.oci.cosign import PublicKey, explain_refusal, parse_keys
from gitops_core.oci.credentials import RegistryAccess
from gitops_core.oci.references import DIGEST, Repository, is_tag, parse_image
from gitops_core.ports import ArtifactLayer, Artifacts, CloudLogins, Cluster, Compute, OciArtifact
from gitops_core.reconcilers.kepttrees import KeptTrees
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.remotes.credentials import SECRET, decode_data
from gitops_core.runtime.remotes.registries import read_registry_access
from gitops_core.runtime.sharing.computing import READING
from gitops_core.runtime.sharing.slots import Slots

PREFIX = "oci://"
PULL_FAILED = "OCIArtifactPullFailed"
LAYER_FAILED = "OCIArtifactLayerOperationFailed"
READ_FAILED = "ReadOperationFailed"
EXTRACT_FAILED = "failed to extract layer contents from artifact"
UNPACKED_AT_ONCE = 2
"""Artifacts whose files are in memory."""
TAG_WEIGHT = 20
"""What a tag counts that is compared with a range."""
CHECK_WEIGHT = 1000
"""What it counts to check one signature with one key."""
KEY_WEIGHT = 5
"""What a byte of a public key counts that is read."""
EMPTY = "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
"""The id of the tree without files, of SHA-256."""


class Place(NamedTuple):
    """Where the artifacts of an object are, and how they are reached."""

    repository: Repository
    access: RegistryAccess


class Pulled(NamedTuple):
    """What an artifact held: what its manifest says of it, and the id of the tree that is kept now."""

    annotations: Mapping[str, str]
    tree: str


@dataclass(frozen=True)
class OciSource:
    """Implements SourceKind for OCIRepository: a tree of the files in a layer."""

    cluster: Cluster
    trees: KeptTrees
    artifacts: Artifacts
    logins: CloudLogins
    compute: Compute
    policy: Policy = DEFAULT_POLICY
    type_: ClassVar[type[OCIRepository]] = OCIRepository
    _slots: Slots = field(default_factory=lambda: Slots(UNPACKED_AT_ONCE, "artifacts"))

    def find_artifact(self, source: OCIRepository) -> Artifact | None:
        return source.status.artifact

    def get_origin(self, source: OCIRepository) -> str:
        return source.status.artifact.digest if source.status.artifact else ""

    def get_ignore(self, source: OCIRepository) -> IgnoreRules:
        return EVERY_FILE

    async def read_tree(self, source: OCIRepository, revision: str, path: str = "") -> Tree:
        told = source.status.artifact
        is_empty = told is not None and (told.revision, told.digest) == (revision, f"sha256:{EMPTY}")
        if is_empty and _copies(source.status.observed_layer_selector):
            raise TransientError(
                f"the layer that {source.ref} copies is no tar.gz whose files can be applied: with"
                " spec.layerSelector.operation extract it says why",
                reason="ArtifactFailed",
            )
        return await self.trees.read(source, revision, path, lambda artifact: self._bring(source, artifact))

    async def _bring(self, source: OCIRepository, artifact: Artifact) -> None:
        """Bring the files of the artifact again, as they were selected. Raises TransientError, StalledError."""
        status = source.status
        place = await self.open(source)
        selector, ignore = status.observed_layer_selector, status.observed_ignore
        pulled = await self.pull(source, place, get_digest(artifact.revision), selector, ignore)
        if artifact.digest != f"sha256:{pulled.tree}":
            raise TreeLost(
                f"the files of {artifact.revision} are kept under another name now: {source.ref} looks again"
            )

    async def open(self, wanted: OCIRepository) -> Place:
        """Find the repository, and how `wanted` reaches it.

        Raises:
            StalledError: the URL names none, or something is asked for that cannot be.
            SourceFailed: an object that it names is missing, or is not what it should be.
            ClusterError.
        """
        spec = wanted.spec
        repository = parse_repository(spec.url)
        if spec.secret_ref is not None:  # goes before the cloud's login
            wanted = msgspec.structs.replace(wanted, spec=msgspec.structs.replace(spec, provider="generic"))
        try:
            access = await read_registry_access(
                self.cluster,
                wanted,
                repository,
                self.logins,
                self.compute,
                self.policy.default_service_account,
            )
        except CredentialsInvalid as error:
            raise SourceFailed(str(error), reason=error.reason) from None
        except StalledError as error:
            if spec.provider == "generic":
                raise
            raise SourceFailed(f"failed to determine artifact digest: {error}", reason=PULL_FAILED) from None
        return Place(repository, replace(access, unverified=spec.insecure and spec.cert_secret_ref is None))

    async def find_revision(self, wanted: OCIRepository, place: Place) -> str:
        """Find which artifact the reference names now: `TAG@DIGEST`, or `DIGEST`. Raises SourceFailed."""
        ref = wanted.spec.ref or OciReference()
        trouble = "failed to determine artifact digest"
        if ref.digest:
            if not DIGEST.fullmatch(ref.digest):
                raise SourceFailed(f"{trouble}: spec.ref.digest {ref.digest[:200]!r} is none", reason=PULL_FAILED)
            return ref.digest
        tag = await self._find_tag(wanted, place, ref) if ref.semver else ref.tag or "latest"
        if not is_tag(tag):
            raise SourceFailed(f"{trouble}: {tag[:200]!r} is no tag", reason=PULL_FAILED)
        with _failing(trouble, PULL_FAILED):
            return f"{tag}@{await self.artifacts.resolve_digest(place.repository, tag, place.access)}"

    async def _find_tag(self, wanted: OCIRepository, place: Place, ref: OciReference) -> str:
        with _failing(f"failed to determine the artifact tag for '{wanted.spec.url}'", READ_FAILED):
            tags = await self.artifacts.list_tags(place.repository, place.access)
            return await self.compute.run(TAG_WEIGHT * len(tags), choose_tag, tags, ref.semver, ref.semver_filter)

    async def verify(self, wanted: OCIRepository, place: Place, revision: str) -> None:
        """Raise VerificationFailed unless one of the keys that `wanted` names signed this very artifact."""
        verification = wanted.spec.verify
        if verification is None or verification.secret_ref is None:
            return
        digest = get_digest(revision)
        trouble = f"failed to verify the signature using provider '{verification.provider}'"
        try:
            keys = await self._read_keys(ObjectKey(wanted.metadata.namespace, verification.secret_ref.name))
            claims = await self.artifacts.list_claims(place.repository, digest, place.access)
            weight = len(claims) * len(keys) * CHECK_WEIGHT
            why = await self.compute.run(weight, explain_refusal, claims, digest, keys)
        except (ValueError, ImageUnreadable) as error:
            raise VerificationFailed(f"{trouble}: {error}") from None
        except RegistryError as error:
            raise VerificationFailed(f"{trouble}: {error}", retry_after=error.retry_after) from None
        if why:
            where = f"{place.repository}@{digest}"
            raise VerificationFailed(f"{trouble}: no matching signatures were found for '{where}': {why}")

    async def _read_keys(self, key: ObjectKey) -> tuple[PublicKey, ...]:
        """Read the public keys in a Secret. Raises ValueError, ClusterError."""
        manifest = await self.cluster.get(ObjectRef(SECRET, key))
        if manifest is None:
            raise ValueError(f"secret '{key}' not found")
        size = sum(len(text or "") for text in (manifest.get("data") or {}).values())
        try:
            return await self.compute.run(size * KEY_WEIGHT, _parse_keys, manifest)
        except ValueError as error:
            raise ValueError(f"secret '{key}': {error}") from None

    async def pull(
        self, wanted: OCIRepository, place: Place, digest: str, selector: LayerSelector | None, ignore: str | None
    ) -> Pulled:
        """Fetch the artifact of that digest, and keep its files.

        Raises:
            SourceFailed: it cannot be had, or its layer is not what it should be.
            Postponed: others are before it.
        """
        with _failing(f"failed to pull artifact from '{wanted.spec.url}'", PULL_FAILED):
            artifact = await self.artifacts.read_artifact(place.repository, digest, place.access)
        layer = choose_layer(artifact, selector)
        if layer.size > self.policy.artifact_size:
            cause = f"the layer has {layer.size} bytes, the limit is {self.policy.artifact_size}"
            raise SourceFailed(f"{EXTRACT_FAILED}: {cause}", reason=LAYER_FAILED)
        async with self._slots.taken(wanted.metadata.namespace):
            files = await self._unpack(wanted, place, layer, _copies(selector))
            selected = files if _copies(selector) else await self._select(files, ignore)
            tree = await self.trees.keep(wanted, selected)
        return Pulled(artifact.annotations, tree)

    async def _select(self, files: Mapping[str, bytes], ignore: str | None) -> Mapping[str, bytes]:
        """Select the files that count. Raises SourceFailed: the next push may have patterns that can be used."""
        try:
            return await self.compute.run(READING, select_files, files, ignore)
        except IgnoreRulesInvalid as error:
            raise SourceFailed(str(error), reason=error.reason) from None

    async def _unpack(
        self, wanted: OCIRepository, place: Place, layer: ArtifactLayer, copies: bool
    ) -> Mapping[str, bytes]:
        """Unpack a layer while it comes; one that is only copied need not be an archive. Raises SourceFailed."""
        policy, refusals = self.policy, list[ArchiveInvalid]()
        unpacking = Unpacking(ArchiveLimits(policy.git_files, policy.git_file_size, policy.artifact_unpacked))

        async def take(part: bytes) -> None:
            if refusals:
                return
            try:
                await self.compute.run(len(part), unpacking.feed, part)
            except ArchiveInvalid as error:
                refusals.append(error)
                if not copies:
                    raise

        seconds = parse_duration(wanted.spec.timeout)
        try:
            with _failing(f"failed to pull artifact from '{wanted.spec.url}'", PULL_FAILED):
                await self.artifacts.stream_layer(
                    place.repository, layer, take, place.access, limit=policy.artifact_size, seconds=seconds
                )
            return {} if refusals else await self.compute.run(READING, unpacking.finish)
        except ArchiveInvalid as error:
            if copies:
                return {}
            raise SourceFailed(
                f"failed to extract layer contents from artifact: {error}", reason=error.reason
            ) from None


def parse_repository(url: str) -> Repository:
    """Parse spec.url: `oci://HOST/PATH`, without tag. Raises StalledError, in the original's words.

    >>> str(parse_repository("oci://ghcr.io/org/fleet"))
    'ghcr.io/org/fleet'
    """
    text, cause = url.removeprefix(PREFIX).removesuffix("/"), ""
    try:
        repository = parse_image(text).repository
        path, at, digest = text.removeprefix(repository.registry).partition("@")
        if at:
            cause = f"URL must not contain a digest; remove '@{digest}'"
        elif tag := path.partition(":")[2]:
            cause = f"URL must not contain a tag; remove ':{tag}'"
    except ImageInvalid as error:
        cause = str(error)
    if cause:
        raise StalledError(f"URL validation failed for '{url}': {cause}", reason="URLInvalid")
    return repository


def choose_layer(artifact: OciArtifact, selector: LayerSelector | None) -> ArtifactLayer:
    """Choose the layer that holds the files. Raises SourceFailed."""
    if not artifact.layers:
        raise SourceFailed("no layers found in artifact", reason=LAYER_FAILED)
    media_type = selector.media_type if selector is not None else ""
    fitting = (layer for layer in artifact.layers if not media_type or layer.media_type == media_type)
    if (layer := next(fitting, None)) is None:
        raise SourceFailed(f"failed to find layer with media type '{media_type}' in artifact", reason=LAYER_FAILED)
    return layer


def get_digest(revision: str) -> str:
    """
    >>> get_digest("v1@sha256:ab"), get_digest("sha256:ab")
    ('sha256:ab', 'sha256:ab')
    """
    return revision.rpartition("@")[2]


def _copies(selector: LayerSelector | None) -> bool:
    return selector is not None and selector.operation == "copy"


def _parse_keys(manifest: Manifest) -> tuple[PublicKey, ...]:
    """Parse the keys in a Secret. Raises ValueError."""
    return parse_keys(decode_data(manifest))


@contextmanager
def _failing(trouble: str, reason: str) -> Iterator[None]:
    """Turn what a registry answered, or what is wrong with a range of tags, into why there is no artifact."""
    try:
        yield
    except RegistryError as error:
        raise SourceFailed(f"{trouble}: {error}", reason=reason, retry_after=error.retry_after) from None
    except ValueError as error:
        raise SourceFailed(f"{trouble}: {error}", reason=reason) from None
