"""What an API server makes of a write: the object to store, from the object that is stored and the one that is sent.

    creation   system metadata set, status dropped where it is a subresource, generation 1
    update     system metadata kept; the main resource cannot change status, the subresource nothing else;
               generation counts changes outside metadata and status
    both       unknown fields dropped, managedFields brought up to date

Pure: time, uid and generated name come in. Where nothing changes, the stored object itself comes out.

Source: k8s.io/apiserver, registry/rest and registry/generic; k8s.io/apiextensions-apiserver, registry/customresource.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from gitops_core.domain.objects import serversideapply
from gitops_core.domain.objects.fieldsets import NOTHING, FieldSet, spell
from gitops_core.domain.objects.serversideapply import OwnedByOthers, Types, Writer
from gitops_core.domain.objects.typedvalues import TypeFault, is_equal
from gitops_core.errors import ApplyConflict, BadRequest, Conflict, FieldConflict, FieldFault, Invalid
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, write_timestamp
from gitops_core.schema import is_identical

Object = dict[str, Any]


class Admit(Protocol):
    def __call__(self, manifest: Object, *, merged: bool) -> Object: ...


class Validate(Protocol):
    def __call__(self, manifest: Object, live: Manifest | None, *, subresource: str) -> Iterable[FieldFault]: ...


def _keep_as_is(manifest: Object) -> Object:
    return manifest


_SYSTEM = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
_GIVEN = re.compile(r"got &.*", re.DOTALL)
_STATUS = FieldSet.of([("f:status",)])
_NOT_STATUS = FieldSet.of([("f:metadata",), ("f:spec",)])


@dataclass(frozen=True)
class Serving:
    """How one kind, in one version, is stored and changed.

    Attributes:
        has_status: status is a subresource.
        counts: metadata.generation counts changes.
        types: what server-side apply knows of each served version.
        empty: an object of this kind with nothing set, as the API server's own code has it.
        admit: the object with fields pruned and defaulted, as it was sent or as an apply merged it.
        begins: the status of a new object, whose fields nobody owns.
        read: an object of any version, as this version has it.
        keep: an object of this version, as it is stored: in one version for all.
        validate: what is wrong with an object, given the stored one, or None for a creation.
    """

    kind: Kind
    plural: str
    namespaced: bool
    has_status: bool
    counts: bool
    types: Types
    empty: Manifest
    admit: Admit
    validate: Validate
    custom: bool = False
    begins: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[Object], Object] = _keep_as_is
    keep: Callable[[Object], Object] = _keep_as_is

    @property
    def group_kind(self) -> str:
        return f"{self.kind.kind}.{self.kind.group}" if self.kind.group else self.kind.kind

    def make_ref(self, manifest: Manifest) -> ObjectRef:
        metadata = manifest.get("metadata") or {}
        namespace = metadata.get("namespace", "") if self.namespaced else ""
        return ObjectRef(self.kind, ObjectKey(namespace, metadata.get("name", "")))

    def make_writer(self, field_manager: str, now: datetime, subresource: str = "") -> Writer:
        ignored = NOTHING
        if self.has_status:
            ignored = _NOT_STATUS if subresource == "status" else _STATUS
        return Writer(field_manager, self.kind.api_version, self.types, now, subresource, ignored)

    def show(self, manifest: Object) -> Object:
        """Show a stored object as this version has it."""
        return manifest if manifest["apiVersion"] == self.kind.api_version else self.read(manifest)


def plan_create(serving: Serving, sent: Manifest, writer: Writer, uid: str) -> Object:
    """Return the object that a creation stores; its resourceVersion is the store's to set."""
    metadata = dict(sent.get("metadata") or {})
    if metadata.pop("resourceVersion", ""):
        raise BadRequest("resourceVersion should not be set on objects to be created")
    for name in _SYSTEM:
        metadata.pop(name, None)
    new = serving.admit(_place(serving, {**sent, "metadata": metadata}), merged=False)
    new = serversideapply.update(serving.empty, new, writer, created=True)
    return _begin(serving, new, uid, writer.now)


def plan_apply(
    serving: Serving, live: Manifest | None, sent: Manifest, writer: Writer, *, force: bool, uid: str
) -> Object:
    """Return the object that a server-side apply stores; the stored one when it changes nothing.

    Raises:
        ApplyConflict, BadRequest, Invalid, Conflict.
    """
    ref = serving.make_ref(sent)
    if (sent.get("metadata") or {}).get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    base = live if live is not None else _place(serving, serving.empty)

    def complete(merged: Object) -> Object:
        return serving.admit(_place(serving, merged), merged=True)

    try:
        merged = serversideapply.apply(base, sent, writer, force=force, empty=serving.empty, complete=complete)
    except OwnedByOthers as refused:
        raise ApplyConflict(
            ref, [FieldConflict(manager.name, spell(path)) for manager, path in refused.conflicts]
        ) from None
    except TypeFault as fault:
        kind = f"{serving.kind.api_version}, Kind={serving.kind.kind}"
        shown = _GIVEN.sub("got ***", str(fault)) if serving.kind.kind == "Secret" else str(fault)  # never a value
        raise Invalid(ref, f"failed to create typed patch object ({ref.key}; {kind}): {shown}") from None
    if live is None:
        metadata = dict(merged["metadata"])
        if metadata.get("uid"):
            raise Conflict(f"{ref}: uid mismatch: the object has uid {metadata['uid']}, and no object was found")
        metadata.pop("resourceVersion", "")
        return _begin(serving, {**merged, "metadata": metadata}, uid, writer.now)
    return _change(serving, live, merged, writer)


