"""One process for each folder: two would share mirrors and, on an embedded cluster, do the same work twice."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import click


@contextlib.contextmanager
def only_process_in(folder: Path) -> Iterator[None]:
    """Hold the folder, which is made if need be.

    Raises:
        ClickException: another process holds it, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise click.ClickException(f"cannot write to {folder}: {error.strerror}; name another folder") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # given back by the kernel, also after kill -9
        except BlockingIOError:
            lock.seek(0)
            process = lock.read(20).strip() or "unknown"
            raise click.ClickException(
                f"another sealoop (process {process}) works on {folder}: stop it, or name another folder"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
