"""What our service account must be allowed to do, as data: each package declares it beside the code that does it.

    Permission("", "secrets", ("get", "update"), "the Secrets of ExternalSecrets")

Verbs are RBAC's: a PUT is `update`, a server-side apply is `patch`, and `create` too where the object is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from gitops_core.meta import Resource

Verb = Literal["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate"]

READ: tuple[Verb, ...] = ("get", "list", "watch")


class Permission(NamedTuple):
    """Verbs on one resource, which is named as in RBAC: its plural, with `/status` for a subresource.

    Attributes:
        why: what for, in the words of docs/operations.md.
        place: all of the cluster, or the namespace of the Lease alone.
    """

    group: str
    resource: str
    verbs: tuple[Verb, ...]
    why: str
    place: Literal["cluster", "lease"] = "cluster"


RUNTIME = (
    Permission("", "events", ("create", "patch"), "what is told of objects"),
    Permission("coordination.k8s.io", "leases", ("get", "create", "update"), "who leads", "lease"),
)
"""For what the runtime does whatever the kinds."""


def list_permissions(kinds: Iterable[type[Resource]]) -> Iterator[Permission]:
    """List what the runtime does with objects of our kinds."""
    for kind in kinds:
        group = kind.KIND.group
        yield Permission(group, kind.PLURAL, READ, "our kinds")
        if kind.FINALIZER:
            yield Permission(group, kind.PLURAL, ("patch",), "finalizers, and requests to look again")
        yield Permission(group, f"{kind.PLURAL}/status", ("patch",), "their results")
