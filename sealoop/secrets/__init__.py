"""`sealoop secrets`: what concerns secrets in Git. Each command is imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping

import click

from sealoop.lazy import LazyGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    # name: (module, what --help says of it)
    "lint": ("sealoop.secrets.linting", "Find secrets that can be read, and those that nobody can decrypt."),
}


class SecretCommands(LazyGroup):
    table = COMMANDS


@click.command(cls=SecretCommands)
def secrets() -> None:
    """Look after secrets in Git."""
