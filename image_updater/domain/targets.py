"""Which files the targets of UpdateGuards speak of.

A target's `file` is a glob: `*` and `?` stay within a folder, `**` does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from image_updater.api.guards import Target


class DeclaredTarget(NamedTuple):
    """A target, and the namespace of the guard that declares it and of the policy it follows."""

    namespace: str
    target: Target


def targeted(paths: Iterable[str], targets: Iterable[DeclaredTarget]) -> tuple[str, ...]:
    """Those of `paths` (relative to the automation's folder) that a target's `file` names, in their order."""
    globs = [glob_pattern(declared.target.file) for declared in targets]
    return tuple(path for path in paths if any(glob.fullmatch(path) for glob in globs)) if globs else ()


@lru_cache(maxsize=1024)
def glob_pattern(glob: str) -> re.Pattern[str]:
    """What `file` of a target matches.

    >>> glob = glob_pattern("apps/**/values-?.yaml")
    >>> [bool(glob.fullmatch(path)) for path in ("apps/values-a.yaml", "apps/b/c/values-a.yaml", "values-a.yaml")]
    [True, True, False]
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob.removeprefix("./").lstrip("/"))
    meaning = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in parts), re.DOTALL)
