"""Which tags are considered, and which part of them is compared: Go's regular expressions, in linear time.

    pattern: ^main-[a-f0-9]+-(?P<ts>[0-9]+)$     extract: $ts
    main-4f2c-1700000000  ->  compared as 1700000000, chosen as main-4f2c-1700000000

Patterns are RE2 (google-re2), found anywhere in the tag; `extract` expands as Go's Regexp.Expand does: `$1`, `$name`,
`${name}`, `$$`. A user's pattern can be wrong, but it cannot hang us.

Source: https://pkg.go.dev/regexp#Regexp.Expand, https://pkg.go.dev/regexp/syntax.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gitops_core.gotemplate.regexps import (
    Pattern,
    PatternInvalid,
    compile_pattern,
    expand,
    group_names,
    parse_expansion,
)

__all__ = ["Pattern", "PatternInvalid", "TagFilter", "compile_pattern", "select_matching"]

SIGNATURES = r"^.*\.sig$"
"""The exclusion of every ImageRepository that names none: what it says of a long list is worth a shorter way."""


@dataclass(frozen=True)
class TagFilter:
    """An ImagePolicy's spec.filterTags; `extract` "" means that whole tags are compared."""

    pattern: str
    extract: str = ""

    def apply(self, tags: Iterable[str]) -> dict[str, str]:
        """Map the text to compare to its tag, for the tags that match; of tags with the same text the last one stays.

        Raises:
            PatternInvalid.
        """
        return {text: tag for tag, text in self.pair_texts(tags)}

    def pair_texts(self, tags: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield each tag that matches, with the text to compare. Raises PatternInvalid."""
        compiled = compile_pattern(self.pattern)
        expansion = parse_expansion(self.extract)
        names = group_names(compiled)
        for tag in tags:
            match = compiled.search(_encode(tag))
            if match is not None:
                if self.extract:
                    yield tag, expand(expansion, match, compiled.groups, names).decode("utf-8", "replace")
                else:
                    yield tag, tag


def select_matching(pattern: str, tags: Iterable[str]) -> list[str]:
    """Return the tags that `pattern` is found in. Raises PatternInvalid."""
    if pattern == SIGNATURES:
        return [tag for tag in tags if tag.endswith(".sig") and "\n" not in tag]
    compiled = compile_pattern(pattern)
    return [tag for tag in tags if compiled.search(_encode(tag)) is not None]


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")
