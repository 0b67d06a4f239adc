"""dataFrom.find: which of the names that a provider lists are meant, and what becomes of their values.

    find: {path: shop, name: {regexp: ^shop/db/}, tags: {team: a}}

    listed below shop    its tags     meant   key
    shop/db/password     team: a      yes     shop_db_password
    shop/db/user         team: b      no
    shop/web/token       team: a      no

What is not given selects everything; the regular expression is Go's, found anywhere in the whole name. A listing is
taken as a whole or not at all: of one that is cut short, what is missing would look like keys that are gone.

Source: External Secrets, providers/v1/{vault,fake} and runtime/find.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gitops_core.gotemplate.regexps import MOST_AT_ONCE, Pattern, PatternInvalid, compile_pattern
from gitops_core.meta import Sensitive
from secrets_sync.api import Find
from secrets_sync.domain.provider import keys
from secrets_sync.domain.provider.decoding import decode
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.errors import FindInvalid, FindTooWide, ValueUnusable

MAX_NAMES = 10_000
"""Names that one find may list."""
MAX_NAME_BYTES = 1024 * 1024
"""Bytes of all of them."""
MAX_FOLDERS = 1000
"""Folders that it may list: each of them is a request."""
MAX_DEPTH = 32
"""How deep they may lie in each other."""
MAX_TAGGED = 1000
"""Names whose tags it may ask for one by one."""
MAX_MATCHES = 1000
"""Names that it may mean: each of them is a read."""
MAX_VALUE_BYTES = 4 * 1024 * 1024
"""Bytes of all values that it may read. Kubernetes takes 1 MiB for a whole Secret."""


@dataclass(frozen=True)
class Search:
    """What a provider is asked to list.

    Attributes:
        path: the folder to list, with all below it; "" for everything.
        has_tags: whether the tags of each name are wanted, too.
    """

    path: str = ""
    has_tags: bool = False


class Named(NamedTuple):
    """A secret that a provider lists: its name from the store's root, and what to read for it."""

    name: str
    ref: SecretRef
    tags: Mapping[str, str] = {}


@dataclass(frozen=True)
class Listing:
    """All that a provider has below a path.

    Attributes:
        proof: how the provider confirms that this is all, at the place that the store means.
    """

    names: tuple[Named, ...]
    proof: str

    @property
    def weight(self) -> int:
        """About how many characters it takes."""
        return sum(len(one.name) + sum(map(len, (*one.tags, *one.tags.values()))) for one in self.names)


class Breadth:
    """Counts what one find lists, while it lists. `where` and `path` are for messages."""

    def __init__(self, where: str, path: str) -> None:
        self._where, self._path = where, path
        self._names = self._bytes = self._folders = 0

    def add(self, name: str) -> None:
        """Count a name. Raises FindTooWide."""
        self._names += 1
        self._bytes += len(name.encode(errors="replace"))
        self.limit("names", self._names, MAX_NAMES)
        self.limit("bytes of names", self._bytes, MAX_NAME_BYTES)

    def add_folder(self, depth: int) -> None:
        """Count a folder that lies so deep below the path. Raises FindTooWide."""
        self._folders += 1
        self.limit("folders", self._folders, MAX_FOLDERS)
        self.limit("levels of folders", depth, MAX_DEPTH)

    def limit(self, what: str, count: int, most: int) -> None:
        """Raise FindTooWide if these are more than `most`."""
        if count > most:
            raise FindTooWide(self._where, self._path, f"more than {most} {what}")


def make_search(find: Find) -> Search:
    return Search((find.path or "").strip("/"), bool(find.tags))


@dataclass(frozen=True)
class Matcher:
    """Tells which names a `find` means."""

    pattern: Pattern | None
    tags: Mapping[str, str]
    path: str

    def select(self, listing: Listing, where: str) -> tuple[Named, ...]:
        """Select what is meant, in the order of the names. Raises FindTooWide: too many, or too much work."""
        breadth = Breadth(where, self.path)
        for one in listing.names:
            breadth.add(one.name)
        found = [one for one in listing.names if self._has_tags(one) and self._has_name(one, breadth)]
        breadth.limit("matches", len(found), MAX_MATCHES)
        return tuple(sorted(found, key=lambda one: one.name))

    def weigh(self, listing: Listing) -> int:
        """Weigh how much work `select` is."""
        return listing.weight + len(listing.names) * (1 + len(self.tags))

    def _has_tags(self, one: Named) -> bool:
        return all(one.tags.get(tag) == value for tag, value in self.tags.items())

    def _has_name(self, one: Named, breadth: Breadth) -> bool:
        if self.pattern is None:
            return True
        text = one.name.encode(errors="replace")
        # a search cannot be ended
        breadth.limit("steps to match a name", self.pattern.programsize * len(text), MOST_AT_ONCE)
        return self.pattern.search(text) is not None


def weigh_pattern(find: Find) -> int:
    """Weigh how much work `make_matcher` is: a repetition makes many steps of a few characters."""
    return 100 * len(find.name.regexp) if find.name is not None else 0


def make_matcher(find: Find) -> Matcher:
    """Make what tells which names `find` means. Raises FindInvalid: its regular expression is none."""
    try:
        pattern = compile_pattern(find.name.regexp) if find.name is not None else None
    except PatternInvalid as error:
        raise FindInvalid(f"name.regexp: {error}") from None
    return Matcher(pattern, find.tags, make_search(find).path)


def take_found(found: Mapping[str, Payload], find: Find, where: str) -> dict[str, Sensitive]:
    """Return the keys and values that are made of payloads, by name: each is one value, whole.

    Raises:
        ValueUnusable: colliding or impossible keys, values that cannot be decoded.
    """
    try:
        payloads = keys.check(keys.convert(found, find.conversion_strategy))
    except ValueError as error:
        raise ValueUnusable(f"{where}: {error}") from None
    values = {}
    for key, payload in payloads.items():
        try:
            values[key] = decode(payload.value, find.decoding_strategy)
        except ValueError as error:
            raise ValueUnusable(f"{where}: {key!r}: {error}") from None
    return values
