"""The processes that this one began."""

from __future__ import annotations

from pathlib import Path


def children(word: str) -> list[int]:
    """Child processes whose command line holds `word`, whichever thread began them."""
    lists = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    pids = {int(pid) for found in lists for pid in found}
    return sorted(pid for pid in pids if word in Path(f"/proc/{pid}/cmdline").read_text())
