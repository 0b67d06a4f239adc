"""Reads objects of a mirror through one lasting `git cat-file --batch`, and shows a folder of a commit as a Tree.

    ask  <id>LF     hear  <id> <type> <size>LF<body>LF     or  <id> missingLF

A question takes some 50 microseconds, unless the disk or the reader hangs: so it is asked from any thread but the event
loop's, and who asks one mirror never waits for another. Trees are decoded here and remembered by id, which never goes
stale. Only a few readers stay alive: the one used longest ago gives way. A reader that somebody stopped listening to in
the middle of an answer is never asked again.

Source: git-scm.com/docs/git-cat-file (batch output).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple, TypeVar, cast

from gitops_core.adapters.git.answers import MirrorDamaged
from gitops_core.adapters.git.commands import make_environment
from gitops_core.adapters.git.objects import (
    FOLDER,
    LINK,
    REGULAR,
    SUBMODULE,
    Entries,
    Entry,
    clean_folder_path,
    parse_tree,
)
from gitops_core.errors import GitError
from gitops_core.meta import Tree
from gitops_core.recent import Recent

T = TypeVar("T")

CLOSED = "the mirrors are closed: this process is ending"
ANSWER_SECONDS = 10.0
THREADS = 16
LIVE_READERS = 4
MOST_HEADER = 16 << 20
"""Bytes of a commit, or of the object of an annotated tag."""
REMEMBERED_TREES = 16 << 20
REMEMBERED_FILES = 8 << 20
ENTRY_WEIGHT = 270
"""Bytes that an entry of a decoded tree takes beside what it takes in Git."""
FILE_WEIGHT = 200
"""Bytes that a remembered file takes beside its content."""


@dataclass(frozen=True)
class Limits:
    """What one repository may ask of us.

    Attributes:
        files: in one Tree.
        file_bytes: of one file.
        tree_bytes: of one folder's own listing.
    """

    files: int = 200_000
    file_bytes: int = 64 << 20
    tree_bytes: int = 64 << 20


class Stored(NamedTuple):
    type: str
    body: bytes


class _Interrupted(Exception):
    """The process ended in the middle of an answer, or did not answer in time."""


class _Pipe:
    """One `git cat-file --batch` process."""

    def __init__(self, program: str, directory: Path) -> None:
        self.process = subprocess.Popen(  # noqa: S603
            [program, f"--git-dir={directory}", "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=make_environment({}),
            bufsize=0,
            start_new_session=True,
        )
        self.asking = cast(IO[bytes], self.process.stdin)
        self.answers = cast(IO[bytes], self.process.stdout)
        self.poll = select.poll()
        self.poll.register(self.answers.fileno(), select.POLLIN)
        self.buffer = bytearray()

    def ask(self, name: str, most: int) -> Stored | None:
        """Read one object. Raises _Interrupted; OverflowError: larger than `most` bytes. Then this process is of no
        more use.
        """
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            self.asking.write(name.encode() + b"\n")
        except BrokenPipeError:
            raise _Interrupted from None
        while (end := self.buffer.find(b"\n")) < 0:
            self._read_more(deadline)
        words = self.buffer[:end].split(b" ")
        del self.buffer[: end + 1]
        if len(words) != 3:
            return None
        size = int(words[2])
        if size > most:
            raise OverflowError(size)
        while len(self.buffer) < size + 1:
            self._read_more(deadline, size + 1 - len(self.buffer))
        body = bytes(self.buffer[:size])
        del self.buffer[: size + 1]
        return Stored(words[1].decode(), body)

    def _read_more(self, deadline: float, wanted: int = 0) -> None:
        if not self.poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise _Interrupted
        chunk = os.read(self.answers.fileno(), max(1 << 16, min(wanted, 1 << 20)))
        if not chunk:
            raise _Interrupted
        self.buffer += chunk

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.asking.close()
        self.kill()
        self.process.wait(ANSWER_SECONDS)
        self.answers.close()


class Readers:
    """The live reader processes of all mirrors, and the decoded trees."""

    def __init__(self, program: str = "git") -> None:
        self._program = program
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="git")
        self._turns: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._asked: dict[Path, _Pipe] = {}
        self._pipes: OrderedDict[Path, _Pipe] = OrderedDict()
        self._trees: Recent[str, Entries] = Recent(REMEMBERED_TREES)
        self._blobs: Recent[str, bytes] = Recent(REMEMBERED_FILES)
        self._closed = False
        self._lock = threading.RLock()

    def read(self, directory: Path, name: str, most: int) -> Stored | None:
        """Return the object, or None when the mirror in `directory` has none of that name.

        Raises:
            OverflowError: it is larger than `most` bytes.
            MirrorDamaged: it is there and cannot be read.
        """
        with self._lock:
            turn = self._turns[directory]
        with turn:
            for _ in range(2):  # a second process, because the first one may have been killed for its memory
                pipe = self._take(directory)
                try:
                    stored = pipe.ask(name, most)
                except _Interrupted:
                    self._part_with(directory, pipe)
                    continue
                except BaseException:
                    self._part_with(directory, pipe)
                    raise
                self._give_back(directory, pipe)
                return stored
        raise MirrorDamaged(f"object {name} cannot be read from the mirror")

    async def run_beside(self, work: Callable[[], T]) -> T:
        """Run `work`, which reads, in a thread, while the event loop goes on."""
        if self._closed:
            raise GitError(CLOSED)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def read_tree(self, directory: Path, oid: str, most: int) -> Entries:
        """Return the entries of a stored tree; to be read only. Raises MirrorDamaged; GitError: too large."""
        if (known := self._trees.get(oid)) is not None:
            return known
        try:
            stored = self.read(directory, oid, most)
        except OverflowError as error:
            raise GitError(f"a folder's listing is {error.args[0]} bytes, the limit is {most}") from None
        if stored is None or stored.type != "tree":
            raise MirrorDamaged(f"tree {oid} is missing from the mirror")
        try:
            entries = parse_tree(stored.body, len(oid) // 2)
        except ValueError as error:
            raise MirrorDamaged(f"tree {oid} in the mirror: {error}") from error
        self._trees.put(oid, entries, len(stored.body) + ENTRY_WEIGHT * len(entries))
        return entries

    def recall(self, oid: str) -> bytes | None:
        """Return the contents of a file that somebody thought would be read soon."""
        return self._blobs.get(oid)

    def remember(self, blobs: Mapping[str, bytes]) -> None:
        """Keep contents by id that will be read soon."""
        for oid, content in blobs.items():
            self._blobs.put(oid, content, len(content) + FILE_WEIGHT)

    def forget(self, directory: Path) -> None:
        """End the reader of a mirror that is about to vanish; who is asking it hears no more."""
        with self._lock:
            idle = self._pipes.pop(directory, None)
            if (asked := self._asked.pop(directory, None)) is not None:
                asked.kill()
        if idle is not None:
            idle.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            directories = (*self._pipes, *self._asked)
        for directory in directories:
            self.forget(directory)
        self._threads.shutdown(wait=False)

    def _take(self, directory: Path) -> _Pipe:
        """Return the mirror's reader, which nobody else has now. To be called in the mirror's turn."""
        with self._lock:
            if self._closed:
                raise GitError(CLOSED)
            pipe = self._pipes.pop(directory, None)
        if pipe is None:
            pipe = _Pipe(self._program, directory)
        with self._lock:
            if not self._closed:
                self._asked[directory] = pipe
                return pipe
        pipe.close()
        raise GitError(CLOSED)

    def _part_with(self, directory: Path, pipe: _Pipe) -> None:
        with self._lock:
            self._asked.pop(directory, None)  # from here on nobody else kills what may be another process by then
        pipe.close()

    def _give_back(self, directory: Path, pipe: _Pipe) -> None:
        over: _Pipe | None = pipe  # if it was forgotten while it answered
        with self._lock:
            if self._asked.pop(directory, None) is pipe:
                self._pipes[directory] = pipe
                over = self._pipes.popitem(last=False)[1] if len(self._pipes) > LIVE_READERS else None
        if over is not None:
            over.close()


@dataclass(frozen=True)
class Shelf:
    """The objects of one mirror, by id."""

    directory: Path
    readers: Readers
    limits: Limits

    def read_tree(self, oid: str) -> Entries:
        return self.readers.read_tree(self.directory, oid, self.limits.tree_bytes)

    def holds(self, oid: str) -> bool:
        """Tell whether the mirror has a commit or annotated tag of that id."""
        return self.readers.read(self.directory, oid, MOST_HEADER) is not None

    def find_commit(self, oid: str) -> bytes | None:
        """Return the body of a commit, or None when the mirror does not have it. Raises GitError: it is no commit."""
        return self._find(oid, "commit")

    def find_tag(self, oid: str) -> bytes | None:
        """Return the body of an annotated tag, or None when the mirror does not have it."""
        return self._find(oid, "tag")

    def _find(self, oid: str, type_: str) -> bytes | None:
        try:
            stored = self.readers.read(self.directory, oid, MOST_HEADER)
        except OverflowError as error:
            raise GitError(f"{type_} {oid} has {error.args[0]} bytes, the limit is {MOST_HEADER}") from None
        if stored is not None and stored.type != type_:
            raise GitError(f"{oid} is a {stored.type} and no {type_}")
        return stored.body if stored is not None else None

    def read_blob(self, oid: str, path: str) -> bytes:
        """Return a file's contents. Raises GitError: the file is too large, or the mirror lost it."""
        if (known := self.readers.recall(oid)) is not None and len(known) <= self.limits.file_bytes:
            return known
        most = self.limits.file_bytes
        try:
            stored = self.readers.read(self.directory, oid, most)
        except OverflowError as error:
            raise GitError(f"file {path} has {error.args[0]} bytes, the limit is {most}") from None
        if stored is None or stored.type != "blob":
            raise MirrorDamaged(f"the contents of {path} are missing from the mirror")
        return stored.body

    def find_entry(self, root: str, path: str) -> Entry | None:
        """Return the entry that `path` names below tree `root`, whatever its mode; "" is the root itself."""
        found = Entry(FOLDER, root)
        for part in path.split("/") if path else ():
            next_ = self.read_tree(found.oid).get(part) if found.mode == FOLDER else None
            if next_ is None:
                return None
            found = next_
        return found

    def find_folder(self, root: str, path: str) -> str:
        """Return the id of the folder `path` below tree `root`; "" when there is none."""
        found = self.find_entry(root, clean_folder_path(path))
        return found.oid if found is not None and found.mode == FOLDER else ""

    def list_changed_files(self, old: str, new: str) -> Iterator[tuple[str, Entry | None]]:
        """Yield the regular files that differ between two trees: the new entry, or None where there is none now."""
        pairs = [("", old, new)]
        while pairs:
            where, before, after = pairs.pop()
            olds, news = (self.read_tree(oid) if oid else {} for oid in (before, after))
            for name in {*olds, *news}:
                was, is_ = olds.get(name), news.get(name)
                if was == is_:
                    continue
                old_folder, new_folder = (entry.oid if entry and entry.mode == FOLDER else "" for entry in (was, is_))
                # a folder on either side: what is below it differs
                if old_folder or new_folder:
                    pairs.append((f"{where}{name}/", old_folder, new_folder))
                # a file on either side: it is new, changed, or gone (also where a folder or link has its name)
                if (was and was.mode in REGULAR) or (is_ and is_.mode in REGULAR):
                    yield f"{where}{name}", is_ if is_ and is_.mode in REGULAR else None


