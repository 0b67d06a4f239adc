"""`sealoop tree` and `trace`: only the words of the command line; tracing.py does it."""

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
