"""Who owns objects: a Kustomization, by two labels. Another kind of owner is another function here.

spec.commonMetadata wins over the labels, too. The directives, in the manifest or set by hand in the cluster:

    kustomize.toolkit.fluxcd.io/reconcile: disabled     neither applied nor pruned
    kustomize.toolkit.fluxcd.io/ssa: Override           the default
                                     Merge              other managers keep their fields
                                     IfNotPresent       created, never changed
                                     Ignore             neither applied nor pruned
    kustomize.toolkit.fluxcd.io/prune: disabled         never pruned

Source: Flux, kustomize-controller.
"""

from __future__ import annotations

from gitops_core.api import Kustomization
from gitops_core.domain.objects.objectmeta import find_subdomain_faults
from gitops_core.domain.objects.texts import shorten
from gitops_core.domain.sync.ownership import Directives, Ownership
from gitops_core.errors import StalledError
from gitops_core.meta import ObjectKey

MANAGER = "kustomize-controller"
"""Who applies the objects of a Kustomization: Flux's name, so that both own the same fields."""

KUSTOMIZE = "kustomize.toolkit.fluxcd.io"
OWNER_NAME = f"{KUSTOMIZE}/name"
OWNER_NAMESPACE = f"{KUSTOMIZE}/namespace"
RECONCILE, SSA, PRUNE = (f"{KUSTOMIZE}/{name}" for name in ("reconcile", "ssa", "prune"))
DIRECTIVES = Directives(
    excluded=((RECONCILE, "disabled"), (SSA, "Ignore")),
    create_only=((SSA, "IfNotPresent"),),
    shared=((SSA, "Merge"),),
    kept=((PRUNE, "disabled"),),
    others=tuple(f"{KUSTOMIZE}/{name}" for name in ("force", "substitute", "decrypt")),
)


def make_kustomization_ownership(key: ObjectKey) -> Ownership:
    return Ownership(MANAGER, {OWNER_NAME: key.name, OWNER_NAMESPACE: key.namespace}, str(key), DIRECTIVES)


class AccountInvalid(StalledError):
    """No service account can be called what a Kustomization names."""

    reason = "InvalidServiceAccount"


def find_account(wanted: Kustomization, default: str) -> ObjectKey | None:
    """Return the service account whose rights a Kustomization has, in its own namespace; None for ours.

    Args:
        default: the name for those that name none; "" for none.

    Raises:
        AccountInvalid: to the API server it would be some user, whom only an administrator may let us be.
    """
    name = wanted.spec.service_account_name or default
    if not name:
        return None
    if not is_account_name(name):
        raise AccountInvalid(
            f"spec.serviceAccountName is {shorten(name, 100)!r}, as which no ServiceAccount can be called"
        )
    return ObjectKey(wanted.metadata.namespace, name)


def is_account_name(name: str) -> bool:
    """Tell whether a service account may be called that.

    >>> [is_account_name(name) for name in ("deployer", "", "a:b", "deployer ")]
    [True, False, False, False]
    """
    return bool(name) and not any(find_subdomain_faults(name, ""))
