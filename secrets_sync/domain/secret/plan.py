"""What to do about the Secret of an ExternalSecret, given what it read, what it makes of that, and the live Secret.

    values   creationPolicy   Secret absent                  present
    some     Owner            create, controlled             take over; replace all data
    some     Orphan           create                         replace all data
    some     CreateOrMerge    create                         replace our keys, keep the others
    some     Merge            nothing (SecretMissing)        replace our keys, keep the others
    some     None             nothing                        nothing
    gone     deletionPolicy: Retain keeps it, Delete deletes it (Owner only), Merge goes on with no values
    none     as gone, but nothing is deleted: the provider has the secrets, and they hold nothing

gone: the provider says of every entry that it is absent, or that there is nothing to find.

A Secret that another ExternalSecret controls is nobody else's, but where several exchange their names in a circle: then
each is given the Secret of the next (`yields`). An immutable one keeps its data.
Source: External Secrets, pkg/controllers/externalsecret.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_core.meta import Manifest, ObjectKey, ObjectRef, Sensitive
from secrets_sync.api import ExternalSecret
from secrets_sync.domain.provider.reading import Reading
from secrets_sync.domain.secret.hashing import hash_data, hash_owner, name_field_manager
from secrets_sync.domain.secret.live import CREATED_BY, DATA_HASH, MANAGED, SECRET, LiveSecret, Owned
from secrets_sync.domain.secret.rendering import Rendered


@dataclass(frozen=True)
class Create:
    """Make the Secret. `keys` are what it holds; the values stay out of the repr."""

    manifest: Manifest = field(repr=False)
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Update:
    """Replace the Secret that was read.

    Attributes:
        keys: what it will hold.
        lost: keys that others had put there, before it became ours, and that are removed or replaced now.
    """

    manifest: Manifest = field(repr=False)
    keys: tuple[str, ...]
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delete:
    """Delete the Secret that was read, and no other of that name."""


@dataclass(frozen=True)
class Keep:
    """Nothing to write.

    Attributes:
        reason, message: of the Ready condition.
        bound: whether there is a Secret to bind to.
    """

    reason: str = "SecretSynced"
    message: str = "secret synced"
    bound: bool = True


@dataclass(frozen=True)
class Refuse:
    """Nothing may be written, and only an edit changes that.

    Attributes:
        immutable: whether that is because the Secret is immutable; else it has another owner.
        message: of the Ready condition: the original's sentence.
        detail: of the event.
    """

    message: str
    detail: str
    immutable: bool = False


Plan = Create | Update | Delete | Keep | Refuse

RETAINED = Keep(message="secret retained due to DeletionPolicy=Retain")
EMPTY = Keep(message="secret retained: the provider has the secrets, but they hold no values")
DELETED = Keep("SecretDeleted", "secret deleted due to DeletionPolicy=Delete", bound=False)
NOT_CREATED = Keep("SecretMissing", "secret will not be created due to CreationPolicy=Merge", bound=False)
NOT_WANTED = Keep(bound=False)


def get_target(wanted: ExternalSecret) -> ObjectRef:
    """Return the reference of the Secret that an ExternalSecret makes."""
    return ObjectRef(SECRET, ObjectKey(wanted.metadata.namespace, wanted.spec.target.name or wanted.metadata.name))


def plan_target(
    wanted: ExternalSecret, reading: Reading, rendered: Rendered, live: LiveSecret | None, yields: str = ""
) -> Plan:
    """Plan what to do with the Secret. Planning again after carrying it out comes to Keep.

    Args:
        rendered: what `wanted` makes of `reading`.
        yields: the uid of another ExternalSecret that gives the Secret up to `wanted`; "" for none.
    """
    target = wanted.spec.target
    if reading.is_empty and target.deletion_policy == "Retain":  # no values: the Secret stays as it is
        return RETAINED
    if reading.is_empty and target.deletion_policy == "Delete":  # no values: the Secret goes if its keys are gone
        return _plan_deletion(wanted, live) if reading.is_gone else EMPTY
    if target.creation_policy == "None":
        return NOT_WANTED
    if live is None:  # Merge waits for somebody to make it
        return NOT_CREATED if target.creation_policy == "Merge" else _plan_creation(wanted, rendered)
    if yields:  # another ExternalSecret hands it over
        live = _drop_owner(live, yields)
    if (refusal := _find_refusal(wanted, live)) is not None:
        return refusal
    return _plan_update(wanted, rendered, live)


def release(wanted: ExternalSecret, live: LiveSecret) -> Manifest:
    """Release the Secret from the marks by which it is `wanted`'s: somebody else may take it as it is."""
    freed = _drop_owner(live, wanted.metadata.uid).manifest
    labels = {name: text for name, text in live.labels.items() if name != CREATED_BY}
    return {**freed, "metadata": {**freed["metadata"], "labels": labels}}


def _drop_owner(live: LiveSecret, uid: str) -> LiveSecret:
    owners = [owner for owner in live.owners if owner.get("uid") != uid]
    return LiveSecret({**live.manifest, "metadata": {**live.metadata, "ownerReferences": owners}}, live.data)


def _plan_deletion(wanted: ExternalSecret, live: LiveSecret | None) -> Plan:
    policy = wanted.spec.target.creation_policy
    if policy != "Owner":
        detail = f"unable to delete secret {get_target(wanted).key.name}: creationPolicy={policy} is not Owner"
        return Refuse("could not delete secret", detail)
    if live is None:
        return DELETED
    if not is_ours(wanted, live):
        return _refuse_if_taken(live) or DELETED  # nobody's Secret is not ours to delete
    return Delete()


