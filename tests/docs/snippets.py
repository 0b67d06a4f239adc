"""The fenced blocks of a document, and how each is to be proven.

The word behind a block's language says it; a block of `sh` or `yaml` without one fails the test.

    sh run        must succeed            yaml objects    whole objects, as an API server takes them
    sh fails      must not succeed        yaml spec=KIND  a part of that kind's spec
    sh look       again and again until   yaml file       any YAML
                  the output below shows  text output     what the block above prints
    sh service    goes on to the end      (none), text    a picture
    sh cluster    as run, on the real control plane
    sh make       targets of the Makefile

A yaml block whose first line is a comment with a path is written there. In `output`, `...` stands for anything and for
any number of lines; blanks, ages, dates and hashes need not be equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MARKS = {
    "sh": {"run", "fails", "look", "service", "cluster", "make"},
    "yaml": {"objects", "file"},
    "text": {"", "output"},
    "": {""},
}

_FENCE = re.compile(r"( *)```(.*)")
_VARYING = (
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z"), "<date>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d+"), "<time>"),
    (re.compile(r"\b[0-9a-f]{7,64}\b"), "<hash>"),
    (re.compile(r"\b(\d+h)?(\d+m)?\d+s\b"), "<age>"),
    (re.compile(r"\s+"), " "),
)


class Snippet(NamedTuple):
    document: str
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def is_known(self) -> bool:
        """Whether its mark is one of those above."""
        wrapped = self.language == "yaml" and self.mark.startswith("spec=")
        return wrapped or self.mark in MARKS.get(self.language, set())

    @property
    def file(self) -> str:
        """Where it is to be written, empty for nowhere."""
        match = re.match(r"# (\S+\.(?:yaml|yml|json|env))\b", self.text)
        return match[1] if match and self.language == "yaml" else ""


def snippets(root: Path, document: str) -> Iterator[Snippet]:
    """The blocks of a document, in order. Raises ValueError: one has no end."""
    begun: tuple[int, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate((root / document).read_text().splitlines(), 1):
        fence = _FENCE.fullmatch(line)
        if fence is None:
            lines.append(line)
        elif begun is None:
            begun, lines = (number, fence[1], fence[2].strip()), []
        else:
            start, indent, info = begun
            language, _, mark = info.partition(" ")
            text = "".join(each.removeprefix(indent) + "\n" for each in lines)
            yield Snippet(document, start, language, mark.strip(), text)
            begun = None
    if begun is not None:
        raise ValueError(f"{document}:{begun[0]}: the block has no end")


def shows(printed: str, expected: str) -> bool:
    """Whether the lines of `expected` are in `printed`, in order and one behind the other but for `...`.

    >>> shows("NAME AGE\\nweb  12s\\nfoo 3s", "web   4s")
    True
    >>> shows("a\\nb\\nc", "a\\nc"), shows("a\\nb\\nc", "a\\n...\\nc"), shows("a: b c", "a: ...")
    (False, True, True)
    """
    pattern = "".join(_pattern(line) for line in expected.splitlines())
    text = "".join(_plain(line) + "\n" for line in printed.splitlines())
    return re.search(rf"(?m)^{pattern}", text) is not None


def _pattern(line: str) -> str:
    plain = _plain(line)
    return r"(?:.*\n)*?" if plain == "..." else ".*".join(map(re.escape, plain.split("..."))) + r"\n"


def _plain(line: str) -> str:
    for varying, instead in _VARYING:
        line = varying.sub(instead, line)
    return line.strip()
