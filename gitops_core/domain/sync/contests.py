"""Which objects two Kustomizations apply: each undoes what the other did, and neither fails.

    its inventory has the object      claimed: whoever may write a status claims what he likes
    the object carries its mark       proven: it was applied for the other one since it was applied for this one
    told before, and still claimed    likewise: which of the two came last is chance

Another one counts when it has applied its source as that is now. So an object that moves from one to the other in one
commit is not told: the one that gives it up has not come to that commit yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gitops_core.api import Artifact, Kustomization
from gitops_core.domain.sync import inventory
from gitops_core.domain.sync.owners import make_kustomization_ownership
from gitops_core.meta import Manifest, ObjectKey, ObjectRef

Claims = Mapping[ObjectKey, Sequence[ObjectRef]]
"""Of each other Kustomization, the objects that it says it applies."""

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


def select_proven(claims: Claims, lives: Mapping[ObjectRef, Manifest | None], told: str) -> Claims:
    """Select of each other Kustomization the objects that it does apply; those that apply none are left out.

    Args:
        lives: the objects before they are applied again.
        told: what was told last.
    """

    def select(key: ObjectKey, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        owner = make_kustomization_ownership(key)
        found = ((ref, lives.get(ref)) for ref in refs)
        marked = [ref for ref, live in found if live is not None and owner.owns(live)]
        return refs if f" applied by {_name(key)} too" in told else marked

    return {key: proven for key, refs in claims.items() if (proven := select(key, refs))}


def has_come_to_its_source(other: Kustomization, artifact: Artifact | None) -> bool:
    """Return whether its inventory is what it wants now, with its source at `artifact`."""
    metadata, status = other.metadata, other.status
    if metadata.deletion_timestamp is not None or metadata.generation != status.observed_generation:
        return False
    return artifact is not None and status.last_applied_revision == artifact.revision


def tell_shared(found: Claims) -> str:
    """Tell which objects others apply as well.

    >>> from gitops_core.meta import Kind
    >>> web = ObjectRef(Kind.of("apps/v1", "Deployment"), ObjectKey("shop", "web"))
    >>> tell_shared({ObjectKey("team", "other"): [web]})
    'Deployment/shop/web is applied by Kustomization/team/other too: take it out of all but one'
    """
    parts = []
    for key, refs in sorted(found.items()):
        named = ", ".join(map(str, refs[:NAMED])) + (f" and {len(refs) - NAMED} more" if len(refs) > NAMED else "")
        parts.append(f"{named} {'is' if len(refs) == 1 else 'are'} applied by {_name(key)} too")
    objects = {ref for refs in found.values() for ref in refs}
    return f"{'; '.join(parts)}: take {'it' if len(objects) == 1 else 'them'} out of all but one"


def _name(key: ObjectKey) -> str:
    return f"{Kustomization.KIND.kind}/{key}"
