"""What is probably not meant: markers that set something else than what stands there, and comments that are almost one.

newTag: 1.0.0          # {"$imagepolicy": "shop:web"}        the whole image would stand where a tag stands
- IMAGE=org/web:1.0.0  # {"$imagepolicy": "shop:web"}        `IMAGE=` would go
image: org/web:1.0.0   # {"$imagePolicy": "shop:web"}        no marker, though it looks like one

newTag: 1.0.0          # {"$imagepolicy": "shop:web:tag"}    the tag would move, and the digest that counts would not
digest: sha256:abc
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from image_updater.domain.files.markers import SCREEN

_KEY = re.compile(r"""(?:^|[\s{,?-])["']?(?P<key>[\w./-]+)["']?\s*:\s+(?:[&!]\S+\s+)*["']?$""")
_OF_TAGS = re.compile(r"(?i)(?:tag|version)$")
_OF_IMAGES = re.compile(r"(?i)(?:image|img|repository|name)$")
_LIKE_A_TAG = re.compile(r"v?[0-9]|(?:latest|main|master|stable|edge|dev)\b")
_MORE = re.compile(r"""[\s=,;"'`$(){}<>|]|://""")

_INDENT = re.compile(r"(?P<indent> *(?:- +)*)(?:[^\s#].*)?$")
_DIGEST = re.compile(r"""["']?digest["']?\s*:\s+["']?sha\d+:[0-9a-f]""")

_COMMENT = re.compile(r"(?:^|\s)#(?P<comment>.*)")
_WORD = re.compile(r"(?P<dollar>\$?)\s*(?P<word>[A-Za-z][A-Za-z_.-]*(?: policy\b)?)")
_NAMES_A_SETTER = re.compile(r"""["'`:=\s]*[:=]["'`\s]*[\w.-]+:[\w.-]+""")
_QUOTES = str.maketrans("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033\u2018\u2019\u201a\u2032", '"' * 7 + "'" * 4)
_MEANT = ("imagepolicy", "imagepolicies")
ALIKE = 0.85
"""Of 1.0; `imagePullPolicy` is less."""
FAR = 200
"""Lines; what belongs together stands closer."""


class NearMiss(NamedTuple):
    """A comment that is no marker and may have been meant as one.

    Attributes:
        line: counted from 1.
    """

    line: int
    cause: str


def doubt(setter: str, value: str, before: str, image: str) -> str:
    """Say why a value that follows `setter` may not be what it is meant to set; "" when all is well.

    Args:
        before: what stands on the line in front of the value.
        image: the policy's, without a tag; "" when it is not known.

    >>> doubt("shop:web", "1.0.0", "newTag: ", "ghcr.io/org/web")
    "only a tag, '1.0.0', stands here, and the whole image would be set: the marker lacks :tag"
    """
    part = setter.split(":", 2)[2] if setter.count(":") > 1 else ""
    match part:
        case "digest":
            good = not value or re.fullmatch(r"sha\d+:[0-9a-f]+", value)
            return "" if good else f"{value!r} is no digest, and a digest alone would be set"
        case "tag" if re.search(r"[/:@]", value) and not _MORE.search(value):
            return f"{value!r} is more than a tag, and a tag alone would be set"
        case "name" if "@" in value or ":" in value.rpartition("/")[2]:
            return f"{value!r} is more than a name, and a name alone would be set"
    if found := _MORE.search(value):
        lost = value[: found.end()] if found[0] == "=" else value
        return f"{value!r} is more than an image, and all of it would be replaced: {lost!r} would be lost"
    if part == "" and re.fullmatch(r"sha\d+:[0-9a-f]{16,}", value):
        return f"only a digest, {value!r}, stands here, and the whole image would be set: the marker lacks :digest"
    if part in ("", "name") and _is_bare_tag(value, before, image):
        what = "the whole image would be set: the marker lacks :tag" if part == "" else "a name would be set"
        return f"only a tag, {value!r}, stands here, and {what}"
    return ""


def _is_bare_tag(value: str, before: str, image: str) -> bool:
    if re.search(r"[/:@]", value) or value == image or (value and image.endswith(f"/{value}")):
        return False
    key = found["key"] if (found := _KEY.search(before)) else ""
    if _OF_TAGS.search(key):
        return True
    return bool(_LIKE_A_TAG.match(value)) if _OF_IMAGES.search(key) or not value else True


def find_lone_digest(setter: str, lines: Sequence[str], line: int) -> str:
    """Warn of a marked tag when a digest in the same mapping is not marked; "" when there is none.

    Args:
        lines: of the file, with the marked one at `line`, counted from 1.
    """
    if not setter.endswith(":tag") or line > len(lines):
        return ""
    for number in _find_lines_beside(lines, line - 1):
        if _DIGEST.match(lines[number].lstrip(" -")) and SCREEN not in lines[number]:
            return (
                f"the digest beside it (line {number + 1}) stays, and names the old image: it lacks a marker, :digest"
            )
    return ""


def _find_lines_beside(lines: Sequence[str], marked: int) -> Iterator[int]:
    """Yield the other lines of the mapping in block style that a line belongs to, as far as indentation tells."""
    depth = _find_column(lines[marked])
    for way in (range(marked, max(-1, marked - FAR), -1), range(marked + 1, min(len(lines), marked + FAR))):
        for number in way:
            here, written = _find_column(lines[number]), lines[number].strip()
            is_new = written.startswith("- ") and here == depth
            if not written or written.startswith("#"):  # it belongs to no mapping
                continue
            # the mapping is over: a key farther left, the next item or another document
            if here < depth or (is_new and number > marked) or written in ("---", "..."):
                break
            if here == depth and number != marked:  # another key of the mapping
                yield number
            if is_new:  # the mapping begins here
                break


def _find_column(written: str) -> int:
    """Return the column at which the line's key begins, behind what makes it an item of a list."""
    found = _INDENT.match(written)
    return len(found["indent"]) if found else 0


def find_near_misses(text: str) -> Iterator[NearMiss]:
    """Find the comments that may have been meant as markers; of those with the marker's own word the plan tells."""
    for number, written in enumerate(text.split("\n"), start=1):
        comment = _COMMENT.search(written)
        if comment is None or SCREEN in written:  # the plan tells of those with the marker's own word
            continue
        plain = unicodedata.normalize("NFKC", comment["comment"].translate(_QUOTES))
        for match in _WORD.finditer(plain):
            braced, rest = "{" in plain[: match.start()], plain[match.end() :]
            wanted = match["dollar"] or (braced and re.match(r"""["'`\s]*:""", rest)) or _NAMES_A_SETTER.match(rest)
            if wanted and _is_alike(match["word"]):
                cause = 'this comment is no marker, though it looks like one: {"$imagepolicy": "namespace:name"}'
                yield NearMiss(number, cause)
                break


def _is_alike(word: str) -> bool:
    letters = re.sub(r"[^a-z]", "", word.lower())
    if abs(len(letters) - len(_MEANT[0])) > 3:
        return False
    return any(SequenceMatcher(None, letters, meant, autojunk=False).ratio() >= ALIKE for meant in _MEANT)
