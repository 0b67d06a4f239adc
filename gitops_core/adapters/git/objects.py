"""Git's object formats: trees, commits and packs as bytes, and the edit of a tree without a checkout.

    <type> <size>\\0<body>                                     what an object id is the hash of
    <mode> <name>\\0<20 or 32 bytes of id>                     one entry of a tree
    zlib(<type> <size>\\0<body>)                               the file objects/<2 digits>/<the others>
    PACK <version 2> <count> (<type and size> <zlib>)* <hash>  what `git index-pack` reads

Pure: bytes in, bytes out. Stored trees come from a `read` function, new objects are returned.

Source: git-scm.com/docs/gitformat-pack and git-scm.com/docs/git-mktree.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from gitops_core.errors import GitError
from gitops_core.ports import Commit, CommitInfo, Signature

FILE, EXECUTABLE, LINK, FOLDER, SUBMODULE = "100644", "100755", "120000", "40000", "160000"
REGULAR = frozenset({FILE, EXECUTABLE, "100664"})  # 100664: written by very old versions of Git


class GitObject(NamedTuple):
    """An object that is not stored yet: its id, its type (blob, tree, commit) and its body."""

    oid: str
    type: str
    body: bytes


class Entry(NamedTuple):
    """One entry of a tree: the mode as Git stores it (no leading zero), and the id of what it names."""

    mode: str
    oid: str


Entries = Mapping[str, Entry]
"""A tree's entries by name. Names that are not UTF-8 hold surrogate escapes, as os.fsdecode makes them."""


def make_object(type_: str, body: bytes, algorithm: str = "sha1") -> GitObject:
    r"""
    >>> make_object("blob", b"hello\n").oid
    'ce013625030ba8dba906f756967f9e9ca394464a'
    """
    digest = hashlib.new(algorithm, b"%s %d\0" % (type_.encode(), len(body)), usedforsecurity=False)
    digest.update(body)
    return GitObject(digest.hexdigest(), type_, body)


def get_algorithm(oid: str) -> str:
    return "sha1" if len(oid) == 40 else "sha256"


def parse_tree(body: bytes, id_size: int) -> Entries:
    """Parse the entries of a stored tree, in its order.

    Args:
        id_size: bytes of an object id: 20, or 32 in a sha256 repository.

    Raises:
        ValueError: the body ends in the middle of an entry.
    """
    entries: dict[str, Entry] = {}
    at = 0
    while at < len(body):
        space = body.index(b" ", at)
        end = body.index(b"\0", space)
        name, mode = body[space + 1 : end], body[at:space]
        at = end + 1 + id_size
        if at > len(body):
            raise ValueError("a tree ends in the middle of an id")
        entries[name.decode("utf-8", "surrogateescape")] = Entry(mode.decode(), body[end + 1 : at].hex())
    return entries


def encode_tree(entries: Mapping[str, Entry]) -> bytes:
    """Encode a tree in Git's order: by name in bytes, folders as if their names ended in "/"."""

    def place(item: tuple[bytes, Entry]) -> bytes:
        return item[0] + b"/" if item[1].mode == FOLDER else item[0]

    named = sorted(((name.encode("utf-8", "surrogateescape"), entry) for name, entry in entries.items()), key=place)
    return b"".join(b"%s %s\0%s" % (entry.mode.encode(), name, bytes.fromhex(entry.oid)) for name, entry in named)


ReadTree = Callable[[str], Entries]
"""The entries of the stored tree with this id."""


def edit_tree(
    read: ReadTree, root: str, edits: Mapping[str, bytes | None], algorithm: str
) -> tuple[str, tuple[GitObject, ...]]:
    """Apply `edits` to `root`; return the new tree's id, and the objects that are new. An edit of None removes.

    Existing files keep their mode, new ones are 100644; a folder without entries vanishes, the root may be empty.

    Raises:
        GitError: an edit names a folder, or goes through a file, a symbolic link or a submodule.
    """
    made: dict[str, GitObject] = {}

    def add(type_: str, body: bytes) -> str:
        new = make_object(type_, body, algorithm)
        made[new.oid] = new
        return new.oid

    def write(stored: Entries, edits: Mapping[str, bytes | None], where: str) -> str:
        entries = dict(stored)
        below: dict[str, dict[str, bytes | None]] = {}
        for path, content in edits.items():
            name, slash, rest = path.partition("/")
            if slash:
                below.setdefault(name, {})[rest] = content
            else:
                _write_file(entries, name, content, where, add)
        for name, inner in below.items():
            _write_folder(entries, name, inner, where)
        return add("tree", encode_tree(entries)) if entries or not where else ""

    def _write_folder(entries: dict[str, Entry], name: str, inner: Mapping[str, bytes | None], where: str) -> None:
        old = entries.get(name)
        if old is not None and old.mode != FOLDER:
            raise GitError(f"cannot edit below {where}{name}: it is not a folder")
        oid = write(read(old.oid) if old else {}, inner, f"{where}{name}/")
        entries.pop(name, None)
        if oid:
            entries[name] = Entry(FOLDER, oid)

    return write(read(root), {edit_path(path): content for path, content in edits.items()}, ""), tuple(made.values())


