"""Who owns which field: metadata.managedFields, and applies that respect it.

    apply   merged = live + what is applied; what this manager applied before and no longer names goes, unless another
            manager owns it; fields of other managers that would change are conflicts, or are taken with force
    update  whoever changes a field owns it, and everybody else loses it

All functions are pure: the time, the types and the objects come in, the new object comes out.

Source: k8s.io/apimachinery, package managedfields; structured-merge-diff, package merge. Managers of the same name are
told apart by operation, subresource and, for updates, version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from gitops_core.domain.objects.fieldschemas import Type
from gitops_core.domain.objects.fieldsets import NOTHING, FieldSet, Path, spell
from gitops_core.domain.objects.typedvalues import (
    Comparison,
    TypeFault,
    add_named_fields,
    check,
    collect_fields,
    compare,
    is_equal,
    merge,
    reconcile,
    remove,
)
from gitops_core.meta import Manifest, write_timestamp

Types = Callable[[str], Type | None]
"""The type of the object at hand in an apiVersion; None when that version is served no more."""

Complete = Callable[[dict[str, Any]], dict[str, Any]]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MOST_UPDATERS = 10

_NEVER_OWNED = FieldSet.of(
    [
        ("f:apiVersion",),
        ("f:kind",),
        ("f:metadata",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        ),
    ]
)


class Manager(NamedTuple):
    """What makes an entry of managedFields an entry of its own. `version` is "" for appliers."""

    name: str
    operation: Literal["Apply", "Update"]
    version: str
    subresource: str


@dataclass(frozen=True)
class Owned:
    """What one manager owns: paths as they are in `version`, since `time`."""

    fields: FieldSet
    version: str
    time: str


Managed = Mapping[Manager, Owned]


class OwnedByOthers(Exception):
    """An apply met fields of other managers.

    Attributes:
        conflicts: (manager, path) of each.
    """

    def __init__(self, conflicts: Iterable[tuple[Manager, Path]]) -> None:
        self.conflicts = tuple(conflicts)
        super().__init__(", ".join(f"{spell(path)} ({manager.name})" for manager, path in self.conflicts))


@dataclass(frozen=True)
class Writer:
    """Who writes, and how the object is served.

    Attributes:
        version: the apiVersion that is written.
        ignored: what the server resets, so that writing it owns nothing: status, or for its subresource all the rest.
    """

    name: str
    version: str
    types: Types
    now: datetime
    subresource: str = ""
    ignored: FieldSet = NOTHING

    @property
    def type_(self) -> Type:
        type_ = self.types(self.version)
        if type_ is None:
            raise TypeFault(f"version {self.version} is not served")
        return type_

    def make_manager(self, operation: Literal["Apply", "Update"]) -> Manager:
        return Manager(self.name or "unknown", operation, self.version * (operation == "Update"), self.subresource)

    def get_ignored(self, version: str) -> FieldSet:
        """Return the fields that a write resets: the main resource in the version it is written in, a subresource in
        all.
        """
        return self.ignored if version == self.version or self.subresource else NOTHING


# managedFields


def decode(entries: Iterable[Mapping[str, Any]]) -> dict[Manager, Owned]:
    """Decode managedFields. Raises ValueError: not managedFields as the API server writes them."""
    managed = {}
    for entry in entries:
        operation, version = entry.get("operation"), entry.get("apiVersion", "")
        if operation not in ("Apply", "Update") or not version or entry.get("fieldsType") != "FieldsV1":
            raise ValueError("not a managedFields entry")
        own_version = version if operation == "Update" else ""
        manager = Manager(entry.get("manager", ""), operation, own_version, entry.get("subresource", ""))
        fields = FieldSet.from_fields(entry.get("fieldsV1") or {})
        managed[manager] = Owned(fields, version, entry.get("time", ""))
    return managed


def encode(managed: Managed) -> list[dict[str, Any]]:
    """Encode managedFields: appliers first, older first, then by name, version and subresource."""
    entries = []
    for manager, owned in managed.items():
        entry: dict[str, Any] = {
            "apiVersion": owned.version,
            "fieldsType": "FieldsV1",
            "fieldsV1": owned.fields.write_fields(),
            "manager": manager.name,
            "operation": manager.operation,
        }
        if manager.subresource:
            entry["subresource"] = manager.subresource
        if owned.time:
            entry["time"] = owned.time
        entries.append(entry)
    return sorted(
        entries,
        key=lambda e: (e["operation"], e.get("time", ""), e["manager"], e["apiVersion"], e.get("subresource", "")),
    )


def _read_managed(manifest: Manifest) -> dict[Manager, Owned]:
    try:
        return decode(manifest.get("metadata", {}).get("managedFields") or ())
    except ValueError:
        return {}


def _set_managed(manifest: Manifest, managed: Managed) -> dict[str, Any]:
    metadata = {name: value for name, value in manifest.get("metadata", {}).items() if name != "managedFields"}
    if managed:
        metadata["managedFields"] = encode(managed)
    return {**manifest, "metadata": metadata}


# updates


def update(live: Manifest, new: Manifest, writer: Writer, *, created: bool = False) -> dict[str, Any]:
    """Return `new` with managedFields that say who changed what from `live`.

    Args:
        live: the stored object, or for a creation an object of this type with nothing set.
        new: what is to be stored. Its own managedFields count if they are readable and not empty; an empty list, or
            one empty entry, forgets all owners.
    """
    stated = new.get("metadata", {}).get("managedFields")
    if not writer.subresource and (stated == [] or stated == [{}]):
        managed: dict[Manager, Owned] = {}
    else:
        managed = (not writer.subresource and _read_managed(new)) or _read_managed(live)
    if not managed and not created:
        return _set_managed(new, {})  # an object that is not tracked stays so until the first apply
    try:
        managed = _update(_strip(live), _strip(new), managed, writer)
    except TypeFault:
        return _set_managed(new, {})
    return _set_managed(new, managed)


def _strip(manifest: Manifest) -> dict[str, Any]:
    """Return the manifest without managedFields, which nobody owns."""
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping) or "managedFields" not in metadata:
        return dict(manifest)
    return {**manifest, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}


def _update(live: Manifest, new: Manifest, managed: dict[Manager, Owned], writer: Writer) -> dict[Manager, Owned]:
    for manifest in (new, live):
        check(writer.type_, manifest, duplicates=True)
    managed = _reconcile(live, managed, writer)
    managed, changes = _settle(live, new, managed, None, writer, force=True)
    taken = (changes.modified | changes.added).leave_out(writer.ignored) - _NEVER_OWNED
    if taken:
        manager = writer.make_manager("Update")
        before = managed[manager].fields if manager in managed else NOTHING
        managed[manager] = Owned(taken | before, writer.version, write_timestamp(writer.now))
    return _cap(managed)


def _cap(managed: dict[Manager, Owned]) -> dict[Manager, Owned]:
    """Keep at most ten entries of updates: the oldest of a version become one, named ancient-changes."""
    updaters = [manager for manager in managed if manager.operation == "Update"]
    excess = len(updaters) - MOST_UPDATERS
    if excess <= 0:
        return managed
    managed = dict(managed)
    updaters.sort(key=lambda manager: (managed[manager].time, _write_identifier(manager)))
    first: dict[str, Manager] = {}
    for manager in updaters:
        if excess <= 0:
            break
        owned = managed[manager]
        bucket = Manager("ancient-changes", "Update", owned.version, "")
        if owned.version not in first:
            first[owned.version] = manager
            continue
        if bucket not in managed:
            managed[bucket] = managed.pop(first[owned.version])
        managed[bucket] = Owned(owned.fields | managed[bucket].fields, owned.version, owned.time)
        if manager != bucket:
            del managed[manager]
        excess -= 1
    return managed


def _write_identifier(manager: Manager) -> str:
    words = {"manager": manager.name, "operation": manager.operation, "apiVersion": manager.version}
    if manager.subresource:
        words["subresource"] = manager.subresource
    return json.dumps(words, separators=(",", ":"), ensure_ascii=False)


# applies


def apply(
    live: Manifest, config: Manifest, writer: Writer, *, force: bool, empty: Manifest, complete: Complete
) -> dict[str, Any]:
    """Apply `config` to `live`, managedFields included.

    Args:
        live: the stored object, or `empty` when there is none.
        empty: an object of this type with nothing set.
        complete: what is done with the merged object: its defaults are set. Where nothing changes, nothing is.

    Raises:
        OwnedByOthers: fields of other managers would change, and `force` is false.
        TypeFault: `config` is not of its type.
    """
    managed = _read_managed(live)
    live = _strip(live)
    if not managed and "uid" in live.get("metadata", {}):
        before = Writer("before-first-apply", writer.version, writer.types, writer.now, ignored=writer.ignored)
        managed = _update(_strip(empty), live, {}, before)
    try:
        merged, managed = _apply(live, config, managed, writer, complete, force=force)
    except OwnedByOthers as refused:
        if writer.name != "kubectl" or not _is_upgradable(live, refused, writer):
            raise
        merged, managed = _apply(live, config, managed, writer, complete, force=True)
    if writer.name == "kubectl":
        merged = _update_last_applied(merged, config)
    return _set_managed(merged, managed)


def _apply(
    live: Manifest, config: Manifest, managed: Managed, writer: Writer, complete: Complete, *, force: bool
) -> tuple[dict[str, Any], dict[Manager, Owned]]:
    type_, manager = writer.type_, writer.make_manager("Apply")
    check(type_, config)
    check(type_, live, duplicates=True)
    settled = _reconcile(live, managed, writer)
    merged = merge(type_, live, config)
    last = settled.get(manager)
    time = last.time if last is not None else ""
    wanted = collect_fields(type_, config).leave_out(writer.ignored)
    settled[manager] = Owned(wanted, writer.version, time)
    if last is not None and (last.version != writer.version or last.fields - wanted):
        merged = _prune(merged, settled, last, writer)
    settled, _ = _settle(live, merged, settled, manager, writer, force=force)
    kept = (settled[manager].fields if manager in settled else NOTHING) - _NEVER_OWNED
    settled.pop(manager, None)
    unchanged = is_equal(live, merged)
    if kept:
        settled[manager] = Owned(kept, writer.version, time if unchanged else write_timestamp(writer.now))
    return dict(live) if unchanged else complete(merged), settled


def _convert(types: Types, before: str, after: str, *values: Any) -> Type | None:
    """Return the type in version `after` of objects of version `before`; None when it is not served.

    Raises:
        TypeFault: a value that is not of that type, or holds an item twice. Nothing is checked within one version.
    """
    type_ = types(after)
    if type_ is not None and after != before:
        for value in values:
            check(type_, value)
    return type_


def _prune(merged: Any, managed: Managed, last: Owned, writer: Writer) -> Any:
    """Remove what the manager applied last time, except what it or anybody else still owns.

    Raises:
        TypeFault: an object on the way is not of the type of a version that it must be converted to.
    """
    types = writer.types
    type_ = _convert(types, writer.version, last.version, merged)
    if type_ is None or not last.fields:
        return merged
    gone = add_named_fields(last.fields, type_)
    pruned, at = remove(type_, merged, gone), last.version
    for version in sorted({owned.version for owned in managed.values()}, key=lambda v: (v != last.version, v)):
        if (other := _convert(types, at, version, merged, pruned)) is not None:
            pruned, at = _add_owned_items(merged, pruned, version, managed, other), version
    _convert(types, at, last.version, pruned)
    before = add_named_fields(collect_fields(type_, merged), type_)
    after = add_named_fields(collect_fields(type_, pruned), type_)
    left = remove(type_, merged, (before - after) & gone)
    _convert(types, last.version, writer.version, left)
    return left


def _add_owned_items(merged: Any, pruned: Any, version: str, managed: Managed, type_: Type) -> Any:
    owned = NOTHING
    for entry in managed.values():
        if entry.version == version:
            owned = owned | entry.fields
    had, has = collect_fields(type_, merged), collect_fields(type_, pruned)
    keep = add_named_fields(has, type_) | add_named_fields(owned, type_)
    return remove(type_, merged, add_named_fields(had, type_) - keep)


def _reconcile(live: Manifest, managed: Managed, writer: Writer) -> dict[Manager, Owned]:
    """Read each entry as today's schema does; entries of versions no longer served are forgotten.

    Raises:
        TypeFault: `live` is not of the type of a version that somebody has written.
    """
    settled = {}
    for manager, owned in managed.items():
        type_ = _convert(writer.types, writer.version, owned.version, live)
        if type_ is not None:
            settled[manager] = Owned(reconcile(owned.fields, type_), owned.version, owned.time)
    return settled


def _settle(
    live: Manifest, new: Manifest, managed: Managed, workflow: Manager | None, writer: Writer, *, force: bool
) -> tuple[dict[Manager, Owned], Comparison]:
    """Take from everybody but `workflow` what changes from `live` to `new`.

    Raises:
        OwnedByOthers: there is something to take, and `force` is false.
    """
    comparisons: dict[str, Comparison] = {}

    def compare_in(version: str) -> Comparison:
        if version not in comparisons:
            type_ = _convert(writer.types, writer.version, version, live, new) or writer.type_
            comparison = compare(type_, live, new)
            comparisons[version] = comparison.leave_out(writer.get_ignored(version))
        return comparisons[version]

    conflicts: dict[Manager, FieldSet] = {}
    settled = dict(managed)
    for manager, owned in managed.items():
        if manager == workflow:
            continue
        changes = compare_in(owned.version)
        if taken := owned.fields & (changes.modified | changes.added):
            conflicts[manager] = taken
        settled[manager] = Owned(owned.fields - taken - changes.removed, owned.version, owned.time)
    if conflicts and not force:
        raise OwnedByOthers((manager, path) for manager, taken in conflicts.items() for path in taken)
    return {manager: owned for manager, owned in settled.items() if owned.fields}, compare_in(writer.version)


# kubectl's client-side apply


def _is_upgradable(live: Manifest, refused: OwnedByOthers, writer: Writer) -> bool:
    """Tell whether all conflicts are about fields that kubectl itself applied before, client-side, and that are
    unchanged.

    Raises:
        OwnedByOthers: only some of them are; names the others.
    """
    text = (live.get("metadata", {}).get("annotations") or {}).get(LAST_APPLIED, "")
    try:
        last = json.loads(text)
        if not isinstance(last, dict) or last.get("apiVersion") != writer.version:
            return False
        check(writer.type_, last)
    except (ValueError, TypeFault):
        return False
    changes = compare(writer.type_, last, live)
    own = collect_fields(writer.type_, last) - changes.modified - changes.added - changes.removed
    others = [(manager, path) for manager, path in refused.conflicts if path not in own]
    if others:
        raise OwnedByOthers(others) from None
    return True


def _update_last_applied(merged: Mapping[str, Any], config: Manifest) -> dict[str, Any]:
    """Bring kubectl's annotation up to date where there is one."""
    annotations = merged.get("metadata", {}).get("annotations") or {}
    if not annotations.get(LAST_APPLIED):
        return dict(merged)
    metadata = dict(config.get("metadata", {}))
    own = {name: value for name, value in (metadata.get("annotations") or {}).items() if name != LAST_APPLIED}
    metadata["annotations"] = own
    text = json.dumps({**config, "metadata": metadata}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    annotations = {**annotations, LAST_APPLIED: text + "\n"}
    return {**merged, "metadata": {**merged["metadata"], "annotations": annotations}}
