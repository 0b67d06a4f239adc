"""What the cluster remembers of tags for us: a ConfigMap `sealoop-tags-<ImageRepository>` beside its ImageRepository.

Of the ImageRepositories of one image in one namespace, the first by name keeps it. It is read once, before the first
listing is stored, and written when a listing or a push brought something new: small ones at once, those of more than
LARGE bytes at most once a minute, the rest of it at the next look. Who cannot read or write ConfigMaps loses only this:
ages begin anew when the disk is lost. One of that name that is not ours is neither read nor written.
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
from gitops_core.recent import Recent
from gitops_core.runtime.sharing.computing import IN_PLACE
from image_updater.api import ImageRepository
from image_updater.domain.guards.vouching import (
    IMAGE,
    MANAGED_BY,
    TAGS,
    get_image,
    is_checkpoint,
    is_of_image,
    make_catalog_name,
)
from image_updater.domain.tags.checkpoint import CheckpointInvalid, decode, encode
from image_updater.domain.tags.history import SeenTag
from image_updater.ports import TagCatalog

log = logging.getLogger(__name__)

CONFIG_MAP = Kind("", "v1", "ConfigMap")
LARGE = 64 * 1024
PAUSE = 60.0
TAG_WEIGHT = 4
"""What a tag counts that is hashed and written down."""
ENCODED = 16 << 20
"""Bytes of the records that are remembered, and of what they were made of."""
SEEN = 290
"""Bytes that a tag and its times take, roughly."""


@dataclass
class _Written:
    """What a ConfigMap holds as far as we know: which tags, the digest of the record, its size, and since when.

    `trouble` says why it is not written.
    """

    seen: tuple[SeenTag, ...] | None = None
    digest: bytes = b""
    size: int = 0
    at: float = -PAUSE
    trouble: str = ""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of every ImageRepository. What it remembers may be lost: ConfigMaps are read again then.

    A `name` is what the catalog calls an image: in one namespace, whose own ConfigMaps alone are believed.

    `_recalled` are the images whose checkpoints were read; `_encoded` holds the newest records.
    """

    cluster: Cluster
    objects: Objects
    clock: Clock
    catalog: TagCatalog
    compute: Compute = IN_PLACE
    _recalled: set[str] = field(default_factory=set)
    _written: dict[ObjectKey, _Written] = field(default_factory=dict)
    _encoded: Recent[str, tuple[tuple[SeenTag, ...], bytes]] = field(default_factory=lambda: Recent(ENCODED))

    async def recall(self, wanted: ImageRepository, name: str, listed: Iterable[str]) -> None:
        """Bring the times that the cluster remembers of an image into the catalog, once.

        Again when the catalog does not know the image any more. Raises ClusterError other than Forbidden.

        Args:
            listed: the image's tags, as they were listed now.
        """
        is_known = await self.catalog.list_tags(name) is not None
        if name in self._recalled and is_known:
            return
        tags, read = tuple(listed), set[bytes]()
        if is_known:  # on a disk that was not lost: then most likely nothing is to be done
            read.add(sha256(await self._encode_record(name, await self.catalog.list_seen(name))).digest())
        for keeper in {found.key: found for found in (*await self._list_listers(wanted, name), wanted)}.values():
            record = await self._read(keeper, name)
            if record is None:
                continue
            digest = sha256(record).digest()
            if digest not in read:
                await self._restore(name, record, tags, keeper.key)
            read.add(digest)
            self._written[keeper.key] = _Written(None, digest, len(record))
        self._recalled.add(name)

    async def is_due(self, wanted: ImageRepository, name: str) -> bool:
        """Tell whether `save` would write now."""
        written = self._written.get(wanted.key, _Written())
        if written.size > LARGE and self.clock.monotonic() - written.at < PAUSE:
            return False
        return await self._keeps(wanted, name) and await self.catalog.list_seen(name) is not written.seen

    async def save(self, wanted: ImageRepository, name: str) -> None:
        """Write what the catalog knows, when that is news and this object keeps it.

        What cannot be written now is tried again a minute later. Raises ClusterError: it cannot be read.
        """
        if not await self.is_due(wanted, name):
            return
        await self.recall(wanted, name, await self.catalog.list_tags(name) or ())
        seen = await self.catalog.list_seen(name)
        record = await self._encode_record(name, seen)
        written, digest = self._written.get(wanted.key, _Written()), sha256(record).digest()
        if digest == written.digest:
            self._written[wanted.key] = _Written(seen, digest, len(record), written.at)
            return
        now, place = self.clock.monotonic(), make_checkpoint_key(wanted.key)
        try:
            live = await self.cluster.get(ObjectRef(CONFIG_MAP, place))
            if live is not None and not is_checkpoint(live, wanted):
                trouble = (
                    f"configmap '{place}' is somebody else's: the ages of the tags of {wanted.spec.image} are not kept"
                    " in the cluster; give that ConfigMap another name, or delete it"
                )
                self._written[wanted.key] = _Written(written.seen, written.digest, LARGE + 1, now, trouble)
                return
            theirs = _read_record(live, wanted, name)
            if theirs is not None and sha256(theirs).digest() != written.digest:  # another process wrote it meanwhile
                await self._restore(name, theirs, await self.catalog.list_tags(name) or (), wanted.key)
                seen = await self.catalog.list_seen(name)
                record = await self._encode_record(name, seen)
            await self._write(wanted, name, record, live)
        except ClusterError as error:
            log.warning("no checkpoint", extra={"configmap": str(place), "cause": str(error)})
            self._written[wanted.key] = _Written(written.seen, written.digest, LARGE + 1, now)
            return
        self._written[wanted.key] = _Written(seen, sha256(record).digest(), len(record), now)

    def explain_trouble(self, wanted: ImageRepository) -> str:
        """Say why the object's checkpoint is not written, "" when it is, or need not be."""
        return self._written.get(wanted.key, _Written()).trouble

    def forget(self, wanted: ImageRepository) -> None:
        self._written.pop(wanted.key, None)

    def forget_image(self, name: str) -> None:
        self._recalled.discard(name)

    async def _read(self, wanted: ImageRepository, name: str) -> bytes | None:
        """Return the record of the image `name` that `wanted` keeps; None when there is none that is ours."""
        place = make_checkpoint_key(wanted.key)
        try:
            manifest = await self.cluster.get(ObjectRef(CONFIG_MAP, place))
        except Forbidden as error:
            log.warning("no checkpoint", extra={"configmap": str(place), "cause": str(error)})
            return None
        return _read_record(manifest, wanted, name)

    async def _write(self, wanted: ImageRepository, name: str, record: bytes, live: Manifest | None) -> None:
        """Write a record over the one read as `live`. Raises ClusterError, also when somebody has changed it."""
        manifest = _make_manifest(wanted, name, record)
        if live is None:
            await self.cluster.create(manifest, field_manager=wanted.CONTROLLER)
            return
        metadata = {**manifest["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}
        patch = {"metadata": metadata, "binaryData": manifest["binaryData"]}
        place = ObjectRef(CONFIG_MAP, make_checkpoint_key(wanted.key))
        await self.cluster.patch(place, patch, field_manager=wanted.CONTROLLER)

    async def _restore(self, name: str, record: bytes, tags: tuple[str, ...], key: ObjectKey) -> None:
        try:
            now = self.clock.now()
            seen = await self.compute.run(len(record) + len(tags), lambda: decode(record).select(tags, now))
        except CheckpointInvalid as error:
            log.warning(
                "a checkpoint is left alone", extra={"configmap": str(make_checkpoint_key(key)), "cause": str(error)}
            )
        else:
            await self.catalog.restore(name, seen)

    async def _keeps(self, wanted: ImageRepository, name: str) -> bool:
        return all(wanted.key <= found.key for found in await self._list_listers(wanted, name))

    async def _list_listers(self, wanted: ImageRepository, name: str) -> tuple[ImageRepository, ...]:
        """Return the first ImageRepository of the namespace that lists this image and is well, if there is one."""
        for found in await self.objects.list(ImageRepository, wanted.metadata.namespace):
            if make_catalog_name(found, found.status.canonical_image_name) == name and found.status.is_ready:
                return (found,)
        return ()

    async def _encode_record(self, name: str, seen: tuple[SeenTag, ...]) -> bytes:
        known = self._encoded.get(name)
        if known is None or known[0] is not seen:
            known = seen, await self.compute.run(len(seen) * TAG_WEIGHT, encode, seen)
            self._encoded.put(name, known, min(len(known[1]) + SEEN * len(seen), ENCODED))  # the last one stays
        return known[1]


def make_checkpoint_key(key: ObjectKey) -> ObjectKey:
    """Return the ConfigMap of the ImageRepository `key`; a name that would be too long is shortened."""
    name = f"sealoop-tags-{key.name}"
    if len(name) > 253:
        name = f"{name[:220]}-{sha256(name.encode()).hexdigest()[:32]}"
    return ObjectKey(key.namespace, name)


def _read_record(manifest: Manifest | None, wanted: ImageRepository, name: str) -> bytes | None:
    """Return the record of the image `name` in a ConfigMap that `wanted` keeps; None when none of ours is there."""
    if manifest is None or not (is_checkpoint(manifest, wanted) and is_of_image(manifest, name)):
        return None
    try:
        return b64decode((manifest.get("binaryData") or {}).get(TAGS) or "", validate=True) or None
    except (binascii.Error, ValueError):
        place = make_checkpoint_key(wanted.key)
        log.warning("a checkpoint is left alone", extra={"configmap": str(place), "cause": "it is not base64"})
        return None


def _make_manifest(wanted: ImageRepository, name: str, record: bytes) -> Manifest:
    place = make_checkpoint_key(wanted.key)
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
            "labels": dict(MANAGED_BY),
            "annotations": {IMAGE: get_image(name)},
            "ownerReferences": [owner],
        },
        "binaryData": {TAGS: b64encode(record).decode()},
    }
