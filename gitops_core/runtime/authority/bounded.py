"""A cluster handle for one namespace: what works for a tenant's object cannot reach another tenant's.

Every request names its namespace, and one that names another (or none) is refused before it leaves the process.
"""

from __future__ import annotations

from dataclasses import dataclass

from gitops_core.errors import StalledError
from gitops_core.meta import ObjectRef
from gitops_core.ports import Query
from gitops_core.runtime.authority.forwarding import Forwarding, Request


class OutsideNamespace(StalledError):
    """Something asked for an object that its namespace-bound handle must not touch."""

    reason = "AccessDenied"


@dataclass(frozen=True)
class NamespaceBound(Forwarding):
    """Implements gitops_core.ports.Cluster. Raises OutsideNamespace beside what that raises."""

    namespace: str

    def check(self, request: Request) -> None:
        match request.about:
            case Query(kind=kind, namespace=namespace):
                where = f"namespace {namespace!r}" if namespace else "all namespaces"
                asked = f"{kind.kind} objects of {where} are"
            case ObjectRef() as ref:
                namespace, asked = ref.key.namespace, f"{ref} is"
            case manifest:
                ref = ObjectRef.of(manifest)
                namespace, asked = ref.key.namespace, f"{ref} is"
        if not self.namespace or namespace != self.namespace:
            raise OutsideNamespace(f"{asked} outside namespace {self.namespace!r}, to which this work is bound")
