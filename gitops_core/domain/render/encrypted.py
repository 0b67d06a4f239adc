"""Which files and objects SOPS encrypted, and what can be said of them without a key.

    apiVersion: v1
    kind: Secret
    metadata: {name: creds}             what is not encrypted is protected by the mac, and readable
    stringData:
      password: ENC[AES256_GCM,...]
    sops:                               the block: for whom, when, and the mac over the values of the whole file
      age: [{recipient: age1..., enc: ...}]
      lastmodified: "2026-11-29T20:39:08Z"
      mac: ENC[AES256_GCM,...]

A file of several YAML documents is either one that SOPS encrypted as a whole, where all documents have one block, or
some put one after the other, each with a block of its own or with none. So it is taken apart, and what has one block is
decrypted together. Decrypting is the sops program's (adapters/sops); what is said here only finds work for it, and
refuses what is left.

Source: getsops/sops, stores; Flux, kustomize-controller, internal/decryptor.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from gitops_core.domain.render.manifests import Malformed, read_documents
from gitops_core.meta import Manifest, ObjectRef

Format = Literal["yaml", "json", "dotenv", "ini", "binary"]

DECRYPT = "kustomize.toolkit.fluxcd.io/decrypt"
_NO_BREAKS = {ord("\r"): None, ord("\n"): None}
SEALED, SEALED_IN_BASE64 = "ENC[AES256_GCM,", "RU5DW0FFUzI1Nl9HQ00s"
MAX_ENCRYPTED = 5 * 1024 * 1024
"""Of one file, as in Flux."""
NOTHING_TO_FIND = b"sops"

_DOCUMENT = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_INI = re.compile(rb"^\[sops\][ \t\r]*$", re.MULTILINE)
_DOTENV = re.compile(rb"^sops_(?:mac|version|lastmodified)=", re.MULTILINE)
_FORMS = {
    "age": "{recipient}",
    "pgp": "{fp}",
    "kms": "{arn}",
    "gcp_kms": "{resource_id}",
    "hc_vault": "{vault_address}/v1/{engine_path}/keys/{key_name}",
    "azure_kv": "{vault_url}/keys/{name}/{version}",
    "hckms": "{key_id}",
}
REMOTE = frozenset(("kms", "gcp_kms", "azure_kv", "hc_vault", "hckms"))


class Recipient(NamedTuple):
    """Who can open a file: the kind of key and its name, both as SOPS names them; that is no secret."""

    kind: str
    name: str


@dataclass(frozen=True)
class Block:
    """What the `sops` block says.

    Attributes:
        modified: `lastmodified`, as written; RFC 3339 in UTC, so that texts compare as times do.
        mac: as written, "" for none.
        covers_all: the mac covers what is not encrypted too.
    """

    recipients: tuple[Recipient, ...]
    modified: str
    mac: str
    covers_all: bool

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> Block:
        groups = [block, *(group for group in _as_list(block.get("key_groups")) if isinstance(group, dict))]
        recipients = [
            Recipient(kind, name)
            for group in groups
            for kind in _FORMS
            for entry in _as_list(group.get(kind))
            if isinstance(entry, dict) and (name := name_key(kind, entry))
        ]
        modified, mac = block.get("lastmodified"), block.get("mac")
        return cls(
            tuple(dict.fromkeys(recipients)),
            modified if isinstance(modified, str) else "",
            mac if isinstance(mac, str) else "",
            block.get("mac_only_encrypted") is not True,
        )

    @property
    def is_remote(self) -> bool:
        """Whether a key service on the network may be able to open it."""
        return any(recipient.kind in REMOTE for recipient in self.recipients)


def name_key(kind: str, entry: Mapping[str, Any]) -> str:
    """Name a key of a block as SOPS does; "" where its first part is missing.

    >>> name_key("kms", {"arn": "arn:aws:kms:k", "role": "arn:aws:iam:r", "context": {"b": "2", "a": "1"}})
    'arn:aws:kms:k+arn:aws:iam:r|a:1,b:2'

    Source: ToString of each kind of getsops/sops's master keys.
    """
    name = _FIELD.sub(lambda field: str(entry.get(field[1]) or ""), _FORMS[kind])
    if not name or name.startswith("/"):
        return ""
    if kind == "kms":
        context, profile = entry.get("context"), entry.get("aws_profile") or ""
        pairs = (
            ",".join(f"{key}:{value}" for key, value in sorted(context.items())) if isinstance(context, dict) else ""
        )
        name += f"+{entry['role']}" if entry.get("role") else ""
        name += f"|{pairs}|{profile}" if profile else f"|{pairs}" if pairs else ""
    return name


_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Piece:
    """A part of a file: what is decrypted together, or stays as it is (no format).

    Attributes:
        names: of the objects in it, where it is YAML and these are not encrypted.
    """

    text: bytes
    format: Format | None = None
    block: Block | None = None
    names: tuple[str, ...] = ()


def may_be_encrypted(data: bytes) -> bool:
    """Tell whether a closer look is worth it."""
    return NOTHING_TO_FIND in data


def find_block(document: Any) -> Mapping[str, Any] | None:
    """Find the `sops` block of a document; a text or an empty mapping of that name is none."""
    block = document.get("sops") if isinstance(document, dict) else None
    return block if isinstance(block, dict) and block else None


def is_left_encrypted(manifest: Any) -> bool:
    """Tell whether somebody wants an object as it is, by the annotation `kustomize.toolkit.fluxcd.io/decrypt`."""
    metadata = manifest.get("metadata") if isinstance(manifest, dict) else None
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return isinstance(annotations, dict) and str(annotations.get(DECRYPT, "")).lower() == "disabled"


def take_apart(data: bytes, path: str = "") -> tuple[Piece, ...]:
    """Take a file apart into what is decrypted together and what stays; () where nothing of it is encrypted.

    Args:
        path: whose extension tells JSON that was encrypted as such from a file that SOPS wrapped into it.
    """
    if not may_be_encrypted(data):
        return ()
    if data.lstrip()[:1] == b"{" and (block := find_block(document := _read_json(data))):
        is_wrapped = document.keys() == {"data", "sops"} and not path.endswith((".json", ".yaml", ".yml"))
        format_: Format = "binary" if is_wrapped else "yaml" if path.endswith((".yaml", ".yml")) else "json"
        return (Piece(data, None if is_left_encrypted(document) else format_, Block.of(block), _name(document)),)
    if _INI.search(data):
        return (Piece(data, "ini", Block.of(dict(_read_pairs(data[_find(_INI, data) :], b"")))),)
    if _DOTENV.search(data):
        return (Piece(data, "dotenv", Block.of(dict(_read_pairs(data, b"sops_")))),)
    pieces = tuple(_take_documents_apart(data))
    return pieces if any(piece.block for piece in pieces) else ()


def _take_documents_apart(data: bytes) -> Iterator[Piece]:
    """Yield the documents of YAML, those that SOPS encrypted together as one; where the first of them stands."""
    texts = _split(data)
    found = [_read_document(text) for text in texts]
    blocks = [None if is_left_encrypted(document) else find_block(document) for document in found]
    told: list[Mapping[str, Any]] = []
    for text, document, block in zip(texts, found, blocks, strict=True):
        if block is None:
            left = find_block(document)
            yield Piece(text, None, Block.of(left) if left else None, _name(document))
        elif block not in told:
            told.append(block)
            same = [number for number, other in enumerate(blocks) if other == block]
            names = [name for number in same for name in _name(found[number])]
            yield Piece(b"".join(texts[number] for number in same), "yaml", Block.of(block), tuple(names))


def _split(data: bytes) -> list[bytes]:
    """Split YAML where a document begins: a line that begins with three dashes is nothing else, wherever it stands.

    >>> _split(b"a: 1\\n---\\nb: 2\\n--- # next\\nc: 3\\n")
    [b'a: 1\\n', b'---\\nb: 2\\n', b'--- # next\\nc: 3\\n']
    """
    starts = [match.start() for match in _DOCUMENT.finditer(data)]
    bounds = [0, *(start for start in starts if start), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


def _read_document(text: bytes) -> Any:
    try:
        return next((document for _, document in read_documents(text) if document is not None), None)
    except Malformed:
        return None  # the build says what is wrong with it


def _read_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _read_pairs(data: bytes, prefix: bytes) -> Iterator[tuple[str, Any]]:
    """Yield what a block says that is written flat: `age__list_0__map_recipient = age1...`."""
    recipients: dict[str, dict[str, dict[str, str]]] = {}
    for line in data.splitlines():
        name, equals, value = line.partition(b"=")
        if not equals or not name.startswith(prefix):
            continue
        key, text = (
            name.removeprefix(prefix).strip().decode("utf-8", "replace"),
            value.strip().decode("utf-8", "replace"),
        )
        kind, inside, rest = key.partition("__list_")
        if inside:
            number, _, field = rest.partition("__map_")
            recipients.setdefault(kind, {}).setdefault(number, {})[field] = text
        else:
            yield key, text == "true" if key == "mac_only_encrypted" else text
    yield from ((kind, list(entries.values())) for kind, entries in recipients.items())


def _find(pattern: re.Pattern[bytes], data: bytes) -> int:
    return match.start() if (match := pattern.search(data)) else 0


def _name(document: Any) -> tuple[str, ...]:
    """Name the object of a document, or none where it has no name, or that is encrypted too: "Secret/prod/db"."""
    try:
        name = str(ObjectRef.of(document))
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()
    return () if "ENC[" in name else (name,)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class Payload(NamedTuple):
    """A value of an object that is itself a file which SOPS encrypted.

    Attributes:
        field: where it stands; `data` of a Secret is in base64.
        text: the file.
    """

    field: str
    key: str
    text: bytes


def find_payloads(manifest: Manifest) -> tuple[Payload, ...]:
    """Find the values of a Secret or ConfigMap that are files which SOPS encrypted."""
    if manifest.get("kind") not in ("Secret", "ConfigMap") or manifest.get("apiVersion") != "v1":
        return ()
    if is_left_encrypted(manifest):
        return ()
    encoded = "data" if manifest["kind"] == "Secret" else "binaryData"
    found: list[Payload] = []
    for field in ("data", "binaryData", "stringData"):
        values = manifest.get(field)
        for key, value in values.items() if isinstance(values, dict) else ():
            data = _decode(value) if field == encoded else str(value).encode("utf-8", "replace")
            if any(piece.block for piece in take_apart(data, key)):
                found.append(Payload(field, key, data))
    return tuple(found)


def _decode(value: Any) -> bytes:
    """Decode base64, which may be broken into lines, as the API server does."""
    try:
        return base64.b64decode(str(value).translate(_NO_BREAKS), validate=True)
    except (binascii.Error, ValueError):
        return b""


def set_payload(manifest: Manifest, payload: Payload, text: bytes) -> Manifest:
    """Return the Secret with a value replaced by its plain text. Raises ValueError: stringData cannot hold it."""
    value = base64.b64encode(text).decode() if payload.field == "data" else text.decode()
    return {**manifest, payload.field: {**manifest[payload.field], payload.key: value}}


def list_encrypted(manifest: Manifest) -> tuple[str, ...]:
    """List what of an object is encrypted, and so cannot be applied."""
    if is_left_encrypted(manifest):
        return ()
    ref = str(ObjectRef.of(manifest))
    if find_block(manifest) or _holds_block(manifest):
        return (ref,)
    return tuple(f"{one.key} of {ref}" for one in find_payloads(manifest))


def _holds_block(manifest: Manifest) -> bool:
    """Tell whether a generator made keys of the lines of an encrypted file, or a block was taken away."""
    if manifest.get("kind") not in ("Secret", "ConfigMap") or manifest.get("apiVersion") != "v1":
        return False
    for field in ("data", "stringData"):
        values = manifest.get(field)
        if not isinstance(values, dict):
            continue
        if not values.keys().isdisjoint(("sops_mac", "sops_version", "sops_lastmodified")):
            return True
        if manifest["kind"] == "Secret" and any(is_sealed(field, value) for value in values.values()):
            return True
    return False


def is_sealed(field: str, value: Any) -> bool:
    """Tell whether SOPS encrypted a value of a Secret; in `data` it may have been put into base64 since."""
    text = str(value).lstrip()
    return text.startswith(SEALED) or (field == "data" and text.startswith(SEALED_IN_BASE64))


def list_values(before: bytes, after: bytes, format_: Format) -> tuple[str, ...]:
    """List the values that are plain in `after` and were not in `before`: what no message may quote."""
    if format_ in ("dotenv", "ini"):
        known = set(before.decode("utf-8", "replace").splitlines())
        lines = [line for line in after.decode("utf-8", "replace").splitlines() if line not in known]
        return tuple(value for line in lines for value in (line, line.partition("=")[2].strip()))
    if format_ == "binary":
        return (after.decode("utf-8", "replace"),)
    try:
        sealed, opened = ([document for _, document in read_documents(text)] for text in (before, after))
    except Malformed:
        return tuple(after.decode("utf-8", "replace").split())
    return tuple(_list_changed(sealed, opened))


def _list_changed(before: Any, after: Any) -> Iterator[str]:
    if isinstance(after, dict):
        for key, value in after.items():
            yield from _list_changed(before.get(key) if isinstance(before, dict) else None, value)
    elif isinstance(after, list):
        old: Sequence[Any] = before if isinstance(before, list) else []
        for number, value in enumerate(after):
            yield from _list_changed(old[number] if number < len(old) else None, value)
    elif after != before and after is not None and not isinstance(after, bool):
        yield str(after)
