"""What `sealoop delete` does: all are asked to go, then it is waited until they are gone.

Objects with finalizers go when their controllers have cleaned up; what is waited for is said on standard error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

from gitops_core.errors import (
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    GitOpsError,
    Invalid,
    KindUnknown,
    NotFound,
)
from gitops_core.meta import Manifest, ObjectRef
from gitops_core.ports import Cluster, Query
from sealoop.objects.kinds import NAMESPACE, explain, find_asked, parse_ref, place, write_name
from sealoop.objects.showing import list_all

QUIET_SECONDS = 2.0
"""Most objects are gone by then: nothing need be said."""


@dataclass(frozen=True)
class Deleting:
    """How to delete.

    Attributes:
        selector: chooses among the objects of a kind that is asked for without names.
        timeout: seconds to wait for finalizers; None for as long as it takes.
    """

    namespace: str
    demanded: bool = False
    selector: str = ""
    ignore_not_found: bool = False
    dry_run: bool = False
    wait: bool = True
    timeout: float | None = None
    cascade: Literal["background", "foreground", "orphan"] = "background"


async def delete_all(cluster: Cluster, words: Sequence[str], manifests: Sequence[Manifest], how: Deleting) -> int:
    """Delete and report each; returns how many could not be."""
    failures = 0
    going: list[tuple[ObjectRef, str]] = []
    async for found in _choose(cluster, words, manifests, how):
        if isinstance(found, str):
            failures += 1
            click.echo(f"Error: {found}", err=True)
            continue
        try:
            going += await _delete(cluster, found, how)
        except NotFound as error:
            failures += not how.ignore_not_found
            if not how.ignore_not_found:
                click.echo(f"Error: {explain(found, error)}", err=True)
        except (Forbidden, Conflict, Invalid, BadRequest) as error:
            failures += 1
            click.echo(f"Error: {explain(found, error)}", err=True)
    if how.wait and not how.dry_run:
        try:
            async with asyncio.timeout(how.timeout):
                for ref, uid in going:
                    await wait_until_gone(cluster, ref, uid)
        except TimeoutError:
            raise click.ClickException(
                "timed out: the objects are being deleted, but not all of them are gone"
            ) from None
    return failures


async def _delete(cluster: Cluster, ref: ObjectRef, how: Deleting) -> list[tuple[ObjectRef, str]]:
    """Returns what to wait for: nothing, where we may delete and not look."""
    try:
        live = await cluster.get(ref)
    except Forbidden:
        uid = ""
    else:
        if live is None:
            raise NotFound(ref)
        uid = live["metadata"]["uid"]
    propagations: dict[str, Literal["Background", "Foreground", "Orphan"]]
    propagations = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}
    await cluster.delete(ref, uid=uid, propagation=propagations[how.cascade], dry_run=how.dry_run)
    click.echo(f"{write_name(ref.kind, ref.key.name)} deleted{' (server dry run)' if how.dry_run else ''}")
    return [(ref, uid)] if uid else []


async def _choose(
    cluster: Cluster, words: Sequence[str], manifests: Sequence[Manifest], how: Deleting
) -> AsyncIterator[ObjectRef | str]:
    """Yield what to delete, or why one of them cannot be."""
    for manifest in manifests:
        try:
            yield ObjectRef.of(await place(cluster, manifest, how.namespace, demanded=how.demanded))
        except KindUnknown:
            if not how.ignore_not_found:  # its CRD may have gone before it, and it with that
                yield f"{ObjectRef.of(manifest)} not found: the cluster does not serve its kind"
        except GitOpsError as error:
            yield explain(ObjectRef.of(manifest), error)
    for served, names in await find_asked(cluster, words) if words else ():
        if names:
            for name in names:
                yield parse_ref(served, how.namespace, name)
            continue
        scope = how.namespace if served.namespaced else ""
        found, _ = await list_all(cluster, Query(served.kind, scope, how.selector))
        if not found:
            click.echo(f"no {served.plural} to delete", err=True)
        for manifest in found:
            yield parse_ref(served, scope, manifest["metadata"]["name"])


async def wait_until_gone(cluster: Cluster, ref: ObjectRef, uid: str) -> None:
    """Wait until the object is not there any more, and say what holds it when that takes long."""
    telling = asyncio.create_task(_tell_what_is_waited_for(cluster, ref))
    try:
        while await _is_there(cluster, ref, uid):
            await _wait_until_deleted(cluster, ref, uid)
    finally:
        telling.cancel()


async def _is_there(cluster: Cluster, ref: ObjectRef, uid: str) -> bool:
    try:
        live = await cluster.get(ref)
    except KindUnknown:
        return False
    return live is not None and live["metadata"]["uid"] == uid


async def _wait_until_deleted(cluster: Cluster, ref: ObjectRef, uid: str) -> None:
    """Wait until the object is deleted, or the watch ended and it is time to look again."""
    query = Query(ref.kind, ref.key.namespace, name=ref.key.name)
    try:
        found, version = await list_all(cluster, query)
        if not found:
            return
        async for event in cluster.watch(query, dict[str, Any], version):
            if event.type == "DELETED":
                return
    except (Expired, KindUnknown):
        pass
    await asyncio.sleep(0.2)  # a server that ends watches at once must not make us spin


async def _tell_what_is_waited_for(cluster: Cluster, ref: ObjectRef) -> None:
    told_last: list[str] = []
    await asyncio.sleep(QUIET_SECONDS)
    while (live := await cluster.get(ref)) is not None:
        held = list(live["metadata"].get("finalizers") or [])
        if ref.kind == NAMESPACE:
            held += (live.get("spec") or {}).get("finalizers") or []
        if held and held != told_last:
            name = write_name(ref.kind, ref.key.name)
            click.echo(
                f"waiting for {name}: its controller has yet to remove {', '.join(held)} (Ctrl-C stops waiting)",
                err=True,
            )
            told_last = held
        await asyncio.sleep(QUIET_SECONDS)
