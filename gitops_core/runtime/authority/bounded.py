"""A cluster handle for one namespace: what works for a tenant's object cannot reach another tenant's.

Every request names its namespace, and one that names another (or none) is refused before it leaves the process.

    NamespaceBound    everything, in the namespace that it was made for
    AccountBound      Secrets, ConfigMaps and ServiceAccounts, in that of the object on whose account the work is: what
                      reconcilers are given where objects may not name those of other namespaces
"""

from __future__ import annotations

from dataclasses import dataclass

from gitops_core.errors import StalledError
from gitops_core.meta import Kind, ObjectRef
from gitops_core.ports import Query
from gitops_core.runtime.authority.forwarding import Forwarding, Request
from gitops_core.runtime.sharing.computing import get_object_at_work

GUARDED = frozenset({Kind("", "v1", "Secret"), Kind("", "v1", "ConfigMap"), Kind("", "v1", "ServiceAccount")})
"""What holds credentials and values, or stands for somebody."""


class OutsideNamespace(StalledError):
    """Something asked for an object that its namespace-bound handle must not touch."""

    reason = "AccessDenied"


@dataclass(frozen=True)
class NamespaceBound(Forwarding):
    """Implements gitops_core.ports.Cluster. Raises OutsideNamespace beside what that raises."""

    namespace: str

    def check(self, request: Request) -> None:
        _check(request, self.namespace)


@dataclass(frozen=True)
class AccountBound(Forwarding):
    """Implements gitops_core.ports.Cluster. Raises OutsideNamespace beside what that raises."""

    def check(self, request: Request) -> None:
        about = get_object_at_work()
        if about is not None and _get_kind(request) in GUARDED:
            _check(request, about.key.namespace)


def _get_kind(request: Request) -> Kind:
    about = request.about
    return about.kind if isinstance(about, Query | ObjectRef) else Kind.of_manifest(about)


def _check(request: Request, bound: str) -> None:
    match request.about:
        case Query(kind=kind, namespace=namespace):
            where = f"namespace {namespace!r}" if namespace else "all namespaces"
            asked = f"{kind.kind} objects of {where} are"
        case ObjectRef() as ref:
            namespace, asked = ref.key.namespace, f"{ref} is"
        case manifest:
            ref = ObjectRef.of(manifest)
            namespace, asked = ref.key.namespace, f"{ref} is"
    if not bound or namespace != bound:
        raise OutsideNamespace(f"{asked} outside namespace {bound!r}, to which this work is bound")
