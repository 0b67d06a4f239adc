"""Upper and lower case, words and initials, one character for one as Go maps them (`upper "ß"` stays "ß").

Source: Go, strings.Title; Masterminds/goutils, wordutils.go; huandu/xstrings v1.5, convert.go.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from gitops_core.gotemplate.constants import to_bytes

_SPACE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")


def _upper(character: str) -> str:
    changed = character.upper()
    return changed if len(changed) == 1 else character


def _lower(character: str) -> str:
    return character.lower()[:1] or character


def _title(character: str) -> str:
    changed = character.title()
    return changed if len(changed) == 1 else character


def is_space(character: str) -> bool:
    return _SPACE.match(character) is not None


def each(text: str) -> list[str]:
    """Split a text into characters, one of a broken byte being one too."""
    return list(text)


def upper(text: str) -> str:
    return text.upper() if text.isascii() else "".join(map(_upper, text))


def lower(text: str) -> str:
    return text.lower() if text.isascii() else "".join(map(_lower, text))


def title(text: str) -> str:
    before = " "
    pieces: list[str] = []
    for character in text:
        pieces.append(_title(character) if _separates(before) else character)
        before = character
    return "".join(pieces)


def _separates(character: str) -> bool:
    if character.isascii():
        return not (character.isalnum() or character == "_")
    return not character.isalpha() and not character.isdecimal() and is_space(character)


def untitle(text: str) -> str:
    return _first_of_words(text, _lower)


def _first_of_words(text: str, change: Callable[[str], str]) -> str:
    pieces: list[str] = []
    at_start = True
    for character in text:
        space = is_space(character)
        pieces.append(change(character) if at_start and not space else character)
        at_start = space
    return "".join(pieces)


def swap_case(text: str) -> str:
    pieces: list[str] = []
    after_space = True
    for character in text:
        category = unicodedata.category(character)
        if category in ("Lu", "Lt"):
            pieces.append(_lower(character))
            after_space = False
        elif category == "Ll":
            pieces.append(_title(character) if after_space else _upper(character))
            after_space = False
        else:
            pieces.append(character)
            after_space = is_space(character)
    return "".join(pieces)


def no_space(text: str) -> str:
    """Remove spaces like goutils, byte by byte: each byte of longer characters is then written as a character."""
    letters = to_bytes(text).decode("latin-1")
    kept = _SPACE.sub("", letters)
    return text if len(kept) == len(letters) else kept


def initials(text: str) -> str:
    letters = to_bytes(text).decode("latin-1")
    return "".join(now for before, now in zip(" " + letters, letters, strict=False) if is_space(before) > is_space(now))


def _is_connector(character: str) -> bool:
    return character in "-_" or is_space(character)


def camel_case(text: str) -> str:
    """Write a text like xstrings.ToPascalCase."""
    start = next((at for at, character in enumerate(text) if not _is_connector(character)), None)
    if start is None:
        return text
    pieces = [text[:start]]
    first_is_upper = text[start].isupper()
    last = _upper(text[start])
    if start + 1 == len(text):
        return "".join([*pieces, last])
    for character in text[start + 1 :]:
        before, last = last, character
        if _is_connector(last) and _is_connector(before):
            pieces.append(before)
        elif _is_connector(before):
            first_is_upper = last.isupper()
            last = _upper(last)
        else:
            if first_is_upper and last.isupper():
                last = _lower(last)
            elif first_is_upper:
                first_is_upper = False
            pieces.append(before)
    return "".join([*pieces, last])


def snake_case(text: str) -> str:
    return _separate(text, "_")


def kebab_case(text: str) -> str:
    return _separate(text, "-")


def _class_of(character: str) -> str:
    if _is_connector(character):
        return "connector"
    category = unicodedata.category(character)
    if category[0] == "P":
        return "punctuation"
    if category == "Lu":
        return "upper"
    if category[0] == "L":
        return "alphabet"
    return "number" if category[0] == "N" else "other"


def _words(text: str) -> list[tuple[str, str]]:
    """Split a text into runs of characters of a class; `HTTPServer` is HTTP and Server."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        kind = _class_of(text[at])
        end = _word_end(text, at, kind)
        found.append((kind, text[at:end]))
        at = end
    return found


def _word_end(text: str, at: int, kind: str) -> int:
    end = at + 1
    if kind == "upper" and end < len(text) and _class_of(text[end]) == "upper":
        while end < len(text) and _class_of(text[end]) == "upper":
            end += 1
        return end - 1 if end < len(text) and _class_of(text[end]) == "alphabet" else end
    run = "alphabet" if kind == "upper" else kind
    while end < len(text) and _class_of(text[end]) == run:
        end += 1
    return end


def _separate(text: str, connector: str) -> str:
    words = [*_words(text), ("", "")]
    pieces: list[str] = []
    at = 0
    while words[at][0]:
        kind, word = words[at]
        pieces.append(_small(kind, word, connector))
        at += 1
        following = words[at][0]
        if kind == "number":
            at = _take_glued(words, at, pieces, connector)
            if words[at][0] not in ("", "punctuation", "connector"):
                pieces.append(connector)
        elif kind not in ("connector", "punctuation") and following:
            at = _after_word(words, at, pieces, connector)
    return "".join(pieces)


def _take_glued(words: list[tuple[str, str]], at: int, pieces: list[str], connector: str) -> int:
    while words[at][0] in ("alphabet", "number"):
        pieces.append(_small(*words[at], connector))
        at += 1
    return at


def _after_word(words: list[tuple[str, str]], at: int, pieces: list[str], connector: str) -> int:
    """Return the index behind what stands between two words: `v2` stays together, `build2go` becomes build_2go."""
    if words[at][0] != "number":
        if words[at][0] not in ("connector", "punctuation"):
            pieces.append(connector)
        return at
    if not words[at + 1][0]:
        return at
    number = words[at][1]
    at += 1
    if words[at][0] != "alphabet":
        pieces.append(number)
        if words[at][0] not in ("connector", "punctuation"):
            pieces.append(connector)
        return at
    pieces += [connector, number]
    at = _take_glued(words, at, pieces, connector)
    if words[at][0] not in ("", "connector", "punctuation"):
        pieces.append(connector)
    return at


def _small(kind: str, word: str, connector: str) -> str:
    if kind == "connector":
        return connector * len(word)
    return "".join(_lower(character) for character in word) if kind == "upper" else word
