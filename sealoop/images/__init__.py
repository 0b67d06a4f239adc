"""`sealoop images`: what concerns tags, markers and bumps. Each command is imported when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from keyword import iskeyword

import click

COMMANDS: Mapping[str, tuple[str, str]] = {
    # name: (module, what --help says of it)
    "edit": ("sealoop.images.editing", "Set the marked values of a folder's files by hand."),
    "explain": ("sealoop.images.commands", "Say why a tag is chosen or not, and why there is or is no commit."),
    "import": ("sealoop.images.commands", "Turn Argo CD Image Updater's settings into objects."),
    "lint": ("sealoop.images.commands", "Find what cannot work in objects and marked files."),
    "pick": ("image_updater.commands.pick", "Choose from tags as an ImagePolicy would, offline."),
    "simulate": ("sealoop.images.commands", "Show what a policy would have chosen over the recorded history."),
    "update": ("sealoop.images.commands", "Commit what the policies choose, once, outside the cluster."),
}


class ImageCommands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[name][0]), f"{name}_" if iskeyword(name) else name)
        assert isinstance(command, click.Command)  # noqa: S101  # a table of ours, checked by a test
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.command(cls=ImageCommands)
def images() -> None:
    """Look at, try out and make image updates.

    `pick` and `edit` need no cluster; `explain` says why a tag is chosen or not, and why a file is (not) changed.
    """
