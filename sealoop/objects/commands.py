"""`sealoop apply`, `get` and `delete`: kubectl's habits, for the embedded cluster and for real ones.

Only the words of the command line are here. What the commands do is in applying.py, showing.py and deleting.py, which
are imported when a command runs: `--help` and a typing mistake answer at once.

Exit codes: 0 done, 1 something failed, 2 the command line makes no sense, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, cast

import click

from sealoop.clusters import Connection, connection_options, opened
from sealoop.terminals import make_visible

_files = click.option(
    "-f", "--filename", "files", multiple=True, metavar="FILE", help="Read a file, a folder, or - for standard input."
)
_recursive = click.option("-R", "--recursive", is_flag=True, help="Read folders with all that is below them.")
_namespace = click.option(
    "-n", "--namespace", metavar="NAME", help="Use this namespace. Default: the kubeconfig context's, or default."
)
_dry_run = click.option(
    "--dry-run",
    type=click.Choice(["none", "server"]),
    is_flag=False,
    flag_value="server",
    default="none",
    help="Ask what would happen; write nothing.",
)


def run(work: Coroutine[Any, Any, int], find_code: Callable[[], int] = lambda: 0) -> None:
    """Run a command to the end of the process: its failures become one line and exit code 1.

    Args:
        find_code: the exit code when nothing failed.
    """
    import asyncio
    import logging

    from gitops_core.errors import GitOpsError
    from sealoop.logs import configure

    if not logging.root.handlers:
        configure("text", "error")  # what failed is told by what the command prints
    try:
        failures = asyncio.run(work)
    except GitOpsError as error:
        raise click.ClickException(make_visible(str(error))) from error
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(1 if failures else find_code())


@click.command(
    epilog="""\b
Examples:
  sealoop apply --local ./state -f app.yaml
  sealoop apply -f manifests/ --recursive --dry-run
  kustomize build overlays/test | sealoop apply -n test -f -"""
)
@connection_options
@_files
@_recursive
@_namespace
@click.option("--field-manager", metavar="NAME", default="sealoop", show_default=True)
@click.option("--force-conflicts", is_flag=True, help="Take fields over that other managers own.")
@click.option("--server-side", is_flag=True, hidden=True, help="Accepted as for kubectl; every apply is server-side.")
@_dry_run
def apply(
    connection: Connection,
    files: Sequence[str],
    recursive: bool,
    namespace: str | None,
    field_manager: str,
    force_conflicts: bool,
    server_side: bool,
    dry_run: str,
) -> None:
    """Apply manifests (server-side).

    Namespaces and CustomResourceDefinitions go first, so one call may hold a kind and its objects. An object that is
    refused does not keep the others from being applied.
    """
    if not files:
        raise click.UsageError("say what to apply: -f FILE, -f FOLDER, or -f - for standard input")

    async def work() -> int:
        from sealoop.objects.applying import Applying, apply_all, tell_of_unchecked_rules
        from sealoop.objects.files import collect_manifests

        manifests = collect_manifests(files, recursive=recursive)
        if connection.local is not None:
            tell_of_unchecked_rules()
        async with opened(connection, make=True) as (cluster, usual):
            where, demanded = namespace or usual, namespace is not None
            how = Applying(where, demanded, field_manager, force_conflicts, dry_run != "none")
            return await apply_all(cluster, manifests, how)

    run(work())


@click.command(
    epilog="""\b
KIND is any name of a kind, several with commas between them, a category, or all for every kind of Sealoop's:
  ks, kustomizations, kustomization.kustomize.toolkit.fluxcd.io, ks,gitrepo, fluxcd-sources, all
\b
Examples:
  sealoop get all -A
  sealoop get all -A --status-selector ready=false
  sealoop get ks/app -o yaml
  sealoop get deployments -A -l app=web -w
  sealoop get events"""
)
@connection_options
@click.argument("words", nargs=-1, required=True, metavar="KIND [NAME...] | KIND/NAME...")
@_namespace
@click.option("-A", "--all-namespaces", is_flag=True)
@click.option(
    "-l", "--selector", metavar="LABELS", default="", help="Show only objects with these labels: app=web,tier!=db."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["wide", "yaml", "json", "name"]),
    help="Print in this format. Default: a table.",
)
@click.option(
    "--status-selector",
    "status",
    metavar="CONDITION=STATUS",
    default="",
    help="Show only objects with this condition: ready=false, healthy=unknown.",
)
@click.option("-w", "--watch", is_flag=True, help="Go on and show what changes.")
@click.option("--ignore-not-found", is_flag=True, help="Succeed when a named object is not there.")
@click.option("--show-managed-fields", is_flag=True, help="With yaml and json, show who owns which field.")
def get(
    connection: Connection,
    words: Sequence[str],
    namespace: str | None,
    all_namespaces: bool,
    selector: str,
    output: str | None,
    status: str,
    watch: bool,
    ignore_not_found: bool,
    show_managed_fields: bool,
) -> None:
    """Show objects.

    A table has the columns of kubectl's; a Secret's shows how many values it holds, never the values.
    """
    chosen = _parse_status(status)

    async def work() -> int:
        from sealoop.objects.showing import Showing, show

        async with opened(connection) as (cluster, usual):
            how = Showing(
                namespace=namespace or usual,
                all_namespaces=all_namespaces,
                selector=selector,
                output=output or "",
                watch=watch,
                ignore_not_found=ignore_not_found,
                managed_fields=show_managed_fields,
                status=chosen,
            )
            return await show(cluster, words, how)

    run(work())


def _parse_status(text: str) -> tuple[str, str] | None:
    type_, equals, status = text.partition("=")
    if text and not (type_ and equals and status):
        raise click.BadParameter(f"{text!r} is not CONDITION=STATUS, as ready=false", param_hint="--status-selector")
    return (type_, status) if text else None


@click.command(
    epilog="""\b
