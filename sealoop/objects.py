"""`sealoop apply`, `get` and `delete`: kubectl's habits, for the embedded cluster and for real ones.

Enough of kubectl to use the embedded cluster by hand: kinds by any of their names (`ks`, `kustomizations`,
`kustomization.kustomize.toolkit.fluxcd.io`), manifests from files, folders and standard input, tables.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gitops_core.domain.manifests import read_manifests
from gitops_core.errors import GitOpsError, NotFound
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import ApiResource, Cluster, Query, Unreadable
from sealoop import printing
from sealoop.clusters import Connection, connection_options, opened

FIELD_MANAGER = "sealoop"
MANIFEST_ENDINGS = (".yaml", ".yml", ".json")
CRD = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command; what goes wrong becomes one line and exit code 1."""
    try:
        asyncio.run(work)
    except GitOpsError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(130)


@click.command()
@connection_options
@click.option(
    "-f", "--filename", "files", multiple=True, required=True, help="A file, a folder (with all below), or -."
)
@click.option("-n", "--namespace", default="default", show_default=True, help="For manifests that name none.")
@click.option("--field-manager", default=FIELD_MANAGER, show_default=True)
@click.option("--force-conflicts", is_flag=True, help="Take fields over that other managers own.")
@click.option("--dry-run", is_flag=True, help="Ask what would happen; write nothing.")
def apply(
    connection: Connection,
    files: Sequence[str],
    namespace: str,
    field_manager: str,
    force_conflicts: bool,
    dry_run: bool,
) -> None:
    """Apply manifests (server-side)."""

    async def work() -> None:
        async with opened(connection) as cluster:
            failures = 0
            for manifest in manifests_in(files):
                try:
                    placed, ref = await in_namespace(cluster, manifest, namespace)
                    before = await cluster.get(ref)
                    after = await cluster.apply(
                        placed, field_manager=field_manager, force=force_conflicts, dry_run=dry_run
                    )
                    click.echo(f"{await plural_name(cluster, ref)} {verdict(before, after)}{' (dry run)' * dry_run}")
                except GitOpsError as error:
                    failures += 1
                    click.echo(f"Error: {ObjectRef.of(manifest)}: {error}", err=True)
            if failures:
                raise SystemExit(1)

    run(work())


@click.command()
@connection_options
@click.argument("what", metavar="KIND[/NAME]|all")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("-A", "--all-namespaces", is_flag=True)
@click.option("-l", "--selector", default="", help="A label selector: app=web,tier!=db")
@click.option("-o", "--output", type=click.Choice(["wide", "yaml", "json", "name"]), help="Default: a table.")
@click.option("-w", "--watch", is_flag=True, help="Go on and show what changes.")
def get(
    connection: Connection,
    what: str,
    names: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    selector: str,
    output: str | None,
    watch: bool,
) -> None:
    """Show objects."""

    async def work() -> None:
        async with opened(connection) as cluster:
            kinds, wanted = await kinds_named(cluster, what, names)
            for served in kinds:
                scope = "" if all_namespaces or not served.namespaced else namespace
                query = Query(served.kind, scope, selector)
                found, version = await listed(cluster, query, wanted)
                if missing := [name for name in wanted if name not in {m["metadata"]["name"] for m in found}]:
                    raise NotFound(ObjectRef(served.kind, ObjectKey(scope, missing[0])))
                crd = await cluster.get(ObjectRef(CRD, ObjectKey("", f"{served.plural}.{served.kind.group}")))
                show = Display(
                    served, crd, output, namespaces=all_namespaces and served.namespaced, several=len(kinds) > 1
                )
                show.objects(found, single=len(wanted) == 1)
                if watch:
                    async for manifest in changes(cluster, query, wanted, version):
                        show.change(manifest)

    run(work())


@click.command()
@connection_options
@click.argument("what", required=False, metavar="[KIND[/NAME]]")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("-f", "--filename", "files", multiple=True, help="Delete what these manifests name.")
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("--ignore-not-found", is_flag=True)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until finalizers have run.")
def delete(
    connection: Connection,
    what: str | None,
    names: tuple[str, ...],
    files: Sequence[str],
    namespace: str,
    ignore_not_found: bool,
    wait: bool,
) -> None:
    """Delete objects by name or by manifest."""

    async def work() -> None:
        async with opened(connection) as cluster:
            refs = [(await in_namespace(cluster, m, namespace))[1] for m in manifests_in(files)]
            if what is not None:
                (served, *_), wanted = await kinds_named(cluster, what, names)
                if not wanted:
                    raise click.UsageError(f"say which {served.plural} to delete, by name")
                refs += [ObjectRef(served.kind, ObjectKey(namespace if served.namespaced else "", n)) for n in wanted]
            for ref in refs:
                try:
                    await cluster.delete(ref)
                except NotFound:
                    if ignore_not_found:
                        continue
                    raise
                click.echo(f"{await plural_name(cluster, ref)} deleted")
                if wait:
                    await gone(cluster, ref)

    if not files and what is None:
        raise click.UsageError("name a kind and objects, or -f FILE")
    run(work())


def manifests_in(places: Sequence[str]) -> list[Manifest]:
    """The objects in files, folders (every manifest below, in path order) and `-`, which is standard input."""
    files: dict[str, bytes] = {}
    for place in places:
        path = Path(place)
        if place == "-":
            files["standard input"] = sys.stdin.buffer.read()
        elif path.is_dir():
            below = sorted(p for p in path.rglob("*") if p.suffix in MANIFEST_ENDINGS and p.is_file())
            files |= {str(path): path.read_bytes() for path in below}
        elif path.is_file():
            files[place] = path.read_bytes()
        else:
            raise click.ClickException(f"no file or folder {place!r}")
    try:
        return list(read_manifests(files))
    except GitOpsError as error:
        raise click.ClickException(str(error)) from error


