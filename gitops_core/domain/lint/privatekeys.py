"""Private keys in a file, as text or in base64: of age, OpenPGP, TLS and SSH.

    AGE-SECRET-KEY-1QQQ...                                 an identity of age
    -----BEGIN [EC |OPENSSH |...]PRIVATE KEY-----          followed by what can be one: the header alone is a word
    -----BEGIN PGP PRIVATE KEY BLOCK-----
    QUdFLVNFQ1JFVC1LRVkt...                                the same in base64, as Secrets and kubeconfigs hold them

Source: age, C2SP/age (Bech32); RFC 7468; RFC 4880, 6.2.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

NAMES = {
    b"AGE-SECRET-KEY-1": "a private key of age",
    b"AGE-SECRET-KEY-PQ-1": "a private key of age",
    b"PRIVATE KEY-----": "a private key",
    b"PRIVATE KEY BLOCK-----": "a private key of OpenPGP",
}
BODY = 40
"""So many characters of base64 are a key; fewer are an example."""
WINDOW = 1000

_BLANKS = b" \t\r\n"
_IDENTITY = re.compile(rb"AGE-SECRET-KEY-(?:PQ-)?1[02-9AC-HJ-NP-Z]{50,}")
_HEADER = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,40})PRIVATE KEY( BLOCK)?-----")
_BODY = re.compile(rb"[A-Za-z0-9+/]{%d}" % BODY)


class Key(NamedTuple):
    """Attributes:
    is_locked: it has a passphrase.
    """

    line: int
    name: str
    is_locked: bool = False


def find_private_keys(data: bytes) -> Iterator[Key]:
    """Find private keys, one a line, in order."""
    found = sorted((*_find_identities(data), *_find_blocks(data)), key=lambda one: one[0])
    keys = [Key(line, name, is_locked) for line, (_, name, is_locked) in zip(_count(data, found), found, strict=True)]
    keys += _find_encoded(data)
    first: dict[int, Key] = {}
    for key in keys:
        first.setdefault(key.line, key)
    yield from sorted(first.values())


def _count(data: bytes, found: Iterable[tuple[int, str, bool]]) -> Iterator[int]:
    """Count lines up to each of the places."""
    line, before = 1, 0
    for place, _, _ in found:
        line += data.count(b"\n", before, place)
        before = place
        yield line


def _find_identities(data: bytes) -> Iterator[tuple[int, str, bool]]:
    if b"AGE-SECRET-KEY-" in data:
        yield from ((match.start(), NAMES[b"AGE-SECRET-KEY-1"], False) for match in _IDENTITY.finditer(data))


def _find_blocks(data: bytes) -> Iterator[tuple[int, str, bool]]:
    if b"PRIVATE KEY" not in data:
        return
    for match in _HEADER.finditer(data):
        inside = data[match.end() : match.end() + WINDOW].partition(b"-----")[0]
        if _BODY.search(inside):
            name = NAMES[b"PRIVATE KEY BLOCK-----"] if match[2] else NAMES[b"PRIVATE KEY-----"]
            yield match.start(), name, b"ENCRYPTED" in match[1] or b"4,ENCRYPTED" in inside


def _find_encoded(data: bytes) -> Iterator[Key]:
    """Find keys in base64, which may be broken into lines: it is searched without them."""
    joined = data.translate(None, _BLANKS)
    found = [
        (place, name) for name, needles in _ENCODED.items() for needle in needles for place in _find_all(joined, needle)
    ]
    if not found:
        return
    ends = list(accumulate(len(line.translate(None, _BLANKS)) for line in data.split(b"\n")))
    yield from (Key(bisect_right(ends, place) + 1, f"{NAMES[name]} in base64") for place, name in sorted(found))


def _find_all(data: bytes, needle: bytes) -> Iterator[int]:
    place = data.find(needle)
    while place >= 0:
        yield place
        place = data.find(needle, place + len(needle))


def _encode(text: bytes) -> tuple[bytes, ...]:
    """Encode a text as it looks within a longer one, for each of the three places where it can begin.

    >>> _encode(b"abcdef")
    (b'YWJjZGVm', b'FiY2RlZ', b'hYmNkZW')
    """
    shifted = (base64.b64encode(bytes(number) + text) for number in range(3))
    cut = ((0, 2, 3)[number] for number in range(3))
    return tuple(
        whole[begin : (number + len(text)) * 8 // 6]
        for number, (whole, begin) in enumerate(zip(shifted, cut, strict=True))
    )


_ENCODED = {name: _encode(name) for name in NAMES}
