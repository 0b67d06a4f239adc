"""How a Secret passes from one ExternalSecret to another, and what becomes of one that nobody wants any more.

a wants b's Secret, b wants another    b gives it up, if that is so in a circle back to a's own Secret
a made `old`, and wants `new` now      `old` is deleted, or left to another ExternalSecret that is to own it
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gitops_core.meta import ObjectKey, ObjectMeta, ObjectRef
from secrets_sync.api import ExternalSecret
from secrets_sync.domain.secret.live import SECRET, LiveSecret
from secrets_sync.domain.secret.plan import Create, Keep, Plan, Update, get_target, is_ours


def is_contested(wanted: ExternalSecret, live: LiveSecret | None) -> bool:
    """Return whether somebody may have to give the Secret up to `wanted`."""
    return live is not None and wanted.spec.target.creation_policy == "Owner" and not is_ours(wanted, live)


def moves_away(holder: ExternalSecret, held: LiveSecret) -> bool:
    """Return whether `holder`, who controls `held`, is to make another Secret."""
    is_owner = holder.spec.target.creation_policy == "Owner" and holder.metadata.deletion_timestamp is None
    return is_owner and get_target(holder) != held.ref


@dataclass(frozen=True)
class Orphan:
    """A Secret that an ExternalSecret made under another name.

    Attributes:
        is_awaited: whether another ExternalSecret is to own it: then it is left to that one.
    """

    ref: ObjectRef
    uid: str
    resource_version: str
    is_awaited: bool


def may_leave_orphans(wanted: ExternalSecret, plan: Plan, *, moved: bool) -> bool:
    """Return whether Secrets of earlier names are to go: the Secret is there in their place, and they can exist.

    Args:
        moved: whether this spec was not synced yet: only then can the Secret have had another name before.
    """
    is_there = isinstance(plan, Create | Update) or plan == Keep()
    return is_there and wanted.spec.target.creation_policy == "Owner" and (moved or isinstance(plan, Create))


def find_orphans(
    wanted: ExternalSecret, labelled: Iterable[ObjectMeta], everyone: Iterable[ExternalSecret]
) -> tuple[Orphan, ...]:
    """Return the orphans among the Secrets that are labelled as `wanted`'s; a copied label makes no owner."""
    others = (one for one in everyone if one.key != wanted.key and one.metadata.deletion_timestamp is None)
    awaited = {get_target(one).key.name for one in others if one.spec.target.creation_policy == "Owner"}
    return tuple(
        Orphan(
            ObjectRef(SECRET, ObjectKey(wanted.metadata.namespace, found.name)),
            found.uid,
            found.resource_version,
            found.name in awaited,
        )
        for found in labelled
        if found.name != get_target(wanted).key.name
        and any(owner.controller and owner.uid == wanted.metadata.uid for owner in found.owner_references)
    )
