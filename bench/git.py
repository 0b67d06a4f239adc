"""Git on a mirror of 20,000 files, 40 MiB: what each step of tag -> commit costs, over http (git http-backend).

Somebody commits to the remote before each round, as in real life: the mirror is warm, but never already there. The
server runs in this process, its git processes on the same cores.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from bench.table import Row
from gitops_core.adapters.git import GitMirrors, MirrorRemote
from gitops_core.meta import Revision, Tree
from gitops_core.ports import Commit, GitRef, Signature
from sealoop.embedded.githttp import GitServer, create_repository

T = TypeVar("T")

FOLDERS, FILES_EACH, FILE_BYTES, ROUNDS = 200, 100, 2_100, 9
MARKED = "apps/100/050.yaml"
MARKER = '{"$imagepolicy": "apps:web"}'
BOT = Signature("Bot", "bot@example.com", datetime(2026, 1, 1, tzinfo=UTC))


def rows() -> Iterator[Row]:
    yield "step", ["median", "slowest"]
    with tempfile.TemporaryDirectory(prefix="sealoop-bench-") as folder:
        measured, spawned = asyncio.run(_measure(Path(folder)))
    for label, times in measured.items():
        yield label, [_milliseconds(statistics.median(times)), _milliseconds(max(times))]
    yield "git processes started by one round", [str(spawned), ""]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


@dataclass
class _Stopwatch:
    times: dict[str, list[float]] = field(default_factory=dict)

    async def time(self, label: str, work: Awaitable[T]) -> T:
        before = time.perf_counter()
        result = await work
        self.times.setdefault(label, []).append(time.perf_counter() - before)
        return result


async def _measure(folder: Path) -> tuple[dict[str, list[float]], int]:
    served = folder / "served"
    await create_repository(served / "apps.git", _files())
    spawned = folder / "spawned"
    counting = folder / "git"
    counting.write_text(f'#!/bin/sh\necho >> {spawned}\nexec git "$@"\n')  # before the clock runs
    counting.chmod(0o755)
    async with GitServer(served) as server:
        url = f"{server.url}/apps.git"
        watch = _Stopwatch()
        mirrors, others = GitMirrors(folder / "ours"), GitMirrors(folder / "others")
        ours, somebody = mirrors.get_remote(url), others.get_remote(url)
        await _look(watch, ours)
        for number in range(ROUNDS):
            await _commit_elsewhere(somebody, number)
            await _bump(watch, ours, number)
        await mirrors.close()
        counted = GitMirrors(folder / "ours", program=str(counting))
        await counted.get_remote(url).fetch_tree(await counted.get_remote(url).resolve(GitRef(branch="main")))
        await _commit_elsewhere(somebody, ROUNDS)
        before = _lines(spawned)
        await _bump(_Stopwatch(), counted.get_remote(url), ROUNDS)
        for git in (others, counted):
            await git.close()
        return watch.times, _lines(spawned) - before


def _files() -> dict[str, bytes]:
    files = {}
    for number in range(FOLDERS * FILES_EACH):
        folder, file = divmod(number, FILES_EACH)
        lines = "".join(f"key-{line}: value {number * 7919 + line * 104729}\n" for line in range(80))
        files[f"apps/{folder:03}/{file:03}.yaml"] = lines.encode()[:FILE_BYTES]
    files[MARKED] += f"image: web:1.0 # {MARKER}\n".encode()
    return files


def _lines(path: Path) -> int:
    return len(path.read_text())


async def _look(watch: _Stopwatch, remote: MirrorRemote) -> None:
    """The first use of a mirror, and everything that reads it whole."""
    revision = await watch.time("resolve, no mirror yet", remote.resolve(GitRef(branch="main")))
    tree = await watch.time("first fetch", remote.fetch_tree(revision))
    await watch.time("list all files", _listing(tree))
    await watch.time("read all files", _reading(tree))
    await watch.time("first search (git grep)", remote.search(revision, MARKER))


async def _listing(tree: Tree) -> int:
    return len(tree)


async def _reading(tree: Tree) -> int:
    return sum(len(tree[path]) for path in tree)


async def _bump(watch: _Stopwatch, remote: MirrorRemote, number: int) -> None:
    before = time.perf_counter()
    revision = await watch.time("resolve", remote.resolve(GitRef(branch="main")))
    tree = await watch.time("fetch one new commit", remote.fetch_tree(revision))
    (path,) = await watch.time("search for the marker", remote.search(revision, MARKER))
    edits = {path: tree[path].replace(b"image: web:", b"image: web:1")}
    await watch.time("commit and push", remote.push(Commit(revision.commit, edits, f"{number}", BOT, BOT), "main"))
    watch.times.setdefault("tag -> commit on the remote, all of it", []).append(time.perf_counter() - before)


async def _commit_elsewhere(remote: MirrorRemote, number: int) -> Revision:
    tip = await remote.resolve(GitRef(branch="main"))
    edits = {f"apps/{number:03}/000.yaml": f"somebody: {number}\n".encode()}
    return await remote.push(Commit(tip.commit, edits, "Theirs", BOT, BOT), "main")
