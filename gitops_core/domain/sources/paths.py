"""Which paths of files that strangers named can be kept: none that is too long or too deep, or a folder too."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

LONGEST_PATH, LONGEST_PART = 4096, 255
"""Bytes, as on Linux."""
DEEPEST = 100
"""Folders within folders."""


def keep_path(path: str) -> str:
    """Return a path without its needless parts; "" for what is never kept: the root, and what is Git's own.

    It must not lead out of the folder.

    >>> keep_path("./a//b"), keep_path("a/.git/config")
    ('a/b', '')

    Raises:
        ValueError: it is too long, or too deep.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    longest = max((len(_encode(part)) for part in parts), default=0)
    if len(_encode(path)) > LONGEST_PATH or longest > LONGEST_PART or len(parts) > DEEPEST:
        raise ValueError(f"the path {show_path(path)} is too long or too deep")
    return "" if any(part.lower() == ".git" for part in parts) else "/".join(parts)


def check_folders(files: Mapping[str, bytes], most: int) -> None:
    """Check that no file is a folder, too, and that there are not too many folders. Raises ValueError."""
    folders = set[str]()
    for path in files:
        above = posixpath.dirname(path)
        while above and above not in folders:
            folders.add(above)
            if len(folders) > most:
                raise ValueError(f"there are more than {most} folders")
            above = posixpath.dirname(above)
    if (both := next((path for path in folders if path in files), None)) is not None:
        raise ValueError(f"{show_path(both)} is a file and a folder")


def show_path(path: str) -> str:
    """Show a name that somebody else chose, for a message."""
    return repr(path if len(path) <= 100 else f"{path[:100]}...")


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
