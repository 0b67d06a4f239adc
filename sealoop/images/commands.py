"""The words of the `sealoop images` commands that need a cluster, Git or a registry; what they do is beside."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from sealoop.clusters import Connection, connection_options, opened
from sealoop.objects.commands import run

_namespace = click.option(
    "-n", "--namespace", metavar="NAME", default="", help="Take the objects of this namespace only. Default: all."
)
_in_namespace = click.option(
    "-n", "--namespace", metavar="NAME", default="", help="Look in this namespace. Default: the context's."
)
_files = click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    metavar="FILE",
    help="Read the objects from this file. Default: the cluster's objects.",
)
_recursive = click.option("-R", "--recursive", is_flag=True, help="Read folders of -f with all that is below them.")
_output = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.command(
    epilog="""\b
Examples:
  SEALOOP_GIT_TOKEN=... sealoop images update --once -f fleet/automation -R
  SEALOOP_GIT_TOKEN=... sealoop images update --once --context prod -n shop --git-host git.example.com
\b
Suspend the ImageUpdateAutomations in the cluster, and no token that may write needs to live there.
Exit codes: 0 all done (whether or not there was something to commit), 1 something failed."""
)
@connection_options
@click.option("--once", is_flag=True, required=True, help="Make one round, then end. `sealoop run` goes on for ever.")
@_files
@_recursive
@_namespace
@click.option("--git-username", metavar="NAME", default="git", show_default=True, envvar="SEALOOP_GIT_USERNAME")
@click.option(
    "--git-token-env",
    metavar="VARIABLE",
    default="SEALOOP_GIT_TOKEN",
    show_default=True,
    help="Push with the token in this variable. Without it, the objects' own Secrets count.",
)
@click.option(
    "--git-host",
    metavar="HOST[:PORT]",
    default="",
    envvar="SEALOOP_GIT_HOST",
    help="Send the token to this host only. Default: where all automations push to, when that is one host.",
)
@click.option(
    "--docker-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take credentials of registries from here, where no Secret has them. Default: what `docker login` keeps.",
)
@click.option("--timeout", type=click.FloatRange(min=1), metavar="SECONDS", default=300.0, show_default=True)
@_output
def update(
    connection: Connection,
    once: bool,
    files: tuple[str, ...],
    recursive: bool,
    namespace: str,
    git_username: str,
    git_token_env: str,
    git_host: str,
    docker_config: Path | None,
    timeout: float,
    output: str,
) -> None:
    """Commit what the policies choose, once, outside the cluster.

    Lists the registries, lets the policies choose and the guards object, and pushes: the whole job of `sealoop run`,
    for a CI job with a short-lived token. The objects come from -f, or are read from the cluster. The token goes to one
    host, with TLS, and only for the automations of -n.
    """

    async def work() -> int:
        import os

        from sealoop.images import updating
        from sealoop.images.lending import Token
        from sealoop.objects.files import collect_manifests

        asked = updating.Once(
            manifests=collect_manifests(files, recursive=recursive),
            connection=connection,
            namespace=namespace,
            token=Token(value, git_username, git_host) if (value := os.environ.get(git_token_env, "")) else None,
            docker_config=updating.read_docker_config(docker_config),
            timeout=timeout,
        )
        return updating.show(await updating.update_once(asked), output)

    run(work())


@click.command(
    epilog="""\b
Examples:
  sealoop images explain app -n shop
  sealoop images explain app -n shop --all -o json | jq '.tags[] | select(.verdict == "too young")'
\b
It reads the cluster, lists the registry once and fetches the repositories; it writes nothing."""
)
@connection_options
@click.argument("policy", metavar="POLICY")
@_in_namespace
@click.option("--all", "everything", is_flag=True, help="Show every tag, not the first 20.")
@_output
def explain(connection: Connection, policy: str, namespace: str, everything: bool, output: str) -> None:
    """Say why a tag is chosen or not, and why there is or is no commit.

    Every tag's verdict, best first, and the state of every place in Git that follows the policy: applied, pending,
    held (by what, until when), unmatched, ambiguous or unparsable.
    """

    async def work() -> int:
        from gitops_core.meta import ObjectKey
        from sealoop.images import explaining

        async with opened(connection) as (cluster, usual):
            found = await explaining.explain(cluster, ObjectKey(namespace or usual, policy))
        explaining.show(found, output, everything)
        return 0

    run(work())


@click.command(
    epilog="""\b
Examples:
  sealoop images simulate app -n shop
  sealoop images simulate app -n shop -f stricter-policy.yaml --since 2026-10-01
  sealoop images simulate app -n shop --state-dir /var/lib/sealoop -o json
