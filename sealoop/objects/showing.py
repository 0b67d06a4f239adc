"""What `sealoop get` does: objects as tables, YAML, JSON or names, once or for as long as they change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from gitops_core.errors import ClusterError, ClusterUnavailable, Expired, Forbidden, NotFound
from gitops_core.meta import Manifest, ObjectKey, ObjectRef
from gitops_core.ports import ApiResource, Cluster, Query, Unreadable
from sealoop.objects import printing
from sealoop.objects.kinds import CRD, Asked, find_asked, parse_ref, write_name

LAST_RETRY = 10.0


@dataclass(frozen=True)
class Showing:
    """How to show.

    Attributes:
        output: wide, yaml, json or name; "" for a table.
        status: a condition and the status that it has, as ("ready", "false"); None for all objects.
    """

    namespace: str
    all_namespaces: bool = False
    selector: str = ""
    output: str = ""
    watch: bool = False
    ignore_not_found: bool = False
    managed_fields: bool = False
    status: tuple[str, str] | None = None

    def fits(self, live: Manifest) -> bool:
        """Tell whether an object has the status. One that says nothing of a condition does not know it."""
        if self.status is None:
            return True
        type_, wanted = self.status
        found = (one for one in printing.find_at(live, ".status.conditions[*]") if isinstance(one, Mapping))
        told = [str(one.get("status")) for one in found if str(one.get("type")).lower() == type_.lower()]
        return (told[-1] if told else "Unknown").lower() == wanted.lower()


async def show(cluster: Cluster, words: Sequence[str], how: Showing) -> int:
    """Print what is asked for; returns how many named objects there are not, and how often looking is forbidden.

    Raises:
        UsageError: the words and the options do not go together.
    """
    asked = await find_asked(cluster, words)
    named = sum(len(names) for _, names in asked)
    check(how, named, len(asked))
    found: list[tuple[Asked, list[Manifest]]] = []
    failures = 0
    answers = await asyncio.gather(*(_find(cluster, one, how) for one in asked))
    for one, (manifests, errors, _) in zip(asked, answers, strict=True):
        found.append((one, manifests))
        told = [error for error in errors if not (how.ignore_not_found and isinstance(error, NotFound))]
        failures += len(told)
        for error in told:
            click.echo(f"Error: {error}", err=True)
    if failures and not how.watch and not any(manifests for _, manifests in found):
        return failures
    display = Display(how, several=len(asked) > 1)
    if how.watch:
        for (one, manifests), (_, _, version) in zip(found, answers, strict=True):
            await _follow(cluster, one, manifests, version, display, how)
    elif how.output in ("yaml", "json"):
        display.print_document([m for _, manifests in found for m in manifests], single=named == 1)
    else:
        await _print_tables(cluster, found, display, how, named)
    return failures


def check(how: Showing, named: int, kinds: int) -> None:
    if named and how.all_namespaces:
        raise click.UsageError("an object cannot be named across all namespaces: leave out its name, or -A")
    if named and how.selector:
        raise click.UsageError("a label selector chooses objects: leave out their names, or -l")
    if named and how.status is not None:
        raise click.UsageError("a status chooses objects: leave out their names, or --status-selector")
    if how.watch and (kinds > 1 or named > 1):
        raise click.UsageError("-w watches one kind, all its objects or one of them")


def get_scope(served: ApiResource, how: Showing) -> str:
    return "" if how.all_namespaces or not served.namespaced else how.namespace


async def _find(cluster: Cluster, asked: Asked, how: Showing) -> tuple[list[Manifest], list[ClusterError], str]:
    """Return the objects, why others are not among them, and where a watch goes on."""
    served, names = asked
    if not names or how.watch:
        query = Query(served.kind, get_scope(served, how), how.selector, names[0] if names else "")
        try:
            found, version = await list_all(cluster, query)
        except Forbidden as error:
            if how.watch:
                raise
            return [], [error], ""
        missing = [NotFound(parse_ref(served, query.namespace, name)) for name in names if not found]
        return printing.sort_for_reading(served.kind, filter(how.fits, found)), [*missing], version
    live: list[Manifest] = []
    errors: list[ClusterError] = []
    for name in names:
        ref = parse_ref(served, how.namespace, name)
        try:
            manifest = await cluster.get(ref)
        except Forbidden as error:
            errors.append(error)
        else:
            if manifest is None:
                errors.append(NotFound(ref))
            else:
                live.append(manifest)
    return live, errors, ""


async def list_all(cluster: Cluster, query: Query) -> tuple[list[Manifest], str]:
    """List every object that the query finds, whole, and where a watch goes on."""
    while True:
        try:
            return await _list_pages(cluster, query)
        except Expired:  # the list took minutes: begin again
            await asyncio.sleep(0.1)


async def _list_pages(cluster: Cluster, query: Query) -> tuple[list[Manifest], str]:
    found: list[Manifest] = []
    token = ""
    header = {"apiVersion": query.kind.api_version, "kind": query.kind.kind}
    while True:
        page = await cluster.list(query, dict[str, Any], continue_token=token)
        found += [{**header, **item} for item in page.items if not isinstance(item, Unreadable)]
        token = page.continue_token
        if not token:
            return found, page.resource_version


async def _print_tables(
    cluster: Cluster, found: Sequence[tuple[Asked, list[Manifest]]], display: Display, how: Showing, named: int
) -> None:
    blocks = [(asked.served, manifests) for asked, manifests in found if manifests]
    for number, (served, manifests) in enumerate(blocks):
        if number and how.output != "name":
            click.echo()
        await display.begin(cluster, served)
        display.print_rows(manifests)
    if not blocks and not named:
        is_everywhere = how.all_namespaces or not any(asked.served.namespaced for asked, _ in found)
        where = "" if is_everywhere else f" in {how.namespace} namespace"
        click.echo(f"No resources found{where}.", err=True)


async def _follow(
    cluster: Cluster, asked: Asked, manifests: list[Manifest], version: str, display: Display, how: Showing
) -> None:
    """Show the objects, then what changes, until interrupted. Raises KindUnknown when the kind goes."""
    if asked.names and not manifests:
        return
    query = Query(asked.served.kind, get_scope(asked.served, how), how.selector, asked.names[0] if asked.names else "")
    if how.output not in ("yaml", "json"):
        await display.begin(cluster, asked.served)
    display.print_changes(manifests)
    async for manifest in follow_changes(cluster, query, manifests, version):
        if how.fits(manifest):
            display.print_changes([manifest])


async def follow_changes(
    cluster: Cluster, query: Query, shown: Sequence[Manifest], version: str, *, deletions: bool = True
) -> AsyncIterator[Manifest]:
    """Follow every object that changes, as it is then (as it was last, when it is deleted).

    A watch that ends goes on; one that is too far behind lists again, and yields what is not as `shown`.

    Args:
        deletions: yield what is deleted, too.
    """
    known = {_get_key(m): m["metadata"]["resourceVersion"] for m in shown}
    failures = 0
    while True:
        try:
            if not version:
                found, version = await list_all(cluster, query)
                for manifest in found:
                    if known.get(_get_key(manifest)) != manifest["metadata"]["resourceVersion"]:
                        known[_get_key(manifest)] = manifest["metadata"]["resourceVersion"]
                        yield manifest
            async for event in cluster.watch(query, dict[str, Any], version):
                version, failures = event.resource_version or version, 0
                if event.object is not None and not isinstance(event.object, Unreadable):
                    known[_get_key(event.object)] = event.object["metadata"]["resourceVersion"]
                    if deletions or event.type != "DELETED":
                        yield event.object
        except Expired:
            version = ""
        except ClusterUnavailable as error:
            failures += 1
            if failures == 1:
                click.echo(f"Warning: {error}; trying again", err=True)
        await asyncio.sleep(min(0.25 * 2**failures, LAST_RETRY))


def _get_key(manifest: Manifest) -> ObjectKey:
    metadata = manifest["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])


class Display:
    """Prints objects in the form asked for. A table's columns keep their widths while it is watched."""

    def __init__(self, how: Showing, *, several: bool) -> None:
        self.how, self.several = how, several
        self.table: printing.Table | None = None

    async def begin(self, cluster: Cluster, served: ApiResource) -> None:
        """Begin a table for objects of this kind."""
        columns = () if self.how.output == "name" else await find_columns(cluster, served)
        self.table = printing.Table(
            columns,
            served.kind,
            wide=self.how.output == "wide",
            namespaces=self.how.all_namespaces and served.namespaced,
            kinds=self.several,
        )

    def print_rows(self, manifests: Sequence[Manifest]) -> None:
        if self.table is None:
            raise RuntimeError("begin() comes first")
        if self.how.output == "name":
            lines = [write_name(self.table.kind, m["metadata"]["name"]) for m in manifests]
        else:
            lines = self.table.write_lines(manifests, datetime.now(UTC))
        for line in lines:
            click.echo(line)

    def print_document(self, manifests: Sequence[Manifest], *, single: bool) -> None:
        whole = [self._reduce(m) for m in manifests]
        several = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": whole}
        self._write(whole[0] if single and whole else several)

    def print_changes(self, manifests: Sequence[Manifest]) -> None:
        if self.how.output not in ("yaml", "json"):
            self.print_rows(manifests)
            return
        for manifest in manifests:
            if self.how.output == "yaml":
                click.echo("---")
            self._write(self._reduce(manifest))

    def _write(self, document: Manifest) -> None:
        click.echo(
            printing.write_yaml(document) if self.how.output == "yaml" else printing.write_json(document), nl=False
        )

    def _reduce(self, manifest: Manifest) -> Manifest:
        if self.how.managed_fields:
            return manifest
        metadata = {name: value for name, value in manifest["metadata"].items() if name != "managedFields"}
        return {**manifest, "metadata": metadata}


async def find_columns(cluster: Cluster, served: ApiResource) -> tuple[printing.Column, ...]:
    """Return the columns of a kind: ours for built-in kinds, else those of its CustomResourceDefinition."""
    if (known := printing.BUILT_IN.get((served.kind.group, served.kind.kind))) is not None:
        return known
    crd = None
    if "." in served.kind.group:
        try:
            crd = await cluster.get(ObjectRef(CRD, ObjectKey("", f"{served.plural}.{served.kind.group}")))
        except Forbidden:
            pass  # who may read objects may not always read what defines them
        except ClusterError as error:
            click.echo(f"Warning: columns left out: {error}", err=True)
    return printing.make_declared_columns(served.kind, crd)
