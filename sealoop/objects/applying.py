"""What `sealoop apply` does: manifests in, server-side apply, one line an object.

Namespaces go first and CustomResourceDefinitions second, and what they define is waited for, so that one call may hold
a kind and its objects. An object that is refused does not keep the others from being applied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from gitops_core.errors import ApplyConflict, ClusterUnavailable, GitOpsError, KindUnknown
from gitops_core.meta import Kind, Manifest, ObjectRef
from gitops_core.ports import Cluster
from gitops_core.schema import cel
from sealoop.objects.files import sort
from sealoop.objects.kinds import CRD, explain, place, write_name

FIELD_MANAGER = "sealoop"
SERVED_SECONDS = 30.0
"""How long a new kind may take from its CustomResourceDefinition until it is served; mostly well under a second."""


@dataclass(frozen=True)
class Applying:
    """How to apply.

    Attributes:
        namespace: of manifests that name none.
        demanded: manifests that name another namespace are refused.
    """

    namespace: str
    demanded: bool = False
    field_manager: str = FIELD_MANAGER
    force: bool = False
    dry_run: bool = False


def tell_of_unchecked_rules() -> None:
    """Say what is not checked of the objects that this process is about to take by itself, if anything."""
    if not cel.is_installed():
        click.echo(f"Warning: {cel.UNCHECKED}", err=True)


async def apply_all(cluster: Cluster, manifests: Sequence[Manifest], how: Applying) -> int:
    """Apply and report each; returns how many were refused. Raises ClusterUnavailable: nobody answers."""
    failures = 0
    coming: set[tuple[str, str]] = set()  # (group, kind) of what CRDs that were just applied define
    for manifest in sort(manifests):
        kind = Kind.of_manifest(manifest)
        try:
            patience = SERVED_SECONDS if kind[::2] in coming else 0.0
            ref, verdict = await _apply_patiently(cluster, manifest, how, patience)
        except ClusterUnavailable as error:
            raise ClusterUnavailable(f"{error}; nothing more was tried") from error
        except GitOpsError as error:
            failures += 1
            click.echo(f"Error: {_advise(ObjectRef.of(manifest), error)}", err=True)
            continue
        if kind == CRD and not how.dry_run:
            coming.add((manifest["spec"]["group"], manifest["spec"]["names"]["kind"]))
        click.echo(f"{write_name(ref.kind, ref.key.name)} {verdict}{' (server dry run)' if how.dry_run else ''}")
    return failures


async def apply_one(cluster: Cluster, manifest: Manifest, how: Applying) -> tuple[ObjectRef, str]:
    """Apply one manifest; return its name, and `created`, `configured` or `unchanged`. Raises as Cluster.apply does."""
    wanted = await place(cluster, manifest, how.namespace, demanded=how.demanded)
    ref = ObjectRef.of(wanted)
    before = await cluster.get(ref)
    after = await cluster.apply(wanted, field_manager=how.field_manager, force=how.force, dry_run=how.dry_run)
    return ref, decide_verdict(before, after)


async def _apply_patiently(
    cluster: Cluster, manifest: Manifest, how: Applying, patience: float
) -> tuple[ObjectRef, str]:
    """Call apply_one(), again for `patience` seconds while the kind is not served yet."""
    waited = 0.0
    while True:
        try:
            return await apply_one(cluster, manifest, how)
        except KindUnknown:
            if waited >= patience:
                raise
            await asyncio.sleep(0.1)
            waited += 0.1


def decide_verdict(before: Manifest | None, after: Manifest) -> str:
    if before is None:
        return "created"
    old, new = (dict(m, metadata=_is_lasting(m["metadata"])) for m in (before, after))
    return "unchanged" if old == new else "configured"


def _is_lasting(metadata: Manifest) -> dict[str, Any]:
    # who owns a field may change without any change of the object
    return {name: value for name, value in metadata.items() if name not in ("managedFields", "resourceVersion")}


def _advise(ref: ObjectRef, error: GitOpsError) -> str:
    if isinstance(error, ApplyConflict):
        return f"{explain(ref, error)}; --force-conflicts takes them over"
    return explain(ref, error)


async def prepare(cluster: Cluster, definitions: Iterable[Manifest], manifests: Sequence[Manifest]) -> None:
    """Apply what an embedded cluster needs before the service works on it: our kinds, then the operator's manifests.

    Raises:
        GitOpsError: the first one that is refused, named.
    """
    how = Applying("default", force=True)
    for manifest in (*definitions, *sort(manifests)):
        try:
            await apply_one(cluster, manifest, how)
        except GitOpsError as error:
            error.args = (explain(ObjectRef.of(manifest), error),)
            raise
