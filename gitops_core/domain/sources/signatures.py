"""What of a commit or an annotated tag is signed, and by what: split as `git verify-commit` and `git verify-tag` do.

    tree ..                                      object ..            the payload is all but the signature
    author ..                                    type commit
    gpgsig -----BEGIN PGP SIGNATURE-----         tag v1.0.0
     ...                                         tagger ..
     -----END PGP SIGNATURE-----
                                                 message
    message                                      -----BEGIN PGP SIGNATURE-----

What is read of the rest is the payload's, so that nothing beside it can say what is applied.

Source: git, commit.c (parse_buffer_signed_by_header), gpg-interface.c (parse_signed_buffer).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_HEADERS = (b"gpgsig ", b"gpgsig-sha256 ")
_BEGIN = re.compile(rb"^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----", re.MULTILINE)


class SignatureInvalid(ValueError):
    """What is signed cannot be told, or nobody whose key we have signed it."""


class NotSigned(SignatureInvalid):
    """There is no signature."""


class Signed(NamedTuple):
    """A text and its armored signature."""

    payload: bytes
    signature: bytes


class TagTarget(NamedTuple):
    """What an annotated tag says of itself: the object that it names, that object's type, and its own name."""

    oid: str
    type: str
    name: str


def split_commit(oid: str, body: bytes) -> Signed:
    """Split the signature off the commit `oid`. Raises SignatureInvalid: there is none, or more than one."""
    header = _HEADERS[len(oid) == 64]
    head, blank, message = body.partition(b"\n\n")
    kept: list[bytes] = []
    signatures: list[list[bytes]] = []
    dropped: list[bytes] | None = None
    for line in head.split(b"\n"):
        if line.startswith(b" ") and dropped is not None:  # it goes on
            dropped.append(line[1:])
        elif line.startswith(_HEADERS):  # a signature; of another hash than the repository's it proves nothing here
            dropped = [line.partition(b" ")[2]]
            signatures += [dropped] if line.startswith(header) else []
        else:
            kept.append(line)
            dropped = None
    if not signatures:
        raise NotSigned("it is not signed")
    if len(signatures) > 1:
        raise SignatureInvalid(f"it has {len(signatures)} signatures")
    return Signed(b"\n".join(kept) + blank + message, b"\n".join(signatures[0]) + b"\n")


def split_tag(body: bytes) -> Signed:
    """Split the signature off an annotated tag. Raises NotSigned."""
    begins = [match.start() for match in _BEGIN.finditer(body)]
    if not begins:
        raise NotSigned("it is not signed")
    return Signed(body[: begins[-1]], body[begins[-1] :])


def read_tag_target(payload: bytes) -> TagTarget:
    """Read what the payload of a tag says. Raises SignatureInvalid: it is no tag."""
    found = re.match(rb"object ([0-9a-f]{40}|[0-9a-f]{64})\ntype (\w+)\ntag ([^\n]+)\n", payload)
    if found is None:
        raise SignatureInvalid("it cannot be read")
    oid, type_, name = (part.decode("utf-8", "surrogateescape") for part in found.groups())
    return TagTarget(oid, type_, name)


def check_tag(payload: bytes, tag: str, commit: str) -> None:
    """Check that a signed tag is the one it is found as. Raises SignatureInvalid.

    An old signed tag under a new name would be the newest of a range.
    """
    target = read_tag_target(payload)
    if target.name != tag:
        raise SignatureInvalid(f"it was signed as tag {target.name!r}")
    if (target.type, target.oid) != ("commit", commit):
        raise SignatureInvalid(f"it was signed for the {target.type} {target.oid} and not for commit {commit}")
