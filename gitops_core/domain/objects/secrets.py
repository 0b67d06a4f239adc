"""Secrets and ConfigMaps as the API server reads, stores and refuses them.

What is written as text in stringData becomes base64 in data. Bytes are base64 of the standard alphabet, with padding;
line breaks in it count for nothing.

Source: k8s.io/kubernetes, pkg/apis/core/v1 (conversion) and pkg/apis/core/validation.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gitops_core.domain.objects.decoding import Undecodable
from gitops_core.errors import FieldFault
from gitops_core.meta import Manifest

MOST_BYTES = 1024 * 1024

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',"
    "  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_BASIC_AUTH = ("username", "password")
_ACCOUNT = "kubernetes.io/service-account.name"


def encode_strings(secret: Manifest) -> dict[str, Any]:
    """
    >>> encode_strings({"kind": "Secret", "stringData": {"user": "admin"}})
    {'kind': 'Secret', 'data': {'user': 'YWRtaW4='}}
    """
    strings = secret.get("stringData")
    rest = {name: value for name, value in secret.items() if name != "stringData"}
    if not strings:
        return rest
    encoded = {name: base64.b64encode(str(value).encode()).decode() for name, value in strings.items()}
    return {**rest, "data": {**(secret.get("data") or {}), **encoded}}


def read_bytes(manifest: Manifest, field: str) -> dict[str, Any]:
    """Return `manifest` with the base64 of a field as the API server writes it again. Raises Undecodable."""
    if not isinstance(manifest.get(field), Mapping):
        return dict(manifest)
    return {**manifest, field: {key: _read(f"{field}.{key}", value) for key, value in manifest[field].items()}}


def _read(path: str, text: Any) -> Any:
    if isinstance(text, list) and all(byte is None or (isinstance(byte, int) and 0 <= byte < 256) for byte in text):
        return base64.b64encode(bytes(byte or 0 for byte in text)).decode()  # Go reads bytes from numbers too
    if not isinstance(text, str):
        return text
    try:
        return base64.b64encode(base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True)).decode()
    except ValueError:
        raise Undecodable(f"{path}: illegal base64 data") from None


# what is refused


def find_secret_faults(secret: Manifest, live: Manifest | None) -> Iterator[FieldFault]:
    """Yield faults of a Secret. No message holds a value."""
    data = secret.get("data") or {}
    if live is not None and secret["type"] != live["type"]:
        yield FieldFault("type", "FieldValueInvalid", f'Invalid value: "{secret["type"]}": field is immutable')
    yield from _find_frozen_faults(secret, live, ("data",))
    yield from _find_key_faults("data", data)
    if sum(map(_count_bytes, data.values())) > MOST_BYTES:
        yield FieldFault("data", "FieldValueTooLong", f"Too long: may not be more than {MOST_BYTES} bytes")
    # the type asks for keys
    type_ = secret["type"]
    missing = [key for key in _NEEDED.get(type_, ()) if key not in data]
    if type_ == "kubernetes.io/ssh-auth" and not data.get("ssh-privatekey"):
        missing = ["ssh-privatekey"]
    if type_ == "kubernetes.io/basic-auth" and not any(key in data for key in _BASIC_AUTH):
        missing = [*_BASIC_AUTH]
    yield from (FieldFault(f"data[{key}]", "FieldValueRequired", "Required value") for key in missing)
    if type_ in ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson") and not missing:
        yield from _find_json_faults(_NEEDED[type_][0], data)
    # a token names its account
    account = (secret["metadata"].get("annotations") or {}).get(_ACCOUNT)
    if type_ == "kubernetes.io/service-account-token" and not account:
        yield FieldFault(f"metadata.annotations[{_ACCOUNT}]", "FieldValueRequired", "Required value")


def find_config_map_faults(config_map: Manifest, live: Manifest | None) -> Iterator[FieldFault]:
    data, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    yield from _find_frozen_faults(config_map, live, ("data", "binaryData"))
    yield from _find_key_faults("data", data)
    for key in data.keys() & binary.keys():
        text = f'Invalid value: "{key}": duplicate of key present in binaryData'
        yield FieldFault(f"data[{key}]", "FieldValueInvalid", text)
    yield from _find_key_faults("binaryData", binary)
    if sum(len(text.encode()) for text in data.values()) + sum(map(_count_bytes, binary.values())) > MOST_BYTES:
        yield FieldFault("[]", "FieldValueTooLong", f"Too long: may not be more than {MOST_BYTES} bytes")


def _find_frozen_faults(manifest: Manifest, live: Manifest | None, fields: tuple[str, ...]) -> Iterator[FieldFault]:
    if live is None or not live.get("immutable"):
        return
    changed = [field for field in fields if (manifest.get(field) or {}) != (live.get(field) or {})]
    for field in (*(() if manifest.get("immutable") else ("immutable",)), *changed):
        text = "Forbidden: field is immutable when `immutable` is set"
        yield FieldFault(field, "FieldValueForbidden", text)


def _find_key_faults(field: str, data: Mapping[str, Any]) -> Iterator[FieldFault]:
    for key in data:
        if len(key) > 253:
            yield _make_bad_key(field, key, "must be no more than 253 characters")
        if not _KEY.fullmatch(key):
            yield _make_bad_key(field, key, _KEY_RULE)
        elif key in (".", "..") or key.startswith(".."):
            what = f"must not be '{key}'" if key in (".", "..") else "must not start with '..'"
            yield _make_bad_key(field, key, what)


def _make_bad_key(field: str, key: str, rule: str) -> FieldFault:
    return FieldFault(f"{field}[{key}]", "FieldValueInvalid", f'Invalid value: "{key}": {rule}')


def _find_json_faults(key: str, data: Mapping[str, str]) -> Iterator[FieldFault]:
    try:
        fits = isinstance(json.loads(base64.b64decode(data[key])), dict | None)
    except ValueError:
        fits = False
    if not fits:
        text = 'Invalid value: "<secret contents redacted>": not a JSON object'
        yield FieldFault(f"data[{key}]", "FieldValueInvalid", text)


def _count_bytes(text: str) -> int:
    """Return how many bytes a base64 text stands for."""
    return len(text) // 4 * 3 - text.count("=", -2)