\b
Platforms and signatures are not recorded: they are taken for good."""
)
@connection_options
@click.argument("policy", metavar="POLICY")
@_in_namespace
@click.option(
    "-f",
    "--filename",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Decide as this ImagePolicy says, not the cluster's.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Read the history of a service that kept its state here. Default: what the cluster remembers of ages.",
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    metavar="DATE",
    help="Begin the replay at this time, in UTC.",
)
@_output
def simulate(
    connection: Connection,
    policy: str,
    namespace: str,
    file: Path | None,
    state_dir: Path | None,
    since: datetime | None,
    output: str,
) -> None:
    """Show what a policy would have chosen, and when, over the recorded history of tags."""

    async def work() -> int:
        from gitops_core.meta import ObjectKey
        from image_updater.commands.pick import read_policy
        from sealoop.images import simulating
        from sealoop.images.simulating import place_at

        moment = since.replace(tzinfo=UTC) if since is not None else None
        async with opened(connection) as (cluster, usual):
            key = ObjectKey(namespace or usual, policy)
            instead = place_at(read_policy(file, ""), key) if file is not None else None
            simulating.show(await simulating.simulate(cluster, key, instead, state_dir, moment), output)
        return 0

    run(work())


@click.command(
    epilog="""\b
Examples:
  sealoop images lint -f automation/ -R fleet/            objects from files, markers in fleet/
  sealoop images lint --context prod fleet/               objects from the cluster
\b
Exit codes: 0 no errors (there may be warnings), 1 errors, 2 wrong usage."""
)
@connection_options
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[FOLDER...]")
@_files
@_recursive
@click.option("--partial", is_flag=True, help="Report nothing as missing: there are other objects, too.")
@_namespace
@_output
def lint(
    connection: Connection,
    folders: tuple[Path, ...],
    files: tuple[str, ...],
    recursive: bool,
    partial: bool,
    namespace: str,
    output: str,
) -> None:
    """Find what cannot work: before it is committed, or where nothing happens.

    Ranges that no version satisfies, patterns that are none, policies without a repository, guards that cannot be
    read, promotions in a circle; in the files of FOLDER every place that cannot follow its policy, in the words of
    `edit` and of the service, values of which a marker would take more than is meant, and comments that are almost
    markers.
    """

    async def work() -> int:
        from dataclasses import replace

        from sealoop.images import linting
        from sealoop.objects.applying import tell_of_unchecked_rules
        from sealoop.objects.files import collect_manifests

        if files:
            tell_of_unchecked_rules()
            given, refused = linting.collect_given(collect_manifests(files, recursive=recursive), complete=not partial)
        else:
            async with opened(connection) as (cluster, _):
                given, refused = await linting.read_given(cluster, namespace), ()
            given = replace(given, complete=given.complete and not partial)
        return linting.show(linting.add_places(folders, given), refused, output)

    run(work())


@click.command(
    "import",
    epilog="""\b
Examples:
  kubectl get applications,applicationsets,imageupdaters -n argocd -o yaml | sealoop images import -f - > images.yaml
  sealoop images import -f apps/ -R -n fleet --path ./checkout
\b
Exit codes: 0 everything was translated, 1 something needs a person: it is said on standard error.""",
)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="Read this file; - is standard input.",
)
@_recursive
@click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    default="",
    help="Make the objects in this namespace. Default: the Application's.",
)
@click.option(
    "--path",
    "checkout",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="CHECKOUT",
    help="Put markers into the files of this checkout instead of declaring targets.",
)
def import_(files: tuple[str, ...], recursive: bool, namespace: str, checkout: Path | None) -> None:
    """Turn Argo CD Image Updater's settings into objects.

    Reads Applications with its annotations, templates in ApplicationSets, and ImageUpdater resources; prints the
    equivalent ImageRepository, ImagePolicy, ImageUpdateAutomation and UpdateGuard, whose targets say where in Git the
    images stand; with --path, markers in the files say it.
    """
    import yaml

    from sealoop.images.argo.translation import import_argo
    from sealoop.objects.files import collect_manifests

    imported = import_argo(collect_manifests(files, recursive=recursive), namespace)
    for note in imported.notes:
        click.echo(note, err=True)
    objects = list(imported.objects)
    if checkout is not None:
        from sealoop.images.importing import mark

        objects = mark(objects, checkout)
    if objects:
        click.echo(yaml.safe_dump_all(objects, sort_keys=False), nl=False)
    raise SystemExit(1 if imported.notes else 0)
