"""A repository's tags as policies look at them: without the excluded ones, filtered, and sorted by what is compared.

    Listing (one for each list of tags and exclusions) -> Candidates (one for each filter) -> versions, numbers

Many policies look at one long list that changes by a tag at a time, so everything here is made once for all of them,
and made from the list before it where few tags changed. None of that can be seen from outside: a Listing is a value,
and several threads may look at one.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from operator import gt
from typing import Self

from gitops_core.recent import Recent
from image_updater.domain.tags.filters import PatternInvalid, TagFilter, select_matching
from image_updater.domain.tags.semver import RELEASE, Version, parse_tag
from image_updater.errors import PolicyInvalid

FEW = 0.1
"""The share of changed tags up to which a listing is made from the one before."""
KEPT_CANDIDATES, KEPT_LISTINGS = 128 << 20, 32 << 20
"""Bytes that the Candidates of one Listing, and the Listings of one `Listings`, may take."""
TAG, CANDIDATE = 80, 320
"""Bytes that a tag takes in a Listing, and in Candidates, there with its version."""

Ranked = list[tuple[Version, str]]
"""Versions with what spells them, in ascending order: of equal versions the one that is first in byte order."""


class Candidates:
    """What a policy compares: texts, each once, and the tags that they stand for."""

    def __init__(self, texts: Sequence[str], tags: Mapping[str, str] | None = None) -> None:
        """`texts` are in descending byte order; `tags` by their text, None where each stands for itself."""
        self.texts = texts
        self._tags = tags
        self._versions: Ranked | None = None  # no cached_property: Python 3.11's has all lists wait for one
        self._releases: Ranked | None = None

    def find_tag(self, text: str) -> str:
        return text if self._tags is None else self._tags[text]

    @property
    def versions(self) -> Ranked:
        if self._versions is None:
            found = [(version, text) for text in self.texts if (version := parse_tag(text)) is not None]
            found.sort()
            self._versions = found
        return self._versions

    @property
    def releases(self) -> Ranked:
        """The versions that are no prereleases."""
        if self._releases is None:
            self._releases = [pair for pair in self.versions if pair[0].prerelease is RELEASE]
        return self._releases

    def follow(
        self, tags: Sequence[str], gone: Collection[str], new: Collection[str], tag_filter: TagFilter | None
    ) -> Candidates:
        """Return what `find_candidates(tags, tag_filter)` returns, when few of `tags` differ from these candidates."""
        if tag_filter is None:
            return Candidates(tags)._take_versions(self, gone, new)
        if self._tags is None or (gone and tag_filter.extract):
            return find_candidates(tags, tag_filter)  # of tags that extract alike, another one may count now
        found = dict(self._tags)
        removed = [tag for tag in gone if found.pop(tag, None) is not None]
        added = []
        for text, tag in tag_filter.apply(sorted(new, reverse=True)).items():
            if text not in found:
                added.append(text)
            found[text] = min(tag, found.get(text, tag))
        texts = _update_texts(self.texts, removed, added)
        return Candidates(texts, found)._take_versions(self, removed, added)

    def _take_versions(self, other: Candidates, removed: Collection[str], added: Collection[str]) -> Self:
        if other._versions is not None:
            self._versions = _update_versions(other._versions, removed, added)
        if other._releases is not None:
            self._releases = _update_versions(other._releases, removed, added, prereleases=False)
        return self


def _update_versions(
    versions: Ranked, removed: Iterable[str], added: Iterable[str], *, prereleases: bool = True
) -> Ranked:
    result = versions.copy()
    for text in removed:
        version = parse_tag(text)
        if version is not None and (prereleases or version.prerelease is RELEASE):
            del result[bisect.bisect_left(result, (version, text))]
    for text in added:
        version = parse_tag(text)
        if version is not None and (prereleases or version.prerelease is RELEASE):
            bisect.insort(result, (version, text))
    return result


def _update_texts(texts: Sequence[str], removed: Iterable[str], added: Iterable[str]) -> Sequence[str]:
    """Return `texts` in descending order without `removed` (all are in it) and with `added` (none is in it)."""
    result = list(texts)
    for text in removed:
        del result[_bisect(result, text)]
    for text in added:
        result.insert(_bisect(result, text), text)
    return result


def _find_index(texts: Sequence[str], text: str) -> int | None:
    """Return the index of `text` among texts in descending order; None when it is not there."""
    place = _bisect(texts, text)
    return place if place < len(texts) and texts[place] == text else None


def _bisect(texts: Sequence[str], text: str) -> int:
    """Return the first index in descending order whose text is not greater than `text`."""
    low, high = 0, len(texts)
    while low < high:
        middle = (low + high) // 2
        if texts[middle] > text:
            low = middle + 1
        else:
            high = middle
    return low


def find_candidates(tags: Sequence[str], tag_filter: TagFilter | None) -> Candidates:
    """Return the candidates among tags in descending byte order.

    Raises:
        PolicyInvalid: the filter's pattern is not one; in the original's words.
    """
    if tag_filter is None:
        return Candidates(tags)
    try:
        found = tag_filter.apply(tags)
    except PatternInvalid as error:
        quoted = tag_filter.pattern
        raise PolicyInvalid(f"failed to filter tags: invalid regular expression pattern '{quoted}': {error}") from None
    return Candidates(sorted(found, reverse=True), found)


class Listing:
    """The tags of one repository, as a listing had them, without those that an exclusion pattern is found in."""

    def __init__(self, listed: Iterable[str], exclusions: Sequence[str] = (), before: Listing | None = None) -> None:
        """`before`: of the same repository, with the same exclusions; it makes things faster, not different.

        Raises:
            PatternInvalid: an exclusion pattern is not one; in the original's words.
        """
        self.listed = sort_descending(listed)
        self.exclusions = tuple(exclusions)
        self._candidates: Recent[TagFilter | None, Candidates] = Recent(KEPT_CANDIDATES)
        self._before: Listing | None = None
        self._gone: frozenset[str] = frozenset()
        self._new: frozenset[str] = frozenset()
        if before is None or not self._follows(before):
            self.tags: Sequence[str] = _exclude(self.listed, self.exclusions)

    def _follows(self, before: Listing) -> bool:
        old, now = set(before.listed), set(self.listed)
        gone, new = old - now, now - old
        if len(gone) + len(new) > FEW * len(now):
            return False
        self._new = frozenset(_exclude(tuple(new), self.exclusions))
        self._gone = frozenset(tag for tag in gone if _find_index(before.tags, tag) is not None)
        self.tags = _update_texts(before.tags, self._gone, self._new)
        self._before, before._before = before, None
        return True

    def find_candidates(self, tag_filter: TagFilter | None) -> Candidates:
        """Return the candidates that `tag_filter` leaves. Raises PolicyInvalid: the filter's pattern is not one."""
        found = self._candidates.get(tag_filter)
        if found is None:
            before = self._before
            earlier = before._candidates.get(tag_filter) if before is not None else None
            if earlier is None:
                found = find_candidates(self.tags, tag_filter)
            else:
                found = earlier.follow(self.tags, self._gone, self._new, tag_filter)
            self._candidates.put(tag_filter, found, min(CANDIDATE * len(found.texts), KEPT_CANDIDATES))
        return found


