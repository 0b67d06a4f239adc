"""Whether what a Kustomization depends on is ready.

A dependency is ready when it was applied as it is now (its generation), says Ready, and, where both read the same
source, applied the very revision that is to be applied: so that a commit that changes both is applied in order.

Dependencies that go in a circle are named: none of them can ever be applied.

Source: Flux, kustomize-controller, checkDependencies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gitops_core.api import Kustomization
from gitops_core.domain.health.expressions import Evaluation, ExpressionInvalid, Question
from gitops_core.meta import ObjectKey
from gitops_core.schema import make_manifest


class SourceName(NamedTuple):
    """Which source a Kustomization names: sources of different kinds may have the same name."""

    kind: str
    key: ObjectKey


def get_source_name(kustomization: Kustomization) -> SourceName:
    reference = kustomization.spec.source_ref
    namespace = reference.namespace or kustomization.metadata.namespace
    return SourceName(reference.kind, ObjectKey(namespace, reference.name))


def list_dependencies(of: Kustomization) -> tuple[ObjectKey, ...]:
    return tuple(ObjectKey(d.namespace or of.metadata.namespace, d.name) for d in of.spec.depends_on)


def find_cycle(start: ObjectKey, edges: Mapping[ObjectKey, Sequence[ObjectKey]]) -> tuple[ObjectKey, ...]:
    """Find the shortest way along dependencies from `start` back to it, both ends included; empty when there is none.

    >>> a, b = ObjectKey("x", "a"), ObjectKey("x", "b")
    >>> [key.name for key in find_cycle(a, {a: [b], b: [a]})]
    ['a', 'b', 'a']
    """
    came_from: dict[ObjectKey, ObjectKey] = {}
    frontier = [start]
    while frontier:
        following: list[ObjectKey] = []
        for key in frontier:
            for needed in edges.get(key, ()):
                if needed == start:
                    return _trace_way(start, key, came_from)
                if needed not in came_from:
                    came_from[needed] = key
                    following.append(needed)
        frontier = following
    return ()


def _trace_way(start: ObjectKey, last: ObjectKey, came_from: Mapping[ObjectKey, ObjectKey]) -> tuple[ObjectKey, ...]:
    back = [start]
    while last != start:
        back.append(last)
        last = came_from[last]
    return tuple(reversed([*back, start]))


def tell_cycle(cycle: Sequence[ObjectKey]) -> str:
    """Tell which way a cycle goes; without namespaces where all are in one.

    >>> tell_cycle([ObjectKey("x", "a"), ObjectKey("x", "b"), ObjectKey("x", "a")])
    'a -> b -> a'
    """
    is_local = len({key.namespace for key in cycle}) == 1
    return " -> ".join(key.name if is_local else str(key) for key in cycle)


def explain_absence(key: ObjectKey) -> str:
    return f"dependency '{key}' not found: kustomizations.kustomize.toolkit.fluxcd.io \"{key.name}\" not found"


def ask(wanted: Kustomization, expression: str, dependency: Kustomization) -> Question:
    """Return what `readyExpr` asks, in the place of the rules above."""
    data = {"self": make_manifest(wanted), "dep": make_manifest(dependency)}
    return Question(expression, tuple(data), data, checked=True)


def explain_answer(key: ObjectKey, expression: str, answer: Evaluation) -> str:
    """Explain why the dependency does not count as ready; "" when it does.

    Raises:
        ExpressionInvalid: the expression does not compile, or is no condition.
    """
    if answer.invalid:
        raise ExpressionInvalid(f"readyExpr of dependency '{key}', {expression!r}, is no valid CEL: {answer.invalid}")
    if answer.failed:
        return f"dependency '{key}' is not ready: its readyExpr has no value yet: {answer.failed}"
    return "" if answer.value else f"dependency '{key}' is not ready according to readyExpr eval"


def explain_unready(wanted: Kustomization, key: ObjectKey, dependency: Kustomization, revision: str) -> str:
    """Explain why `wanted` may not be applied at `revision` yet; "" when it may, as far as this dependency goes."""
    if dependency.metadata.generation != dependency.status.observed_generation or not dependency.status.is_ready:
        return f"dependency '{key}' is not ready"
    if get_source_name(dependency) == get_source_name(wanted) and dependency.status.last_applied_revision != revision:
        return f"dependency '{key}' revision is not up to date"
    return ""
