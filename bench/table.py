"""How a benchmark prints: rows of a label and values, in columns; and what a process has used so far."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

Row = tuple[str, Sequence[str]]


def show(title: str, rows: Iterable[Row]) -> None:
    """Print a table; rows appear as they are measured, so columns have fixed widths."""
    print(f"\n{title}", flush=True)
    for label, values in rows:
        print(f"  {label:<52}" + "".join(f"{value:>16}" for value in values), flush=True)


class Usage(NamedTuple):
    """What a process and the children it waited for have used."""

    cpu: float
    """Seconds of CPU, user and system."""
    peak_rss: float
    """MiB, of the process alone."""


def usage_of(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(fields[index]) for index in (11, 12, 13, 14))
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(peak[1]) / 1024 if peak else 0.0)
