"""Implements Git and GitRemote: bare mirrors under one folder, the git command for everything.

resolve   one ls-remote; for a branch that moved under a push of ours, a fetch of its tip
tree      a fetch of one commit at depth 1 when it is not here; then nothing but reads
search    git grep once; later only the files that changed since
writable  a dry run of a push, now and then
push      objects written into the mirror, one push that holds only if the branch is still where it was seen
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from gitops_core.adapters.git.address import check_commit_id, parse_address, write_full_ref
from gitops_core.adapters.git.answers import (
    MirrorDamaged,
    is_denied,
    is_redirect,
    judge_push,
    judge_write_access,
    make_failure,
    refuses_commit_ids,
)
from gitops_core.adapters.git.commands import GitCommands, Result
from gitops_core.adapters.git.credentials import Identity, identify
from gitops_core.adapters.git.githubapp import USERNAME, AppTokens
from gitops_core.adapters.git.mirror import FRESH, Mirror, Search, Slot, Tag, claim_slot, place_mirror
from gitops_core.adapters.git.objects import (
    GitObject,
    edit_tree,
    get_algorithm,
    make_commit,
    parse_commit,
)
from gitops_core.adapters.git.reading import Limits, Readers
from gitops_core.adapters.git.signing import SigningKey, load_signer
from gitops_core.adapters.git.trees import MirrorTrees
from gitops_core.domain.sources.versions import list_newest, parse_range
from gitops_core.errors import GitError, PathNotFound, PushConflict, RefNotFound, StalledError
from gitops_core.meta import Revision, Sensitive, Tree
from gitops_core.ports import Commit, CommitInfo, GitAccess, GitRef, Signer, WriteAccess, is_never_ours
from gitops_core.recent import Recent
from gitops_core.runtime.sharing.remembered import Kept, Remembered

ANONYMOUS = GitAccess()
DEFAULT_LIMITS = Limits()
MOST_TIED = 16  # commits whose dates are compared
MOST_CHANGED = 3000  # files that are looked into one by one; above, git grep is quicker
PROVEN_BYTES, PROVEN_WEIGHT = 2 << 20, 256
ACCESS_SECONDS, GRANTED_SECONDS = 3600.0, 300.0  # that an answer about pushes holds; that one holds which is to change
PATIENCE = 10.0  # seconds that it is waited for
NO_REF = "refs/sealoop/none"
NOT_ASKED = WriteAccess(granted=None, why="a folder of this machine asks for no credentials")
DISUSED_SECONDS = 7 * 24 * 3600.0


class GitMirrors:
    """Implements Git.

    Args:
        state: a folder, which may be lost without harm. Each process that uses it at the same time takes a numbered
            folder below, so that none mends what another one is writing.
        allow_file: take file:// URLs, which read what this process can read: for operators, not for tenants.
        plain_http_credentials: send credentials over http:// too, as Flux does.
    """

    def __init__(
        self,
        state: Path,
        *,
        allow_file: bool = False,
        plain_http_credentials: bool = True,
        limits: Limits = DEFAULT_LIMITS,
        program: str = "git",
    ) -> None:
        self._state = state.absolute()
        self._allow_file = allow_file
        self._plain_http = plain_http_credentials
        self._limits = limits
        self._commands = GitCommands(program)
        self._readers = Readers(program)
        self._mirrors: dict[str, Mirror] = {}
        self._slot: Slot | None = None
        self._proven = Proven()
        self._writing: Remembered[bytes, WriteAccess] = Remembered(
            PROVEN_BYTES, lambda said: PROVEN_WEIGHT + len(said.why)
        )
        self._tokens = AppTokens(self._commands.places)
        self._chores: set[asyncio.Task[None]] = set()
        self._resting: dict[Mirror, asyncio.Task[None]] = {}  # chores that wait for a quiet moment

    def get_remote(self, url: str, access: GitAccess = ANONYMOUS, *, timeout: float = 60.0) -> MirrorRemote:
        address = parse_address(url, allow_file=self._allow_file)
        identity = identify(address, access, self._state / "askpass", plain_http=self._plain_http)
        key = f"{address.url} by {identity.way}" if identity.way else address.url
        mirror = self._mirror(key, address.url)
        return MirrorRemote(
            mirror, identity, timeout, self._commands, self._proven, self._writing, self._tokens, self._run_later
        )

    def get_trees(self, name: str) -> MirrorTrees:
        return MirrorTrees(self._mirror(f"trees:{name}", f"trees:{name}"), self._run_later)  # no URL begins like this

    async def load_signer(self, kind: Literal["gpg", "ssh"], values: Mapping[str, Sensitive], about: str) -> Signer:
        return _Threaded(await asyncio.to_thread(load_signer, kind, values, about))

    def _mirror(self, key: str, url: str) -> Mirror:
        if key not in self._mirrors:
            self._slot = self._slot or claim_slot(self._state, self)
            directory = place_mirror(self._slot.directory, key)
            self._mirrors[key] = Mirror(directory, url, self._commands, self._readers, self._limits)
        return self._mirrors[key]

    async def close(self) -> None:
        """Finish the chores at hand, end the readers, and give the folder free. Not to be used afterwards."""
        for chore in tuple(self._resting.values()):
            chore.cancel()
        while self._chores:
            await asyncio.gather(*self._chores, return_exceptions=True)
        self._readers.close()
        if self._slot is not None:
            self._slot.release()

    def _run_later(self, mirror: Mirror) -> None:
        """Keep the mirror small, when there is time."""
        resting = self._resting.get(mirror)
        if resting is not None and not resting.done():
            return
        chore = asyncio.get_running_loop().create_task(self._tidy(mirror))
        self._chores.add(chore)
        self._resting[mirror] = chore
        chore.add_done_callback(self._chores.discard)

    async def _tidy(self, mirror: Mirror) -> None:
        await mirror.rest()
        self._resting.pop(mirror, None)
        # a failed pruning is tried again after the next fetch, and a damaged mirror is mended by who needs it
        with contextlib.suppress(GitError, OSError):
            await mirror.prune()
            for other in tuple(self._mirrors.values()):
                if time.monotonic() - other.used > DISUSED_SECONDS:
                    await other.discard()
            await asyncio.to_thread(self._remove_disused)

    def _remove_disused(self) -> None:
        """Remove mirrors that no process used for long: their GitRepository is gone."""
        ours = {mirror.directory for mirror in self._mirrors.values()}
        for directory in self._slot.directory.glob("*.git") if self._slot else ():
            if directory not in ours and time.time() - directory.stat().st_mtime > DISUSED_SECONDS:
                shutil.rmtree(directory, ignore_errors=True)


class Proven:
    """The identities that were let in lately; one that is forgotten is asked about again."""

    def __init__(self, capacity: int = PROVEN_BYTES) -> None:
        self._known: Recent[bytes, bool] = Recent(capacity)

    def __contains__(self, fingerprint: bytes) -> bool:
        return self._known.get(fingerprint) is not None

    def __len__(self) -> int:
        return len(self._known)

    def add(self, fingerprint: bytes) -> None:
        self._known.put(fingerprint, True, PROVEN_WEIGHT)


@dataclass(frozen=True)
class _Threaded:
    """Implements Signer: a signature of a large key takes a while."""

    key: SigningKey

    async def sign(self, payload: bytes) -> bytes:
        return await asyncio.to_thread(self.key.make_signature, payload)


@dataclass(frozen=True)
class MirrorRemote:
    """Implements GitRemote.

    Attributes:
        proven: identities that the remote let in since this process began. A mirror is shared by all who use its URL,
            so whoever is not among them is not shown a commit before the remote was asked.
        writing: what the remote said of their pushes.
    """

    mirror: Mirror
    identity: Identity
    timeout: float
    commands: GitCommands
    proven: Proven
    writing: Remembered[bytes, WriteAccess]
    tokens: AppTokens
    later: Callable[[Mirror], None]

    @property
    def url(self) -> str:
        return self.identity.address.url

    async def resolve(self, ref: GitRef) -> Revision:
        if ref.commit:
            return Revision(ref.name or ref.branch, check_commit_id(ref.commit))
        if ref.name:
            name = write_full_ref(ref.name)
            return self._pick(await self._list(*_choose_listing(name)), ref.name, name, "ref")
        if ref.semver:
            return await self._resolve_range(ref.semver)
        if ref.tag:
            name = write_full_ref(ref.tag, "tags")
            return self._pick(await self._list("--tags"), ref.tag, name, "tag")
        branch = ref.branch or "master"
        name = write_full_ref(branch, "heads")
        if name in self.mirror.overtaken and (tip := await self._fetch_overtaken(name)):
            return Revision(branch, tip)
        found = await self._list("--heads")
        if not found.commits:
            raise RefNotFound(f"{self.url} is empty: it has no branch yet", reason="EmptyGitRepository")
        return self._pick(found, branch, name, "branch")

    async def fetch_tree(self, revision: Revision, path: str = "") -> Tree:
        return await self.mirror.run_healing(lambda: self._fetch_tree(revision, path))

    async def search(self, revision: Revision, text: str, path: str = "") -> tuple[str, ...]:
        if not text or "\n" in text or "\0" in text:
            raise ValueError("search looks for one line of text")
        return await self.mirror.run_healing(lambda: self._search(revision, text, path))

    async def describe(self, revision: Revision) -> CommitInfo:
        return await self.mirror.run_healing(lambda: self._describe(revision))

    async def read_commit(self, revision: Revision) -> bytes:
        return await self.mirror.run_healing(lambda: self._read_commit(revision))

    async def read_tag(self, ref: str, commit: str) -> bytes | None:
        if (known := self.mirror.tags.get(ref)) is None or known.commit != commit:
            found = self._pick(await self._list("--tags"), ref, write_full_ref(ref), "tag")
            if found.commit != commit:
                raise RefNotFound(f"{self.url}: {ref} is at {found.commit} by now, no more at {commit}")
            known = self.mirror.tags.get(ref)
        oid = known.oid if known is not None else ""
        return await self.mirror.run_healing(lambda: self._read_tag(oid, ref)) if oid else None

    async def find_write_access(self, revision: Revision) -> WriteAccess:
        if self.identity.address.scheme == "file":
            return NOT_ASKED
        hurried = replace(self, timeout=min(self.timeout, PATIENCE))
        return await self.writing.get(self.identity.fingerprint, lambda: hurried._ask_to_write(revision))

    async def preview(self, commit: Commit) -> str:
        return (await self.mirror.run_healing(lambda: self._edit(commit)))[0]

    async def push(
        self,
        commit: Commit,
        branch: str,
        *,
        expected: str | None = None,
        refspec: str = "",
        options: Mapping[str, str] = {},
        ours: Callable[[CommitInfo], bool] = is_never_ours,
    ) -> Revision:
        ref = write_full_ref(branch, "heads")
        target, written = get_target(refspec, branch), write_push_options(options)
        made = await self.mirror.run_healing(lambda: self._push(commit, ref, expected, target, written, ours))
        return Revision(branch, made)

    async def _list(self, *only: str) -> Listing:
        """List commits by full ref name, and remember the branches.

        Args:
            only: `--heads` or `--tags`, which the remote is told, so that it does not send the rest.
        """
        result = await self._ask("ls-remote", "--quiet", *only, "--", self.url)
        if result.code:
            raise make_failure(result, self._name_deed("ls-remote"))
        self.proven.add(self.identity.fingerprint)
        listing = await self.mirror.run_beside(lambda: _parse_listing(result.stdout))
        if only == ("--heads",):
            self.mirror.branches = frozenset(listing.commits)
        return listing

    async def _resolve_range(self, text: str) -> Revision:
        wanted, found, prefix = parse_range(text), await self._list("--tags"), "refs/tags/"
        tags = found.commits
        names = (ref[len(prefix) :] for ref in tags if ref.startswith(prefix))
        newest = await self.mirror.run_beside(lambda: list_newest(names, wanted))
        if not newest:
            raise RefNotFound(f"{self.url} has no tag in the range {text!r}")
        tied: dict[str, Revision] = {}
        for tag in newest:
            tied.setdefault(tags[prefix + tag], Revision(tag, tags[prefix + tag]))
        if len(tied) > MOST_TIED:
            raise RefNotFound(
                f"{self.url} has {len(tied)} commits whose tags are equally new for {text!r}, as {newest[0]!r} is:"
                f" more than {MOST_TIED} are not compared"
            )
        (chosen, *others), dates = tied.values(), {}
        if others:
            dates = {revision: (await self.describe(revision)).committer.when for revision in tied.values()}
            chosen = max(dates, key=lambda revision: dates[revision])  # of one date the first: its name is the last
        return self._pick(found, chosen.name, prefix + chosen.name, "tag")

    def _pick(self, found: Listing, shown: str, name: str, kind: str) -> Revision:
        if name not in found.commits:
            raise RefNotFound(f"{self.url} has no {kind} {shown!r}")
        commit = found.commits[name]
        if name.startswith("refs/tags/"):
            self.mirror.remember_tag(name, Tag(found.annotated.get(name, ""), commit))
        return Revision(shown, commit)

    async def _fetch_tree(self, revision: Revision, path: str) -> Tree:
        return self.mirror.hold_tree(revision.commit, await self._find_folder(revision, path))

    async def _find_folder(self, revision: Revision, path: str) -> str:
        """Return the id of a folder's tree."""
        root = (await self._fetch_commit(revision)).tree
        found = await self.mirror.run_beside(lambda: self.mirror.shelf.find_folder(root, path))
        if not found:
            raise PathNotFound(f"{self.url} has no folder {path!r} at {revision}")
        return found

    async def _describe(self, revision: Revision) -> CommitInfo:
        return await self._fetch_commit(revision)

    async def _fetch_commit(self, revision: Revision) -> CommitInfo:
        """Return a commit, fetched when it was not here."""
        body = await self._read_commit(revision)
        try:
            return parse_commit(revision.commit, body)
        except ValueError as error:
            raise GitError(f"commit {revision.commit} of {self.url} cannot be read: {error}") from error

    async def _read_commit(self, revision: Revision) -> bytes:
        commit = check_commit_id(revision.commit)
        return await self._read(commit, revision.name, lambda: self.mirror.shelf.find_commit(commit))

    async def _read_tag(self, oid: str, ref: str) -> bytes:
        return await self._read(oid, ref, lambda: self.mirror.shelf.find_tag(oid))

    async def _read(self, oid: str, name: str, find: Callable[[], bytes | None]) -> bytes:
        """Read an object, fetched when it was not here."""
        if not (self.mirror.has(oid) and self._is_proven()):
            asked = (self.identity.fingerprint, oid)
            await self.mirror.bring(asked, lambda: self._bring(oid, name), self.timeout)
        body = await self.mirror.run_beside(find)
        if body is None:
            raise MirrorDamaged(f"{oid} is missing from the mirror of {self.url}")
        return body

    def _is_proven(self) -> bool:
        return self.identity.address.scheme == "file" or self.identity.fingerprint in self.proven

    async def _bring(self, commit: str, name: str) -> None:
        """Have the commit here, and be let in by the remote. Quick for who waited for one that brought it."""
        if not self.mirror.has(commit):
            await self._fetch(commit, name)
        elif not self._is_proven():
            await self._list("--heads")

    async def _fetch(self, commit: str, name: str) -> None:
        async with self.mirror.growing():
            if self.mirror.has(commit) and self.identity.fingerprint in self.proven:
                return
            await self.mirror.prepare(get_algorithm(commit))
            result = await self._fetch_refs("--depth=1", f"+{commit}:refs/keep/{commit}")
            if refuses_commit_ids(result):
                result = await self._fetch_tip(commit, name)
            if result.code:
                error = make_failure(result, self._name_deed("fetch"))
                # what we do not recognise may be the mirror's fault: look, before the remote is blamed for ever
                if type(error) is GitError and not await self.mirror.is_whole():
                    raise MirrorDamaged(str(error))
                raise error
            self.mirror.note_commit(commit)
        self.proven.add(self.identity.fingerprint)
        self.later(self.mirror)

    async def _fetch_overtaken(self, ref: str) -> str:
        """Fetch the tip of a branch that somebody moved under a push of ours; "" when asking is the better way.

        What is there is new for sure, so that asking first would be a second conversation while others push on.
        """
        self.mirror.overtaken.discard(ref)
        async with self.mirror.growing():
            result = await self._fetch_refs("--depth=1", f"+{ref}:{FRESH}")
            tip = self.mirror.keep_fresh() if result.code == 0 else ""
        if tip:
            self.proven.add(self.identity.fingerprint)
            self.later(self.mirror)
        return tip

    async def _fetch_tip(self, commit: str, name: str) -> Result:
        """Fetch from a server that hands out the tips of refs only: the ref it was found under, then all branches, in
        full.
        """
        ref = name if name.startswith("refs/") else f"refs/heads/{name}"
        tips = ([("--depth=1", f"+{write_full_ref(ref)}:refs/keep/{commit}")] if name else []) + [
            ("--depth=2147483647", "+refs/heads/*:refs/tips/*")  # Git's word for: all of it
        ]
        shelf = self.mirror.shelf
        for depth, refspec in tips:
            result = await self._fetch_refs(depth, refspec)
            if result.code == 0 and await self.mirror.run_beside(lambda: shelf.holds(commit)):
                return result
        raise RefNotFound(f"{self._name_deed('fetch')}: the remote has no such commit, or does not hand it out")

    async def _fetch_refs(self, *depth_and_refspec: str) -> Result:
        depth, refspec = depth_and_refspec
        quiet = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-show-forced-updates")
        return await self._ask("fetch", *quiet, depth, "--", self.url, refspec)

    async def _search(self, revision: Revision, text: str, path: str) -> tuple[str, ...]:
        folder = await self._find_folder(revision, path)
        last = self.mirror.searches.get((text, path))
        found = None
        if last is not None and self.mirror.has(last.commit):
            found = await self.mirror.run_beside(lambda: self._search_changes(last, folder, text))
        if found is None:
            found = await self.mirror.search(folder, text)
        self.mirror.remember_search((text, path), Search(revision.commit, folder, found))
        return found

    def _search_changes(self, last: Search, folder: str, text: str) -> tuple[str, ...] | None:
        """Bring the result of the last search up to date; None when too much changed since."""
        shelf, wanted, found = self.mirror.shelf, text.encode(), set(last.found)
        for number, (path, entry) in enumerate(shelf.list_changed_files(last.folder, folder)):
            if number >= MOST_CHANGED:
                return None
            found.discard(path)
            if entry is not None and wanted in (content := shelf.read_blob(entry.oid, path)):
                found.add(path)
                shelf.readers.remember({entry.oid: content})  # what is found is read next
        return tuple(sorted(found))

    async def _edit(self, commit: Commit) -> tuple[str, tuple[GitObject, ...]]:
        """Return the tree of a commit to make, and the objects that are new."""
        parent = await self._fetch_commit(Revision("", commit.parent))
        shelf, algorithm = self.mirror.shelf, get_algorithm(commit.parent)
        return await self.mirror.run_beside(lambda: edit_tree(shelf.read_tree, parent.tree, commit.edits, algorithm))

    async def _ask_to_write(self, revision: Revision) -> Kept[WriteAccess]:
        try:
            return keep_access(await self.mirror.run_healing(lambda: self._try_to_write(revision)))
        except GitError as error:
            return keep_access(WriteAccess(granted=None, why=str(error)))

    async def _try_to_write(self, revision: Revision) -> WriteAccess:
        async with self.mirror.growing():
            await self.mirror.prepare(get_algorithm(revision.commit))
        # the removal of a ref needs no object; of a dry run the remote sees the question for its refs, and no more
        result = await self._ask("push", "--porcelain", "--dry-run", "--no-verify", "--", self.url, f":{NO_REF}")
        return judge_write_access(result)

    async def _push(
        self,
        commit: Commit,
        ref: str,
        expected: str | None,
        target: str,
        options: Sequence[str],
        ours: Callable[[CommitInfo], bool],
    ) -> str:
        tree, objects = await self._edit(commit)
        made = await make_commit(commit, tree)
        await self.mirror.store((*objects, made), "--fsck-objects")  # as the remote will
        self.mirror.shelf.readers.remember({item.oid: item.body for item in objects if item.type == "blob"})
        self.mirror.note_commit(made.oid)  # before it is pushed: nothing else keeps it from being pruned meanwhile
        try:
            leases = await self._find_leases(commit, made.oid, ref, expected, target, ours)
            await self._push_object(made.oid, ref, leases, options)
        except GitError as error:
            self.mirror.forget(made.oid)
            self.mirror.branches = None  # the next push looks again whether the branch is there
            if isinstance(error, PushConflict):
                self.mirror.overtaken.add(ref)
            raise
        self.mirror.branches = (self.mirror.branches or frozenset()) | {ref}
        return made.oid

    async def _push_object(self, made: str, ref: str, leases: Mapping[str, str | None], options: Sequence[str]) -> None:
        """Move all refs of `leases` to `made`, or none, each from the tip it stands for ("" for none, None for any)."""
        # the lease makes it compare-and-swap: without it a branch that was set back would take its old commits again
        held = [f"--force-with-lease={name}:{tip}" for name, tip in leases.items() if tip is not None]
        extras = [f"--push-option={option}" for option in options]
        together = ["--atomic"] if len(leases) > 1 else []
        flags = ("--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", *together, *held, *extras)
        result = await self._ask("push", *flags, "--", self.url, *(f"{made}:{name}" for name in leases))
        verdict = judge_push(result, self._name_deed(f"push to {' and '.join(leases)}"))
        if verdict is not None:
            raise verdict

    async def _find_leases(
        self,
        commit: Commit,
        made: str,
        ref: str,
        expected: str | None,
        target: str,
        ours: Callable[[CommitInfo], bool],
    ) -> dict[str, str | None]:
        """Return where each ref that moves must be now. Raises PushConflict: the refspec's target cannot be moved."""
        heads: Mapping[str, str] = {}
        if target or (expected is None and self.mirror.branches is None):
            heads = (await self._list("--heads")).commits
        if expected is None:
            expected = commit.parent if ref in (self.mirror.branches or ()) else ""
        if not target or target == ref:
            return {ref: expected}
        if not target.startswith("refs/heads/"):
            return {ref: expected, target: None}
        tip = heads.get(target, "")
        if tip not in ("", made, expected, commit.parent):
            info = await self._fetch_commit(Revision("", tip))
            if not ours(info):
                who = info.author.name
                raise PushConflict(f"{self._name_deed(f'push to {target}')}: it is at {tip}, a commit of {who!r}")
        return {ref: expected, target: tip}

    async def _ask(self, verb: str, *arguments: str) -> Result:
        """Run a command that talks to the remote, following it once when it has moved within its host."""
        result = await self._ask_once(verb, *arguments)
        if is_redirect(result) and self.identity.follows_redirects:
            self.mirror.moved = True
            result = await self._ask_once(verb, *arguments)
        return result

    async def _ask_once(self, *arguments: str) -> Result:
        directory = () if arguments[0] == "ls-remote" else (f"--git-dir={self.mirror.directory}",)
        identity = await self._prove()
        with identity.child(redirects=self.mirror.moved) as child:
            result = await self.commands.run(
                *directory,
                *arguments,
                timeout=self.timeout,
                config=child.config,
                environment=child.environment,
                about=self.url,
                host=self.identity.place,
                writes=arguments[0] == "push" and "--dry-run" not in arguments,
            )
        if identity is not self.identity and is_denied(result):
            self.tokens.forget(self.identity.fingerprint)
        return result._replace(stderr=identity.mute(result.stderr))

    async def _prove(self) -> Identity:
        access = self.identity.access
        if access.app is None:
            return self.identity
        token = await self.tokens.get_token(self.identity.fingerprint, access, access.app, self.identity.proxy)
        return self.identity.with_token(USERNAME, token)

    def _name_deed(self, deed: str) -> str:
        return f"git {deed} of {self.url}"


