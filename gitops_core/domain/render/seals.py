"""What can be said of encrypted files without any key: which may be opened, what else there is, what came back.

A mac says that a file is as SOPS left it, not that it is the file that belongs here now. An older one that was
committed again is as good to SOPS as the newest, and so is one that stands for another object, where the mac covers
only what is encrypted. Both are found by comparing a revision with the one that was applied before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gitops_core.domain.render.encrypted import Block, find_block, find_payloads, is_sealed, take_apart
from gitops_core.domain.render.manifests import Malformed, read_documents
from gitops_core.meta import ObjectRef

TOKEN = "kubernetes.io/service-account-token"  # noqa: S105  # the type of Secrets that the cluster fills in
MOST_TOLD = 10


@dataclass(frozen=True)
class Sealed:
    """One part of a file that SOPS encrypted.

    Attributes:
        names: of the objects in it, where these can be read.
        is_opened: it may be opened: nobody wants it as it is, and it is not to be put into a ConfigMap.
        is_left: somebody wants it as it is.
        digest: of what is in it, encrypted or not.
    """

    path: str
    names: tuple[str, ...]
    block: Block
    is_opened: bool = True
    is_left: bool = False
    digest: bytes = b""

    @property
    def told(self) -> str:
        return f"{self.path} ({', '.join(self.names)})" if self.names else self.path


def find_sealed(path: str, data: bytes, *, is_shown: bool = False) -> Iterator[Sealed]:
    """Find what is encrypted of a file.

    Args:
        is_shown: it is put into a ConfigMap, where nothing plain shall come of it.
    """
    for piece in take_apart(data, path):
        if piece.block is not None:
            is_left = piece.format is None
            is_opened = not is_left and not is_shown
            yield Sealed(path, piece.names, piece.block, is_opened, is_left, piece.digest)


def find_plain_secrets(path: str, data: bytes) -> Iterator[str]:
    """Find the Secrets of a file whose values stand there for everybody to read. What is no YAML holds none."""
    if not may_say(b"Secret", data):
        return
    try:
        for _, document in read_documents(data):
            yield from (f"{path} ({one.name})" for one in list_plain(document))
    except Malformed:
        return


def may_say(word: bytes, data: bytes) -> bool:
    """Tell whether YAML may hold a word, also one that is written so that nobody finds it.

    >>> [may_say(b"Secret", text) for text in (b"a: Secret", b'a: "\\x53ecret"', b"a: !!binary U2VjcmV0", b"a: '\\n'")]
    [True, True, True, False]
    """
    return word in data or _HIDDEN.search(data) is not None


_HIDDEN = re.compile(rb"\\(?:x[0-9a-fA-F]|u00|U000000|\r?\n)|!\S{0,80}?(?:binary|%)")
"""Escapes of letters, a line that goes on, and base64 under its tag, which may be escaped too."""


class Plain(NamedTuple):
    """A Secret whose values stand in a file for everybody to read.

    Attributes:
        place: where in its document it stands: the keys and numbers that lead there.
        values: those of its values, each as field and key.
    """

    name: str
    place: tuple[str | int, ...]
    values: tuple[tuple[str, str], ...]


def list_plain(document: Any, place: tuple[str | int, ...] = ()) -> Iterator[Plain]:
    """List the Secrets of a document, which may be a List, whose values can be read. A variable is no value."""
    if not isinstance(document, dict) or find_block(document):
        return
    items = document.get("items")
    for number, item in enumerate(items if isinstance(items, list) else ()):
        yield from list_plain(item, (*place, "items", number))
    if document.get("kind") != "Secret" or document.get("apiVersion") != "v1" or document.get("type") == TOKEN:
        return
    sealed = {(one.field, one.key) for one in find_payloads(document)}
    fields = ((field, document.get(field)) for field in ("data", "stringData"))
    values = {(field, key): value for field, one in fields if isinstance(one, dict) for key, value in one.items()}
    plain = tuple(
        where
        for where, value in values.items()
        if where not in sealed and is_readable(value) and not is_sealed(where[0], value)
    )
    if plain:
        yield Plain(name_object(document), place, plain)


_LATER = re.compile(r"\s*(?:\$\{[A-Za-z_][A-Za-z0-9_]*\}|\{\{[^\"'`{}]*\}\})\s*")


def is_readable(value: Any) -> bool:
    """Tell whether a value says something: it is neither empty nor a variable or template that is put in later.

    >>> [is_readable(value) for value in (None, "", "${password}", "{{ .password }}", "${password:=hunter2}", 0)]
    [False, False, False, False, True, True]
    """
    return value is not None and value != "" and not (isinstance(value, str) and _LATER.fullmatch(value))


def name_object(document: Mapping[str, Any]) -> str:
    """Name an object that need not have a name, or anything else that is right: "Secret/prod/db", "Secret"."""
    try:
        return str(ObjectRef.of(document)).rstrip("/")
    except (KeyError, TypeError, ValueError, AttributeError):
        return str(document.get("kind", "an object"))


def explain_replayed(now: Iterable[Sealed], before: Iterable[Sealed]) -> str:
    """Explain which files are older than what was applied before in their place; "" when none is."""
    known: dict[tuple[str, ...], str] = {}
    for one in before:
        for place in _list_places(one):
            known[place] = max(known.get(place, ""), one.block.modified)
    found = [
        f"{one.told} was encrypted at {one.block.modified}, and one of {newest} was applied before"
        for one in now
        if one.block.modified < (newest := max((known.get(place, "") for place in _list_places(one)), default=""))
    ]
    return _tell(found)


def _list_places(one: Sealed) -> Iterator[tuple[str, ...]]:
    if one.names:
        yield ("names", *one.names)
    else:
        yield ("path", one.path)


def explain_moved(now: Iterable[Sealed], before: Iterable[Sealed]) -> str:
    """Explain which files stand for other objects than those they were encrypted for; "" when none does."""
    wanted = [one for one in now if one.names and one.block.mac]
    owners: dict[str, Sealed] = {}
    for one in (*before, *wanted):
        if one.names and one.block.mac:
            owners.setdefault(one.block.mac, one)
    found = [
        f"{one.told} holds what was encrypted for {', '.join(owners[one.block.mac].names)}"
        for one in wanted
        if owners[one.block.mac].names != one.names
    ]
    return _tell(found)


def explain_edited(now: Iterable[Sealed], before: Iterable[Sealed]) -> str:
    """Explain which files were changed in a way that their mac does not tell; "" when none was.

    SOPS makes a new mac whenever it writes values: with the same one, nothing but its recipients may be another.
    """
    known: dict[str, set[bytes]] = {}
    for one in before:
        known.setdefault(one.block.mac, set()).add(one.digest)
    return _tell(
        [
            f"{one.told} was changed by something else than sops, in what its mac does not cover"
            for one in now
            if one.is_opened and one.block.mac and one.block.covers_all
            if one.digest not in known.get(one.block.mac, {one.digest})
        ]
    )


def explain_left(now: Iterable[Sealed], before: Iterable[Sealed]) -> str:
    """Explain which files are to be left encrypted that were opened before; "" when none is.

    The annotation that says so is in no mac: whoever writes to the source can make ciphertext of a Secret by it.
    """
    opened = {place for one in before if one.is_opened for place in _list_places(one)}
    return _tell(
        [
            f"{one.told} is left encrypted by an annotation, and was decrypted before"
            for one in now
            if one.is_left and not opened.isdisjoint(_list_places(one))
        ]
    )


def _tell(found: list[str]) -> str:
    more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return "; ".join(found[:MOST_TOLD]) + more