class Listing(NamedTuple):
    """What a folder holds, read once: the regular files, sorted by their bytes, links, and commits of submodules."""

    files: tuple[str, ...]
    links: Mapping[str, Entry]
    modules: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class MirrorTree(Tree):
    """A folder of a commit, read from a mirror when it is asked.

    Listing and reading raise GitError: a limit is passed, or the mirror lost the object (then the next call on the
    remote mends the mirror).
    """

    oid: str
    shelf: Shelf
    lost: list[MirrorDamaged] = field(default_factory=list)
    _known: list[Listing] = field(default_factory=list)
    _followed: list[Mapping[str, str]] = field(default_factory=list)

    def __getitem__(self, path: str) -> bytes:
        with self._noticing():
            entry = self.shelf.find_entry(self.oid, path)
            if entry is None or entry.mode not in REGULAR:
                raise KeyError(path)
            return self.shelf.read_blob(entry.oid, path)

    def __contains__(self, path: object) -> bool:
        with self._noticing():
            entry = self.shelf.find_entry(self.oid, path) if isinstance(path, str) else None
        return entry is not None and entry.mode in REGULAR

    def __iter__(self) -> Iterator[str]:
        return iter(self._listing.files)

    def __len__(self) -> int:
        return len(self._listing.files)

    def find_blob(self, path: str) -> str:
        with self._noticing():
            entry = self.shelf.find_entry(self.oid, path)
        return entry.oid if entry is not None and entry.mode in REGULAR else ""

    def explain_absence(self, path: str) -> str:
        parts = path.split("/")
        for above in ("/".join(parts[: end + 1]) for end in range(len(parts))):
            with self._noticing():
                entry = self.shelf.find_entry(self.oid, above)
            if entry is not None and entry.mode == SUBMODULE:
                return (
                    f"{'' if above == path else f'is below {above}, which '}is a submodule, and those are fetched with"
                    " spec.recurseSubmodules only"
                )
        return super().explain_absence(path)

    @property
    def links(self) -> Mapping[str, str]:
        if not self._followed:  # read once, as the listing
            with self._noticing():
                links = self._listing.links.items()
                self._followed.append({path: self._link(entry.oid, path) for path, entry in links})
        return self._followed[0]

    @property
    def submodules(self) -> Mapping[str, str]:
        return self._listing.modules

    def _link(self, oid: str, path: str) -> str:
        return self.shelf.read_blob(oid, path).decode("utf-8", "surrogateescape")

    @property
    def _listing(self) -> Listing:
        if not self._known:  # a cached_property of Python 3.11 would have all trees wait for one that hangs
            self._known.append(self._list())
        return self._known[0]

    def _list(self) -> Listing:
        files: list[str] = []
        links: dict[str, Entry] = {}
        modules: dict[str, str] = {}
        folders = [("", self.oid)]
        with self._noticing():
            while folders:
                where, oid = folders.pop()
                for name, entry in self.shelf.read_tree(oid).items():
                    if entry.mode in REGULAR:
                        files.append(where + name)
                    elif entry.mode == FOLDER:
                        folders.append((f"{where}{name}/", entry.oid))
                    elif entry.mode == LINK:
                        links[where + name] = entry
                    elif entry.mode == SUBMODULE:
                        modules[where + name] = entry.oid
                if len(files) + len(folders) + len(links) + len(modules) > self.shelf.limits.files:
                    raise GitError(f"the folder has more than {self.shelf.limits.files} files")
        files.sort(key=lambda path: path.encode("utf-8", "surrogateescape"))
        return Listing(tuple(files), links, modules)

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except MirrorDamaged as damage:
            self.lost.append(damage)
            raise
