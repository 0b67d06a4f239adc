"""How much a sync may delete before a person says that it is meant.

    sealoop.dev/prune-limit: "10,50%"    refused: more than 10 objects, and more than half of those known (the default)
                             "10"        refused: more than 10 objects
                             "50%"       refused: more than half
                             "none"      no limit; a build without any object is still refused
    sealoop.dev/confirm-prune: main@sha1:<hex>, or the commit alone    this one revision may delete what it deletes
                               main@sha1:<hex>#7                       so may generation 7 of the spec, at a revision
                                                                       that was applied before

What was confirmed is used up when the revision is applied: a path that is mistaken later deletes at that revision, too,
and so does the revision itself when it comes back (a ref that is set back) after others. That a revision was applied is
known as long as it stands among the last outcomes in the status.
Both are annotations of the Kustomization. A mistake in Git (a wrong path, an emptied file) deletes many objects and
most of them; taking out a few of a few is everyday work, and so is retiring a part of something large. Hence both.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from gitops_core.errors import StalledError

LIMIT = "sealoop.dev/prune-limit"
CONFIRM = "sealoop.dev/confirm-prune"
_FORM = re.compile(r"(?P<objects>\d{1,9})?(?:(?(objects),)(?P<percent>\d{1,3})%)?")
_CHECKSUM = re.compile(r"(?:.+@)?([a-z0-9]+:([0-9a-f]{40,}))")
"""What most sources end their revisions with: `sha1:<hex>` of a commit, `sha256:<hex>` of an image."""


class PruneGuarded(StalledError):
    """A sync would delete more than it may."""

    reason = "PruneGuarded"


class PruneLimit(NamedTuple):
    """More than `objects` and more than `percent` of those known are too many; None does not limit."""

    objects: int | None = 10
    percent: int | None = 50

    @classmethod
    def of(cls, annotations: Mapping[str, str]) -> PruneLimit:
        """Return the limit that a Kustomization's annotations set.

        >>> PruneLimit.of({}), PruneLimit.of({LIMIT: "3"}), PruneLimit.of({LIMIT: "20, 30%"})
        (PruneLimit(objects=10, percent=50), PruneLimit(objects=3, percent=None), PruneLimit(objects=20, percent=30))

        Raises:
            StalledError: the annotation is none of the forms above.
        """
        text = annotations.get(LIMIT)
        if text is None:
            return cls()
        plain = text.replace(" ", "").lower()
        if plain == "none":
            return cls(None, None)
        match = _FORM.fullmatch(plain)
        if not plain or match is None or int(match["percent"] or 0) > 100:
            forms = '"10", "50%", "10,50%" or "none"'
            raise StalledError(f"annotation {LIMIT} is {text!r}: write {forms}", reason="InvalidPruneLimit")
        return cls(*(int(match[name]) if match[name] else None for name in ("objects", "percent")))

    def is_exceeded(self, deleted: int, known: int) -> bool:
        if self.objects is None and self.percent is None:
            return False
        many = self.objects is None or deleted > self.objects
        most = self.percent is None or deleted * 100 > self.percent * known
        return many and most

    def __str__(self) -> str:
        parts = (self.objects, None if self.percent is None else f"{self.percent}%")
        return " and ".join(f"more than {part}" for part in parts if part is not None)


DEFAULT_LIMIT = PruneLimit()


def list_confirmations(revision: str, applied: Collection[str], generation: int) -> tuple[str, ...]:
    """List what confirms the deletions of `revision`: itself, or its whole checksum; the first is to tell.

    Args:
        applied: the revisions that were applied: if this one is among them, what was said of it then is used up.
        generation: of the spec.
    """
    found = _CHECKSUM.fullmatch(revision)
    names = (revision, found[2], found[1]) if found else (revision,)
    return names if revision not in applied else tuple(f"{name}#{generation}" for name in names)
