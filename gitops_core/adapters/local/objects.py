"""The writes of an embedded cluster: each is one transaction that ends in the objects a real cluster would come to.

What the controllers of a real cluster do in the background is done here at once, in the same transaction: garbage goes
with its owner, a namespace's and a CRD's content with it. So nothing is half cleaned after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec

from gitops_core.adapters.local.kinds import CRD, NAMESPACE, get_builtins, list_servings
from gitops_core.adapters.local.store import Row, Store
from gitops_core.decoding import decode_json
from gitops_core.domain.objects.crds import establish
from gitops_core.domain.objects.decoding import Undecodable, read_sent
from gitops_core.domain.objects.objectmeta import FOREGROUND, ORPHAN
from gitops_core.domain.objects.patches import PatchFailed, apply_json_patch, apply_merge_patch
from gitops_core.domain.objects.writing import Object, Serving, plan_apply, plan_create, plan_update
from gitops_core.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    FieldFault,
    Forbidden,
    Invalid,
    KindUnknown,
    NotFound,
)
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, write_timestamp
from gitops_core.ports import ApiResource, Chance, Clock
from gitops_core.schema import is_identical

Propagation = Literal["Background", "Foreground", "Orphan"]

CRD_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words
_LONGEST_GENERATED = 63
_OWN = "sealoop-local"
"""The field manager of what the cluster itself changes."""


class Objects:
    """Everything here is synchronous and takes milliseconds."""

    def __init__(self, store: Store, clock: Clock, chance: Chance, changed: Callable[[], None]) -> None:
        """
        Args:
            changed: called after every write.
        """
        self.store, self._clock, self._chance, self._changed = store, clock, chance, changed
        self._custom: dict[Kind, tuple[Serving, ApiResource]] | None = None
        self._seen = -1
        with self.store.transaction():
            for name in ("default", "kube-system"):
                if self.store.get(NAMESPACE.kind, ObjectKey("", name)) is None:
                    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                    self._create(self.find_serving(NAMESPACE), namespace, _OWN, dry_run=False)

    # kinds

    def find_serving(self, kind: Kind) -> Serving:
        """Return how a kind is served. Raises KindUnknown."""
        found = get_builtins().servings.get(kind)
        if found is not None:
            return found
        custom = self._get_customs().get(kind)
        if custom is None:
            raise KindUnknown(kind.api_version, kind.kind)
        return custom[0]

    def find_resource(self, kind: Kind) -> ApiResource:
        """Return the kind's ApiResource. Raises KindUnknown."""
        found = get_builtins().resources.get(kind) or self._get_customs().get(kind, (None, None))[1]
        if found is None:
            raise KindUnknown(kind.api_version, kind.kind)
        return found

    def list_resources(self) -> Iterator[ApiResource]:
        yield from get_builtins().resources.values()
        seen = set()
        for kind, (_, resource) in self._get_customs().items():
            if (kind.group, kind.kind) not in seen:
                seen.add((kind.group, kind.kind))
                yield resource

    def _get_customs(self) -> Mapping[Kind, tuple[Serving, ApiResource]]:
        version = self.store.read_data_version()
        if self._custom is None or version != self._seen:
            self._seen = version
            rows = self.store.list_page(f"{CRD.kind}.{CRD.group}", "", "", ObjectKey("", ""), -1)
            crds = [decode_json(row.body) for row in rows]
            self._custom = {serving.kind: (serving, res) for crd in crds for serving, res in list_servings(crd)}
        return self._custom

    # reading

    def get(self, ref: ObjectRef) -> Object | None:
        return self._get_live(self.find_serving(ref.kind), ref.key)[0]

    def _get_live(self, serving: Serving, key: ObjectKey) -> tuple[Object | None, bytes]:
        body = self.store.get(serving.group_kind, key if serving.namespaced else ObjectKey("", key.name))
        if body is None:
            return None, b""
        return serving.show(decode_json(body)), body

    # writing

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self.store.transaction():
            yield
        self._changed()

    def create(self, manifest: Manifest, field_manager: str, *, dry_run: bool) -> Object:
        serving, manifest = self.find_serving(_read_kind(manifest)), read_sent(manifest)
        with self._writing(), _refuse_undecodable(serving, manifest):
            return self._create(serving, manifest, field_manager, dry_run=dry_run)

    def _create(self, serving: Serving, manifest: Manifest, field_manager: str, *, dry_run: bool) -> Object:
        manifest = self._name(serving, manifest)
        ref = _require_namespace(serving, manifest)
        writer = serving.make_writer(field_manager, self._clock.now())
        self._must_have_namespace(serving, ref)
        new = plan_create(serving, manifest, writer, self._make_uid())
        if self.store.get(serving.group_kind, ref.key) is not None:
            raise AlreadyExists(ref)
        return self._store(serving, new, b"", dry_run=dry_run)

    def _name(self, serving: Serving, manifest: Manifest) -> Manifest:
        """Return the manifest with a free name made from generateName, where there is that and no name."""
        metadata = manifest.get("metadata") or {}
        if metadata.get("name") or not metadata.get("generateName"):
            return manifest
        while True:
            name = metadata["generateName"][: _LONGEST_GENERATED - 5] + self._draw_letters(5)
            named = {**manifest, "metadata": {**metadata, "name": name}}
            if self.store.get(serving.group_kind, serving.make_ref(named).key) is None:
                return named

    def replace(self, manifest: Manifest, field_manager: str, subresource: str, *, dry_run: bool) -> Object:
        serving, manifest = self.find_serving(_read_kind(manifest)), read_sent(manifest)
        ref = _require_namespace(serving, manifest)
        _must_have_subresource(serving, ref, subresource)
        with self._writing(), _refuse_undecodable(serving, manifest):
            live, body = self._get_live(serving, ref.key)
            if live is None:
                raise NotFound(ref)
            if serving.custom and not (manifest.get("metadata") or {}).get("resourceVersion"):
                message = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
                raise Invalid(ref, f'{serving.plural}.{serving.kind.group} "{ref.key.name}" is invalid: {message}')
            writer = serving.make_writer(field_manager, self._clock.now(), subresource)
            return self._store(serving, plan_update(serving, live, manifest, writer), body, live, dry_run=dry_run)

    def apply(self, manifest: Manifest, field_manager: str, *, force: bool, dry_run: bool) -> Object:
        serving, manifest = self.find_serving(_read_kind(manifest)), read_sent(manifest)
        ref = _require_namespace(serving, manifest)
        with self._writing():
            live, body = self._get_live(serving, ref.key)
            if live is None:
                self._must_have_namespace(serving, ref)
            writer = serving.make_writer(field_manager, self._clock.now())
            try:
                new = plan_apply(serving, live, manifest, writer, force=force, uid="" if live else self._make_uid())
            except Undecodable as error:
                raise Invalid(ref, f"{ref} cannot be read as a {serving.kind.kind}: {error}") from None
            return self._store(serving, new, body, live, dry_run=dry_run)

    def patch(
        self,
        ref: ObjectRef,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        field_manager: str,
        subresource: str,
        *,
        dry_run: bool,
    ) -> Object:
        serving = self.find_serving(ref.kind)
        _must_have_subresource(serving, ref, subresource)
        with self._writing():
            live, body = self._get_live(serving, ref.key)
            if live is None:
                raise NotFound(ref)
            try:
                new = apply_merge_patch(live, patch) if isinstance(patch, Mapping) else apply_json_patch(live, patch)
                new = read_sent(new)
            except PatchFailed as failed:
                raise Invalid(ref, f"the patch of {ref} does not fit: {failed}") from failed
            if not isinstance(new, dict) or serving.make_ref(new) != serving.make_ref(live):
                raise BadRequest(f"the patch of {ref} changes what the object is called")
            writer = serving.make_writer(field_manager, self._clock.now(), subresource)
            try:
                new = plan_update(serving, live, new, writer)
            except Undecodable as error:
                fault = FieldFault("patch", "FieldValueInvalid", f"Invalid value: {error}")
                raise Invalid(ref, f"the patch of {ref} does not fit: {error}", [fault]) from None
            return self._store(serving, new, body, live, dry_run=dry_run)

    def delete(
        self, ref: ObjectRef, uid: str, resource_version: str, propagation: Propagation, *, dry_run: bool
    ) -> None:
        serving = self.find_serving(ref.kind)
        with self._writing():
            live, body = self._get_live(serving, ref.key)
            if live is None:
                raise NotFound(ref)
            for wanted, name in ((uid, "uid"), (resource_version, "resourceVersion")):
                if wanted and wanted != live["metadata"][name]:
                    raise Conflict(f"{ref} has another {name} by now: {wanted} was expected")
            if not dry_run:
                self._delete(serving, live, body, propagation)

    def _store(
        self, serving: Serving, new: Object, body: bytes, live: Manifest | None = None, *, dry_run: bool
    ) -> Object:
        """Write what changed, and let follow from it what has to. The object as it is shown from now on."""
        new = serving.keep(new)
        if body and is_identical(new, decode_json(body)):
            return serving.show(new)
        if dry_run:
            return serving.show(new)
        if live is not None and live["metadata"].get("deletionTimestamp") and _is_final(new):
            self._drop(serving, new, body)
            return serving.show(new)
        if serving.kind == CRD:
            new = establish(new, write_timestamp(self._clock.now()))
        self.store.put(serving.group_kind, new, body or None)
        if serving.kind == CRD:
            self._custom = None
        if new["metadata"].get("ownerReferences"):
            self._collect(Row(serving.group_kind, serving.make_ref(new).key, msgspec.json.encode(new)))
        return serving.show(new)

    def _must_have_namespace(self, serving: Serving, ref: ObjectRef) -> None:
        """Raise NotFound or Forbidden when the object's namespace is not there, or is going away."""
        if not serving.namespaced:
            return
        namespace = ObjectRef(NAMESPACE, ObjectKey("", ref.key.namespace))
        found = self.get(namespace)
        if found is None:
            raise NotFound(namespace)
        if found["metadata"].get("deletionTimestamp"):
            name = ref.key.namespace
            raise Forbidden(f"unable to create new content in namespace {name} because it is being terminated")

    # deleting

    def _delete(self, serving: Serving, live: Object, body: bytes, propagation: Propagation) -> None:
        metadata = live["metadata"]
        finalizers = [name for name in metadata.get("finalizers") or () if name not in (ORPHAN, FOREGROUND)]
        if propagation == "Orphan":
            finalizers.append(ORPHAN)
        elif propagation == "Foreground":
            finalizers.append(FOREGROUND)
        holds = [*finalizers, *((live.get("spec") or {}).get("finalizers") or () if serving.kind == NAMESPACE else ())]
        if serving.kind == CRD:
            finalizers, holds = [*finalizers, CRD_CLEANUP], [*holds, CRD_CLEANUP]
        if not holds:
            self._drop(serving, live, body)
            return
        is_marked = metadata.get("deletionTimestamp") and finalizers == (metadata.get("finalizers") or [])
        if not is_marked or not is_identical(serving.keep(live), decode_json(body)):  # another version drops fields
            live, body = self._mark(serving, live, body, finalizers)
        self._clean(serving, live, body)

    def _mark(self, serving: Serving, live: Object, body: bytes, finalizers: Sequence[str]) -> tuple[Object, bytes]:
        """Say that the object is being deleted, and what it waits for."""
        metadata = {**live["metadata"], "finalizers": list(finalizers)}
        if not finalizers:
            del metadata["finalizers"]
        if "deletionTimestamp" not in metadata:
            metadata["deletionTimestamp"] = write_timestamp(self._clock.now())
            if "generation" in metadata:
                metadata["generation"] += 1
        marked = {**live, "metadata": metadata}
        if serving.kind == NAMESPACE:
            marked["status"] = {**(live.get("status") or {}), "phase": "Terminating"}
        else:
            metadata["deletionGracePeriodSeconds"] = 0
        return marked, self.store.put(serving.group_kind, serving.keep(marked), body)

    def _clean(self, serving: Serving, live: Object, body: bytes) -> None:
        """Carry out the finalizers that are the cluster's own; those of others wait for them."""
        uid, finalizers = live["metadata"]["uid"], live["metadata"].get("finalizers") or []
        if ORPHAN in finalizers:
            for row in self.store.list_owned_by(uid):
                self._disown(row, {uid})
            self._release(serving, live, body, ORPHAN)
        elif FOREGROUND in finalizers:
            for row in self.store.list_owned_by(uid):
                self._collect(row)
            self._finish_foreground(uid)
        if serving.kind == NAMESPACE:
            for row in self.store.list_in_namespace(live["metadata"]["name"]):
                self._delete_row(row)
            self._finish_namespace(live["metadata"]["name"])
        elif serving.kind == CRD:
            group_kind = _get_defined(live)
            for row in self.store.list_page(group_kind, "", "", ObjectKey("", ""), -1):
                self._delete_row(row)
            self._finish_crd(group_kind)

    def _delete_row(self, row: Row, propagation: Propagation = "Background") -> None:
        body = self.store.get(row.kind, row.key)
        if body is not None:
            live = decode_json(body)
            self._delete(self._find_stored_serving(live), live, body, propagation)

    def _find_stored_serving(self, live: Manifest) -> Serving:
        """Return how an object found in the store is served; its version may be one that is not served any more."""
        kind = Kind.of_manifest(live)
        try:
            return self.find_serving(kind)
        except KindUnknown:
            same = [s for k, (s, _) in self._get_customs().items() if (k.group, k.kind) == (kind.group, kind.kind)]
            if not same:
                raise
            return same[0]

    def _drop(self, serving: Serving, live: Object, body: bytes) -> None:
        """Remove the object, and everything that cannot be without it."""
        last = decode_json(body)
        uid = live["metadata"]["uid"]
        self.store.drop(serving.group_kind, last, body)
        live["metadata"]["resourceVersion"] = last["metadata"]["resourceVersion"]
        if serving.kind == CRD:
            self._custom = None
        for row in self.store.list_owned_by(uid):
            self._collect(row)
        for reference in live["metadata"].get("ownerReferences") or ():
            self._finish_foreground(reference["uid"])
        if serving.namespaced:
            self._finish_namespace(live["metadata"]["namespace"])
        if serving.custom:
            self._finish_crd(serving.group_kind)

    def _release(self, serving: Serving, live: Object, body: bytes, finalizer: str) -> None:
        """Take one finalizer away; the object goes when it was the last."""
        metadata = {**live["metadata"]}
        metadata["finalizers"] = [name for name in metadata["finalizers"] if name != finalizer]
        if not metadata["finalizers"]:
            del metadata["finalizers"]
        self._store(serving, {**live, "metadata": metadata}, body, live, dry_run=False)

    # garbage

    def _collect(self, row: Row) -> None:
        """Delete a dependent none of whose owners is left, or take the owners that are gone from its list."""
        body = self.store.get(row.kind, row.key)
        if body is None:
            return
        references = decode_json(body)["metadata"].get("ownerReferences") or ()
        gone, going = set(), set()
        for reference in references:
            owner = self.store.find_by_uid(reference["uid"])
            if owner is None or owner.key.namespace not in ("", row.key.namespace):
                gone.add(reference["uid"])
            elif FOREGROUND in (decode_json(owner.body)["metadata"].get("finalizers") or ()):
                going.add(reference["uid"])
        if len(gone) + len(going) < len(references):
            if gone or going:
                self._disown(row, gone | going)
        elif going and self.store.list_owned_by(decode_json(body)["metadata"]["uid"]):
            self._delete_row(row, "Foreground")
        elif references:
            self._delete_row(row)

    def _disown(self, row: Row, owners: set[str]) -> None:
        body = self.store.get(row.kind, row.key)
        if body is None:
            return
        live = decode_json(body)
        kept = [reference for reference in live["metadata"]["ownerReferences"] if reference["uid"] not in owners]
        metadata = {**live["metadata"], "ownerReferences": kept}
        if not kept:
            del metadata["ownerReferences"]
        serving = self._find_stored_serving(live)
        writer = serving.make_writer(_OWN, self._clock.now())
        new = plan_update(serving, live, {**live, "metadata": metadata}, writer)
        self._store(serving, new, body, live, dry_run=False)

    def _finish_foreground(self, uid: str) -> None:
        """Let an owner go that waits for its dependents, when none is left that blocks it."""
        owner = self.store.find_by_uid(uid)
        if owner is None:
            return
        live = decode_json(owner.body)
        if FOREGROUND not in (live["metadata"].get("finalizers") or ()):
            return
        for row in self.store.list_owned_by(uid):
            for reference in decode_json(row.body)["metadata"].get("ownerReferences") or ():
                if reference["uid"] == uid and reference.get("blockOwnerDeletion"):
                    return
        self._release(self._find_stored_serving(live), live, owner.body, FOREGROUND)

    def _finish_namespace(self, name: str) -> None:
        """Let a namespace go that is being deleted, when it is empty."""
        serving = self.find_serving(NAMESPACE)
        live, body = self._get_live(serving, ObjectKey("", name))
        if live is None or "deletionTimestamp" not in live["metadata"] or self.store.list_in_namespace(name):
            return
        if live["metadata"].get("finalizers"):
            if live.get("spec") != {}:
                self.store.put(serving.group_kind, {**live, "spec": {}}, body)
            return
        self._drop(serving, live, body)

    def _finish_crd(self, group_kind: str) -> None:
        """Let a CRD go that is being deleted, when none of its objects is left."""
        if self.store.list_page(group_kind, "", "", ObjectKey("", ""), 1):
            return
        for row in self.store.list_page(f"{CRD.kind}.{CRD.group}", "", "", ObjectKey("", ""), -1):
            live = decode_json(row.body)
            if _get_defined(live) == group_kind and CRD_CLEANUP in (live["metadata"].get("finalizers") or ()):
                self._release(self.find_serving(CRD), live, row.body, CRD_CLEANUP)

    # chance

    def _make_uid(self) -> str:
        """Make a random UUID, version 4, that is free: a Chance may say the same again after a restart."""
        while True:
            digits = "".join(f"{int(self._chance.random() * 0x10000):04x}" for _ in range(8))
            variant = "89ab"[int(digits[16], 16) % 4]
            uid = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
            if self.store.find_by_uid(uid) is None:
                return uid

    def _draw_letters(self, count: int) -> str:
        return "".join(_SUFFIX_LETTERS[int(self._chance.random() * len(_SUFFIX_LETTERS))] for _ in range(count))


