"""What is remembered of a repository's tags: since when each is there, and what happened to it.

    SeenTag    one tag now          TagEvent    one thing that happened

A tag's age may only ever turn out greater: what was lost is found again by taking the older of two times. Only a tag
that names another image than before is young again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple


class SeenTag(NamedTuple):
    """A tag and when a listing (or a push event) had it for the first time.

    Attributes:
        digest: what it named when we last looked, "" when we never did.
        digest_seen: when we first saw the tag name that digest in the place of another one; None when we know of none.
    """

    tag: str
    first_seen: datetime
    digest: str = ""
    digest_seen: datetime | None = None

    @property
    def since(self) -> datetime:
        """Return the time since which the tag names what it names now: its age counts from here."""
        return self.digest_seen if self.digest_seen is not None and self.digest else self.first_seen


class TagEvent(NamedTuple):
    """Something that happened to a tag, as far as we saw: it appeared, it vanished, or it names another digest."""

    at: datetime
    tag: str
    what: Literal["appeared", "vanished", "moved"]
    digest: str = ""


def merge(ours: SeenTag, theirs: SeenTag) -> SeenTag:
    """Merge what two memories know of a tag: the older times, and a move when one of them saw it.

    Where they know different digests, `ours` is the newer memory, unless `theirs` saw the tag move since.
    """
    first = min(ours.first_seen, theirs.first_seen)
    moves = [known.digest_seen for known in (ours, theirs) if known.digest and known.digest_seen is not None]
    if ours.digest and theirs.digest and ours.digest != theirs.digest:
        newer = theirs if theirs.digest_seen is not None and theirs.digest_seen > ours.since else ours
        digest, since = newer.digest, newer.since
    else:
        digest, since = ours.digest or theirs.digest, min(moves, default=first)
    return SeenTag(ours.tag, first, digest, since if digest and since != first else None)


def record_digest(known: SeenTag, digest: str, now: datetime) -> SeenTag:
    """Return `known` after a look that found the tag to name `digest`."""
    if digest in ("", known.digest):
        return known
    return known._replace(digest=digest, digest_seen=now if known.digest else None)
