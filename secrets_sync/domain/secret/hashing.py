"""The names and hashes by which External Secrets knows its own work again.

    data-hash              SHA3-224 of Go's %+v of map[string][]byte:  map[x:[118 50]]
    created-by             SHA3-224 of namespace/name
    syncedResourceVersion  generation, and SHA3-224 of  {annotations:map[a:b] labels:map[]}

The data hash is written to the Secret alone: whoever can read it can read the data.
Source: External Secrets, runtime/esutils and pkg/controllers/util.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from gitops_core.meta import ObjectKey, ObjectMeta, Sensitive

REQUESTS = ("force-sync", "external-secrets.io/force-sync")
"""Annotations whose new value asks for a refresh."""

PREFIX = "externalsecrets.external-secrets.io/"


def hash_data(data: Mapping[str, Sensitive]) -> str:
    """Hash a Secret's data; the order of keys plays no part."""
    digest = hashlib.sha3_224(b"map[")
    for number, key in enumerate(sorted(data, key=str.encode)):
        digest.update(b" " * bool(number) + key.encode() + b":[")
        _add_numbers(digest, data[key].reveal())
        digest.update(b"]")
    digest.update(b"]")
    return digest.hexdigest()


def hash_owner(key: ObjectKey) -> str:
    """Hash the name of an ExternalSecret, as the label says which one made a Secret."""
    return _hash(str(key))


def write_synced_version(metadata: ObjectMeta) -> str:
    """Write what an ExternalSecret's refresh depends on: its generation, labels and annotations."""
    text = f"{{annotations:{_print_map(metadata.annotations)} labels:{_print_map(metadata.labels)}}}"
    return f"{metadata.generation}-{_hash(text)}"


def hash_request(metadata: ObjectMeta) -> str:
    """Hash what is asked for by annotation; "" where nobody asks."""
    asked = {key: value for key in REQUESTS if (value := metadata.annotations.get(key))}
    return _hash(_print_map(asked)) if asked else ""


def name_field_manager(name: str) -> str:
    """Name the field manager under which the Secret of ExternalSecret `name` is written."""
    plain = f"{PREFIX}{name}"
    return plain if len(plain) <= 63 else f"{PREFIX}sha3/{_hash(name)}"


def _add_numbers(digest: hashlib._Hash, value: bytes) -> None:
    """Feed the bytes of `value` as numbers with blanks between them, as JSON without its commas: C writes it."""
    for start in range(0, len(value), _PIECE):
        numbers = msgspec.json.encode(list(value[start : start + _PIECE]))[1:-1].translate(_BLANKS)
        digest.update(b" " * bool(start) + numbers)


_PIECE = 1 << 16
_BLANKS = bytes.maketrans(b",", b" ")


def _print_map(texts: Mapping[str, str]) -> str:
    return f"map[{' '.join(f'{key}:{texts[key]}' for key in sorted(texts, key=str.encode))}]"


def _hash(text: str) -> str:
    return hashlib.sha3_224(text.encode()).hexdigest()
