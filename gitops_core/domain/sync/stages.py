"""In which order objects are applied: what others need comes first, what can block others last.

    definitions   CustomResourceDefinition, Namespace, ClusterRole   waited for before anything else is applied
    classes       *Class kinds                                       waited for too
    rest          everything else, in RECONCILE_ORDER

Pruning goes the other way round.

Source: Flux, ApplyAllStaged and ReconcileOrder.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitops_core.meta import Kind, ObjectRef

FIRST = (
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
)
LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
RANK = {kind: index - len(FIRST) for index, kind in enumerate(FIRST)} | {
    kind: index + 1 for index, kind in enumerate(LAST)
}
DEFINITIONS = frozenset({"CustomResourceDefinition", "Namespace", "ClusterRole"})

SortKey = tuple[int, str, str, str, str]


def rank_object(ref: ObjectRef) -> SortKey:
    """Rank a reference by a key that sorts into the order of applying."""
    return RANK.get(ref.kind.kind, 0), ref.kind.group, ref.kind.kind, ref.key.namespace, ref.key.name


def sort_for_applying(refs: Iterable[ObjectRef]) -> tuple[ObjectRef, ...]:
    return tuple(sorted(refs, key=rank_object))


def sort_for_pruning(refs: Iterable[ObjectRef]) -> tuple[ObjectRef, ...]:
    return tuple(sorted(refs, key=rank_object, reverse=True))


def plan_prune_stages(refs: Iterable[ObjectRef]) -> tuple[tuple[ObjectRef, ...], ...]:
    """Plan what is deleted together, one part after the other: what others need goes last.

    CustomResourceDefinitions go last of all, because what they define goes with them.
    """
    parts: dict[tuple[int, int], list[ObjectRef]] = {}
    for ref in sort_for_pruning(refs):
        parts.setdefault((get_stage_number(ref.kind), RANK.get(ref.kind.kind, 0)), []).append(ref)
    return tuple(tuple(parts[key]) for key in sorted(parts, reverse=True))


def get_stage_number(kind: Kind) -> int:
    """Return 0 for definitions, 1 for classes, 2 for the rest."""
    if kind.kind in DEFINITIONS:
        return 0
    return 1 if kind.kind.endswith("Class") else 2


def plan_stages(refs: Iterable[ObjectRef]) -> tuple[tuple[ObjectRef, ...], ...]:
    """Plan the stages, none of them empty, each in the order of applying."""
    stages: dict[int, list[ObjectRef]] = {}
    for ref in sort_for_applying(refs):
        stages.setdefault(get_stage_number(ref.kind), []).append(ref)
    return tuple(tuple(stages[number]) for number in sorted(stages))
