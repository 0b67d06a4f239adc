"""The files of a checkout on this disk: regular ones, without links and without what Git keeps for itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

GIT = ".git"


def list_files(top: str) -> Iterator[str]:
    """List the files below a folder, as paths seen from it, in the order of a walk. Raises OSError."""
    waiting = [""]
    while waiting:
        here = waiting.pop()
        with os.scandir(f"{top}/{here}" if here else top) as found:
            entries = sorted((entry for entry in found if entry.name != GIT), key=lambda entry: entry.name)
        yield from (here + entry.name for entry in entries if entry.is_file(follow_symlinks=False))
        waiting += (f"{here}{entry.name}/" for entry in reversed(entries) if entry.is_dir(follow_symlinks=False))


def read_file(path: str, limit: int = -1) -> bytes | None:
    """Read a file, at most so many bytes of it; None where it is no regular one. Raises OSError."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # it may be another one by now
    with open(descriptor, "rb") as file:
        return file.read(limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
