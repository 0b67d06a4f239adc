"""Which ExternalSecrets take each other's keys out of one Secret.

one                     another                 what happens
Owner                   any                     the Owner controls the Secret, and the other is refused
Orphan                  Orphan, Merge,          each refresh of the Orphan replaces all keys
                        CreateOrMerge
Merge, CreateOrMerge    Merge, CreateOrMerge    keys of the same name in spec.data are replaced, the rest is kept
None                    any                     nothing is written
"""

from __future__ import annotations

from collections.abc import Iterable

from secrets_sync.api import ExternalSecret
from secrets_sync.domain.secret.plan import get_target

SHARING = frozenset({"Orphan", "Merge", "CreateOrMerge"})
"""The creation policies that leave room for others."""


def list_rivals(wanted: ExternalSecret, others: Iterable[ExternalSecret]) -> tuple[str, ...]:
    """List the names of the rivals among `others`, in order; `wanted` and objects being deleted are none."""
    return tuple(sorted(other.metadata.name for other in others if _are_rivals(wanted, other)))


def _are_rivals(one: ExternalSecret, other: ExternalSecret) -> bool:
    if one.key == other.key or get_target(one) != get_target(other) or other.metadata.deletion_timestamp is not None:
        return False
    policies = {one.spec.target.creation_policy, other.spec.target.creation_policy}
    if not policies <= SHARING:
        return False
    return "Orphan" in policies or bool(_list_keys(one) & _list_keys(other))


def _list_keys(wanted: ExternalSecret) -> set[str]:
    return {entry.secret_key for entry in wanted.spec.data}
