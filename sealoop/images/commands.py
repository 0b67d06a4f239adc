"""The words of the `sealoop images` commands that need a cluster, Git or a registry; what they do is beside."""

from __future__ import annotations

from pathlib import Path

import click

from sealoop.clusters import Connection, connection_options
from sealoop.objects import run

_namespace = click.option("-n", "--namespace", metavar="NAME", default="", help="Only its objects. Default: all.")
_output = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.command(
    epilog="""\b
Examples:
  SEALOOP_GIT_TOKEN=... sealoop images update --once -f fleet/automation -R
  SEALOOP_GIT_TOKEN=... sealoop images update --once --context prod -n shop
\b
Suspend the ImageUpdateAutomations in the cluster, and no token that may write needs to live there.
Exit codes: 0 all done (whether or not there was something to commit), 1 something failed."""
)
@connection_options
@click.option("--once", is_flag=True, required=True, help="One round, then end. `sealoop run` goes on for ever.")
@click.option("-f", "--filename", "files", multiple=True, metavar="FILE", help="The objects; default: the cluster's.")
@click.option("-R", "--recursive", is_flag=True, help="Folders of -f with all that is below them.")
@_namespace
@click.option("--git-username", metavar="NAME", default="git", show_default=True, envvar="SEALOOP_GIT_USERNAME")
@click.option(
    "--git-token-env",
    metavar="VARIABLE",
    default="SEALOOP_GIT_TOKEN",
    show_default=True,
    help="The variable that holds the token to push with; without it, the objects' own Secrets count.",
)
@click.option(
    "--docker-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Credentials for registries whose Secret is not among the objects. Default: what `docker login` keeps.",
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
    docker_config: Path | None,
    timeout: float,
    output: str,
) -> None:
    """Commit what the policies choose, once, outside the cluster.

    Lists the registries, lets the policies choose and the guards object, and pushes: the whole job of `sealoop run`,
    for a CI job with a short-lived token. The objects come from -f, or are read from the cluster.
    """

    async def work() -> int:
        import os

        from sealoop.files import manifests_in
        from sealoop.images import updating

        asked = updating.Once(
            manifests=manifests_in(files, recursive=recursive),
            connection=connection,
            namespace=namespace,
            username=git_username,
            token=os.environ.get(git_token_env, ""),
            docker_config=updating.docker_config(docker_config),
            timeout=timeout,
        )
        return updating.show(await updating.update_once(asked), output)

    run(work())


@click.command(
    "import",
    epilog="""\b
Examples:
  kubectl get applications,imageupdaters -n argocd -o yaml | sealoop images import -f - > images.yaml
  sealoop images import -f apps/ -R -n fleet
\b
Exit codes: 0 everything was translated, 1 something needs a person: it is said on standard error.""",
)
@click.option("-f", "--filename", "files", multiple=True, required=True, metavar="FILE", help="- is standard input.")
@click.option("-R", "--recursive", is_flag=True, help="Folders of -f with all that is below them.")
@click.option("-n", "--namespace", metavar="NAME", default="", help="Of the objects. Default: the Application's.")
def import_(files: tuple[str, ...], recursive: bool, namespace: str) -> None:
    """Turn Argo CD Image Updater's settings into objects.

    Reads Applications with its annotations and ImageUpdater resources; prints the equivalent ImageRepository,
    ImagePolicy, ImageUpdateAutomation and UpdateGuard, whose targets say where in Git the images stand.
    """
    import yaml

    from image_updater.domain.argo import import_argo
    from sealoop.files import manifests_in

    imported = import_argo(manifests_in(files, recursive=recursive), namespace)
    for note in imported.notes:
        click.echo(note, err=True)
    if imported.objects:
        click.echo(yaml.safe_dump_all(imported.objects, sort_keys=False), nl=False)
    raise SystemExit(1 if imported.notes else 0)
