"""What a Kustomization has made: the ids that its status keeps, and their arithmetic.

    <namespace>_<name>_<group>_<kind>      default_web_apps_Deployment
                                           _lab__reader_rbac.authorization.k8s.io_ClusterRole

The namespace is empty for cluster-scoped objects, the group for core kinds; ":" in a name is written "__", and is so
read, although a role may be named with two underscores, too. The version is kept beside the id, because an object stays
the same object when its manifest moves to another version.

Source: Flux's status.inventory, so that objects can be handed over from it and back to it.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitops_core.domain.objects.texts import shorten
from gitops_core.meta import Kind, ObjectKey, ObjectRef

LONGEST = 300
"""Characters of what is no id that a message quotes."""


def format_id(ref: ObjectRef) -> str:
    """Return the inventory id of `ref`.

    >>> format_id(ObjectRef(Kind.of("rbac.authorization.k8s.io/v1", "ClusterRole"), ObjectKey("", "lab:reader")))
    '_lab__reader_rbac.authorization.k8s.io_ClusterRole'
    """
    return "_".join((ref.key.namespace, ref.key.name.replace(":", "__"), ref.kind.group, ref.kind.kind))


def parse_id(text: str, version: str) -> ObjectRef:
    """Return the object that an inventory entry names.

    >>> str(parse_id("default_web_apps_Deployment", "v1"))
    'Deployment/default/web'

    Raises:
        ValueError: fewer than four parts, or no object can be called so.
    """
    namespace, _, rest = text.partition("_")
    parts = rest.rsplit("_", 2)
    if len(parts) != 3 or not parts[2] or not _is_segment(parts[0]) or not _is_segment(namespace or "-"):
        raise ValueError(f"not an inventory id: {shorten(text, LONGEST)!r}")
    name, group, kind = parts
    return ObjectRef(Kind(group, version, kind), ObjectKey(namespace, name.replace("__", ":")))


def _is_segment(name: str) -> bool:
    """Tell whether a name can stand in a path of the API server, as every object's can."""
    return bool(name) and name not in (".", "..") and "/" not in name and "%" not in name


def merge(new: Iterable[ObjectRef], old: Iterable[ObjectRef]) -> tuple[ObjectRef, ...]:
    """Merge what only `old` has behind `new`, each in its order; of two versions of one object that of `new`."""
    merged = {format_id(ref): ref for ref in new}
    for ref in old:
        merged.setdefault(format_id(ref), ref)
    return tuple(merged.values())


def subtract(old: Iterable[ObjectRef], new: Iterable[ObjectRef]) -> tuple[ObjectRef, ...]:
    """Subtract `new` from `old`: what `old` has and `new` has not, in the order of `old`."""
    kept = {format_id(ref) for ref in new}
    return tuple({format_id(ref): ref for ref in old if format_id(ref) not in kept}.values())


def spell_literally(ref: ObjectRef) -> ObjectRef:
    """Spell `ref` as its id does: the object of the same id whose name has "__" where that of `ref` has ":"."""
    return ref._replace(key=ref.key._replace(name=ref.key.name.replace(":", "__")))
