"""`sealoop push artifact` and `sealoop pull artifact`: folders that CI hands over by a registry instead of Git."""

from __future__ import annotations

import click

from sealoop.lazy import LazyGroup


class PushCommands(LazyGroup):
    table = {
        "artifact": ("sealoop.artifacts.pushing", "Push a folder or a file."),
    }


class PullCommands(LazyGroup):
    table = {
        "artifact": ("sealoop.artifacts.pulling", "Pull the files of an artifact into a folder."),
    }


@click.command(cls=PushCommands)
def push() -> None:
    """Push files to a registry, where an OCIRepository finds them."""


@click.command(cls=PullCommands)
def pull() -> None:
    """Pull from a registry what was pushed there."""
