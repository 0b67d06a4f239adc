"""A folder as the layer of an artifact: the same files are the same bytes, whoever packs them, and when.

Regular files alone, in the order of their paths, without owner, time or mode but whether they are executable.

Source: github.com/fluxcd/pkg, oci/build.go and tar; sourceignore (what is left out).
"""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import click

from gitops_core.domain.sources.ignore import parse_ignore_rules

LEFT_OUT = ("*.jpg", "*.jpeg", "*.gif", "*.png", "*.wmv", "*.flv", "*.tar.gz", "*.zip")
"""What is no manifest, as for the original; version control's own files never go along."""
_GZIP = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


class Packed(NamedTuple):
    """A layer, and the tar in it."""

    layer: bytes
    tar: bytes


class File(NamedTuple):
    content: bytes
    executable: bool = False


def read_files(place: Path, ignored: Iterable[str]) -> dict[str, File]:
    """Read the regular files of a folder, or the one file; links are left out. Raises ClickException."""
    try:
        if place.is_file():
            return {place.name: _read(place)}
        if not place.is_dir():
            raise click.ClickException(f"invalid path {str(place)!r}, must point to an existing directory or file")
        rules = parse_ignore_rules({}, "\n".join(ignored))
        found = sorted(path for path in place.rglob("*") if path.is_file() and not _is_linked(path, place))
        named = {path.relative_to(place).as_posix(): path for path in found}
        return {name: _read(path) for name, path in named.items() if rules.keeps(name)}
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be read: {error.strerror}") from None


def pack(files: Mapping[str, File]) -> Packed:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(files[path].content), 0o700 if files[path].executable else 0o600
            archive.addfile(entry, io.BytesIO(files[path].content))
    tar = body.getvalue()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    end = struct.pack("<II", zlib.crc32(tar), len(tar) & 0xFFFFFFFF)
    return Packed(_GZIP + deflate.compress(tar) + deflate.flush() + end, tar)


def _read(path: Path) -> File:
    return File(path.read_bytes(), executable=bool(path.stat().st_mode & 0o111))


def _is_linked(path: Path, place: Path) -> bool:
    """Tell whether a path below `place` is, or is behind, a symbolic link."""
    return any(part.is_symlink() for part in (path, *path.parents) if place in part.parents)
