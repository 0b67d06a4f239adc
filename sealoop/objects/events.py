"""What `sealoop events` does: the Events about our objects, in the order in which they were seen, once or as they come.

    nothing named    about any object of our kinds
    KIND, KIND/NAME  about these
    --for KIND/NAME  about this one, what it is made from, what it applied, and what came of that (belonging.py)

Events of an object stand in its namespace; those of objects without one in `default`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import click

from gitops_core.errors import NotFound
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster, Query
from sealoop.objects import printing
from sealoop.objects.belonging import Family, Identity, find_roots
from sealoop.objects.kinds import find_asked, parse_ref
from sealoop.objects.showing import Display, Showing, follow_changes, list_all

EVENT = Kind("", "v1", "Event")
COLUMNS = (
    printing.Column("LAST SEEN", 0, printing.write_last_seen),
    printing.Column("TYPE", 0, printing.make_cell(".type")),
    printing.Column("REASON", 0, printing.make_cell(".reason")),
    printing.Column("OBJECT", 0, printing.write_concerned),
    printing.Column("MESSAGE", 0, printing.make_cell(".message")),
)


@dataclass(frozen=True)
class Asking:
    """Which Events, and how to show them.

    Attributes:
        types: Normal or Warning; empty for both.
        output: yaml or json; "" for a table.
    """

    namespace: str
    all_namespaces: bool = False
    types: frozenset[str] = frozenset()
    output: str = ""
    watch: bool = False


@dataclass(frozen=True)
class Chosen:
    """Which objects' Events are shown.

    Attributes:
        kinds: all objects of these, as (group, kind).
        refs: these objects.
        family: what belongs to some of them.
        missing: those that were named and are not there; their Events may be, for an hour.
    """

    kinds: frozenset[tuple[str, str]] = frozenset()
    refs: frozenset[ObjectRef] = frozenset()
    family: Family | None = None
    missing: tuple[ObjectRef, ...] = ()

    def list_namespaces(self, how: Asking) -> tuple[str, ...]:
        """List where their Events are; "" for all namespaces."""
        if how.all_namespaces:
            return ("",)
        own = [how.namespace] if self.kinds else []
        return tuple(dict.fromkeys([*own, *sorted({ref.key.namespace or "default" for ref in self.refs})]))

    async def has(self, event: Manifest) -> bool:
        about = read_concerned(event)
        if (about.kind.group, about.kind.kind) in self.kinds or about.identity in self._identities:
            return True
        return self.family is not None and await self.family.holds(about)

    @cached_property
    def _identities(self) -> frozenset[Identity]:
        return frozenset(ref.identity for ref in self.refs)


def read_concerned(event: Manifest) -> ObjectRef:
    """Read which object an Event is about: anything may stand there."""
    about: Mapping[str, Any] = event.get("involvedObject") or {}
    kind = Kind.of(str(about.get("apiVersion") or ""), str(about.get("kind") or ""))
    return ObjectRef(kind, ObjectKey(str(about.get("namespace") or ""), str(about.get("name") or "")))


async def show_events(cluster: Cluster, words: Sequence[str], whole: Sequence[str], how: Asking) -> int:
    """Print the Events; returns how many of the named objects are not there, and have none.

    Args:
        words: kinds, or objects.
        whole: objects that are shown with all that belongs to them, as KIND/NAME.
    """
    chosen = await _choose(cluster, words, whole, how)
    namespaces = chosen.list_namespaces(how)
    lists = [await list_all(cluster, Query(EVENT, namespace)) for namespace in namespaces]
    found = [event for events, _ in lists for event in events if _has_type(event, how) and await chosen.has(event)]
    found = printing.sort_for_reading(EVENT, found)
    told = {read_concerned(event).identity for event in found}
    lost = [ref for ref in chosen.missing if ref.identity not in told]
    for ref in lost:
        click.echo(f"Error: {NotFound(ref)}", err=True)
    display = Display(Showing(how.namespace, output=how.output), several=False)
    display.table = printing.Table(COLUMNS, EVENT, namespaces=namespaces == ("",) or len(namespaces) > 1)
    if how.watch:
        display.print_changes(found)
        await _follow(cluster, chosen, how, dict(zip(namespaces, lists, strict=True)), display)
    elif how.output:
        display.print_document(found, single=False)
    elif found:
        display.print_rows(found)
    elif not lost:
        where = "" if namespaces == ("",) else f" in {', '.join(namespaces)} namespace"
        click.echo(f"No events found{where}.", err=True)
    return len(lost)


async def _choose(cluster: Cluster, words: Sequence[str], whole: Sequence[str], how: Asking) -> Chosen:
    if not words and not whole:
        from sealoop.wiring import KINDS  # takes a second to import

        return Chosen(kinds=frozenset((kind.KIND.group, kind.KIND.kind) for kind in KINDS))
    asked, wholly = [await find_asked(cluster, some) if some else [] for some in (words, whole)]
    kinds = frozenset((one.served.kind.group, one.served.kind.kind) for one in asked if not one.names)
    alone, roots = [
        [parse_ref(one.served, how.namespace, name) for one in some for name in one.names] for some in (asked, wholly)
    ]
    if how.all_namespaces and (alone or roots):
        raise click.UsageError("an object cannot be named across all namespaces: leave out its name, or -A")
    missing = [ref for ref in dict.fromkeys([*alone, *roots]) if await cluster.get(ref) is None]
    belonging: list[ObjectRef] = []
    for ref in roots:
        found = await find_roots(cluster, ref)
        belonging += found.refs
        if found.is_elsewhere:
            click.echo(f"{ref}: what it applied is in another cluster (spec.kubeConfig), and its events too", err=True)
    family = Family(cluster, belonging) if roots else None
    return Chosen(kinds, frozenset([*alone, *belonging]), family, tuple(missing))


def _has_type(event: Manifest, how: Asking) -> bool:
    return not how.types or event.get("type") in how.types


async def _follow(
    cluster: Cluster, chosen: Chosen, how: Asking, lists: Mapping[str, tuple[list[Manifest], str]], display: Display
) -> None:
    """Show what comes, until interrupted."""
    if chosen.family is not None:
        chosen.family.is_growing = True

    async def follow(namespace: str, shown: list[Manifest], version: str) -> None:
        query = Query(EVENT, namespace)
        async for event in follow_changes(cluster, query, shown, version, deletions=False):
            if _has_type(event, how) and await chosen.has(event):
                display.print_changes([event])

    try:
        async with asyncio.TaskGroup() as group:
            for namespace, listed in lists.items():
                group.create_task(follow(namespace, *listed))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
