"""The command line. Each command lives in its own module, which is imported only when it is used.

Kept light on purpose: `sealoop --help` and a typing mistake must answer at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

COMMANDS: Mapping[str, tuple[str, str]] = {
    # name: (module, what --help says of it)
    "run": ("sealoop.running", "Run the service: watch, reconcile, sync, bump."),
    "demo": ("sealoop.demo", "Show the whole loop once, on an embedded cluster."),
    "apply": ("sealoop.objects", "Apply manifests (server-side)."),
    "get": ("sealoop.objects", "Show objects."),
    "delete": ("sealoop.objects", "Delete objects by name or by manifest."),
    "crds": ("sealoop.crds", "Write the CustomResourceDefinitions."),
}


class Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[name][0]), name)
        assert isinstance(command, click.Command)  # noqa: S101  # a table of ours, checked by a test
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sealoop")
def main() -> None:
    """GitOps on Kubernetes in one small service.

    Git is the source of truth: `sealoop run` applies what it holds, turns values from Vault into Secrets, and commits
    new image tags back. Start with `sealoop demo`.
    """