def _write_file(
    entries: dict[str, Entry], name: str, content: bytes | None, where: str, add: Callable[[str, bytes], str]
) -> None:
    old = entries.get(name)
    if content is None and old is not None and old.mode == FOLDER:
        return  # there is no file of that name, which is what was asked for
    if old is not None and old.mode not in REGULAR:
        raise GitError(f"cannot edit {where}{name}: it is not a regular file")
    if content is None:
        entries.pop(name, None)
    else:
        entries[name] = Entry(old.mode if old else FILE, add("blob", content))


def clean_folder_path(path: str) -> str:
    """Return `path` without "./" and doubled or outer slashes.

    >>> clean_folder_path("./deploy//prod/"), clean_folder_path("."), clean_folder_path("/")
    ('deploy/prod', '', '')
    """
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def edit_path(path: str) -> str:
    """Return `path`, when a commit may hold it. Raises GitError: it is empty, absolute, or leaves the repository."""
    if "\0" in path or any(part in ("", ".", "..") or part.lower() == ".git" for part in path.split("/")):
        raise GitError(f"not a path that a commit may hold: {path!r}")
    return path


def encode_commit(commit: Commit, tree: str, signature: bytes = b"") -> bytes:
    """Encode a commit's body; `signature` is the armored one of the body without it."""
    head = f"tree {tree}\nparent {commit.parent}\nauthor {_sign(commit.author)}\ncommitter {_sign(commit.committer)}\n"
    if signature:
        header = "gpgsig" if get_algorithm(tree) == "sha1" else "gpgsig-sha256"
        folded = signature.decode("ascii").replace("\r\n", "\n").strip("\n").replace("\n", "\n ")
        head += f"{header} {folded}\n"
    return f"{head}\n{commit.message}".replace("\0", "").encode("utf-8", "replace")


async def make_commit(commit: Commit, tree: str) -> GitObject:
    """Make the commit that holds `tree`, signed when the commit has a signer. Raises SigningFailed."""
    body = encode_commit(commit, tree)
    if commit.signer is not None:
        body = encode_commit(commit, tree, await commit.signer.sign(body))
    return make_object("commit", body, get_algorithm(tree))


def _sign(signature: Signature) -> str:
    """Write a signature line. What would end a field early is left out, as `git commit` does."""
    name, email = (re.sub(r"[<>\n\0]", "", text).strip() for text in (signature.name, signature.email))
    offset = signature.when.strftime("%z") or "+0000"
    return f"{name} <{email}> {int(signature.when.timestamp())} {offset[:5]}"


_SIGNATURE = re.compile(r"(.*?) ?<([^>]*)> (-?\d+) ([+-])(\d\d)(\d\d)")


def parse_commit(oid: str, body: bytes) -> CommitInfo:
    """Parse a commit. Raises ValueError: it is not a commit."""
    head, _, message = body.decode("utf-8", "replace").partition("\n\n")
    lines = [line.split(" ", 1) for line in head.split("\n") if " " in line and line[0] != " "]
    fields = dict(reversed(lines))
    author, committer = (_write_signature(fields.get(role, "")) for role in ("author", "committer"))
    if author is None or "tree" not in fields:
        raise ValueError(f"{oid} is not a commit")
    parents = tuple(value for key, value in lines if key == "parent")
    return CommitInfo(oid, author, committer or author, message, fields["tree"], parents)


def _write_signature(text: str) -> Signature | None:
    match = _SIGNATURE.match(text)
    if match is None:
        return None
    name, email, when, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    zone = timezone(offset if abs(offset) < timedelta(days=1) else timedelta())
    return Signature(name, email, datetime.fromtimestamp(int(when), zone))


def encode_loose(item: GitObject) -> bytes:
    """Encode the file of one object."""
    return zlib.compress(b"%s %d\0%b" % (item.type.encode(), len(item.body), item.body), 1)


def encode_pack(objects: Iterable[GitObject], algorithm: str = "sha1") -> bytes:
    """Encode the objects whole, without deltas."""
    objects = tuple(objects)
    pack = bytearray(b"PACK" + (2).to_bytes(4, "big") + len(objects).to_bytes(4, "big"))
    for item in objects:
        pack += _pack_header({"commit": 1, "tree": 2, "blob": 3}[item.type], len(item.body))
        pack += zlib.compress(item.body, 1)
    return bytes(pack + hashlib.new(algorithm, pack, usedforsecurity=False).digest())


def _pack_header(type_: int, size: int) -> bytes:
    header, byte, size = bytearray(), type_ << 4 | size & 15, size >> 4
    while size:
        header.append(byte | 128)
        byte, size = size & 127, size >> 7
    return bytes(header + bytes((byte,)))
