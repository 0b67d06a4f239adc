"""Pages of tags as a registry sent them, and those that are remembered for the next time.

GET /v2/app/tags/list?n=1000            200, ETag: "a", {"tags": [...]}, Link: </v2/...>; rel="next"
the same with If-None-Match: "a"        304: the page is what it was
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import msgspec

from gitops_core.decoding import make_decoder
from gitops_core.recent import Recent

LONGEST_TAG = 128
MOST_REMEMBERED = 16 << 20
"""Bytes of all remembered pages together."""
LONGEST_ETAG = 256
_OVERHEAD = 500
"""Bytes that a remembered page takes beside its body, roughly."""


class Page(NamedTuple):
    """A body as it was sent and how many tags it holds, what to ask for it again with, and the Link header."""

    etag: str
    body: bytes
    link: str
    tags: int


class _Tags(msgspec.Struct):
    tags: list[str] | None = None
    errors: Any = None


_DECODER = make_decoder(_Tags)


def read_tags(body: bytes) -> list[str]:
    """Read the tags of one page. Raises ValueError: it is not a page, or holds what cannot be a tag."""
    try:
        said = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("the answer is not a list of tags") from None
    if said.errors:
        raise ValueError("the answer tells of errors, and not all tags")
    tags = said.tags or []
    if tags and not ("".join(tags).isprintable() and 0 < min(map(len, tags)) <= max(map(len, tags)) <= LONGEST_TAG):
        raise ValueError("the answer holds names that are no tags")
    return tags


class RememberedPages:
    """The pages that were used last, MOST_REMEMBERED bytes of them."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._pages: Recent[Hashable, Page] = Recent(most)

    def get(self, key: Hashable) -> Page | None:
        return self._pages.get(key)

    def put(self, key: Hashable, page: Page) -> None:
        """Remember a page, unless it has no ETag or could hide a page after it.

        A last page of a round number of tags may be just full: a registry that makes its ETag from the body alone would
        call it unchanged when another page follows.
        """
        may_be_full = not page.link and page.tags % 10 == 0
        if page.etag and len(page.etag) <= LONGEST_ETAG and not may_be_full:
            self._pages.put(key, page, len(page.body) + len(page.link) + _OVERHEAD)
        else:
            self._pages.drop(key)

    def forget(self, key: Hashable) -> None:
        self._pages.drop(key)
