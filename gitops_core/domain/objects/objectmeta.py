"""What is wrong with an object's metadata, as the API server says it.

Source: k8s.io/apimachinery, packages api/validation and util/validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gitops_core.errors import FieldFault
from gitops_core.meta import Manifest

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")

_LABEL = re.compile(r"(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_RULE = "a lowercase RFC 1123 label of at most 63 characters is expected"

_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    " '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NAME_PART_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
    " character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    " '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def find_metadata_faults(manifest: Manifest, live: Manifest | None) -> Iterator[FieldFault]:
    """
    Args:
        live: the stored object, or None for a creation.
    """
    metadata = manifest["metadata"]
    if live is None:
        is_rbac = manifest.get("apiVersion", "").startswith("rbac.authorization.k8s.io/")
        yield from (_find_path_segment_faults if is_rbac else _name_faults)(metadata.get("name", ""))
    yield from _map_faults(metadata, "metadata")
    if live is not None and live["metadata"].get("deletionTimestamp"):
        old = set(live["metadata"].get("finalizers") or ())
        new = [name for name in metadata.get("finalizers") or () if name not in old]
        if new:
            text = f"no new finalizers can be added if the object is being deleted, found new finalizers {_list(new)}"
            yield FieldFault("metadata.finalizers", "FieldValueForbidden", f"Forbidden: {text}")


def find_embedded_metadata_faults(metadata: Mapping[str, Any], path: str) -> Iterator[FieldFault]:
    """Yield faults of an object inside of another one, which needs no name, and may have any that is one part of a
    path.
    """
    if metadata.get("name"):
        yield from _find_path_segment_faults(metadata["name"], path)
    if metadata.get("namespace") and not _LABEL.fullmatch(metadata["namespace"]):
        yield _make_invalid(f"{path}.namespace", metadata["namespace"], _LABEL_RULE)
    yield from _map_faults(metadata, path)


def _map_faults(metadata: Mapping[str, Any], path: str) -> Iterator[FieldFault]:
    yield from _find_label_faults(metadata.get("labels") or {}, f"{path}.labels")
    for key in metadata.get("annotations") or {}:
        yield from _find_qualified_name_faults(f"{path}.annotations", key.lower(), key)


def _list(names: list[str]) -> str:
    return "[]string{" + ", ".join(f'"{name}"' for name in names) + "}"


def _name_faults(name: str) -> Iterator[FieldFault]:
    if not name:
        text = "Required value: name or generateName is required"
        yield FieldFault("metadata.name", "FieldValueRequired", text)
    elif len(name) > 253:
        yield _make_invalid("metadata.name", name, "must be no more than 253 characters")
    elif not _SUBDOMAIN.fullmatch(name):
        yield _make_invalid("metadata.name", name, _SUBDOMAIN_RULE)


def _find_path_segment_faults(name: str, path: str = "metadata") -> Iterator[FieldFault]:
    """Yield faults of RBAC's names, which may be anything that is one part of a URL's path: `system:node`."""
    if not name:
        yield from _name_faults(name)
    elif name in (".", ".."):
        yield _make_invalid(f"{path}.name", name, f"may not be '{name}'")
    else:
        yield from (_make_invalid(f"{path}.name", name, f"may not contain '{part}'") for part in "/%" if part in name)


def _find_label_faults(labels: Mapping[str, Any], path: str) -> Iterator[FieldFault]:
    for key, value in labels.items():
        yield from _find_qualified_name_faults(path, key, key)
        if len(value) > 63:
            yield _make_invalid(path, value, "must be no more than 63 characters")
        elif not _LABEL_VALUE.fullmatch(value):
            yield _make_invalid(path, value, _VALUE_RULE)


def _find_qualified_name_faults(field: str, key: str, shown: str) -> Iterator[FieldFault]:
    prefix, slash, name = key.rpartition("/")
    if slash and not _SUBDOMAIN.fullmatch(prefix):
        yield _make_invalid(field, shown, f"prefix part {_SUBDOMAIN_RULE}")
    if not name:
        yield _make_invalid(field, shown, "name part must be non-empty")
    elif len(name) > 63:
        yield _make_invalid(field, shown, "name part must be no more than 63 characters")
    elif not _NAME_PART.fullmatch(name):
        yield _make_invalid(field, shown, _NAME_PART_RULE)


def _make_invalid(field: str, value: str, rule: str) -> FieldFault:
    return FieldFault(field, "FieldValueInvalid", f'Invalid value: "{value}": {rule}')
