"""One bare mirror on this disk: what it holds, how it grows, how it is mended and kept small.

    <state>/<slot>/<hash of URL and proxy>.git     refs/keep/<commit> for each fetched commit, history cut at depth 1

A mirror may be lost at any time without harm. After a start it is checked once (a kill or a full disk may have left a
lock, half a pack or half a `shallow` file); found damaged, then or later, it is thrown away and made anew, once, within
the call that noticed. Whatever changes a mirror holds its lock; reading needs none.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Iterable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from gitops_core.adapters.git.answers import MirrorDamaged, extract_gist, make_local_failure
from gitops_core.adapters.git.commands import GitCommands
from gitops_core.adapters.git.objects import GitObject, encode_loose, encode_pack, get_algorithm
from gitops_core.adapters.git.reading import Limits, MirrorTree, Readers, Shelf
from gitops_core.errors import GitBusy, GitError
from gitops_core.recent import Recent
from gitops_core.runtime.sharing.flights import Flights
from gitops_core.runtime.sharing.places import Line, PlacesTaken

T = TypeVar("T")


class Slot(NamedTuple):
    """A folder of mirrors that this process alone writes until `release` is called."""

    directory: Path
    release: Callable[[], object]


def claim_slot(state: Path, owner: object) -> Slot:
    """Claim the first folder 0, 1, 2, ... below `state` that no living process has. It is freed with `owner`."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(MOST_SLOTS):
        lock = os.open(state / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return Slot(state / str(number), weakref.finalize(owner, os.close, lock))
    raise GitError(f"{MOST_SLOTS} processes use the mirrors in {state}: give each its own state folder")


def place_mirror(folder: Path, key: str) -> Path:
    """Return where a slot keeps the mirror of that key."""
    return folder / f"{sha256(key.encode()).hexdigest()[:32]}.git"


class Tag(NamedTuple):
    """A tag: the id of its own object, "" where it is not annotated, and the commit that it leads to."""

    oid: str
    commit: str


class Search(NamedTuple):
    """What a search found: the commit and the folder's tree that were searched, and the paths."""

    commit: str
    folder: str
    found: tuple[str, ...]


FRESH = "refs/fresh"
"""Where a tip is fetched to whose id is not known before."""
KEPT = 8
MOST_SLOTS = 64
MOST_WAITING, PATIENCE = 4, 10.0  # for one repository's remote; the rest wait so many seconds without an answer
REMEMBERED_SEARCHES = 2 << 20
REMEMBERED_TAGS, TAG_WEIGHT = 64 << 10, 400
SEARCH_WEIGHT, PATH_WEIGHT = 600, 60
"""Bytes that a search takes without what it found, and what each path takes beside its characters."""
MOST_LOOSE, MOST_LOOSE_BYTES = 50, 1 << 20  # new objects that are written one by one
MOST_KEPT = 32  # commits; then all but the newest KEPT and those in use are pruned
QUIET_SECONDS, MOST_RESTS = 1.0, 60
LOCAL_SECONDS = 300.0  # a command that touches no network: only a dead disk takes so long


class Mirror:
    """The mirror of one URL, by one way to it."""

    def __init__(self, directory: Path, url: str, commands: GitCommands, readers: Readers, limits: Limits) -> None:
        self.url = url
        self.directory = directory
        self.lock = asyncio.Lock()
        self._room = Line(url, MOST_WAITING, PATIENCE)
        self._brought: Flights[None] = Flights()
        self.shelf = Shelf(self.directory, readers, limits)
        self.branches: frozenset[str] | None = None  # full names, as last seen on the remote
        self.overtaken: set[str] = set()  # full names of branches that somebody else moved under a push of ours
        self.moved = False  # the remote answers with a redirect
        self.searches: Recent[tuple[str, str], Search] = Recent(REMEMBERED_SEARCHES)  # by text and folder
        self.tags: Recent[str, Tag] = Recent(REMEMBERED_TAGS)  # by full name, as they were resolved last
        self.used = time.monotonic()
        self._commands = commands
        self._readers = readers
        self._commits: dict[str, None] = {}  # whole in this mirror; the one used last comes last
        self._held: Counter[str] = Counter()
        self._lost: list[MirrorDamaged] = []  # noticed by trees while they were read
        self._checked = False
        self._generation = 0

    async def run_healing(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work`; when it finds the mirror damaged, make a new mirror and run it again, once."""
        self.used = time.monotonic()
        try:
            return await self._run_healing(work)
        except OSError as error:
            raise GitError(f"the mirror {self.directory} cannot be used: {error.strerror}") from error

    async def _run_healing(self, work: Callable[[], Awaitable[T]]) -> T:
        await self._check()
        generation = self._generation
        if self._lost:
            await self._make_anew(generation)
            generation = self._generation
        try:
            return await work()
        except MirrorDamaged as damage:
            await self._make_anew(generation)
            try:
                return await work()
            except MirrorDamaged as again:
                raise GitError(f"{again}; also in a mirror made anew") from damage

    async def run_beside(self, work: Callable[[], T]) -> T:
        """Run `work`, which reads objects, in a thread: a disk that hangs must not stop the event loop."""
        return await self._readers.run_beside(work)

    async def bring(self, wanted: Hashable, ask: Callable[[], Coroutine[Any, Any, None]], longest: float) -> None:
        """Ask the remote, or wait for who asks the same already, and for the same end.

        A few wait here, for whatever it is that they want of this repository; all others have something else to do when
        its remote answers nobody. Without this a remote that hangs would in the end have every worker.

        Args:
            longest: seconds to wait for one's turn.

        Raises:
            GitBusy: the remote is not worth waiting for.
            GitError: what `ask` raises.
        """
        try:
            async with self._room.taken(longest):
                await self._brought.join(wanted, ask)
        except PlacesTaken as error:
            raise GitBusy(str(error)) from None

    def has(self, commit: str) -> bool:
        """Tell whether the commit (or annotated tag of one) and everything below its tree is here."""
        if commit not in self._commits:
            return False
        self._commits[commit] = self._commits.pop(commit)
        return True

    def note_commit(self, commit: str) -> None:
        """Note that the commit is here now, whole."""
        self._commits[commit] = None

    def keep_fresh(self) -> str:
        """Keep the commit fetched to FRESH, and return it; "" when there is none. To be called under the lock."""
        fresh = self.directory / FRESH
        if not fresh.exists():
            return ""
        commit = fresh.read_text().strip()
        kept = self.directory / "refs" / "keep" / commit
        kept.parent.mkdir(exist_ok=True)
        fresh.rename(kept)
        self.note_commit(commit)
        return commit

    def forget(self, commit: str) -> None:
        """Say that nobody wants a commit that was made here."""
        self._commits.pop(commit, None)

    async def keep(self, oid: str) -> None:
        """Have what was stored under `oid` outlive this process. It is here now, whole."""
        self.note_commit(oid)
        async with self.growing():
            await self._run_git(f"--git-dir={self.directory}", "update-ref", f"refs/keep/{oid}", oid)

    def hold_tree(self, commit: str, oid: str) -> MirrorTree:
        """Hold a tree of `commit`: it is not pruned as long as the returned value lives."""
        tree = MirrorTree(oid, self.shelf, self._lost)
        self._held[commit] += 1
        weakref.finalize(tree, self._release, commit).atexit = False
        return tree

    def _release(self, commit: str) -> None:
        self._held[commit] -= 1
        if not self._held[commit]:
            del self._held[commit]

    def remember_tag(self, ref: str, tag: Tag) -> None:
        self.tags.put(ref, tag, TAG_WEIGHT)

    def remember_search(self, asked: tuple[str, str], search: Search) -> None:
        self.searches.put(asked, search, SEARCH_WEIGHT + sum(map(len, search.found)) + PATH_WEIGHT * len(search.found))

    async def discard(self) -> None:
        """Free the disk; the next use makes the mirror again."""
        async with self.lock:
            if self.directory.exists() and not self._held:
                await self._throw_away()

    async def prepare(self, algorithm: str) -> None:
        """Make the mirror when there is none, or one of the other hash. To be called under the lock."""
        config = self.directory / "config"
        if config.exists():
            if ("sha256" in config.read_text()) == (algorithm == "sha256"):
                return
            await self._throw_away()
        fresh = self.directory.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._run_git("init", "--quiet", "--bare", "--template=", f"--object-format={algorithm}", str(fresh))
        fresh.rename(self.directory)  # whole or not at all

    @asynccontextmanager
    async def growing(self) -> AsyncIterator[None]:
        """Hold the lock; remove what a failed, cancelled or killed command left half-written before freeing it."""
        async with self.lock:
            try:
                yield
            except BaseException:
                _sweep(self.directory)
                raise

    async def store(self, objects: tuple[GitObject, ...], *checks: str) -> None:
        """Write new objects that were made here: a few by hand, as that is quicker than a process.

        Args:
            checks: options of `git index-pack`, which takes the others.
        """
        async with self.growing():
            if len(objects) <= MOST_LOOSE and sum(len(item.body) for item in objects) <= MOST_LOOSE_BYTES:
                await self.run_beside(lambda: _write_loose(self.directory / "objects", objects))
                return
            # a file for each of a thousand objects takes five times as long as one pack with its index
            pack = await self.run_beside(lambda: encode_pack(objects, get_algorithm(objects[0].oid)))
            await self._run_git(f"--git-dir={self.directory}", "index-pack", "--stdin", *checks, stdin=pack)

    async def search(self, oid: str, text: str) -> tuple[str, ...]:
        """Return the regular files below tree `oid` that hold `text`, by `git grep`; sorted."""
        options = ("--threads=2", "-l", "-z", "-F", "--text", "--full-name", "--no-color", "-e", text)
        result = await self._commands.run(
            f"--git-dir={self.directory}", "grep", *options, oid, "--", timeout=LOCAL_SECONDS
        )
        if result.code > 1 or result.stderr:
            raise make_local_failure(result, f"git grep in the mirror of {self.url}")
        return await self.run_beside(lambda: _find(result.stdout, f"{oid}:"))

    async def is_whole(self) -> bool:
        """Tell whether every object that a kept commit needs is here."""
        checks = ("fsck", "--connectivity-only", "--no-dangling", "--no-progress")
        result = await self._commands.run(f"--git-dir={self.directory}", *checks, timeout=LOCAL_SECONDS)
        return result.code == 0

    async def rest(self) -> None:
        """Wait until nobody used a mirror that is to be pruned for a second, for a minute at most.

        Pruning packs everything anew and lets nobody write meanwhile: never in the middle of a race to push.
        """
        for _ in range(MOST_RESTS):
            if len(self._commits) <= MOST_KEPT:
                return
            await asyncio.sleep(QUIET_SECONDS)
            if time.monotonic() - self.used >= QUIET_SECONDS:
                return

    async def prune(self) -> None:
        """Forget old commits when there are many: those that no tree in use shows and that were not used lately."""
        async with self.lock:
            if len(self._commits) <= MOST_KEPT:
                return
            newest = set(tuple(self._commits)[-KEPT:])
            old = [commit for commit in self._commits if commit not in newest and commit not in self._held]
            for commit in old:
                del self._commits[commit]
            lines = [f"update refs/keep/{commit} {commit}\n" for commit in self._commits]
            lines += [f"delete refs/keep/{commit}\n" for commit in old]
            directory = f"--git-dir={self.directory}"
            await self._run_git(directory, "update-ref", "--stdin", stdin="".join(lines).encode())
            await self._run_git(directory, "repack", "-a", "-d", "-q")
            await self._run_git(directory, "prune", "--expire=now")

    async def _check(self) -> None:
        """Take over what an earlier process left, if it is whole: once, before the first use."""
        if self._checked:
            return
        async with self.lock:
            if self._checked:
                return
            if self.directory.exists():
                self.directory.touch()  # in use: see GitMirrors, which removes those that nobody uses any more
                _sweep(self.directory)
                if not await self._take_over():
                    await self._throw_away()
            self._checked = True

    async def _take_over(self) -> bool:
        if not await self.is_whole():
            return False
        listing = ("for-each-ref", "--sort=committerdate", "--format=%(objectname)", "refs/keep")
        result = await self._commands.run(f"--git-dir={self.directory}", *listing, timeout=LOCAL_SECONDS)
        self._commits = dict.fromkeys(result.stdout.decode().split())
        return result.code == 0

    async def _make_anew(self, generation: int) -> None:
        async with self.lock:
            if self._generation == generation:  # else somebody else did, while we waited
                await self._throw_away()

    async def _throw_away(self) -> None:
        self._readers.forget(self.directory)
        await self.run_beside(lambda: shutil.rmtree(self.directory, ignore_errors=True))
        if self.directory.exists():
            raise GitError(f"the damaged mirror {self.directory} cannot be removed: remove it")
        self._commits.clear()
        self._lost.clear()
        self.searches = Recent(REMEMBERED_SEARCHES)
        self._generation += 1

    async def _run_git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        result = await self._commands.run(*arguments, timeout=LOCAL_SECONDS, stdin=stdin)
        if result.code:
            raise make_local_failure(result, f"git {extract_gist(' '.join(arguments[:2]))} in the mirror of {self.url}")
        return result.stdout


def _find(output: bytes, prefix: str) -> tuple[str, ...]:
    names = (name.decode("utf-8", "surrogateescape") for name in output.split(b"\0") if name)
    return tuple(sorted(name.removeprefix(prefix) for name in names))


def _write_loose(folder: Path, objects: Iterable[GitObject]) -> None:
    for item in objects:
        _write_file(folder, item)


def _write_file(folder: Path, item: GitObject) -> None:
    place = folder / item.oid[:2] / item.oid[2:]
    if place.exists():
        return
    place.parent.mkdir(exist_ok=True)
    fresh = place.with_name(f"tmp_obj_{item.oid[2:]}")
    fresh.write_bytes(encode_loose(item))
    fresh.chmod(0o444)
    fresh.rename(place)  # whole or not at all


def _sweep(directory: Path) -> None:
    """Remove what a killed git leaves: locks, which would stop every later command, and half-written packs."""
    for pattern in ("*.lock", "refs/**/*.lock", "objects/**/tmp_*"):
        for path in directory.glob(pattern):
            path.unlink(missing_ok=True)
