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
import codecs
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import msgspec

from gitops_core.decoding import decode_json
from gitops_core.domain.render.manifests import Malformed, read_documents
from gitops_core.meta import Manifest, ObjectRef

Format = Literal["yaml", "json", "dotenv", "ini", "binary"]

DECRYPT = "kustomize.toolkit.fluxcd.io/decrypt"
SEALED, SEALED_IN_BASE64 = b"ENC[AES256_GCM,", b"RU5DW0FFUzI1Nl9HQ00s"
_NO_BREAKS = {ord("\r"): None, ord("\n"): None}
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
_MAC = re.compile(rb"^(?:sops_)?mac[ \t]*=", re.MULTILINE)
_VARIABLE = re.compile(r"[${}]+")
_SIGNS = frozenset(("mac", "lastmodified", "key_groups", *_FORMS))
_VALUE = re.compile(rb"ENC\[AES256_GCM,data:[A-Za-z0-9+/=]*,iv:[A-Za-z0-9+/=]+,tag:[A-Za-z0-9+/=]+,type:\w+\]")
_ENCODED = {"Secret": "data", "ConfigMap": "binaryData"}
"""The field whose values are in base64."""
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
        """Tell whether a key service on the network may be able to open it."""
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
        digest: of all that the block is about, however it is written. The mac stands for the values alone: not for the
            names of fields, nor for where one value ends and the next begins.
    """

    text: bytes
    format: Format | None = None
    block: Block | None = None
    names: tuple[str, ...] = ()
    digest: bytes = b""


def may_be_encrypted(data: bytes) -> bool:
    """Tell whether a closer look is worth it."""
    return NOTHING_TO_FIND in data


def find_block(document: Any) -> Mapping[str, Any] | None:
    """Find the `sops` block of a document; a text or an empty mapping of that name is none.

    Where the document is no object, a mapping of that name may be a setting: values of a chart, say.
    """
    block = document.get("sops") if isinstance(document, dict) else None
    if not isinstance(block, dict) or not block:
        return None
    return block if "kind" in document or not _SIGNS.isdisjoint(block) else None


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
    data = data.removeprefix(codecs.BOM_UTF8)  # SOPS takes it for a part of the first value
    if data.lstrip()[:1] == b"{" and (block := find_block(document := _read_json(data))):
        hint = get_hint(path)
        is_wrapped = document.keys() == {"data", "sops"} and not hint
        format_: Format = "binary" if is_wrapped else "yaml" if hint == "yaml" else "json"
        told = None if is_left_encrypted(document) else format_
        return (Piece(data, told, Block.of(block), _name(document), _digest([document])),)
    if _INI.search(data) and _has_sign(data):
        start = _find(_INI, data)
        return (
            Piece(data, "ini", Block.of(dict(_read_pairs(data[start:], b""))), digest=_digest(data[:start].split())),
        )
    if _DOTENV.search(data) and _has_sign(data):
        lines = [line for line in data.splitlines() if not line.startswith(b"sops_")]
        return (Piece(data, "dotenv", Block.of(dict(_read_pairs(data, b"sops_"))), digest=_digest(lines)),)
    pieces = tuple(_take_documents_apart(data))
    return pieces if any(piece.block for piece in pieces) else ()


def _has_sign(data: bytes) -> bool:
    """Tell whether there is a mac, or a value: a line that names a version of SOPS may be one of a script."""
    return b"ENC[" in data or _MAC.search(data) is not None


def get_hint(path: str) -> Literal["yaml", "json", ""]:
    """Get what the name of a file says about its format."""
    return "json" if path.endswith(".json") else "yaml" if path.endswith((".yaml", ".yml")) else ""


def _take_documents_apart(data: bytes) -> Iterator[Piece]:
    """Yield the documents of YAML, those that SOPS encrypted together as one; where the first of them stands."""
    texts = _split(data)
    found = [_read_document(text) for text in texts]
    blocks = [None if is_left_encrypted(document) else find_block(document) for document in found]
    groups: dict[bytes, list[int]] = {}
    marks = [msgspec.json.encode(block, order="deterministic") if block is not None else b"" for block in blocks]
    for number, mark in enumerate(marks):
        groups.setdefault(mark, []).append(number)
    for number, (text, document, block) in enumerate(zip(texts, found, blocks, strict=True)):
        same = groups[marks[number]]
        if block is None:
            left = find_block(document)
            yield Piece(text, None, Block.of(left) if left else None, _name(document))
        elif number == same[0]:
            names = [name for one in same for name in _name(found[one])]
            together = b"".join(texts[one] for one in same)
            yield Piece(together, "yaml", Block.of(block), tuple(names), _digest([found[one] for one in same]))


def _digest(parts: Sequence[Any]) -> bytes:
    """Digest what a block is about, but for the block itself, which `sops updatekeys` changes."""
    about = [
        {name: value for name, value in part.items() if name != "sops"} if isinstance(part, dict) else part
        for part in parts
    ]
    return hashlib.sha256(repr(about).encode("utf-8", "backslashreplace")).digest()


def _split(data: bytes) -> list[bytes]:
    """Split YAML where a document begins: a line that begins with three dashes is nothing else, wherever it stands.

    >>> _split(b"a: 1\\n---\\nb: 2\\n--- # next\\nc: 3\\n")
    [b'a: 1\\n', b'---\\nb: 2\\n', b'--- # next\\nc: 3\\n']
    """
    starts = [match.start() for match in _DOCUMENT.finditer(data)]
    bounds = [0, *(start for start in starts if start), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


def begins_document(text: bytes) -> bool:
    return _DOCUMENT.match(text) is not None


def _read_document(text: bytes) -> Any:
    try:
        return next((document for _, document in read_documents(text) if document is not None), None)
    except Malformed:
        return None  # the build says what is wrong with it


def _read_json(data: bytes) -> Any:
    try:
        return decode_json(data)
    except (msgspec.MsgspecError, RecursionError):
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
    """Name the objects of a document, or none where it has no name, or that is encrypted too: "Secret/prod/db"."""
    items = document.get("items") if isinstance(document, dict) and _is_list(document) else None
    if isinstance(items, list):
        return tuple(name for item in items if not _is_list(item) for name in _name(item))
    try:
        name = str(ObjectRef.of(document))
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()
    return () if "ENC[" in name else (name,)


def _is_list(document: Any) -> bool:
    return isinstance(document, dict) and str(document.get("kind")).endswith("List")


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
    if manifest.get("kind") not in _ENCODED or manifest.get("apiVersion") != "v1":
        return ()
    if is_left_encrypted(manifest):
        return ()
    encoded = _ENCODED[manifest["kind"]]
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


def set_payloads(manifest: Manifest, opened: Iterable[tuple[Payload, bytes]]) -> Manifest:
    """Return the Secret with values replaced by their plain texts. Raises ValueError: stringData cannot hold one."""
    changed: dict[str, dict[str, Any]] = {}
    for payload, text in opened:
        value = base64.b64encode(text).decode() if payload.field == "data" else text.decode()
        changed.setdefault(payload.field, {**manifest[payload.field]})[payload.key] = value
    return {**manifest, **changed}


def list_encrypted(manifest: Manifest) -> tuple[str, ...]:
    """List what of an object is encrypted, and so cannot be applied."""
    if is_left_encrypted(manifest):
        return ()
    ref = str(ObjectRef.of(manifest))
    if find_block(manifest):
        return (ref,)
    payloads = tuple(f"{one.key} of {ref}" for one in find_payloads(manifest))
    return payloads or ((ref,) if _holds_values(manifest) else ())


def _holds_values(manifest: Manifest) -> bool:
    """Tell whether values that SOPS encrypted stand anywhere in an object, though their block is not there.

    It may have been taken away, spread over keys by a generator, or it stood on a List.
    """
    if _find_value(msgspec.json.encode(manifest)):
        return True
    if manifest["kind"] not in _ENCODED or manifest.get("apiVersion") != "v1":
        return False
    encoded = manifest.get(_ENCODED[manifest["kind"]])
    if isinstance(encoded, dict) and any(_find_value(_decode(value)) for value in encoded.values()):
        return True
    lines = {"sops_mac", "sops_version", "sops_lastmodified"} if manifest["kind"] == "Secret" else {"sops_mac"}
    fields = (manifest.get(field) for field in ("data", "stringData"))
    return any(isinstance(values, dict) and not lines.isdisjoint(values) for values in fields)


def _find_value(data: bytes) -> bool:
    return SEALED in data and _VALUE.search(data) is not None


def is_sealed(field: str, value: Any) -> bool:
    """Tell whether a value of a Secret is what SOPS made of one, and no more; `data` may hold it in base64."""
    texts = (str(value).encode("utf-8", "replace"), _decode(value) if field == "data" else b"")
    return any(_VALUE.fullmatch(text.strip()) for text in texts)


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


def list_forms(value: str) -> Iterator[str]:
    """Yield a value, what it stands for in `data` of a Secret, and what is left of it when variables are replaced."""
    yield value
    yield _decode(value).decode("utf-8", "replace")
    if "$" in value:
        yield from _VARIABLE.split(value)