class Listing(NamedTuple):
    """The refs of a remote: the commits that they lead to, and the objects of those that are annotated tags."""

    commits: Mapping[str, str]
    annotated: Mapping[str, str]


def keep_access(said: WriteAccess) -> Kept[WriteAccess]:
    """Keep an answer about pushes for an hour, and one that is to be mended for minutes."""
    return Kept(said, GRANTED_SECONDS if said.granted else ACCESS_SECONDS)


def _parse_listing(output: bytes) -> Listing:
    """Parse the output of ls-remote, where `NAME^{}` is what the annotated tag NAME leads to."""
    lines = (line.partition("\t") for line in output.decode("utf-8", "replace").splitlines())
    refs = {name: oid for oid, _, name in lines}
    peeled = {name: refs.get(name + "^{}", oid) for name, oid in refs.items() if not name.endswith("^{}")}
    return Listing(peeled, {name: refs[name] for name, commit in peeled.items() if refs[name] != commit})


def _choose_listing(ref: str) -> tuple[str, ...]:
    sections = {"refs/heads/": ("--heads",), "refs/tags/": ("--tags",)}
    return next((flags for prefix, flags in sections.items() if ref.startswith(prefix)), ())


def get_target(refspec: str, branch: str) -> str:
    """Return the full name of the second ref that a refspec pushes; "" when there is none.

    >>> get_target("refs/heads/main:refs/heads/auto", "main"), get_target("HEAD:auto", "main"), get_target("", "main")
    ('refs/heads/auto', 'refs/heads/auto', '')

    Raises:
        StalledError: it does not push what was committed, or leads to no ref.
    """
    if not refspec:
        return ""
    source, colon, target = refspec.partition(":")
    if source not in ("HEAD", branch, f"refs/heads/{branch}"):
        whole = f"refs/heads/{branch}"
        raise StalledError(f"refspec {refspec!r} does not push what was committed: begin it with HEAD: or {whole}:")
    if (colon and not target) or (target or source) == "HEAD":
        raise StalledError(f"refspec {refspec!r} leads to no ref: end it with the ref to push to")
    try:
        return write_full_ref(target or source, "" if (target or source).startswith("refs/") else "heads")
    except RefNotFound as error:
        raise StalledError(f"refspec {refspec!r} leads to no ref: {error}") from None


def write_push_options(options: Mapping[str, str]) -> tuple[str, ...]:
    """Write `KEY=VALUE`, or `KEY` where the value is empty, in the order of the keys. Raises StalledError."""
    written = tuple(f"{key}={value}" if value else key for key, value in sorted(options.items()))
    if wrong := next((option for option in written if not option or set(option) & {"\n", "\0"}), None):
        raise StalledError(f"push option {wrong!r} is empty or holds a line break: a server would not take it")
    return written