@contextmanager
def _refuse_undecodable(serving: Serving, manifest: Manifest) -> Iterator[None]:
    """Raise BadRequest for what is not of the kind's types."""
    try:
        yield
    except Undecodable as error:
        raise BadRequest(f"{serving.make_ref(manifest)} cannot be read as a {serving.kind.kind}: {error}") from None


def _read_kind(manifest: Manifest) -> Kind:
    """Return the kind of a manifest. Raises BadRequest: it does not say what it is."""
    if not isinstance(manifest.get("kind"), str) or not isinstance(manifest.get("apiVersion"), str):
        raise BadRequest("an object needs apiVersion and kind")
    return Kind.of_manifest(manifest)


def _require_namespace(serving: Serving, manifest: Manifest) -> ObjectRef:
    ref = serving.make_ref(manifest)
    if serving.namespaced and not ref.key.namespace:
        raise BadRequest(f"{ref} needs a namespace: {serving.plural} live in one")
    return ref


def _must_have_subresource(serving: Serving, ref: ObjectRef, subresource: str) -> None:
    """Raise NotFound, or of a built-in kind KindUnknown: the API server has no such path."""
    if subresource not in ("", "status") or (subresource and not serving.has_status):
        raise NotFound(ref) if serving.custom else KindUnknown(*ref.kind[1:])


def _is_final(manifest: Manifest) -> bool:
    namespace = Kind.of_manifest(manifest) == NAMESPACE and (manifest.get("spec") or {}).get("finalizers")
    return not manifest["metadata"].get("finalizers") and not namespace


def _get_defined(crd: Manifest) -> str:
    return f"{crd['spec']['names']['kind']}.{crd['spec']['group']}"
