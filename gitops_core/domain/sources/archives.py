"""Reads a tar.gz that comes in parts, written by a stranger: its regular files, or why it is refused.

    gzip (of one or several members) ──► blocks of 512 bytes ──► a header, its body ──► path: content

Links are left out, as from every artifact. What would not be what it looks like is refused: a path that leaves the
folder, a hard link, a device, a pipe, a sparse file, a file that is a folder too. Every byte that is unpacked counts
against a limit before it is kept, and nothing is kept that is not a file's; what follows the end of the archive is
never unpacked.

    0 regular    1 hard link    2 symbolic link    3 4 6 devices and pipes    5 folder    S sparse
    L K long name and long link of the next entry (GNU)    x g extended headers, of the next and of all (POSIX)

Source: pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html (ustar, pax), gnu.org/software/tar/manual (GNU
extensions), RFC 1952 (gzip).
"""

from __future__ import annotations

import zlib
from collections.abc import Generator
from dataclasses import dataclass

from gitops_core.domain.sources.paths import check_folders, keep_path, show_path
from gitops_core.errors import TransientError

BLOCK = 512
AT_ONCE = 1 << 20
"""Bytes that are unpacked before they are looked at."""
SLICE = 16 << 10
"""Bytes that zlib is given at once: it copies what it does not take, for each of many members."""
LARGEST_EXTENSION = 1 << 20
"""Bytes of a long name or of an extended header, as in Go."""
NO_GZIP = "requires gzip-compressed body"
MAGIC = b"\x1f"
_GZIP = 31
"""zlib's word for a gzip header and the largest window."""
_REGULAR, _EXTENSIONS, _WITHOUT_BODY = frozenset(b"\x0007"), frozenset(b"LKxg"), frozenset(b"123456")


