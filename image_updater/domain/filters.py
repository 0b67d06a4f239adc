"""Which tags are considered, and which part of them is compared: Go's regular expressions, in linear time.

    pattern: ^main-[a-f0-9]+-(?P<ts>[0-9]+)$     extract: $ts
    main-4f2c-1700000000  ->  compared as 1700000000, chosen as main-4f2c-1700000000

Patterns are RE2 (google-re2), found anywhere in the tag; `extract` expands as Go's Regexp.Expand does: `$1`, `$name`,
`${name}`, `$$`. A user's pattern can be wrong, but it cannot hang us.

Source: https://pkg.go.dev/regexp#Regexp.Expand, https://pkg.go.dev/regexp/syntax.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import re2


class PatternInvalid(ValueError):
    """Not a regular expression of Go's; the message is Go's."""


class _Match(Protocol):
    def group(self, number: int) -> bytes | None: ...


class Pattern(Protocol):
    """The part of a compiled expression that we use: on UTF-8, which spares the binding the counting of characters."""

    groups: int
    groupindex: Mapping[bytes, int]

    def search(self, text: bytes) -> _Match | None: ...


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False  # RE2 would write users' mistakes to standard error
    options.max_mem = 8 << 20
    return options


_OPTIONS = _options()

# RE2's words and Go's words for the same mistakes.
_GO_WORDS = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "unexpected )": "unexpected )",
    "trailing \\": "trailing backslash at end of expression",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "invalid UTF-8": "invalid UTF-8",
    "invalid escape sequence": "invalid escape sequence",
    "invalid character class": "invalid character class",
    "invalid character class range": "invalid character class range",
}


def compile_pattern(pattern: str) -> Pattern:
    """Raises PatternInvalid.

    >>> compile_pattern("(")
    Traceback (most recent call last):
    ...
    image_updater.domain.filters.PatternInvalid: error parsing regexp: missing closing ): `(`
    """
    try:
        return cast("Pattern", re2.compile(pattern.encode("utf-8", "surrogatepass"), _OPTIONS))
    except re2.error as error:
        text = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error.args[0])
        words, colon, argument = text.partition(": ")
        said = _GO_WORDS.get(words, words)
        raise PatternInvalid(f"error parsing regexp: {said}" + (f": `{argument}`" if colon else "")) from None


@dataclass(frozen=True)
class TagFilter:
    """An ImagePolicy's spec.filterTags; `extract` "" means that whole tags are compared."""

    pattern: str
    extract: str = ""

    def apply(self, tags: Iterable[str]) -> dict[str, str]:
        """The tag by the text to compare, for the tags that match; of tags that extract alike, the last one stays.

        Raises:
            PatternInvalid.
        """
        return {text: tag for tag, text in self.compared(tags)}

    def compared(self, tags: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Each tag that matches, and the text to compare. Raises PatternInvalid."""
        compiled = compile_pattern(self.pattern)
        expansion = parse_expansion(self.extract)
        names = {name.decode(): number for name, number in compiled.groupindex.items()}
        for tag in tags:
            match = compiled.search(_utf8(tag))
            if match is not None:
                yield tag, _expand(expansion, match, compiled.groups, names) if self.extract else tag


def matching(pattern: str, tags: Iterable[str]) -> list[str]:
    """The tags that `pattern` is found in. Raises PatternInvalid."""
    compiled = compile_pattern(pattern)
    return [tag for tag in tags if compiled.search(_utf8(tag)) is not None]


@dataclass(frozen=True)
class _Group:
    name: str


Expansion = tuple[str | _Group, ...]


def parse_expansion(template: str) -> Expansion:
    """Literal texts and groups, in order.

    >>> parse_expansion("pre$1x-${1}x$$")
    ('pre', _Group(name='1x'), '-', _Group(name='1'), 'x', '$')
    """
    parts: list[str | _Group] = []
    while template:
        literal, dollar, rest = template.partition("$")
        if literal:
            parts.append(literal)
        if not dollar:
            break
        if rest.startswith("$"):
            parts.append("$")
            template = rest[1:]
            continue
        name, template = _group_name(rest)
        parts.append(_Group(name) if name else "$")  # malformed: Go takes the dollar as it is
    return tuple(parts)


def _group_name(text: str) -> tuple[str, str]:
    """The group's name at the beginning of `text` and what follows; "" and all of `text` when there is none."""
    braced = text.startswith("{")
    start = 1 if braced else 0
    end = start
    while end < len(text) and (text[end].isalpha() or text[end].isdecimal() or text[end] == "_"):
        end += 1
    if end == start or (braced and text[end : end + 1] != "}"):
        return "", text
    return text[start:end], text[end + 1 if braced else end :]


def _expand(expansion: Expansion, match: _Match, groups: int, names: Mapping[str, int]) -> str:
    return "".join(part if isinstance(part, str) else _value(part.name, match, groups, names) for part in expansion)


def _value(name: str, match: _Match, groups: int, names: Mapping[str, int]) -> str:
    if name.isascii() and name.isdigit() and (name == "0" or name[0] != "0") and len(name) < 9:
        number = int(name)
        return _group(match, number) if number <= groups else ""
    return _group(match, names[name]) if name in names else ""


def _group(match: _Match, number: int) -> str:
    return (match.group(number) or b"").decode("utf-8", "replace")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
