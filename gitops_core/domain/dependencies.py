"""Whether what a Kustomization depends on is ready.

A dependency is ready when it was applied as it is now (its generation), says Ready, and, where both read the same
source, applied the very revision that is to be applied: so that a commit that changes both is applied in order.

Source: Flux, kustomize-controller, checkDependencies.
"""

from __future__ import annotations

from gitops_core.api import Kustomization
from gitops_core.meta import ObjectKey


def source_key(of: Kustomization) -> ObjectKey:
    """The namespace and name of its source."""
    reference = of.spec.source_ref
    return ObjectKey(reference.namespace or of.metadata.namespace, reference.name)


def dependency_keys(of: Kustomization) -> tuple[ObjectKey, ...]:
    return tuple(ObjectKey(d.namespace or of.metadata.namespace, d.name) for d in of.spec.depends_on)


def why_not_ready(wanted: Kustomization, key: ObjectKey, dependency: Kustomization | None, revision: str) -> str:
    """Why `wanted` may not be applied at `revision` yet; "" when it may, as far as this dependency goes."""
    if dependency is None:
        kinds = "kustomizations.kustomize.toolkit.fluxcd.io"
        return f"dependency '{key}' not found: {kinds} \"{key.name}\" not found"
    if dependency.metadata.generation != dependency.status.observed_generation or not dependency.status.is_ready:
        return f"dependency '{key}' is not ready"
    same_source = source_key(dependency) == source_key(wanted)
    same_kind = dependency.spec.source_ref.kind == wanted.spec.source_ref.kind
    if same_source and same_kind and dependency.status.last_applied_revision != revision:
        return f"dependency '{key}' revision is not up to date"
    return ""