class ArchiveInvalid(TransientError):
    """An archive that is none, or is refused: another push must replace it."""

    reason = "OCIArtifactLayerOperationFailed"


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may ask of us.

    Attributes:
        entries: of whatever kind, and as many folders, and members of gzip.
        file_bytes: of one file.
        total_bytes: of all that is unpacked.
    """

    entries: int = 200_000
    file_bytes: int = 64 << 20
    total_bytes: int = 256 << 20


DEFAULT_LIMITS = ArchiveLimits()


class Unpacking:
    """One archive. Feed it every part in order, then finish."""

    def __init__(self, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._member = zlib.decompressobj(_GZIP)
        self._is_gzip = self._ended = self._between = False
        self._members = self._unpacked = 0
        self._buffer = bytearray()
        self._files: dict[str, bytes] = {}
        self._entries = 0
        self._reading = self._read_entries()
        self._wanted = next(self._reading)

    def feed(self, part: bytes) -> None:
        """Take the next bytes. Raises ArchiveInvalid."""
        self._is_gzip = self._is_gzip or part.startswith(MAGIC)
        for at in range(0, len(part), SLICE):
            rest = part[at : at + SLICE]
            while rest and not self._ended:
                if self._member.eof:
                    self._begin_member()
                self._unpack(rest)
                rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def finish(self) -> dict[str, bytes]:
        """Return the files by path, when there is no more. Raises ArchiveInvalid: that was not all of it."""
        while not self._ended and not self._member.eof and self._unpack(b""):
            pass  # zlib holds something back when it is told how much to give
        if not self._ended and not (self._member.eof and self._between and not self._buffer):
            raise ArchiveInvalid("tar error: unexpected EOF" if self._is_gzip else f"{NO_GZIP}: EOF")
        try:
            check_folders(self._files, self._limits.entries)
        except ValueError as error:
            raise ArchiveInvalid(f"the archive cannot be kept: {error}") from None
        return self._files

    def _begin_member(self) -> None:
        self._members += 1
        if self._members > self._limits.entries:
            raise ArchiveInvalid(f"the archive has more than {self._limits.entries} members of gzip")
        self._member = zlib.decompressobj(_GZIP)

    def _unpack(self, part: bytes) -> bool:
        """Unpack a piece of `part` and take it; tell whether there was any. Raises ArchiveInvalid."""
        try:
            unpacked = self._member.decompress(part, AT_ONCE)
        except zlib.error:
            cause = "gzip: the data is corrupt" if self._is_gzip else f"{NO_GZIP}: gzip: invalid header"
            raise ArchiveInvalid(cause) from None
        self._take(unpacked)
        return bool(unpacked)

    def _take(self, unpacked: bytes) -> None:
        """Give the reader what it waits for, as far as it is there."""
        self._unpacked += len(unpacked)
        if self._unpacked > self._limits.total_bytes:
            raise ArchiveInvalid(f"the archive is larger than {self._limits.total_bytes} bytes when it is unpacked")
        self._buffer += unpacked
        at = 0
        while not self._ended and len(self._buffer) - at >= self._wanted:
            piece = bytes(self._buffer[at : at + self._wanted])
            at += self._wanted
            try:
                self._wanted = self._reading.send(piece)
            except StopIteration:
                self._ended = True
        del self._buffer[:at]

    def _read_entries(self) -> Generator[int, bytes, None]:
        """Read entry by entry: yields how many bytes it needs next, and is sent as many."""
        name: str | None = None
        size: int | None = None
        while True:
            self._between = True
            header = yield BLOCK
            self._between = False
            if not header.strip(b"\0"):
                return
            type_, said_name, said_size = _parse_header(header)
            self._entries += 1
            if self._entries > self._limits.entries:
                raise ArchiveInvalid(f"the archive has more than {self._limits.entries} entries")
            if type_ in _EXTENSIONS:
                if said_size > LARGEST_EXTENSION:
                    raise ArchiveInvalid(f"tar error: an extended header of {said_size} bytes")
                body = (yield _pad(said_size))[:said_size]
                if type_ == ord("L"):
                    name = _decode(body.partition(b"\0")[0])
                elif type_ == ord("x"):
                    path, length = _read_extended(body)
                    name, size = path or name, length if length is not None else size
                continue
            path = said_name if name is None else name
            length = said_size if size is None else size
            name = size = None
            inside = self._check_path(path)
            if type_ in b"25" or (
                type_ == 0 and path.endswith("/")
            ):  # links and folders; the latter as old tars say it
                continue
            if type_ not in _REGULAR:
                raise ArchiveInvalid(f"tar file entry {show_path(path)} is {_KINDS.get(type_, 'of an unknown type')}")
            if length > self._limits.file_bytes:
                raise ArchiveInvalid(f"{show_path(path)} has {length} bytes, the limit is {self._limits.file_bytes}")
            content = (yield _pad(length))[:length] if length else b""
            if inside:
                self._files[inside] = content

    def _check_path(self, path: str) -> str:
        """Return the path as it is kept; "" for what never is.

        Raises:
            ArchiveInvalid: it leaves the folder, or is no path at all.
        """
        if not path or path.startswith("/") or "\\" in path or "\0" in path or ".." in path.split("/"):
            raise ArchiveInvalid(f"tar contained invalid name error {show_path(path)}")
        try:
            return keep_path(path)
        except ValueError as error:
            raise ArchiveInvalid(str(error)) from None


_KINDS = {
    ord("1"): "a hard link",
    ord("3"): "a device",
    ord("4"): "a device",
    ord("6"): "a pipe",
    ord("S"): "a sparse file",
}


def _parse_header(header: bytes) -> tuple[int, str, int]:
    """Return the type, the name and the size of the body. Raises ArchiveInvalid."""
    told = header[148:156]
    blank = header[:148] + b" " * 8 + header[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in blank) if max(blank) > 127 else -1
    if _parse_number(told) not in (sum(blank), signed):
        raise ArchiveInvalid("tar error: invalid tar header")
    type_, name = header[156], header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].partition(b"\0")[0]):
        name = prefix + b"/" + name
    return type_, _decode(name), 0 if type_ in _WITHOUT_BODY else _parse_number(header[124:136])


def _parse_number(field: bytes) -> int:
    """Parse an octal number, or GNU's binary one. Raises ArchiveInvalid: none, or below zero."""
    if field[0] & 0x80:
        if field[0] & 0x40:
            raise ArchiveInvalid("tar error: a negative number in a header")
        return int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not all(digit in b"01234567" for digit in digits):
        raise ArchiveInvalid("tar error: invalid tar header")
    return int(digits, 8) if digits else 0


def _read_extended(body: bytes) -> tuple[str, int | None]:
    """Read path ("" for none) and size of an extended header: records `LENGTH KEY=VALUE\\n`. Raises ArchiveInvalid."""
    path, size, at = "", None, 0
    while at < len(body):
        digits, space, _ = body[at : at + 20].partition(b" ")
        end = at + (int(digits) if digits.isdigit() and space else 0)
        record = body[at + len(digits) + 1 : end]
        key, equals, value = record.removesuffix(b"\n").partition(b"=")
        if end > len(body) or not record.endswith(b"\n") or not equals:
            raise ArchiveInvalid("tar error: invalid extended header")
        at = end
        if key.startswith(b"GNU.sparse."):
            raise ArchiveInvalid(f"tar file entry {show_path(path or 'of an extended header')} is a sparse file")
        if key == b"path":
            path = _decode(value)
        elif key == b"size":
            if not value.isdigit() or len(value) > 20:
                raise ArchiveInvalid("tar error: invalid extended header")
            size = int(value)
    return path, size


def _pad(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
