"""Tables that are written into documents, between two comments that name the command which writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click


def begin(command: str) -> str:
    """Write the comment before the table of `command`."""
    return f"<!-- begin: sealoop {command} -->"


def end(command: str) -> str:
    """Write the comment behind the table of `command`."""
    return f"<!-- end: sealoop {command} -->"


def write_markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return the table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" if row else "|---" * len(titles) + "|" for row in (titles, (), *rows))


def insert_table(document: Path, text: str, command: str, written: str) -> str:
    """Return `text`, which is the document's, with `written` between the two comments of `command`.

    Raises:
        ClickException: it does not have them.
    """
    before, first, rest = text.partition(begin(command))
    _, last, after = rest.partition(end(command))
    if not (first and last):
        raise click.ClickException(f"{document}: no lines {begin(command)!r} and {end(command)!r} to write between")
    return f"{before}{first}\n{written}\n{last}{after}"
