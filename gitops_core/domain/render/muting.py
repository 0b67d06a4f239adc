"""What a build said, without the values of Secrets: kustomize quotes what it cannot read or place.

A value is what stands in `data` or `stringData` of a Secret, as written and decoded, what a patch puts there, or what a
secretGenerator takes from literals and files. A patch need not say that it is for a Secret: its target does. So one
without a kind counts, and so does every line of a patch in the kustomization itself, which kustomize quotes as a whole.
Of a file that cannot be read as YAML and speaks of a Secret, every word after a colon counts, and of lines without one
every word: what begins with `*` is taken for the name of an anchor, and told.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gitops_core.domain.render.folders import Build
from gitops_core.domain.render.manifests import Malformed, read_documents

_SPEAKS_OF_ONE = re.compile(rb"Secret|stringData|/data/")
_MAY_HOLD = re.compile(rb"Secret|stringData|\bdata\b")
_SHORT = {'"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SHORT |= {"\v": "\\v"}
_SIMPLE = re.compile(r"[ !#-%'-;=?-\[\]-~]*")
"""What is quoted everywhere as it is: ASCII but for \" & < > and the backslash."""
SHORTEST = 3  # what is shorter is no secret, and would mute half a sentence
MOST = 10_000
MUTED = "***"
WITHHELD = "what kustomize said is withheld, because this build holds more Secrets than can be looked for in it"


def mute_secrets(text: str, build: Build, files: Mapping[str, bytes]) -> str:
    """Replace by *** in `text` each value of a Secret that `files` or the kustomizations of `build` hold, in any form.

    Args:
        files: what kustomize was given, by the path below the build.
    """
    values: set[str] = set()
    for folder, kustomization in build.rewritten.items():
        values.update(_list_generated(kustomization.get("secretGenerator"), build.name(folder), files))
        values.update(line for text in _list_strings(kustomization) for line in _list_quoted(text))
        values.update(
            word for data in _list_patches(kustomization, build.name(folder), files) for word in _list_patched(data)
        )
    for path, data in files.items():
        values.update(_list_stored_in(data))
        if b"SecretGenerator" in data and path in build.written:
            generators = [document for _, document in read_documents(data)]
            values.update(_list_generated(generators, path.partition("/")[0], files))
    return mute_values(text, values, WITHHELD)


def mute_values(text: str, values: Iterable[str], withheld: str) -> str:
    """Replace by *** in `text` each of `values`, in any form; `withheld` says what is told of too many of them."""
    return _make_mute(values, withheld, len(text))(text)


def make_mute(values: Iterable[str], withheld: str) -> Callable[[str], str]:
    """Make a function that does this to many texts."""
    return _make_mute(values, withheld, sys.maxsize)


def _make_mute(values: Iterable[str], withheld: str, most: int) -> Callable[[str], str]:
    """Make it for texts of so many characters at most."""
    pieces: set[str] = set()
    for value in values:
        pieces.update(form for form in _list_forms(value, most) if SHORTEST <= len(form) <= most)
        if len(pieces) > MOST:
            return lambda _: withheld
    ordered = sorted(pieces, key=len, reverse=True)

    def mute(text: str) -> str:
        for piece in ordered:
            text = text.replace(piece, MUTED)
        return text

    return mute


def _list_forms(value: str, most: int) -> Iterator[str]:
    """Yield how a value may be quoted: whole or a line of it, in base64, or as a literal of Go or JSON.

    Args:
        most: characters of the text that is looked through: nothing longer stands in it.
    """
    if len(value) <= most:
        yield base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
    for piece in (value, *value.splitlines()):
        stripped = piece.strip()
        if len(stripped) > most:
            continue
        yield stripped
        if _SIMPLE.fullmatch(stripped):
            continue
        yield _quote(stripped)
        for once in {_escape(stripped), _escape_markup(_escape(stripped))}:
            yield from (once, _escape(once))  # twice: JSON in a text that is quoted


def _escape(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _escape_markup(text: str) -> str:
    """Write what Go's encoding/json does not leave as it is.

    >>> _escape_markup("a<b>&c")
    'a\\\\u003cb\\\\u003e\\\\u0026c'
    """
    return re.sub(r"[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _quote(text: str) -> str:
    """Write a text as Go's strconv.Quote does, without the quotes."""
    return "".join(map(_quote_character, text))


def _quote_character(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _list_generated(generators: Any, folder: str, files: Mapping[str, bytes]) -> Iterator[str]:
    for generator in generators if isinstance(generators, list) else []:
        if not isinstance(generator, dict):
            continue
        for literal in _list_strings(generator.get("literals")):
            value = literal.partition("=")[2] or literal
            yield from (value, value.strip("\"'"))
        for source in _list_strings([generator.get(key) for key in ("files", "envs", "env")]):
            data = files.get(f"{folder}/{source.rpartition('=')[2]}", b"")
            yield base64.b64encode(data).decode()
            text = data.decode("utf-8", "replace")
            yield text
            for line in text.splitlines():
                yield from (line, line.partition("=")[2])


def _list_quoted(text: str) -> Iterator[str]:
    """Yield what counts of a text that stands in a kustomization: of a patch that may hold a value, every line."""
    data = text.encode("utf-8", "replace")
    if ("\n" in text or text.startswith(("{", "["))) and _MAY_HOLD.search(data):
        yield from text.splitlines()
    yield from _list_patched(data)


def _list_patches(kustomization: Mapping[str, Any], folder: str, files: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield the files with patches whose target the kustomization says."""
    for field in ("patches", "patchesJson6902"):
        entries = kustomization.get(field)
        for entry in entries if isinstance(entries, list) else []:
            yield files.get(f"{folder}/{entry.get('path')}", b"")


def _list_patched(patch: bytes) -> Iterator[str]:
    return _list_stored_in(patch, _MAY_HOLD)


def _list_stored_in(data: bytes, sign: re.Pattern[bytes] = _SPEAKS_OF_ONE) -> Iterator[str]:
    if not sign.search(data):
        return
    try:
        for _, document in read_documents(data):
            yield from _list_stored(document)
    except Malformed:
        for line in data.decode("utf-8", "replace").splitlines():
            yield from (word.strip("\"'{},*&!") for word in (line.partition(":")[2] or line).split())


def _list_stored(document: Any) -> Iterator[str]:
    if isinstance(document, list):
        for item in document:
            yield from _list_stored(item)
    elif isinstance(document, dict):
        found: list[Any] = []
        if document.get("kind") in ("Secret", None):
            found += [document.get("data"), document.get("stringData")]
        if str(document.get("path")).startswith(("/data", "/stringData")):  # an operation of a JSON patch
            found.append(document.get("value"))
        for text in _list_texts(found):
            yield from (text, _decode(text))
        yield from _list_stored(document.get("items"))
        yield from _list_stored(document.get("value"))


def _decode(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _list_texts(value: Any) -> Iterator[str]:
    """Yield the texts in `value`, and the numbers: a password of digits is one to YAML, unless it is quoted."""
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _list_texts(child)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def _list_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        children: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for child in children:
            yield from _list_strings(child)
