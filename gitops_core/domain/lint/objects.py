"""What is wrong with the objects of one file: values that can be read, and what SOPS encrypted and was taken apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gitops_core.domain.lint.findings import Finding, Severity, is_allowed
from gitops_core.domain.lint.lines import Lines
from gitops_core.domain.render.encrypted import Block, find_block, is_left_encrypted, is_sealed
from gitops_core.domain.render.seals import Plain, is_readable, list_plain, name_object

Place = tuple[str | int, ...]
MOST_NAMED = 5
LEAVES = 8


class Document(NamedTuple):
    """A document that SOPS encrypted.

    Attributes:
        names: of its objects, where these can be read.
        leaves: some of what is encrypted in it, as it is written.
        is_allowed: a copy of another one.
    """

    line: int
    block: Block
    names: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    is_allowed: bool = False


class Objects:
    """The objects of one file.

    Attributes:
        path: for findings.
    """

    def __init__(self, path: str, lines: Lines, documents: Sequence[Any]) -> None:
        self.path, self.documents = path, documents
        self._lines = lines

    def list_encrypted(self) -> Iterator[Document]:
        for number, document in enumerate(self.documents):
            block = find_block(document)
            if block is not None and not is_left_encrypted(document):
                names = tuple(name for name in _list_names(document) if "ENC[" not in name)
                leaves = [text for place, text in _walk(document) if place[0] != "sops" and _is_encrypted(place, text)]
                allowed = is_allowed(document, (), "copied")
                yield Document(self._lines.find(number), Block.of(block), names, tuple(leaves[:LEAVES]), allowed)

    def find(self, hint: str) -> Iterator[Finding]:
        """Find what is wrong.

        Args:
            hint: how a Secret is to be encrypted.
        """
        for number, document in enumerate(self.documents):
            found = list(self._find_plain(number, document, hint))
            if is_left_encrypted(document):
                yield from found
                continue
            block = find_block(document)
            misplaced = list(self._find_misplaced(number, document))
            found += misplaced
            if block is not None:
                found += self._check_block(number, Block.of(block))
                found += self._find_half(number, document)
            elif not misplaced:
                found += self._find_lost(number, document)
            yield from found

    def _make(
        self, number: int, place: Place, rule: str, message: str, severity: Severity = "error"
    ) -> Iterator[Finding]:
        if not is_allowed(self.documents[number], place, rule):
            yield Finding(self.path, self._lines.find(number, place), severity, rule, message)

    def _find_plain(self, number: int, document: Any, hint: str) -> Iterator[Finding]:
        for one in _list_plain(document):
            message = f"{one.name} can be read by everybody: {_list_keys(key for _, key in one.values)}; {hint}"
            yield from self._make(number, (*one.place, *one.values[0]), "plain-secret", message)

    def _check_block(self, number: int, block: Block) -> Iterator[Finding]:
        if not block.mac:
            message = "there is no mac, so that nobody can tell whether it is as sops left it: it is not decrypted"
            yield from self._make(number, ("sops",), "no-mac", message)
        elif not block.covers_all:
            message = (
                "the mac covers only what is encrypted: names and kinds can be changed, and nobody sees it "
                "(mac_only_encrypted)"
            )
            yield from self._make(number, ("sops", "mac_only_encrypted"), "weak-mac", message, "warning")

    def _find_half(self, number: int, document: Any) -> Iterator[Finding]:
        for place, secret in _list_secrets(document):
            values = [
                (field, key)
                for field in ("data", "stringData")
                if isinstance(secret.get(field), dict)
                for key, value in secret[field].items()
                if is_readable(value) and not _is_encrypted((field, key), value)
            ]
            if values:
                message = (
                    f"{name_object(secret)} is encrypted, and values of it can be read nevertheless: "
                    f"{_list_keys(key for _, key in values)}; look at encrypted_regex, and encrypt it anew"
                )
                yield from self._make(number, (*place, *values[0]), "half-encrypted", message)

    def _find_misplaced(self, number: int, document: Any) -> Iterator[Finding]:
        for place in _list_blocks(document):
            message = (
                "the sops block stands within something else, where sops does not look for it: encrypt files whole"
            )
            yield from self._make(number, place, "misplaced-block", message)

    def _find_lost(self, number: int, document: Any) -> Iterator[Finding]:
        found = [place for place, value in _walk(document) if _is_encrypted(place, value)]
        if found:
            message = (
                f"{len(found)} encrypted {'value' if len(found) == 1 else 'values'} and no sops block: nobody can "
                "decrypt that; take the file from where the block still stood"
            )
            yield from self._make(number, found[0], "lost-block", message)


def _list_plain(document: Any) -> Iterator[Plain]:
    """List the Secrets that can be read, also those within other objects, which some controller makes of them."""
    waiting: list[tuple[Place, Any]] = [((), document)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict) and not find_block(value):
            yield from (one._replace(place=place) for one in list_plain(value) if not one.place)
            waiting += reversed([((*place, key), inner) for key, inner in value.items()])
        elif isinstance(value, list):
            waiting += reversed([((*place, number), inner) for number, inner in enumerate(value)])


def _list_keys(keys: Iterator[str]) -> str:
    found = list(dict.fromkeys(keys))
    return ", ".join(found[:MOST_NAMED]) + (f" and {len(found) - MOST_NAMED} more" if found[MOST_NAMED:] else "")


def _list_secrets(document: Any, place: Place = ()) -> Iterator[tuple[Place, dict[str, Any]]]:
    if not isinstance(document, dict):
        return
    if document.get("kind") == "Secret":
        yield place, document
    items = document.get("items")
    for number, item in enumerate(items if isinstance(items, list) else ()):
        yield from _list_secrets(item, (*place, "items", number))


def _list_names(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        items = document.get("items")
        if isinstance(items, list):
            for item in items:
                yield from _list_names(item)
        elif isinstance(document.get("kind"), str):
            yield name_object(document)


def _is_encrypted(place: Place, value: Any) -> bool:
    return isinstance(value, str) and is_sealed("data" if place[-2:-1] == ("data",) else "", value)


def _list_blocks(document: Any) -> Iterator[Place]:
    """List where blocks stand that do not stand at the top."""
    waiting: list[tuple[Place, Any]] = [((), document)]
    while waiting:
        place, value = waiting.pop()
        if place[-1:] == ("sops",) and isinstance(value, dict) and ("mac" in value or "lastmodified" in value):
            if len(place) > 1:
                yield place
        elif isinstance(value, dict):
            waiting += (((*place, key), inner) for key, inner in value.items())
        elif isinstance(value, list):
            waiting += (((*place, number), inner) for number, inner in enumerate(value))


def _walk(document: Any) -> Iterator[tuple[Place, Any]]:
    """Yield the values that hold no others, in order."""
    waiting: list[tuple[Place, Any]] = [((), document)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            waiting += reversed([((*place, key), inner) for key, inner in value.items()])
        elif isinstance(value, list):
            waiting += reversed([((*place, number), inner) for number, inner in enumerate(value)])
        elif place:
            yield place, value


def walk_keys(document: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values with the keys on the way to them, as sops counts: without the numbers of lists."""
    for place, value in _walk(document):
        yield tuple(part for part in place if isinstance(part, str)), value
