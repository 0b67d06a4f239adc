"""`sealoop plan`, `tree`, `trace` and `events`: only the words of the command line.

What they do is in previewing.py, tracing.py and events.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from sealoop.clusters import Connection, connection_options, opened
from sealoop.objects.commands import run

_namespace = click.option(
    "-n", "--namespace", metavar="NAME", help="Use this namespace. Default: the kubeconfig context's, or default."
)
_output = click.option("-o", "--output", type=click.Choice(["json"]), help="Print in this format. Default: text.")


@click.command(
    epilog="""\b
Examples:
  sealoop plan ks/app --checkout .
  sealoop plan -f clusters/prod/app.yaml -o markdown

Exit codes: 0 nothing would change, 3 something would, 1 it would fail."""
)
@connection_options
@click.argument("words", nargs=-1, metavar="[ks NAME | ks/NAME]")
@click.option("-f", "--filename", "file", metavar="FILE", help="Read the Kustomization from this file.")
@click.option("--checkout", metavar="DIR", default=".", show_default=True, help="The files of its source.")
@_namespace
@click.option("-o", "--output", type=click.Choice(["json", "markdown"]), help="Print in this format. Default: text.")
def plan(
    connection: Connection,
    words: Sequence[str],
    file: str | None,
    checkout: str,
    namespace: str | None,
    output: str | None,
) -> None:
    """Show what a Kustomization would do with the files of a checkout, and write nothing.

    The API server is asked what it would make of every object. Values of Secrets are not shown.
    """
    if bool(words) == bool(file) or len(words) > 2:
        raise click.UsageError("say which Kustomization: ks/NAME, or -f FILE")
    changes = 0

    async def work() -> int:
        nonlocal changes
        from sealoop.objects.previewing import preview

        async with opened(connection) as (cluster, usual):
            changes = await preview(cluster, words, file, checkout, namespace or usual, output or "text")
        return 0

    run(work(), lambda: 3 if changes else 0)


@click.command(
    epilog="""\b
Examples:
  sealoop tree ks app
  sealoop tree ks -n shop -o json"""
)
@connection_options
@click.argument("words", nargs=-1, required=True, metavar="ks [NAME...] | ks/NAME...")
@_namespace
@_output
def tree(connection: Connection, words: Sequence[str], namespace: str | None, output: str | None) -> None:
    """Show what Kustomizations applied, down to the Pods, and how each of it is.

    Without names it shows all of the namespace; a Kustomization within another is opened too.
    """

    async def work() -> int:
        from sealoop.objects.tracing import show_trees

        async with opened(connection) as (cluster, usual):
            return await show_trees(cluster, words, namespace or usual, as_json=output == "json")

    run(work())


@click.command(
    epilog="""\b
Examples:
  sealoop trace deployment web -n shop
  sealoop trace configmap/colours -o json"""
)
@connection_options
@click.argument("words", nargs=-1, required=True, metavar="KIND NAME... | KIND/NAME...")
@_namespace
@_output
def trace(connection: Connection, words: Sequence[str], namespace: str | None, output: str | None) -> None:
    """Show where objects come from: their Kustomization, its source, the revision and the commit."""
    if len(words) == 1 and "/" not in words[0]:
        raise click.UsageError(f"say which {words[0]}: KIND NAME or KIND/NAME")

    async def work() -> int:
        from sealoop.objects.tracing import show_traces

        async with opened(connection) as (cluster, usual):
            return await show_traces(cluster, words, namespace or usual, as_json=output == "json")

    run(work())


@click.command(
    epilog="""\b
Examples:
  sealoop events -A --types Warning
  sealoop events ks/app gitrepo/fleet
  sealoop events --for ks/app --watch"""
)
@connection_options
@click.argument("words", nargs=-1, metavar="[KIND [NAME...] | KIND/NAME...]")
@click.option(
    "--for",
    "whole",
    multiple=True,
    metavar="KIND/NAME",
    help="Show those of this object, of its source, of what it applied, and of what came of that, down to the Pods.",
)
@_namespace
@click.option("-A", "--all-namespaces", is_flag=True, help="Show those of all namespaces.")
@click.option("--types", metavar="TYPE,...", default="", help="Show only Normal ones, or Warning.")
@click.option("-w", "--watch", is_flag=True, help="Go on and show what comes.")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), help="Print in this format. Default: a table.")
def events(
    connection: Connection,
    words: Sequence[str],
    whole: Sequence[str],
    namespace: str | None,
    all_namespaces: bool,
    types: str,
    watch: bool,
    output: str | None,
) -> None:
    """Show Events, the newest last: of all objects of Sealoop's kinds, or of those that are named.

    Kubernetes keeps an Event for an hour. Those of objects of any kind: sealoop get events.
    """
    chosen = _parse_types(types)
    if wrong := [one for one in whole if "/" not in one]:
        raise click.UsageError(f"--for takes one object, as {wrong[0]}/NAME")

    async def work() -> int:
        from sealoop.objects.events import Asking, show_events

        async with opened(connection) as (cluster, usual):
            how = Asking(namespace or usual, all_namespaces, chosen, output or "", watch)
            return await show_events(cluster, words, whole, how)

    run(work())


def _parse_types(text: str) -> frozenset[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if wrong := [name for name in names if name.capitalize() not in ("Normal", "Warning")]:
        raise click.BadParameter(f"{wrong[0]!r} is none: Normal, Warning", param_hint="--types")
    return frozenset(map(str.capitalize, names))
