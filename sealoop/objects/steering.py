"""`sealoop reconcile`, `suspend` and `resume`: only the words of the command line; asking.py does it.

Exit codes: 0 done, 1 something failed, 2 the command line makes no sense, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from sealoop.clusters import Connection, connection_options, opened
from sealoop.objects.commands import parse_seconds, run

_namespace = click.option(
    "-n", "--namespace", metavar="NAME", help="Use this namespace. Default: the kubeconfig context's, or default."
)
_everything = click.option("--all", "everything", is_flag=True, help="All objects of KIND in the namespace.")
_wait = click.option("--no-wait", is_flag=True, help="Ask, and do not wait for what comes of it.")
_timeout = click.option(
    "--timeout", metavar="DURATION", default="5m", show_default=True, help="Wait for so long: 30s, 5m."
)
_words = click.argument("words", nargs=-1, required=True, metavar="KIND NAME... | KIND/NAME...")


@click.command(
    epilog="""\b
Examples:
  sealoop reconcile ks app --with-source
  sealoop reconcile externalsecret/web-database -n shop
  sealoop reconcile gitrepo --all --no-wait"""
)
@connection_options
@_words
@_namespace
@_everything
@click.option("--with-source", is_flag=True, help="Have what it is made from looked at first.")
@_wait
@_timeout
def reconcile(
    connection: Connection,
    words: Sequence[str],
    namespace: str | None,
    everything: bool,
    with_source: bool,
    no_wait: bool,
    timeout: str,
) -> None:
    """Have objects reconciled now, and wait for the result.

    It ends with 1 when one of them is not Ready then, and prints why.
    """
    how = {"everything": everything, "with_source": with_source, "wait": not no_wait}
    _ask("reconcile_all", connection, words, namespace, timeout, **how)


@click.command(
    epilog="""\b
Examples:
  sealoop suspend ks app
  sealoop suspend imageupdateautomations --all"""
)
@connection_options
@_words
@_namespace
@_everything
def suspend(connection: Connection, words: Sequence[str], namespace: str | None, everything: bool) -> None:
    """Leave objects alone until they are resumed: nothing of theirs is applied, read, deleted or committed."""
    _ask("suspend_all", connection, words, namespace, "", everything=everything)


@click.command(
    epilog="""\b
Examples:
  sealoop resume ks app
  sealoop resume imageupdateautomations --all --no-wait"""
)
@connection_options
@_words
@_namespace
@_everything
@_wait
@_timeout
def resume(
    connection: Connection, words: Sequence[str], namespace: str | None, everything: bool, no_wait: bool, timeout: str
) -> None:
    """Take suspended objects up again, and wait for the result."""
    _ask("resume_all", connection, words, namespace, timeout, everything=everything, wait=not no_wait)


def _ask(
    deed: str, connection: Connection, words: Sequence[str], namespace: str | None, timeout: str, **how: Any
) -> None:
    is_whole_kind = len(words) == 1 and "/" not in words[0]
    if is_whole_kind != how["everything"]:
        said = "say which: by name, or --all of them" if is_whole_kind else "the objects are named: leave out --all"
        raise click.UsageError(said)
    limit = parse_seconds(timeout or None)

    async def work() -> int:
        from sealoop.objects import asking

        do: Callable[..., Any] = getattr(asking, deed)
        async with opened(connection) as (cluster, usual):
            return int(await do(cluster, words, asking.Asking(namespace or usual, timeout=limit, **how)))

    run(work())
