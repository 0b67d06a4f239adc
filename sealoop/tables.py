"""Tables that are written into documents, between two comments that name the command which writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def begin(command: str) -> str:
    """The comment before the table of `command`."""
    return f"<!-- begin: sealoop {command} -->"


def end(command: str) -> str:
    """The comment behind the table of `command`."""
    return f"<!-- end: sealoop {command} -->"


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return the table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" if row else "|---" * len(titles) + "|" for row in (titles, (), *rows))


def with_table(text: str, command: str, written: str) -> str | None:
    """Return `text` with `written` between the two comments of `command`; None without them."""
    before, first, rest = text.partition(begin(command))
    _, last, after = rest.partition(end(command))
    return f"{before}{first}\n{written}\n{last}{after}" if first and last else None
