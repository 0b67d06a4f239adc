"""What it costs to open a private key, as the file itself says it before anything is computed.

    OpenSSH     kdfoptions: salt, rounds of bcrypt                          ssh-keygen -a ROUNDS, 24 by default
    PKCS #8     iterations of PBKDF2 or PBES1, or N, r and p of scrypt       openssl pkcs8 -iter, -scrypt
    OpenPGP     passes and memory of Argon2; its other ways take milliseconds   gopenpgp, OpenPGP.js
    any         its length: a key is tried for primes when it is read

Whoever writes the file decides, up to years for one passphrase, and nobody can end what computes it.

Source: openssh-portable, PROTOCOL.key; RFC 8018, RFC 7914; RFC 9580, 3.7.1.4 and 5.5.3.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

MOST_BYTES = 16 << 10
"""Of RSA with 16,384 bits, the largest that ssh-keygen makes."""
MOST_BCRYPT = 1_000
MOST_ITERATIONS = 10_000_000
MOST_SCRYPT = 1 << 20
"""N * r * p, each of which takes 128 bytes: OpenSSL's own are 2**17."""
MOST_ARGON2 = 256
"""MiB of memory, times the passes over it: OpenPGP.js and gopenpgp write 64 MiB and three passes."""

_BLOCK = re.compile(rb"-----BEGIN (OPENSSH|ENCRYPTED) PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_MAGIC = b"openssh-key-v1\0"
_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_ARGON2 = 4
_AEAD = 253
_DERIVED = (_AEAD, 254, 255)
"""What the first byte says of a secret that a passphrase opens, in any way that has a cost."""
_INTEGER = 0x02
_CONSTRUCTED = 0x20


class TooSlow(ValueError):
    """The message says what to do with the key."""


def refuse_slow(pem: bytes) -> None:
    """Refuse a key that is slow to use. Raises TooSlow; ValueError: it cannot be told."""
    if len(pem) > MOST_BYTES:
        raise TooSlow(f"is longer than {MOST_BYTES} bytes: use a shorter one")
    for match in _BLOCK.finditer(pem):
        content = binascii.a2b_base64(match[2])
        if match[1] == b"OPENSSH":
            _refuse_bcrypt(content)
        else:
            _refuse_pkcs8(content)


def refuse_slow_openpgp(secret: bytes, public: bytes) -> None:
    """
    Args:
        secret: the body of a packet with a secret key or subkey.
        public: that of the same key's public packet, which it begins with.

    Raises:
        TooSlow; ValueError: it cannot be told.
    """
    if len(secret) > MOST_BYTES:
        raise TooSlow(f"is longer than {MOST_BYTES} bytes: use a shorter one")
    if not secret.startswith(public):
        raise ValueError("a secret key without its public one")
    rest = secret[len(public) :]
    if not rest:
        raise ValueError("a secret key is cut off")
    if rest[0] not in _DERIVED:
        return
    counted = secret[0] > 4  # such keys say how long what follows is, twice
    begin = 2 + (rest[0] == _AEAD) + 2 * counted
    function = rest[begin : begin + 20]
    if not function:
        raise ValueError("a secret key is cut off")
    if function[0] != _ARGON2:
        return
    passes, _, exponent = function[17:]
    if passes << exponent > MOST_ARGON2 << 10:
        times = "" if passes == 1 else f", {passes} times"
        raise TooSlow(f"takes {(1 << exponent) >> 10} MiB of memory{times}, to open: write it with less (gpg does)")


def _refuse_bcrypt(key: bytes) -> None:
    if not key.startswith(_MAGIC):
        raise ValueError("not an OpenSSH key")
    _, rest = _split_string(key[len(_MAGIC) :])  # the cipher
    function, rest = _split_string(rest)
    options, _ = _split_string(rest)
    rounds = int.from_bytes(options[-4:], "big")
    if function != b"none" and rounds > MOST_BCRYPT:
        raise TooSlow(f"takes {rounds} rounds to open: write it with fewer (ssh-keygen -p -a 100)")


def _split_string(data: bytes) -> tuple[bytes, bytes]:
    """Split an SSH string from what follows it."""
    end = 4 + int.from_bytes(data[:4], "big")
    if end > len(data):
        raise ValueError("an SSH string is cut off")
    return data[4:end], data[end:]


def _refuse_pkcs8(key: bytes) -> None:
    _, outer, _ = _split_element(key)
    _, algorithm, _ = _split_element(outer)
    numbers = list(_list_integers(algorithm))
    if _SCRYPT in algorithm:
        cost = 1
        for number in numbers[:3]:
            cost *= number
        if cost > MOST_SCRYPT:
            raise TooSlow("takes too much memory to open: write it with less (openssl pkcs8 -topk8 -iter 100000)")
    elif max(numbers, default=0) > MOST_ITERATIONS:
        raise TooSlow(f"takes {max(numbers)} iterations to open: write it with fewer (openssl pkcs8 -topk8)")


def _list_integers(der: bytes) -> Iterator[int]:
    """Yield every INTEGER in the order of the text, whatever it is in."""
    while der:
        tag, value, der = _split_element(der)
        if tag == _INTEGER:
            yield int.from_bytes(value, "big")
        elif tag & _CONSTRUCTED:
            der = value + der


def _split_element(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag and value of the first element, and what follows it."""
    if len(der) < 2:
        raise ValueError("an element is cut off")
    begin, length = 2, der[1]
    if length >= 0x80:
        begin += length & 0x7F
        length = int.from_bytes(der[2:begin], "big")
    if begin + length > len(der):
        raise ValueError("an element is cut off")
    return der[0], der[begin : begin + length], der[begin + length :]
