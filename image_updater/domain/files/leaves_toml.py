"""The values of a TOML text, with their places.

Python's own reader says whether the text is TOML 1.0 and what it means; the scan behind it only finds where each value
stands, and takes its word for what it says.

Source: https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Hashable, Mapping

from image_updater.domain.files.leaves import Format, Leaf, Path, Said, flatten
from image_updater.domain.files.markers import LARGEST, Unparsable
from image_updater.domain.files.scalars import can_spell

_GAP = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_MULTILINE = re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})' + r"|'''.*?'''(?:'{0,2})", re.DOTALL)
_QUOTED = re.compile(r"""\"(?:[^"\\]|\\.)*"|'[^']*'""")
_BARE = re.compile(r"\d{4}-\d\d-\d\d \d\d[^\s,\]}#]*|[^\s,\]}#]+")


def leaves(text: str) -> tuple[Leaf, ...]:
    """Return every value and inline container of the text, in order. Raises Unparsable."""
    said = says(text)  # only what is TOML is scanned
    try:
        return tuple(_Scan(text, said).document())
    except RecursionError:
        raise Unparsable("it is nested too deeply") from None


def says(text: str) -> Mapping[Hashable, Said]:
    """Return what the text means, by path. Raises Unparsable."""
    if len(text) > LARGEST:
        raise Unparsable(f"the file is larger than {LARGEST >> 20} MiB")
    try:
        return flatten(tomllib.loads(text), lambda value: Said(str(value), type(value).__name__))
    except tomllib.TOMLDecodeError as error:
        raise Unparsable(f"not TOML: {str(error)[:1].lower()}{str(error)[1:]}") from None
    except RecursionError:
        raise Unparsable("it is nested too deeply") from None


class _Scan:
    """Walks over a text that is known to be TOML."""

    def __init__(self, text: str, said: Mapping[Hashable, Said]) -> None:
        self.text, self.said = text, said
        self.position = 0
        self.counted, self.line = 0, 1
        self.arrays: dict[Path, int] = {}
        self.found: list[Leaf] = []

    def document(self) -> list[Leaf]:
        table: Path = ()
        while self.skip(_GAP):
            if self.takes("[["):
                path = self.resolve(self.keys(), array=True)
                number = self.arrays[path] = self.arrays.get(path, -1) + 1
                table = (*path, number)
                self.takes("]]")
            elif self.takes("["):
                table = self.resolve(self.keys(), array=False)
                self.takes("]")
            else:
                self.pair(table)
        return self.found

    def resolve(self, keys: Path, array: bool) -> Path:
        """Return a header's path with the number of the last item of each array of tables on the way."""
        path: Path = ()
        for count, key in enumerate(keys, 1):
            path = (*path, key)
            if path in self.arrays and not (array and count == len(keys)):
                path = (*path, self.arrays[path])
        return path

    def pair(self, table: Path) -> None:
        keys = self.keys()
        self.takes("=")
        self.value((*table, *keys))

    def keys(self) -> Path:
        found: list[str] = []
        while True:
            self.skip(_SPACE)
            match = _KEY.match(self.text, self.position)
            if match is None:  # not reached: the text is TOML
                raise Unparsable("a key was expected")
            self.position = match.end()
            quoted = match[0][0] in "\"'"
            found.append(tomllib.loads(f"k = {match[0]}")["k"] if quoted else match[0])
            self.skip(_SPACE)
            if not self.takes("."):
                return tuple(found)

    def value(self, path: Path) -> None:
        self.skip(_SPACE)
        start = self.position
        if self.takes("["):
            self.add(path, start, cause="is an array")
            number = 0
            while self.skip(_GAP) and not self.takes("]"):
                self.value((*path, number))
                number += 1
                self.skip(_GAP)
                self.takes(",")
        elif self.takes("{"):
            self.add(path, start, cause="is a table")
            while self.skip(_SPACE) and not self.takes("}"):
                self.pair(path)
                self.skip(_SPACE)
                self.takes(",")
        else:
            self.scalar(path, start)

    def scalar(self, path: Path, start: int) -> None:
        if multiline := _MULTILINE.match(self.text, start):
            self.position = multiline.end()
            self.add(path, start, cause="is a text of several lines")
            return
        match = _QUOTED.match(self.text, start) or _BARE.match(self.text, start)
        if match is None:  # not reached: the text is TOML
            raise Unparsable("a value was expected")
        self.position = match.end()
        style = match[0][0] if match[0][0] in "\"'" else ""
        said = self.said.get(path, Said(None))
        value = match[0] if said.rest in ("int", "float") else said.value or ""
        self.add(path, start, value, style, "" if said.rest in ("str", "int", "float") else "is not a text")

    def add(self, path: Path, start: int, value: str = "", style: str = "", cause: str = "") -> None:
        self.line, self.counted = self.line + self.text.count("\n", self.counted, start), start
        self.found.append(Leaf(path, path, value, start, self.position, self.line, style, cause))

    def skip(self, pattern: re.Pattern[str]) -> bool:
        """Step over what matches, and tell whether any text is left."""
        match = pattern.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return self.position < len(self.text)

    def takes(self, sign: str) -> bool:
        """Step over `sign`, and tell whether it stood there."""
        if not self.text.startswith(sign, self.position):
            return False
        self.position += len(sign)
        return True


def spell(value: str, style: str) -> str:
    quote = style if style and can_spell(value) else '"'
    return f"{quote}{value}{quote}"


TOML = Format(leaves, says, spell)