Examples:
  sealoop delete ks app --local ./state
  sealoop delete ks/app gitrepo/app --timeout 1m
  sealoop delete externalsecrets -l team=shop
  sealoop delete -f app.yaml --ignore-not-found"""
)
@connection_options
@click.argument("words", nargs=-1, metavar="[KIND NAME... | KIND/NAME...]")
@_files
@_recursive
@_namespace
@click.option("-l", "--selector", metavar="LABELS", default="", help="Delete all objects of KIND with these labels.")
@click.option("--all", "everything", is_flag=True, help="Delete all objects of KIND in the namespace.")
@click.option("--ignore-not-found", is_flag=True, help="Count an object that is not there as deleted.")
@click.option(
    "--wait", type=bool, metavar="BOOL", default=True, show_default=True, help="Wait until finalizers have run."
)
@click.option("--no-wait", is_flag=True, help="Do not wait: the same as --wait=false.")
@click.option("--timeout", metavar="DURATION", help="Wait for so long: 30s, 5m. Default: as long as it takes.")
@click.option(
    "--cascade",
    type=click.Choice(["background", "foreground", "orphan"]),
    default="background",
    show_default=True,
    help="Say what happens to objects that they own.",
)
@_dry_run
def delete(
    connection: Connection,
    words: Sequence[str],
    files: Sequence[str],
    recursive: bool,
    namespace: str | None,
    selector: str,
    everything: bool,
    ignore_not_found: bool,
    wait: bool,
    no_wait: bool,
    timeout: str | None,
    cascade: str,
    dry_run: str,
) -> None:
    """Delete objects by name, by label, or by manifest.

    Objects with finalizers are gone when their controllers have cleaned up; Ctrl-C stops the waiting, not the deletion.
    """
    _check_what(words, files, selector, everything)
    limit = parse_seconds(timeout)

    async def work() -> int:
        from sealoop.objects.deleting import Deleting, delete_all
        from sealoop.objects.files import collect_manifests

        manifests = collect_manifests(files, recursive=recursive)
        async with opened(connection) as (cluster, usual):
            how = Deleting(
                namespace=namespace or usual,
                demanded=namespace is not None,
                selector=selector,
                ignore_not_found=ignore_not_found or everything or bool(selector),
                dry_run=dry_run != "none",
                wait=wait and not no_wait,
                timeout=limit,
                cascade=cast(Literal["background", "foreground", "orphan"], cascade),
            )
            return await delete_all(cluster, words, manifests, how)

    run(work())


def _check_what(words: Sequence[str], files: Sequence[str], selector: str, everything: bool) -> None:
    """Raise UsageError unless it is clear what is to be deleted: never a whole kind by a forgotten word."""
    if bool(words) == bool(files):
        raise click.UsageError("say what to delete: KIND NAME..., KIND/NAME..., or -f FILE")
    is_whole_kind = len(words) == 1 and "/" not in words[0]
    if files and (selector or everything):
        raise click.UsageError("-f names the objects: leave out -l and --all")
    if is_whole_kind and not (selector or everything):
        raise click.UsageError(f"say which {words[0]} to delete: by name, with -l LABELS, or --all of them")
    if words and not is_whole_kind and (selector or everything):
        raise click.UsageError("the objects are named: leave out -l and --all")
    if selector and everything:
        raise click.UsageError("-l chooses some, --all takes all: leave one out")


def parse_seconds(duration: str | None) -> float | None:
    from gitops_core.meta import parse_duration

    try:
        limit = None if duration is None else parse_duration(duration)
    except ValueError:
        raise click.BadParameter(f"{duration!r} is not a duration like 30s or 5m", param_hint="--timeout") from None
    if limit is not None and limit < 0:
        raise click.BadParameter("must not be negative", param_hint="--timeout")
    return limit or None
