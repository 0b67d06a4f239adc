"""The processes that this one began."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def children(word: str) -> list[int]:
    """Child processes whose command line holds `word`, whichever thread began them; not those that just ended."""
    found = set()
    for thread in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, _text(thread).split()):
            if word in _text(Path(f"/proc/{pid}/cmdline")):
                found.add(pid)
    return sorted(found)


def _text(file: Path) -> str:
    with suppress(OSError):  # the thread or process that it is about has ended meanwhile
        return file.read_text()
    return ""