def is_ours(wanted: ExternalSecret, live: LiveSecret) -> bool:
    """Tell whether `wanted` controls the Secret: this very object, not an earlier one of its name."""
    controller = live.controller
    return controller is not None and controller.get("uid") == wanted.metadata.uid


def _find_refusal(wanted: ExternalSecret, live: LiveSecret) -> Refuse | None:
    controller = live.controller
    if controller is None or _is_same(controller, wanted):  # nobody's, or ours
        return None
    if controller.get("kind") == wanted.KIND.kind:  # another ExternalSecret's
        return _refuse_if_taken(live)
    if wanted.spec.target.creation_policy != "Owner":  # somebody else's, and we do not ask to own it
        return None
    owner = f"{controller.get('kind')} {controller.get('name')!r}"
    return Refuse("failed to take ownership of target secret", f"{live.ref} is controlled by {owner}")


def _refuse_if_taken(live: LiveSecret) -> Refuse | None:
    if live.controller is None:
        return None
    name = live.metadata.get("name")
    return Refuse(
        "target is owned by another ExternalSecret",
        f"unable to mutate secret {name}: secret is owned by another ExternalSecret: {live.controller.get('name')}",
    )


def _is_same(owner: Mapping[str, Any], wanted: ExternalSecret) -> bool:
    group = str(owner.get("apiVersion", "")).partition("/")[0]
    return (group, owner.get("kind"), owner.get("name")) == (
        wanted.KIND.group,
        wanted.KIND.kind,
        wanted.metadata.name,
    )


def _plan_creation(wanted: ExternalSecret, rendered: Rendered) -> Create:
    target = get_target(wanted)
    metadata = {"name": target.key.name, "namespace": target.key.namespace}
    metadata |= _make_metadata(wanted, rendered.labels, rendered.annotations, [], rendered.data)
    manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    manifest |= {"type": rendered.type, "data": _encode(rendered.data)}
    if wanted.spec.target.immutable:
        manifest["immutable"] = True
    return Create(manifest, tuple(sorted(rendered.data)))


def _plan_update(wanted: ExternalSecret, rendered: Rendered, live: LiveSecret) -> Plan:
    ours = live.find_owned_by(name_field_manager(wanted.metadata.name))
    frozen = live.immutable and wanted.spec.target.immutable
    data = dict(live.data)
    if not frozen:
        merges = wanted.spec.target.creation_policy in ("Merge", "CreateOrMerge")
        kept = {key: value for key, value in live.data.items() if merges and key not in ours.data}
        data = kept | dict(rendered.data)
    if live.immutable and data != dict(live.data):
        return Refuse(
            "could not update secret, target is immutable", f"{live.ref} is immutable: delete it, or let it be", True
        )
    labels = {name: text for name, text in live.labels.items() if name not in ours.labels}
    labels |= rendered.labels
    annotations = {name: text for name, text in live.annotations.items() if name not in ours.annotations}
    annotations |= rendered.annotations
    metadata = dict(live.metadata) | _make_metadata(wanted, labels, annotations, live.owners, data)
    manifest = dict(live.manifest) | {"metadata": metadata, "data": _encode(data)}
    if wanted.spec.target.immutable:
        manifest["immutable"] = True
    if _normalize(manifest) == _normalize(live.manifest):
        return Keep()
    metadata.pop("managedFields", None)
    return Update(manifest, tuple(sorted(data)), _list_lost(wanted, ours, live, data))


def _list_lost(wanted: ExternalSecret, ours: Owned, live: LiveSecret, data: Mapping[str, Sensitive]) -> tuple[str, ...]:
    if is_ours(wanted, live) or ours.data or wanted.spec.target.creation_policy in ("Merge", "CreateOrMerge"):
        return ()
    return tuple(sorted(key for key, value in live.data.items() if data.get(key) != value))


def _make_metadata(
    wanted: ExternalSecret,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    owners: list[Mapping[str, Any]],
    data: Mapping[str, Sensitive],
) -> dict[str, Any]:
    """Make the Secret's labels, annotations and owners: these, and our marks."""
    owned = wanted.spec.target.creation_policy == "Owner"
    mark = hash_owner(wanted.key)
    labels = {**labels, MANAGED: "true"}
    if owned:
        labels[CREATED_BY] = mark
    elif labels.get(CREATED_BY) == mark:
        del labels[CREATED_BY]
    references = [owner for owner in owners if not _is_same(owner, wanted)]
    return {
        "labels": labels,
        "annotations": {**annotations, DATA_HASH: hash_data(data)},
        "ownerReferences": [*references, _make_owner_reference(wanted)] if owned else references,
    }


def _make_owner_reference(wanted: ExternalSecret) -> dict[str, Any]:
    return {
        "apiVersion": wanted.KIND.api_version,
        "kind": wanted.KIND.kind,
        "name": wanted.metadata.name,
        "uid": wanted.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _encode(data: Mapping[str, Sensitive]) -> dict[str, str]:
    return {key: base64.b64encode(data[key].reveal()).decode() for key in sorted(data)}


def _normalize(manifest: Manifest) -> dict[str, Any]:
    """Return what an update can change, with empty and absent being the same."""
    metadata = manifest.get("metadata") or {}
    owners = [{k: v for k, v in owner.items() if v} for owner in metadata.get("ownerReferences") or ()]
    return {
        "data": manifest.get("data") or {},
        "immutable": bool(manifest.get("immutable")),
        "labels": metadata.get("labels") or {},
        "annotations": metadata.get("annotations") or {},
        "owners": sorted(owners, key=lambda owner: str(owner.get("uid"))),
    }
