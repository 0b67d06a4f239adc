"""What is wrong with an object's metadata, as the API server says it.

Source: k8s.io/apimachinery, packages api/validation and util/validation.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from gitops_core.errors import FieldFault
from gitops_core.meta import Manifest

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
"""The finalizers by which an object says what becomes of its dependents."""

MOST_ANNOTATIONS = 256 * 1024
"""Bytes of all keys and values."""

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")

_LABEL = re.compile(r"(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LENIENT_GROUPS = frozenset({"admissionregistration", "apiextensions", "apiregistration", "coordination"})

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
        is_namespace = (manifest.get("apiVersion"), manifest.get("kind")) == ("v1", "Namespace")
        find_other_faults = _find_label_name_faults if is_namespace else _find_name_faults
        find_faults = _find_segment_name_faults if is_rbac else find_other_faults
        yield from find_faults(metadata.get("name", ""), "metadata.name")
        if begin := metadata.get("generateName"):
            masked = f"{begin[:-2]}a" if len(begin) > 1 and begin.endswith("-") else begin  # as if it went on
            yield from find_faults(masked, "metadata.generateName")
        yield from _find_finalizer_faults(metadata.get("finalizers") or ())
    yield from _find_map_faults(metadata, "metadata")
    yield from _find_owner_faults(metadata.get("ownerReferences") or ())
    if live is not None and live["metadata"].get("deletionTimestamp"):
        old = set(live["metadata"].get("finalizers") or ())
        new = [name for name in metadata.get("finalizers") or () if name not in old]
        if new:
            found = _write_list(new)
            text = f"no new finalizers can be added if the object is being deleted, found new finalizers {found}"
            yield FieldFault("metadata.finalizers", "FieldValueForbidden", f"Forbidden: {text}")


def find_embedded_metadata_faults(metadata: Mapping[str, Any], path: str) -> Iterator[FieldFault]:
    """Find faults of an object inside of another one, which needs no name, and may have any that is one part of a
    path.
    """
    if metadata.get("name"):
        yield from _find_segment_name_faults(metadata["name"], f"{path}.name")
    if metadata.get("namespace") and not _LABEL.fullmatch(metadata["namespace"]):
        yield _make_invalid(f"{path}.namespace", metadata["namespace"], _LABEL_RULE)
    yield from _find_map_faults(metadata, path)


def _find_map_faults(metadata: Mapping[str, Any], path: str) -> Iterator[FieldFault]:
    yield from _find_label_faults(metadata.get("labels") or {}, f"{path}.labels")
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        yield from _find_qualified_name_faults(f"{path}.annotations", key.lower(), key)
    if sum(len(key.encode()) + len((value or "").encode()) for key, value in annotations.items()) > MOST_ANNOTATIONS:
        text = f"Too long: may not be more than {MOST_ANNOTATIONS} bytes"
        yield FieldFault(f"{path}.annotations", "FieldValueTooLong", text)


def _find_finalizer_faults(finalizers: Collection[str]) -> Iterator[FieldFault]:
    for name in finalizers:
        yield from _find_qualified_name_faults("metadata.finalizers", name, name)
    if ORPHAN in finalizers and FOREGROUND in finalizers:
        text = f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"
        yield _make_invalid("metadata.finalizers", ", ".join(finalizers), text)


def find_built_in_finalizer_faults(manifest: Manifest, live: Manifest | None) -> Iterator[FieldFault]:
    """Find the faults that built-in kinds find beyond that; some groups do not."""
    if live is not None:
        yield from _find_finalizer_faults(manifest["metadata"].get("finalizers") or ())
    if manifest["apiVersion"].partition(".")[0] in _LENIENT_GROUPS:
        return
    for index, name in enumerate(manifest["metadata"].get("finalizers") or ()):
        if "/" not in name and name not in ("kubernetes", ORPHAN, FOREGROUND):
            rule = "name is neither a standard finalizer name nor is it fully qualified"
            yield _make_invalid(f"metadata.finalizers[{index}]", name, rule)


def _find_owner_faults(references: Iterable[Mapping[str, Any]]) -> Iterator[FieldFault]:
    path, controllers = "metadata.ownerReferences", 0
    for reference in references:
        version = reference.get("apiVersion") or ""
        if version.count("/") > 1 or not version.rpartition("/")[2]:
            yield _make_invalid(f"{path}.apiVersion", version, "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not reference.get(name):
                yield _make_invalid(f"{path}.{name}", "", "must not be empty")
        if (version, reference.get("kind")) == ("v1", "Event"):
            yield _make_invalid(path, "Event", "is disallowed from being an owner")
        controllers += reference.get("controller") is True
    if controllers > 1:
        yield _make_invalid(path, f"{controllers} references", "Only one reference can have Controller set to true")


def _write_list(names: list[str]) -> str:
    return "[]string{" + ", ".join(f'"{name}"' for name in names) + "}"


def _find_name_faults(name: str, path: str) -> Iterator[FieldFault]:
    if not name:
        yield FieldFault(path, "FieldValueRequired", "Required value: name or generateName is required")
    elif len(name) > 253:
        yield _make_invalid(path, name, "must be no more than 253 characters")
    elif not _SUBDOMAIN.fullmatch(name):
        yield _make_invalid(path, name, _SUBDOMAIN_RULE)


def find_subdomain_faults(name: str, path: str) -> Iterator[FieldFault]:
    """Find faults of a name that is set."""
    if name:
        yield from _find_name_faults(name, path)


def _find_label_name_faults(name: str, path: str) -> Iterator[FieldFault]:
    if not name:
        yield from _find_name_faults(name, path)
    elif not _LABEL.fullmatch(name):
        yield _make_invalid(path, name, _LABEL_RULE)


def _find_segment_name_faults(name: str, path: str) -> Iterator[FieldFault]:
    """Find faults of names as RBAC's are, which may be anything that is one part of a URL's path: `system:node`."""
    if not name:
        yield from _find_name_faults(name, path)
    for fault in find_path_segment_faults(name):
        yield _make_invalid(path, name, fault)


def find_path_segment_faults(name: str) -> Iterator[str]:
    """Find why a name cannot be one part of a URL's path."""
    if name in (".", ".."):
        yield f"may not be '{name}'"
    else:
        yield from (f"may not contain '{part}'" for part in "/%" if part in name)


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
