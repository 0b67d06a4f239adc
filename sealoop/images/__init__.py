"""`sealoop images`: what concerns tags, markers and bumps. Each command is imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping

import click

from sealoop.lazy import LazyGroup

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


class ImageCommands(LazyGroup):
    table = COMMANDS


@click.command(cls=ImageCommands)
def images() -> None:
    """Look at, try out and make image updates.

    `pick` and `edit` need no cluster; `explain` says why a tag is chosen or not, and why a file is (not) changed.
    """
