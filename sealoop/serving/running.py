"""`sealoop run`: the words of its command line. What it does is in service.py, imported when it runs."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from pathlib import Path
from typing import Literal

import click

from sealoop.clusters import Connection, connection_options
from sealoop.serving.locks import only_process_in
from sealoop.serving.settings import (
    LogStyle,
    Settings,
    get_default_hooks,
    get_default_identity,
    get_default_listen,
    get_default_state_dir,
)
from sealoop.serving.shards import Shard


@click.command(
    epilog="""\b
Examples:
  sealoop run --local ./state                      an embedded cluster, no Kubernetes needed
  sealoop run --local ./state -f manifests/ -R     with these objects in it
  sealoop run --context test --listen :9090        the cluster that kubectl talks to
  sealoop run --log-format json                    in a Pod: as its service account
  sealoop run --watch-label-selector '!sharding.fluxcd.io/key'
                                                   all objects but those that other processes have by their labels
\b
It ends with 0 after SIGTERM or SIGINT, when what is under way is finished; a second signal ends it at once.
kill -9 does no harm either: the next process goes on."""
)
@connection_options
@click.option("-f", "--filename", "files", multiple=True, metavar="FILE", help="With --local: apply these first.")
@click.option("-R", "--recursive", is_flag=True, help="Folders of -f with all that is below them.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Mirrors and tag catalog; may be lost without harm. Default: DIR/state, $XDG_STATE_HOME/sealoop.",
)
@click.option(
    "--listen", metavar="HOST:PORT", help='/metrics, /healthz, /readyz; "" for none. Default: none with --local, :8080.'
)
@click.option(
    "--hooks",
    metavar="HOST:PORT",
    help='Where registries\' webhooks arrive (see Receiver); "" for none. Default: none with --local, :9292.',
)
@click.option(
    "--watch-namespace", metavar="NAME", default="", help="Reconcile the objects of this namespace only. Default: all."
)
@click.option(
    "--watch-label-selector",
    metavar="SELECTOR",
    default="",
    help="Reconcile objects with these labels only, as 'sharding.fluxcd.io/key=shard1'. Default: all.",
)
@click.option(
    "--no-cross-namespace-refs",
    is_flag=True,
    help="Objects may not name sources, repositories and what a webhook wakes in other namespaces.",
)
@click.option(
    "--no-remote-bases/--remote-bases",
    default=True,
    help="Folders hold all that is built from them: that is always so, and said as Flux says it.",
)
@click.option(
    "--require-read-only-git",
    is_flag=True,
    help="A GitRepository whose remote would take a push is refused: its credential is to be read-only.",
)
@click.option(
    "--strict-substitutions/--no-strict-substitutions",
    default=True,
    show_default=True,
    help="A variable of spec.postBuild that is not set is an error; else it is empty.",
)
@click.option(
    "--default-service-account",
    metavar="NAME",
    help="With whose rights, in its own namespace, a Kustomization is applied that names no service account; as whom"
    " clouds and other clusters are asked for what names none.",
)
@click.option(
    "--plain-secrets",
    type=click.Choice(["ignore", "warn", "refuse"]),
    default="ignore",
    show_default=True,
    help="What becomes of Secrets whose values stand in a source as they are. Beside encrypted ones they are told of.",
)
@click.option(
    "--sops-age-secret",
    metavar="NAME",
    help="The Secret, in the namespace of the lease, with the age keys of Kustomizations that decrypt and name none.",
)
@click.option(
    "--sops-vault",
    "sops_vaults",
    multiple=True,
    metavar="ADDRESS",
    help="A Vault that SOPS may ask, by what its address begins with. Default: whichever an encrypted file names.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Another limit than the default, as build-memory=2Gi (see docs/operations.md).",
)
@click.option("--leader-election/--no-leader-election", default=True, show_default=True)
@click.option(
    "--lease-namespace",
    metavar="NAME",
    default="sealoop-system",
    show_default=True,
    envvar="POD_NAMESPACE",
    show_envvar=True,
)
@click.option(
    "--grace-period",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    help="To finish what is under way.",
)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def run(
    connection: Connection,
    files: tuple[str, ...],
    recursive: bool,
    state_dir: Path | None,
    listen: str | None,
    hooks: str | None,
    watch_namespace: str,
    watch_label_selector: str,
    no_cross_namespace_refs: bool,
    no_remote_bases: bool,
    require_read_only_git: bool,
    strict_substitutions: bool,
    default_service_account: str | None,
    plain_secrets: Literal["ignore", "warn", "refuse"],
    sops_age_secret: str | None,
    sops_vaults: tuple[str, ...],
    limits: tuple[str, ...],
    leader_election: bool,
    lease_namespace: str,
    grace_period: float,
    log_format: LogStyle,
    log_level: str,
) -> None:
    """Run the service: watch, reconcile, sync, bump."""
    if files and connection.local is None:
        raise click.UsageError("-f goes with --local; for a real cluster say `sealoop apply -f` or kubectl apply")
    try:
        shard = Shard.parse(watch_namespace, watch_label_selector)
    except ValueError as error:
        raise click.UsageError(f"--watch-namespace, --watch-label-selector: {error}") from error
    if not no_remote_bases:
        raise click.UsageError("--remote-bases: bases of other repositories are never built; copy them into this one")
    if default_service_account is not None:
        from gitops_core.domain.sync.targets import is_account_name

        if not is_account_name(default_service_account):  # also an empty one, which would be all that we may do
            name = repr(default_service_account)
            raise click.UsageError(f"--default-service-account: no ServiceAccount can be called {name}")
    from gitops_core.meta import ObjectKey
    from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
    from sealoop.serving.limits import apply_limits

    allowed = Policy(
        cross_namespace_references=not no_cross_namespace_refs,
        writable_git=not require_read_only_git,
        default_service_account=default_service_account or "",
        strict_substitutions=strict_substitutions,
        plain_secrets=plain_secrets,
        sops_age_secret=ObjectKey(lease_namespace, sops_age_secret) if sops_age_secret else None,
        sops_vaults=sops_vaults or DEFAULT_POLICY.sops_vaults,
        file_remotes=connection.local is not None,
    )
    try:
        policy = apply_limits(allowed, limits)
    except ValueError as error:
        raise click.UsageError(f"--limit: {error}") from error
    state = (state_dir or get_default_state_dir(connection.local)).absolute()
    listening = get_default_listen(connection.local) if listen is None else listen
    settings = Settings(
        connection=connection,
        files=files,
        recursive=recursive,
        state_dir=state,
        listen=listening,
        hooks=get_default_hooks(connection.local, listening) if hooks is None else hooks,
        shard=shard,
        policy=policy,
        leader_election=leader_election and connection.local is None,
        lease_namespace=lease_namespace,
        identity=f"{get_default_identity()}-{hashlib.sha256(str(state).encode()).hexdigest()[:8]}",
        grace_period=grace_period,
    )
    from sealoop.logs import configure

    configure(log_format, log_level)
    try:
        _run(settings)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(settings: Settings) -> None:
    """Work until asked to stop.

    What can be refused by a look at the files is, before the service is imported, which takes a second.
    """
    import asyncio
    import gc

    from gitops_core.errors import GitOpsError
    from sealoop.objects.files import collect_manifests

    with contextlib.ExitStack() as stack:
        for folder in settings.exclusive:
            stack.enter_context(only_process_in(folder))
        manifests = collect_manifests(settings.files, recursive=settings.recursive)
        from sealoop.serving.service import serve

        gc.collect()
        gc.freeze()  # what was imported stays: collections, which stop everything, look at the rest alone
        try:
            asyncio.run(serve(settings, manifests))
        except GitOpsError as error:
            raise click.ClickException(str(error)) from error
