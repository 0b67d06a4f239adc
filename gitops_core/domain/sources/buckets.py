"""What a bucket holds: which of its objects are files, where they land, and the revision of all of them.

    deploy/a.yaml 5d41402abc4b2a76b9719d911017c592    key and ETag, a line each, in the order of the keys' bytes
    top.yaml 7d793037a0760186574b0282f2f435e7         ─► revision sha256:<of these lines>

Folder markers (keys that end with a slash) are no files. A key is cleaned as a path from the root: `../../evil.yaml` is
`evil.yaml`. Of keys that land at one path the last counts.

Source: github.com/fluxcd/source-controller, internal/index/digest.go and internal/controller/bucket_controller.go.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gitops_core.domain.sources.ignore import IGNORE_FILE, IgnoreRules
from gitops_core.domain.sources.paths import check_folders, keep_path


class StoredObject(NamedTuple):
    """An object as a listing has it. `etag` is without quotes."""

    key: str
    etag: str
    size: int


def select_objects(listed: Iterable[StoredObject], rules: IgnoreRules) -> dict[str, StoredObject]:
    """Select the objects that are files and count, by key."""
    return {
        each.key: each
        for each in listed
        if each.key and not each.key.endswith("/") and each.key != IGNORE_FILE and rules.keeps(each.key)
    }


def compute_revision(etags: Mapping[str, str]) -> str:
    """
    >>> compute_revision({})
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    lines = (f"{key} {etags[key]}\n".encode() for key in sorted(etags, key=str.encode))
    return f"sha256:{hashlib.sha256(b''.join(lines)).hexdigest()}"


def place_files(contents: Mapping[str, bytes], most: int) -> dict[str, bytes]:
    """Place the contents of objects, by key, at their paths. Raises ValueError: they cannot be kept as files."""
    files: dict[str, bytes] = {}
    for key in sorted(contents, key=str.encode):
        if "\0" in key:
            raise ValueError("a key holds a NUL")
        if path := keep_path(posixpath.normpath(f"/{key}").lstrip("/")):
            files[path] = contents[key]
    check_folders(files, most)
    return files
