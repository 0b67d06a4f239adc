"""Which objects two Kustomizations apply: each undoes what the other did, and neither fails.

Another one counts when it has applied its source as that is now. So an object that moves from one to the other in one
commit is not told: the one that gives it up has not come to that commit yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gitops_core.api import Artifact, Kustomization
from gitops_core.domain.sync import inventory
from gitops_core.meta import ObjectKey, ObjectRef

NAMED = 5  # objects that a message names


def find_shared(refs: Iterable[ObjectRef], others: Iterable[Kustomization]) -> dict[ObjectKey, tuple[ObjectRef, ...]]:
    """Find the objects among `refs` that stand in each other's inventory too; only those that share any."""
    own = {inventory.format_id(ref): ref for ref in refs}
    found = {}
    for other in others:
        if common := tuple(own[id_] for id_ in list_ids(other) if id_ in own):
            found[other.key] = common
    return found


def list_ids(one: Kustomization) -> tuple[str, ...]:
    """List the ids of its inventory."""
    return tuple(entry.id for entry in one.status.inventory.entries) if one.status.inventory else ()


def has_come_to_its_source(other: Kustomization, artifact: Artifact | None) -> bool:
    """Return whether its inventory is what it wants now, with its source at `artifact`."""
    metadata, status = other.metadata, other.status
    if metadata.deletion_timestamp is not None or metadata.generation != status.observed_generation:
        return False
    return artifact is not None and status.last_applied_revision == artifact.revision


def tell_shared(found: Mapping[ObjectKey, Sequence[ObjectRef]]) -> str:
    """Tell which objects others apply as well.

    >>> from gitops_core.meta import Kind
    >>> web = ObjectRef(Kind.of("apps/v1", "Deployment"), ObjectKey("shop", "web"))
    >>> tell_shared({ObjectKey("team", "other"): [web]})
    'Deployment/shop/web is applied by Kustomization/team/other too: take it out of all but one'
    """
    parts = []
    for key, refs in sorted(found.items()):
        named = ", ".join(map(str, refs[:NAMED])) + (f" and {len(refs) - NAMED} more" if len(refs) > NAMED else "")
        parts.append(f"{named} {'is' if len(refs) == 1 else 'are'} applied by {Kustomization.KIND.kind}/{key} too")
    objects = {ref for refs in found.values() for ref in refs}
    return f"{'; '.join(parts)}: take {'it' if len(objects) == 1 else 'them'} out of all but one"
