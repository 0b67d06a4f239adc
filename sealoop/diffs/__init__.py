"""`sealoop diff`: only the words of the command line; comparing.py does it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sealoop.clusters import Connection, connection_options, opened
from sealoop.objects.commands import run


@click.command(
    epilog="""\b
Examples:
  sealoop diff app
  sealoop diff ks/app -n shop -o markdown
  sealoop diff -A

Exit codes: 0 nothing would change, 3 something would, 1 a Kustomization would fail, or cannot be compared."""
)
@connection_options
@click.argument("words", nargs=-1, metavar="[[ks] NAME... | ks/NAME...]")
@click.option(
    "-n", "--namespace", metavar="NAME", help="Use this namespace. Default: the kubeconfig context's, or default."
)
@click.option("-A", "--all-namespaces", is_flag=True, help="Compare the Kustomizations of all namespaces.")
@click.option(
    "--impersonate", is_flag=True, help="Ask with the rights of spec.serviceAccountName, as the service does."
)
@click.option(
    "--other-clusters",
    is_flag=True,
    help="Ask the clusters of spec.kubeConfig too: objects are sent there for a dry-run.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True)
def diff(
    connection: Connection,
    words: Sequence[str],
    namespace: str | None,
    all_namespaces: bool,
    impersonate: bool,
    other_clusters: bool,
    output: str,
) -> None:
    """Show what the next reconciliation of Kustomizations would change in the cluster, and write nothing.

    The files are those that the source has fetched: they are read again from where it says, with the credentials that
    its Secret holds, so both have to be in reach of you. The API server is asked what it would make of every object.
    What differs from what was applied is marked as drift, with who set it. Values of Secrets are not shown.

    Without names it shows all of the namespace. With a checkout at hand, `sealoop plan` shows what that would change.
    """
    changes = 0

    async def work() -> int:
        nonlocal changes
        from sealoop.diffs.comparing import Asking, open_differ, show_differences

        is_local = connection.local is not None
        async with (
            opened(connection) as (cluster, usual),
            open_differ(cluster, is_local=is_local, impersonates=impersonate, is_abroad=other_clusters) as differ,
        ):
            how = Asking(namespace or usual, all_namespaces, output)
            changes, failures = await show_differences(differ, words, how)
        return failures

    run(work(), lambda: 3 if changes else 0)
