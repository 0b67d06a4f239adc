"""Groups of commands that are imported when they are called, so that --help and a typing mistake answer at once."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from keyword import iskeyword
from typing import ClassVar

import click

from sealoop.flags import normalize


class LazyGroup(click.Group):
    """A group with a table: name -> (module, what --help says of it). A name that Python keeps ends in _ there."""

    table: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.table:
            return None
        command = getattr(importlib.import_module(self.table[name][0]), f"{name}_" if iskeyword(name) else name)
        assert isinstance(command, click.Command)  # noqa: S101  # a table of ours, checked by a test
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, normalize(rest, command.params) if command is not None else rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self.table.items()])