class Listings:
    """The newest listing of each repository and list of exclusions: those that were used last. They may be lost."""

    def __init__(self) -> None:
        self._kept: Recent[tuple[str, tuple[str, ...]], Listing] = Recent(KEPT_LISTINGS)

    def get_listing(self, repository: str, listed: Sequence[str], exclusions: Sequence[str]) -> Listing:
        """Return the listing of a repository without excluded tags, kept if nothing changed. Raises PatternInvalid."""
        key = (repository, tuple(exclusions))
        found = self._kept.get(key)
        if found is None or (found.listed is not listed and found.listed != tuple(listed)):
            found = Listing(listed, exclusions, found)
            self._kept.put(key, found, min(TAG * len(found.listed), KEPT_LISTINGS))
        return found


def sort_descending(tags: Iterable[str]) -> tuple[str, ...]:
    """Sort tags in descending byte order, each once; return the same object when it is such a tuple already."""
    listed = tags if isinstance(tags, tuple) else tuple(tags)
    if all(map(gt, listed, islice(listed, 1, None))):
        return listed
    return tuple(sorted(set(listed), reverse=True))


def _exclude(tags: Sequence[str], exclusions: Iterable[str]) -> Sequence[str]:
    """Return the tags that no pattern is found in, in their order."""
    left = tags
    for pattern in exclusions:
        try:
            excluded = set(select_matching(pattern, left))
        except PatternInvalid as error:
            raise PatternInvalid(f"failed to compile regex {pattern}: {error}") from None
        if excluded:
            left = [tag for tag in left if tag not in excluded]
    return left
