"""What `sealoop reconcile`, `suspend` and `resume` do: ask the service by the object, and wait for its answer there.

    kinds of Flux's family     annotation reconcile.fluxcd.io/requestedAt, answered by status.lastHandledReconcileAt
    External Secrets' kinds    annotation force-sync, answered by another status

Nothing is asked of the service itself: whoever may write the object may ask, from anywhere.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_type_hints

import click
import msgspec

from gitops_core.errors import GitOpsError, NotFound
from gitops_core.meta import Manifest, ObjectRef, Resource
from gitops_core.ports import Cluster, Query
from sealoop.objects.kinds import Asked, explain, find_asked, parse_ref, write_name
from sealoop.objects.reading import find_condition, find_source, find_source_name
from sealoop.objects.showing import follow_changes, list_all
from sealoop.terminals import make_visible

REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
FORCE_SYNC = "force-sync"
MANAGER = "sealoop"


class Refused(click.ClickException):
    """Something that cannot be asked of this object; the message names it."""


@dataclass(frozen=True)
class Asking:
    """How to ask.

    Attributes:
        everything: all objects of the kinds that are named.
        with_source: have what the object is made from looked at first.
        wait: for the answer, `timeout` seconds at most.
    """

    namespace: str
    everything: bool = False
    with_source: bool = False
    wait: bool = True
    timeout: float | None = None


async def reconcile_all(cluster: Cluster, words: Sequence[str], how: Asking) -> int:
    """Have each object reconciled now; returns how many did not end well."""

    async def reconcile(ref: ObjectRef, kind: type[Resource]) -> None:
        live = await _get(cluster, ref)
        if how.with_source:
            source = await _find_source(cluster, live)
            await _reconcile(cluster, await _get(cluster, source), await _find_kind(source), how)
        await _reconcile(cluster, live, kind, how)

    return await _for_each(cluster, words, how, reconcile)


async def suspend_all(cluster: Cluster, words: Sequence[str], how: Asking) -> int:
    """Have the service leave each object alone; returns how many could not be told so."""

    async def suspend(ref: ObjectRef, kind: type[Resource]) -> None:
        await _set_suspend(cluster, ref, kind, value=True)
        click.echo(f"{write_name(ref.kind, ref.key.name)} suspended")

    return await _for_each(cluster, words, how, suspend)


async def resume_all(cluster: Cluster, words: Sequence[str], how: Asking) -> int:
    """Have the service take each object up again, at once; returns how many did not end well."""

    async def resume(ref: ObjectRef, kind: type[Resource]) -> None:
        await _set_suspend(cluster, ref, kind, value=False)
        click.echo(f"{write_name(ref.kind, ref.key.name)} resumed")
        await _request(cluster, ref, how)

    return await _for_each(cluster, words, how, resume)


async def _reconcile(cluster: Cluster, live: Manifest, kind: type[Resource], how: Asking) -> None:
    ref = ObjectRef.of(live)
    if (live.get("spec") or {}).get("suspend"):
        raise Refused(f"{ref} is suspended: sealoop resume {kind.PLURAL} {ref.key.name}")
    await _request(cluster, ref, how)


async def _for_each(
    cluster: Cluster, words: Sequence[str], how: Asking, work: Callable[[ObjectRef, type[Resource]], Any]
) -> int:
    """Do the work for each object that is named, whatever becomes of the others."""
    failures = 0
    for asked in await find_asked(cluster, words):
        try:
            refs = await _list_refs(cluster, asked, how)
        except GitOpsError as error:
            failures += 1
            click.echo(f"Error: {make_visible(str(error))}", err=True)
            continue
        for ref in refs:
            try:
                await work(ref, await _find_kind(ref))
            except click.ClickException as error:
                failures += 1
                click.echo(f"Error: {make_visible(error.message)}", err=True)
            except GitOpsError as error:
                failures += 1
                click.echo(f"Error: {explain(ref, error)}", err=True)
    return failures


async def _list_refs(cluster: Cluster, asked: Asked, how: Asking) -> list[ObjectRef]:
    if not how.everything:
        return [parse_ref(asked.served, how.namespace, name) for name in asked.names]
    scope = how.namespace if asked.served.namespaced else ""
    found, _ = await list_all(cluster, Query(asked.served.kind, scope))
    if not found:
        click.echo(f"no {asked.served.plural} in {how.namespace} namespace", err=True)
    return [parse_ref(asked.served, scope, manifest["metadata"]["name"]) for manifest in found]


async def _find_kind(ref: ObjectRef) -> type[Resource]:
    """Find our class of an object. Raises Refused: nobody here reconciles it."""
    from sealoop.wiring import KINDS  # takes a second to import

    for kind in KINDS:
        if (kind.KIND.group, kind.KIND.kind) == (ref.kind.group, ref.kind.kind):
            return kind
    names = ", ".join(sorted(kind.PLURAL for kind in KINDS))
    raise Refused(f"{ref} is nothing that Sealoop reconciles: that is {names}")


async def _get(cluster: Cluster, ref: ObjectRef) -> Manifest:
    live = await cluster.get(ref)
    if live is None:
        raise NotFound(ref)
    return live


async def _find_source(cluster: Cluster, live: Manifest) -> ObjectRef:
    """Find what an object is made from, as its spec names it. Raises Refused: it names nothing."""
    ref = ObjectRef.of(live)
    if (source := find_source_name(live)) is None:
        raise Refused(f"{ref} is made from no other object: leave out --with-source")
    group, named = source
    if (found := await find_source(cluster, named, ref.key.namespace, group)) is None:
        raise Refused(f"{ref} is made from a {named['kind']}, which the cluster does not serve")
    return found


async def _set_suspend(cluster: Cluster, ref: ObjectRef, kind: type[Resource], *, value: bool) -> None:
    if "suspend" not in _list_spec_fields(kind):
        raise Refused(f"{ref} cannot be suspended: a {ref.kind.kind} has no spec.suspend")
    live = await _get(cluster, ref)
    if bool((live.get("spec") or {}).get("suspend")) != value:
        await cluster.patch(ref, {"spec": {"suspend": value}}, field_manager=MANAGER)


def _list_spec_fields(kind: type[Resource]) -> tuple[str, ...]:
    spec = get_type_hints(kind)["spec"]
    return tuple(field.encode_name for field in msgspec.structs.fields(spec))


async def _request(cluster: Cluster, ref: ObjectRef, how: Asking) -> None:
    """Ask for a look, and wait for what comes of it. Raises Refused with the reason when that is not good."""
    token = datetime.now(UTC).isoformat()
    is_secret = ref.kind.group.startswith("external-secrets")
    patch = {"metadata": {"annotations": {FORCE_SYNC if is_secret else REQUESTED_AT: token}}}
    asked = await cluster.patch(ref, patch, field_manager=MANAGER)
    name = write_name(ref.kind, ref.key.name)
    if not how.wait:
        click.echo(f"{name} asked to be reconciled")
        return
    before = asked.get("status") or {}
    try:
        async with asyncio.timeout(how.timeout):
            live = await _wait(cluster, asked, lambda live: _is_answered(live, token, before if is_secret else None))
    except TimeoutError:
        why = f"no answer within {how.timeout:g} s: does the service run, and is this object one of its shard?"
        raise Refused(f"{ref}: {_tell(await _get(cluster, ref)) or why}") from None
    ready = find_condition(live, "Ready")
    if ready.get("status") != "True":
        raise Refused(f"{ref}: {ready.get('reason', 'not ready')}: {ready.get('message', '')}")
    click.echo(make_visible(f"{name} reconciled: {ready.get('message', '')}"))


async def _wait(cluster: Cluster, asked: Manifest, is_answered: Callable[[Manifest], bool]) -> Manifest:
    """Wait until the object answers, and say what it does meanwhile, on a terminal. Raises NotFound."""
    ref, told = ObjectRef.of(asked), ""
    query = Query(ref.kind, ref.key.namespace, name=ref.key.name)
    async for live in follow_changes(cluster, query, (), ""):
        if await cluster.get(ref) is None:
            raise NotFound(ref)
        if is_answered(live):
            return live
        if (tells := _tell(live)) != told and sys.stderr.isatty():
            click.echo(f"  {make_visible(tells)}", err=True)
            told = tells
    raise NotFound(ref)


def _is_answered(live: Manifest, token: str, before: Mapping[str, Any] | None) -> bool:
    """Tell whether a look that began after the question has ended.

    Args:
        before: the status at that time, of a kind that does not answer by the token.
    """
    status, generation = live.get("status") or {}, live["metadata"].get("generation")
    ready, reconciling = find_condition(live, "Ready"), find_condition(live, "Reconciling")
    if before is not None:
        return bool(ready) and status != before
    is_current = ready.get("observedGeneration", generation) == generation
    is_ended = ready.get("status") in ("True", "False") and reconciling.get("reason") != "Progressing"
    return status.get("lastHandledReconcileAt") == token and is_current and is_ended


def _tell(live: Manifest) -> str:
    """Tell what an object is at, in its own words."""
    found = find_condition(live, "Reconciling") or find_condition(live, "Ready")
    return str(found.get("message", ""))
