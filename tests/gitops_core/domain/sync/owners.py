"""Owners of other kinds than Kustomization, as later ones will be."""

from __future__ import annotations

from gitops_core.domain.sync.ownership import Directives, Ownership
from gitops_core.meta import ObjectKey

HELM = "helm.toolkit.fluxcd.io"


def release(key: ObjectKey) -> Ownership:
    mark = {f"{HELM}/name": key.name, f"{HELM}/namespace": key.namespace}
    directives = Directives(
        excluded=((f"{HELM}/driftDetection", "disabled"),), kept=(("helm.sh/resource-policy", "keep"),)
    )
    return Ownership("helm-controller", mark, f"HelmRelease/{key}", directives)


def application(key: ObjectKey) -> Ownership:
    """By one label, and by a field manager that begins like another's."""
    mark = {"app.kubernetes.io/instance": f"{key.namespace}.{key.name}"}
    return Ownership("helm-controller-applications", mark, f"Application/{key}", Directives())