def plan_update(serving: Serving, live: Manifest, sent: Manifest, writer: Writer) -> Object:
    """Return the object that a PUT or a patch stores, `sent` being the whole object as wished; the stored one for no
    change.

    Raises:
        Conflict: it is of another resourceVersion or uid.
        Invalid.
    """
    new = serving.admit(_place(serving, sent), merged=False)
    if (sent.get("metadata") or {}).get("managedFields") == []:
        new["metadata"]["managedFields"] = []  # empty, which is dropped anywhere else, means: forget all owners
    return _change(serving, live, serversideapply.update(live, new, writer), writer)


def _place(serving: Serving, sent: Manifest) -> Object:
    metadata = dict(sent.get("metadata") or {})
    if not serving.namespaced:
        metadata.pop("namespace", None)
    return {**sent, "apiVersion": serving.kind.api_version, "kind": serving.kind.kind, "metadata": metadata}


def _begin(serving: Serving, new: Object, uid: str, now: datetime) -> Object:
    metadata = {**new["metadata"], "uid": uid, "creationTimestamp": write_timestamp(now)}
    metadata.pop("generation", None)
    if serving.counts:
        metadata["generation"] = 1
    new = {**new, "metadata": metadata}
    if serving.has_status:
        new.pop("status", None)
    if serving.begins:
        new["status"] = dict(serving.begins)
    _check(serving, new, None, subresource="")
    return new


def _change(serving: Serving, live: Manifest, new: Object, writer: Writer) -> Object:
    ref, old_metadata = serving.make_ref(live), live["metadata"]
    metadata = dict(new["metadata"])
    # the sender read another object, or an older one
    for name, what in (("resourceVersion", "version"), ("uid", "uid")):
        if (metadata.get(name) or old_metadata[name]) != old_metadata[name]:
            raise Conflict(f"{ref} has another {what} by now: {metadata[name]} was expected, read it and try again")
    # fields that only the server sets
    for name in (*_SYSTEM, "generation", "resourceVersion"):
        metadata.pop(name, None)
        if name in old_metadata:
            metadata[name] = old_metadata[name]
    # a write of the status changes nothing else; any other one leaves the status
    if writer.subresource == "status":
        kept = {name: value for name, value in live.items() if name not in ("metadata", "status")}
        managed = metadata.get("managedFields")
        metadata = {name: value for name, value in old_metadata.items() if name != "managedFields"}
        new = {**kept, **({"status": new["status"]} if "status" in new else {})}
        metadata |= {"managedFields": managed} if managed else {}
    elif serving.has_status:
        new = {name: value for name, value in new.items() if name != "status"}
        new |= {"status": live["status"]} if "status" in live else {}
    new = {**new, "metadata": metadata}
    if serving.counts and writer.subresource != "status" and not _is_same_but_metadata(serving, live, new):
        metadata["generation"] = old_metadata.get("generation", 0) + 1
    _check(serving, new, live, subresource=writer.subresource)
    return _keep_old_times(live, new)


def _is_same_but_metadata(serving: Serving, live: Manifest, new: Manifest) -> bool:
    unlike = {"metadata", "status"} if serving.has_status else {"metadata"}
    ours = {name: value for name, value in live.items() if name not in unlike}
    theirs = {name: value for name, value in new.items() if name not in unlike}
    if serving.kind.kind == "Deployment":  # its strategy counts changes of annotations too
        ours["annotations"] = live["metadata"].get("annotations") or {}
        theirs["annotations"] = new["metadata"].get("annotations") or {}
    return is_identical(ours, theirs)


def _keep_old_times(live: Manifest, new: Object) -> Object:
    """Return `live` itself if `new` differs in the times of managedFields only: a write of the same is no write."""
    if not is_equal({**live, "metadata": None}, {**new, "metadata": None}):
        return new
    old, now = ({**m["metadata"], "managedFields": None} for m in (live, new))
    if not is_equal(old, now):
        return new
    entries = [[{**e, "time": ""} for e in m["metadata"].get("managedFields") or ()] for m in (live, new)]
    return dict(live) if is_equal(entries[0], entries[1]) else new


def _check(serving: Serving, new: Object, live: Manifest | None, *, subresource: str) -> None:
    """Raise Invalid when the object must not be stored."""
    faults = list(serving.validate(new, live, subresource=subresource))
    if faults:
        ref = serving.make_ref(new)
        texts = [f"{fault.field}: {fault.message}" for fault in faults]
        listed = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
        kind = f"{serving.kind.kind}.{serving.kind.group}" if serving.kind.group else serving.kind.kind
        raise Invalid(ref, f'{kind} "{ref.key.name}" is invalid: {listed}', faults)
