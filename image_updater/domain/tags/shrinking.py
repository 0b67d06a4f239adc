"""Whether a list of tags that lost many of them is believed.

    known 1000 -> listed 400, maxShrink 20: 600 vanished, 60 %: not believed

Registries answer half a list now and then, and a policy would choose an older tag. It is measured against what was
known before any listing of the last week: a list stays unbelieved until most of its tags are back, a week has passed,
or a person says in the policy's annotation `sealoop.dev/believe-tags: "400"` that so many tags are right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from image_updater.domain.tags.history import TagEvent

BELIEVE = "sealoop.dev/believe-tags"
LASTING = timedelta(days=7)
"""What is gone for so long was cleaned up."""


def explain_disbelief(
    tags: Collection[str],
    history: Sequence[TagEvent],
    max_shrink: int,
    annotations: Mapping[str, str],
    now: datetime,
) -> str:
    """Say why the tags that are listed now are not believed, "" when they are.

    Args:
        history: of the tags that count, oldest first.
        max_shrink: in percent.
    """
    believed = annotations.get(BELIEVE, "").strip()
    if believed.isascii() and believed.isdigit() and len(believed) < 12 and len(tags) >= int(believed):
        return ""
    listed = frozenset(tags)
    recent = [event for event in history if now - event.at < LASTING]
    for known, vanished in _find_losses(listed, recent):
        missing = len(vanished - listed)
        if missing * 100 > known * max_shrink:
            return (
                f"{missing} of {known} known tags vanished from the listing, more than {max_shrink} % (maxShrink): "
                f'it is not believed; annotation {BELIEVE}: "{len(listed)}" says that it is right'
            )
    return ""


def _find_losses(listed: frozenset[str], history: Iterable[TagEvent]) -> Iterable[tuple[int, set[str]]]:
    """Yield each listing in which tags vanished, newest first: how many tags were known before, and which vanished."""
    size = len(listed)
    newest_first = reversed([event for event in history if event.what != "moved"])
    for _, events in groupby(newest_first, key=_get_moment):
        together = tuple(events)
        vanished = {event.tag for event in together if event.what == "vanished"}
        size += len(vanished) - sum(event.what == "appeared" for event in together)
        if vanished:
            yield max(size, len(vanished)), vanished


def _get_moment(event: TagEvent) -> datetime:
    return event.at
