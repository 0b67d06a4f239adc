"""Who owns objects: a Kustomization, by two labels. Another kind of owner is another function here.

No spec.commonMetadata takes these labels away. The directives, in the manifest or set by hand in the cluster:

    kustomize.toolkit.fluxcd.io/reconcile: disabled     neither applied nor pruned
    kustomize.toolkit.fluxcd.io/ssa: Override           the default
                                     Merge              other managers keep their fields
                                     IfNotPresent       created, never changed
                                     Ignore             neither applied nor pruned
    kustomize.toolkit.fluxcd.io/prune: disabled         never pruned
    kustomize.toolkit.fluxcd.io/force: enabled          deleted and made anew where fields of it cannot be changed

Source: Flux, kustomize-controller.
"""

from __future__ import annotations

from gitops_core.domain.sync.ownership import Directives, Ownership
from gitops_core.meta import ObjectKey

MANAGER = "kustomize-controller"
"""Who applies the objects of a Kustomization: Flux's name, so that both own the same fields."""

KUSTOMIZE = "kustomize.toolkit.fluxcd.io"
OWNER_NAME = f"{KUSTOMIZE}/name"
OWNER_NAMESPACE = f"{KUSTOMIZE}/namespace"
RECONCILE, SSA, PRUNE, FORCE = (f"{KUSTOMIZE}/{name}" for name in ("reconcile", "ssa", "prune", "force"))
DIRECTIVES = Directives(
    excluded=((RECONCILE, "disabled"), (SSA, "Ignore")),
    create_only=((SSA, "IfNotPresent"),),
    shared=((SSA, "Merge"),),
    kept=((PRUNE, "disabled"),),
    forced=((FORCE, "enabled"),),
    others=tuple(f"{KUSTOMIZE}/{name}" for name in ("substitute", "decrypt")),
)


def make_kustomization_ownership(key: ObjectKey) -> Ownership:
    return Ownership(MANAGER, {OWNER_NAME: key.name, OWNER_NAMESPACE: key.namespace}, str(key), DIRECTIVES)