async def in_namespace(cluster: Cluster, manifest: Manifest, namespace: str) -> tuple[Manifest, ObjectRef]:
    """`manifest` with `namespace` where its kind has one and it names none, and what it is then called."""
    served = await cluster.resource(Kind.of_manifest(manifest))
    metadata = dict(manifest["metadata"])
    if served.namespaced:
        metadata.setdefault("namespace", namespace)
    placed = {**manifest, "metadata": metadata}
    return placed, ObjectRef.of(placed)


async def plural_name(cluster: Cluster, ref: ObjectRef) -> str:
    """`deployment.apps/web`, as kubectl's `-o name` and its reports say it."""
    group = f".{ref.kind.group}" if ref.kind.group else ""
    return f"{ref.kind.kind.lower()}{group}/{ref.key.name}"


def verdict(before: Manifest | None, after: Manifest) -> str:
    if before is None:
        return "created"
    old, new = (
        dict(m, metadata={**m["metadata"], "managedFields": None, "resourceVersion": ""}) for m in (before, after)
    )
    return "unchanged" if old == new else "configured"


async def kinds_named(cluster: Cluster, what: str, names: tuple[str, ...]) -> tuple[list[ApiResource], tuple[str, ...]]:
    """The kinds that `what` means, and the names asked for: `KIND/NAME`, `KIND NAME...`, `KIND,KIND`, or a category."""
    if "/" in what:
        what, _, name = what.partition("/")
        names = (name, *names)
    served = await cluster.resources()
    kinds = [match for word in what.split(",") for match in matches(served, word)]
    return kinds, names


def matches(served: Sequence[ApiResource], word: str) -> list[ApiResource]:
    """The kinds that a person calls `word`: plural, singular, short name, kind, any of them with `.group`, a category.

    Raises:
        ClickException: no kind is called that.
    """
    name, _, group = word.lower().partition(".")
    found = [
        s
        for s in served
        if name in {s.plural, s.kind.kind.lower(), *s.short_names} and (not group or s.kind.group.startswith(group))
    ]
    if found:
        return found[:1]
    if grouped := [s for s in served if word in s.categories]:
        return grouped
    raise click.ClickException(f"the server has no kind called {word!r}")


async def listed(cluster: Cluster, query: Query, names: Sequence[str]) -> tuple[list[Manifest], str]:
    """Every object the query finds whose name is among `names` (all when empty), and where a watch goes on."""
    found: list[Manifest] = []
    token, version = "", ""
    while True:
        page = await cluster.list(query, dict[str, Any], continue_token=token)
        found += [
            m for m in page.items if not isinstance(m, Unreadable) and (not names or m["metadata"]["name"] in names)
        ]
        token, version = page.continue_token, page.resource_version
        if not token:
            return found, version


async def changes(cluster: Cluster, query: Query, names: Sequence[str], version: str) -> AsyncIterator[Manifest]:
    while True:
        async for event in cluster.watch(query, dict[str, Any], version):
            version = event.resource_version
            manifest = event.object
            if isinstance(manifest, dict) and (not names or manifest["metadata"]["name"] in names):
                yield manifest


async def gone(cluster: Cluster, ref: ObjectRef) -> None:
    """Wait until the object is not there any more."""
    found, version = await listed(cluster, query := Query(ref.kind, ref.key.namespace, name=ref.key.name), ())
    while found:
        async for event in cluster.watch(query, dict[str, Any], version):
            version = event.resource_version
            if event.type == "DELETED":
                return


class Display:
    """Prints objects of one kind in the form asked for."""

    def __init__(
        self, served: ApiResource, crd: Manifest | None, output: str | None, *, namespaces: bool, several: bool
    ) -> None:
        self.served, self.output, self.namespaces, self.several = served, output, namespaces, several
        self.columns = printing.columns_of(served.kind, crd)

    def objects(self, found: list[Manifest], *, single: bool) -> None:
        api_version, kind = self.served.kind.api_version, self.served.kind.kind
        whole = [{"apiVersion": api_version, "kind": kind, **m} for m in found]
        document = whole[0] if single and whole else {"apiVersion": "v1", "kind": "List", "items": whole}
        match self.output:
            case "yaml":
                click.echo(printing.as_yaml(document), nl=False)
            case "json":
                click.echo(printing.as_json(document), nl=False)
            case "name":
                for manifest in whole:
                    click.echo(self.name(manifest))
            case _ if not found:
                if not self.several:
                    click.echo("No resources found", err=True)
            case _:
                self.lines(found)

    def change(self, manifest: Manifest) -> None:
        """One object that changed; a table's heading is not repeated."""
        match self.output:
            case "yaml":
                click.echo("---\n" + printing.as_yaml(manifest), nl=False)
            case "json":
                click.echo(printing.as_json(manifest), nl=False)
            case "name":
                click.echo(self.name(manifest))
            case _:
                self.lines([manifest], heading=False)

    def lines(self, found: list[Manifest], *, heading: bool = True) -> None:
        def name(manifest: Manifest) -> str:
            return self.name(manifest) if self.several else str(manifest["metadata"]["name"])

        wide, now = self.output == "wide", datetime.now(UTC)
        lines = printing.table(found, self.columns, now, wide=wide, namespaces=self.namespaces, names=name)
        for line in lines[0 if heading else 1 :]:
            click.echo(line)

    def name(self, manifest: Manifest) -> str:
        group = f".{self.served.kind.group}" if self.served.kind.group else ""
        return f"{self.served.kind.kind.lower()}{group}/{manifest['metadata']['name']}"
