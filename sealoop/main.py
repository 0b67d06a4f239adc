"""The command line. Each command lives in its own module, which is imported only when it is used.

Kept light on purpose: `sealoop --help` and a typing mistake must answer at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from sealoop.lazy import LazyGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    # name: (module, what --help says of it)
    "run": ("sealoop.serving.running", "Run the service: watch, reconcile, sync, bump."),
    "demo": ("sealoop.demo", "Show the whole loop once, on an embedded cluster."),
    "apply": ("sealoop.objects.commands", "Apply manifests (server-side)."),
    "get": ("sealoop.objects.commands", "Show objects."),
    "delete": ("sealoop.objects.commands", "Delete objects by name or by manifest."),
    "reconcile": ("sealoop.objects.steering", "Have objects reconciled now, and wait for the result."),
    "suspend": ("sealoop.objects.steering", "Leave objects alone until they are resumed."),
    "resume": ("sealoop.objects.steering", "Take suspended objects up again."),
    "plan": ("sealoop.objects.looking", "Show what a Kustomization would do with a checkout."),
    "diff": ("sealoop.diffs", "Show what the next reconciliation would change."),
    "tree": ("sealoop.objects.looking", "Show what Kustomizations applied, down to the Pods."),
    "trace": ("sealoop.objects.looking", "Show where objects come from, up to the commit."),
    "events": ("sealoop.objects.looking", "Show what happened to objects, and to what they applied."),
    "images": ("sealoop.images", "Look at, try out and make image updates."),
    "secrets": ("sealoop.secrets", "Look after secrets in Git."),
    "push": ("sealoop.artifacts", "Push files to a registry, for an OCIRepository."),
    "pull": ("sealoop.artifacts", "Pull an artifact's files from a registry."),
    "rbac": ("sealoop.generating.rbac", "Print the roles that the service needs."),
    "crds": ("sealoop.generating.crds", "Write the CustomResourceDefinitions, or print them."),
    "fields": ("sealoop.generating.fields", "Write the tables of fields into the pages of the kinds."),
}


CONNECTION = ("-n", "--namespace", "--local", "--kubeconfig", "--context")
"""Options that kubectl takes before the command too."""


def put_command_first(args: Sequence[str]) -> list[str]:
    """Put the command first, and the options of CONNECTION behind it.

    >>> put_command_first(["-n", "shop", "--local=./state", "get", "ks"])
    ['get', '-n', 'shop', '--local=./state', 'ks']
    >>> put_command_first(["-nshop", "get", "ks"])
    ['get', '-nshop', 'ks']
    """
    place = 0
    while place < len(args):
        if args[place] in CONNECTION:
            place += 2
        elif args[place].partition("=")[0] in CONNECTION or (args[place].startswith("-n") and len(args[place]) > 2):
            place += 1
        else:
            break
    return [*args[place : place + 1], *args[:place], *args[place + 1 :]]


class Commands(LazyGroup):
    """The commands of COMMANDS; options that kubectl takes first may stand first."""

    table = COMMANDS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, put_command_first(args))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1)
            meant = f" Did you mean {near[0]!r}?" if near else f" There is {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {args[0]!r}.{meant}")


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  sealoop demo                                     see it work, in a minute
  sealoop run --local ./state                      without Kubernetes
  sealoop crds - | kubectl apply --server-side -f -
  sealoop run                                      on the cluster that kubectl talks to""",
)
@click.version_option(package_name="sealoop")
def main() -> None:
    """GitOps on Kubernetes in one small service.

    Git is the source of truth: `sealoop run` applies what it holds, turns values from Vault into Secrets, and commits
    new image tags back. Start with `sealoop demo`.
    """
