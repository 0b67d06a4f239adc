"""What the cluster remembers of tags for us: a ConfigMap `sealoop-tags-<ImageRepository>` beside its ImageRepository.

Of the ImageRepositories of one image in one namespace, the first by name keeps it. It is read once, before the first
listing is stored, and written when a listing or a push brought something new: small ones at once, those of more than
LARGE bytes at most once a minute, the rest of it at the next look. Who cannot read or write ConfigMaps loses only this:
ages begin anew when the disk is lost.
"""

from __future__ import annotations

import binascii
import logging
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from gitops_core.errors import ClusterError, Forbidden
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Clock, Cluster, Compute, Objects
from gitops_core.runtime.computing import IN_PLACE
from image_updater.api import ImageRepository
from image_updater.domain.checkpoint import CheckpointInvalid, decode, encode
from image_updater.domain.history import SeenTag
from image_updater.domain.scans import catalog_name
from image_updater.ports import TagCatalog

log = logging.getLogger(__name__)

CONFIG_MAP = Kind("", "v1", "ConfigMap")
KEY = "tags"
IMAGE = "sealoop.dev/image"
LARGE = 64 * 1024
PAUSE = 60.0
TAG_WEIGHT = 4
"""What a tag counts that is hashed and written down."""


@dataclass
class _Written:
    """What a ConfigMap holds as far as we know: which tags, the digest of the record, its size, and since when."""

    seen: tuple[SeenTag, ...] | None = None
    digest: bytes = b""
    size: int = 0
    at: float = -PAUSE


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of every ImageRepository. What it remembers may be lost: ConfigMaps are read again then.

    A `name` is what the catalog calls an image. The records of all of its namespaces are believed: who may write one of
    these ConfigMaps can make tags look older for the others, too.

    `_recalled` are the images whose checkpoints were read; `_encoded` holds the newest record of a few.
    """

    cluster: Cluster
    objects: Objects
    clock: Clock
    catalog: TagCatalog
    compute: Compute = IN_PLACE
    _recalled: set[str] = field(default_factory=set)
    _written: dict[ObjectKey, _Written] = field(default_factory=dict)
    _encoded: dict[str, tuple[tuple[SeenTag, ...], bytes]] = field(default_factory=dict)

    async def recall(self, wanted: ImageRepository, name: str, listed: Iterable[str]) -> None:
        """Bring the times that the cluster remembers of an image into the catalog: all namespaces', once.

        Again when the catalog does not know the image any more. Raises ClusterError other than Forbidden.

        Args:
            listed: the image's tags, as they were listed now.
        """
        is_known = await self.catalog.tags(name) is not None
        if name in self._recalled and is_known:
            return
        tags, read = tuple(listed), set[bytes]()
        if is_known:  # on a disk that was not lost: then most likely nothing is to be done
            read.add(sha256(await self._record(name, await self.catalog.seen(name))).digest())
        for key in sorted({wanted.key, *await self._keepers(name)}):
            record = await self._read(key)
            if record is None:
                continue
            digest = sha256(record).digest()
            if digest not in read:
                await self._restore(name, record, tags, key)
            read.add(digest)
            self._written[key] = _Written(None, digest, len(record))
        self._recalled.add(name)

    async def is_due(self, wanted: ImageRepository, name: str) -> bool:
        """Whether `save` would write now."""
        written = self._written.get(wanted.key, _Written())
        if written.size > LARGE and self.clock.monotonic() - written.at < PAUSE:
            return False
        return await self._keeps(wanted, name) and await self.catalog.seen(name) is not written.seen

    async def save(self, wanted: ImageRepository, name: str) -> None:
        """Write what the catalog knows, when that is news and this object keeps it.

        What cannot be written now is tried again a minute later. Raises ClusterError: it cannot be read.
        """
        if not await self.is_due(wanted, name):
            return
        await self.recall(wanted, name, await self.catalog.tags(name) or ())
        seen = await self.catalog.seen(name)
        record = await self._record(name, seen)
        written, digest = self._written.get(wanted.key, _Written()), sha256(record).digest()
        if digest == written.digest:
            self._written[wanted.key] = _Written(seen, digest, len(record), written.at)
            return
        now = self.clock.monotonic()
        try:
            await self.cluster.apply(_manifest(wanted, name, record), field_manager=wanted.CONTROLLER, force=True)
        except ClusterError as error:
            log.warning("no checkpoint", extra={"configmap": str(checkpoint_of(wanted.key)), "cause": str(error)})
            self._written[wanted.key] = _Written(written.seen, written.digest, LARGE + 1, now)
        else:
            self._written[wanted.key] = _Written(seen, digest, len(record), now)

    def forget(self, wanted: ImageRepository) -> None:
        self._written.pop(wanted.key, None)

    async def _read(self, key: ObjectKey) -> bytes | None:
        place = checkpoint_of(key)
        try:
            manifest = await self.cluster.get(ObjectRef(CONFIG_MAP, place))
        except Forbidden as error:
            log.warning("no checkpoint", extra={"configmap": str(place), "cause": str(error)})
            return None
        encoded = ((manifest or {}).get("binaryData") or {}).get(KEY)
        if not isinstance(encoded, str):
            return None
        try:
            return b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            log.warning("a checkpoint is left alone", extra={"configmap": str(place), "cause": "it is not base64"})
            return None

    async def _restore(self, name: str, record: bytes, tags: tuple[str, ...], key: ObjectKey) -> None:
        try:
            now = self.clock.now()
            seen = await self.compute.run(len(record) + len(tags), lambda: decode(record).among(tags, now))
        except CheckpointInvalid as error:
            log.warning("a checkpoint is left alone", extra={"configmap": str(checkpoint_of(key)), "cause": str(error)})
        else:
            await self.catalog.restore(name, seen)

    async def _keeps(self, wanted: ImageRepository, name: str) -> bool:
        keepers = await self._keepers(name, wanted.metadata.namespace)
        return all(wanted.key <= key for key in keepers)

    async def _keepers(self, name: str, namespace: str = "") -> tuple[ObjectKey, ...]:
        """The first ImageRepository of each namespace that lists this image and is well."""
        first: dict[str, ObjectKey] = {}
        for found in await self.objects.list(ImageRepository, namespace):
            if catalog_name(found, found.status.canonical_image_name) == name and found.status.is_ready:
                first.setdefault(found.metadata.namespace, found.key)
        return tuple(first.values())

    async def _record(self, name: str, seen: tuple[SeenTag, ...]) -> bytes:
        known = self._encoded.get(name)
        if known is not None and known[0] is seen:
            record = known[1]
        else:
            record = await self.compute.run(len(seen) * TAG_WEIGHT, encode, seen)
        self._encoded.pop(name, None)
        self._encoded[name] = (seen, record)
        if len(self._encoded) > 2:
            del self._encoded[next(iter(self._encoded))]
        return record


def checkpoint_of(key: ObjectKey) -> ObjectKey:
    """The ConfigMap of the ImageRepository `key`; a name that would be too long is shortened."""
    name = f"sealoop-tags-{key.name}"
    if len(name) > 253:
        name = f"{name[:220]}-{sha256(name.encode()).hexdigest()[:32]}"
    return ObjectKey(key.namespace, name)


def _manifest(wanted: ImageRepository, name: str, record: bytes) -> Manifest:
    place = checkpoint_of(wanted.key)
    owner = {
        "apiVersion": wanted.KIND.api_version,
        "kind": wanted.KIND.kind,
        "name": wanted.metadata.name,
        "uid": wanted.metadata.uid,
    }
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": {
            "name": place.name,
            "namespace": place.namespace,
            "labels": {"app.kubernetes.io/managed-by": "sealoop"},
            "annotations": {IMAGE: name},
            "ownerReferences": [owner],
        },
        "binaryData": {KEY: b64encode(record).decode()},
    }
