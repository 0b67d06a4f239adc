"""A repository's tags and their times as one small record, for where a lost disk does not reach.

    zlib( {"version": 1, "groups": [[first seen, [tag, ...]], ...],      tags of one time together
           "digests": [[tag, digest, digest seen or null], ...],
           "old": [first seen, width, hashes] or null} )                  base64 of `width` bytes a tag

What does not fit is told shorter, the oldest tags first: as hashes with one time, which is the oldest of theirs. So a
tag may be found again as older than it is, or (by an equal hash) taken for an old one, but no age is ever reset. What
is lost of those is their digests. Where even three bytes for each are too much (about 300,000 tags), the newest of
them go.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

import msgspec

from gitops_core.decoding import decode_json
from image_updater.domain.tags.history import SeenTag

LIMIT = 900 * 1024
LONGEST = 64 << 20
"""Bytes of a record that was unpacked."""
WIDTHS = (8, 6, 5, 4, 3)
SPREAD = 1.1
"""What base64 and compression together make of random bytes, and some room."""
VERSION = 1


class CheckpointInvalid(ValueError):
    """Not a record that was written here; the message quotes nothing of it."""


class _Record(msgspec.Struct, array_like=True, frozen=True):
    version: int
    groups: list[tuple[float, list[str]]]
    digests: list[tuple[str, str, float | None]]
    old: tuple[float, int, str] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What a record says: of tags by name, and of old ones by their hashes."""

    seen: Mapping[str, SeenTag] = field(default_factory=dict)
    hashes: frozenset[bytes] = frozenset()
    width: int = WIDTHS[0]
    old_since: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def select(self, tags: Iterable[str], now: datetime) -> tuple[SeenTag, ...]:
        """Return what is known of `tags`, and of other tags that are known by name; nothing that lies in the future."""
        found = dict(self.seen)
        if self.hashes:
            for tag in tags:
                if tag not in found and _hash(tag, self.width) in self.hashes:
                    found[tag] = SeenTag(tag, self.old_since)
        return tuple(tag for tag in found.values() if tag.first_seen <= now and tag.since <= now)


def encode(seen: Sequence[SeenTag], limit: int = LIMIT) -> bytes:
    """Encode tags as a record of at most `limit` bytes: the same bytes for the same tags in the same order."""
    whole = _pack(seen, None)
    if len(whole) <= limit:
        return whole
    by_age = sorted(seen, key=lambda found: (found.since, found.tag))
    for count in (len(by_age) // 2, len(by_age) * 3 // 4, len(by_age)):
        room = limit - 200 - len(_pack(by_age[count:], None))
        width = next((width for width in WIDTHS if count * width * SPREAD <= room), None)
        if width is not None:
            return _encode_shortened(by_age, count, width)
    return _encode_shortened(by_age[: max(1, int((limit - 200) / SPREAD / WIDTHS[-1]))], len(by_age), WIDTHS[-1])


def decode(data: bytes) -> Checkpoint:
    """Decode a record. Raises CheckpointInvalid."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, LONGEST)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise CheckpointInvalid("it is cut off or too long")
        record = decode_json(text, _Record)
        if record.version != VERSION:
            raise CheckpointInvalid(f"it is of version {record.version}")
        return _build_checkpoint(record)
    except (zlib.error, msgspec.MsgspecError, ValueError, OverflowError, OSError, RecursionError) as error:
        if isinstance(error, CheckpointInvalid):
            raise
        raise CheckpointInvalid(f"it cannot be read ({type(error).__name__})") from None


def _build_checkpoint(record: _Record) -> Checkpoint:
    """Build the checkpoint of a record. Raises ValueError, OverflowError, OSError: a time or a hash is not one."""
    seen: dict[str, SeenTag] = {}
    for moment, tags in record.groups:
        first = datetime.fromtimestamp(moment, UTC)
        seen.update((tag, SeenTag(tag, first)) for tag in tags)
    for tag, digest, digest_seen in record.digests:
        at = None if digest_seen is None else datetime.fromtimestamp(digest_seen, UTC)
        seen[tag] = seen[tag]._replace(digest=digest, digest_seen=at) if tag in seen else _refuse_unknown(tag)
    if record.old is None:
        return Checkpoint(seen)
    moment, width, hashes = record.old
    if width not in WIDTHS:
        raise CheckpointInvalid("its hashes have no width")
    raw = b64decode(hashes, validate=True)
    split = frozenset(raw[start : start + width] for start in range(0, len(raw), width))
    return Checkpoint(seen, split, width, datetime.fromtimestamp(moment, UTC))


def _refuse_unknown(tag: str) -> SeenTag:
    raise CheckpointInvalid("a digest is of no tag")


def _encode_shortened(by_age: Sequence[SeenTag], count: int, width: int) -> bytes:
    """Encode a record that keeps its `count` first tags as hashes."""
    old = by_age[:count]
    hashes = b"".join(sorted({_hash(found.tag, width) for found in old}))
    since = min(found.first_seen for found in old).timestamp()
    return _pack(by_age[count:], (since, width, b64encode(hashes).decode()))


def _pack(seen: Iterable[SeenTag], old: tuple[float, int, str] | None) -> bytes:
    groups: dict[float, list[str]] = {}
    digests: list[tuple[str, str, float | None]] = []
    for tag, first, digest, at in seen:
        groups.setdefault(first.timestamp(), []).append(tag)
        if digest:
            digests.append((tag, digest, None if at is None else at.timestamp()))
    record = _Record(VERSION, sorted(groups.items()), digests, old)
    return zlib.compress(msgspec.json.encode(record), 6)


def _hash(tag: str, width: int) -> bytes:
    return blake2b(tag.encode("utf-8", "surrogatepass"), digest_size=width).digest()
