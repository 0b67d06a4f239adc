"""Git: remotes, mirrors, commits, and the trees that are kept as theirs are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from gitops_core.meta import (
    Revision,
    Sensitive,
    Tree,
)


@dataclass(frozen=True)
class GitRef:
    """What to look at in a repository. Precedence: commit, name, semver, tag, branch; all empty means branch master.

    Source: Flux, GitRepository.spec.ref.
    """

    branch: str = ""
    tag: str = ""
    semver: str = ""
    name: str = ""
    commit: str = ""

    @property
    def is_branch(self) -> bool:
        """Tell whether it is a branch that is looked at, and not a tag, a commit or a ref by its full name."""
        return not (self.commit or self.name or self.semver or self.tag)


@dataclass(frozen=True)
class GitHubApp:
    """A GitHub App, which is given short-lived tokens for its installation with one owner.

    Attributes:
        installation_id: 0 where it is to be found by `owner`.
        owner: an organization or user; "" where the installation is known.
        key: RSA, in PEM.
        api: base URL without a slash at its end.
    """

    app_id: int
    key: Sensitive
    installation_id: int = 0
    owner: str = ""
    api: str = "https://api.github.com"


@dataclass(frozen=True)
class GitAccess:
    """How to prove who we are, from a Secret in one of Flux's shapes. All None is anonymous.

    Attributes:
        ca: PEM certificates to trust beside the system's.
        identity: an SSH private key; then known_hosts is required.
        passphrase: of the SSH key.
        proxy: its URL (http, https or socks5), with user and password.
        app: whose tokens are used in the place of name and password.
    """

    username: str = ""
    password: Sensitive | None = None
    bearer_token: Sensitive | None = None
    ca: bytes | None = None
    client_certificate: bytes | None = None
    client_key: Sensitive | None = None
    identity: Sensitive | None = None
    passphrase: Sensitive | None = None
    known_hosts: bytes | None = None
    proxy: Sensitive | None = None
    app: GitHubApp | None = None

    def without_credentials(self) -> GitAccess:
        """Return how another server is reached: the same way, and proving nothing."""
        return GitAccess(ca=self.ca, proxy=self.proxy)


@dataclass(frozen=True)
class Signature:
    """Author or committer of a commit."""

    name: str
    email: str
    when: datetime


class Signer(Protocol):
    """A private key to sign commits with."""

    async def sign(self, payload: bytes) -> bytes:
        """Return the armored signature of a commit's bytes. Raises SigningFailed."""
        ...


@dataclass(frozen=True)
class Commit:
    """A commit to make: `parent`'s tree with `edits` applied.

    Attributes:
        parent: the commit it was planned on, 40 or 64 hex digits.
        edits: new contents by path; None removes the file. Modes of existing files are kept.
        signer: None leaves it unsigned.
    """

    parent: str
    edits: Mapping[str, bytes | None]
    message: str
    author: Signature
    committer: Signature
    signer: Signer | None = None


@dataclass(frozen=True)
class CommitInfo:
    """What a commit says. `tree` is the id of its root folder."""

    commit: str
    author: Signature
    committer: Signature
    message: str
    tree: str
    parents: tuple[str, ...]


def is_never_ours(info: CommitInfo) -> bool:
    return False


@dataclass(frozen=True)
class WriteAccess:
    """What a remote says to one identity that would push.

    Attributes:
        granted: None: it cannot be told.
        why: then, in one clause.
    """

    granted: bool | None
    why: str = ""


class GitRemote(Protocol):
    """One repository as one identity sees it.

    Every method raises GitError (network, server, time-out) and GitAccessDenied.
    """

    async def resolve(self, ref: GitRef) -> Revision:
        """Return where `ref` points now: one request, which may bring the commit along.

        Of a range of versions the newest tag counts; of several that are equally new the one whose commit is the
        latest, then the last by its name.

        Raises:
            RefNotFound; StalledError: `ref.semver` is no range.
        """
        ...

    async def fetch_tree(self, revision: Revision, path: str = "") -> Tree:
        """Return the folder `path` of a commit, fetched when it is not here yet; "" is the root.

        Raises:
            PathNotFound: the commit has no such folder; RefNotFound: the remote has no such commit.
        """
        ...

    async def search(self, revision: Revision, text: str, path: str = "") -> tuple[str, ...]:
        """Return the paths below `path` (relative to it, sorted) of the regular files whose contents hold `text`."""
        ...

    async def describe(self, revision: Revision) -> CommitInfo: ...

    async def read_commit(self, revision: Revision) -> bytes:
        """Return the very bytes of the commit, of which its id is the hash (behind Git's header)."""
        ...

    async def read_tag(self, ref: str, commit: str) -> bytes | None:
        """Return the very bytes of the annotated tag that `refs/tags/NAME` is; None: it is the commit itself.

        Of a tag that was resolved last, nobody is asked again where it is.

        Raises:
            RefNotFound: there is no such tag, or it does not lead to `commit` any more.
        """
        ...

    async def find_write_access(self, revision: Revision) -> WriteAccess:
        """Find out whether the remote would take a push from this identity. Nothing is pushed.

        An answer holds for an hour, for then the remote may have been set otherwise, and for five minutes where a push
        would be taken, which is to be mended. What the remote does not tell is no error.

        Args:
            revision: one that the remote has, whose hash is its repository's.
        """
        ...

    async def preview(self, commit: Commit) -> str:
        """Return the id of the tree that `commit` would have; write nothing."""
        ...

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
        """Make `commit`, and make it the tip of `branch`, only if the branch is where it is expected to be.

        Args:
            expected: the tip the branch has now, which is given up for the new commit; "" when there is no such branch.
                None expects `commit.parent`, or no branch.
            refspec: `SOURCE:TARGET`, where SOURCE is HEAD or the branch: a second ref for the same commit. Both move or
                neither. A TARGET that is a branch moves from the branch's tip, the commit's parent or a commit that is
                `ours`, and from nothing else.
            options: for the server's hooks, `git push -o KEY=VALUE`.
            ours: whether a commit may be given up.

        Raises:
            PushConflict: a tip is another one by now; nothing was pushed.
            PushDenied: the remote will not have it, or knows no push options or atomic pushes.
            SigningFailed: nothing was pushed.
            StalledError: a refspec or option that cannot be.
            GitError: unknown whether it was accepted: resolve() tells.
        """
        ...


class Trees(Protocol):
    """Files that come from no commit (the layers of an image, a bucket, a chart), kept as Git keeps a folder.

    Equal files have equal ids. What is kept may be lost at any time: who needs it brings it again.
    """

    async def add(self, files: Mapping[str, bytes]) -> str:
        """Keep `files`, by path, and return the id of their tree.

        Raises:
            GitError: a path leaves the folder, or is below a file; the disk is full.
        """
        ...

    async def get_tree(self, oid: str, path: str = "") -> Tree:
        """Return the folder `path` of a tree that was added; "" is all of it.

        Raises:
            PathNotFound: it has no such folder; TreeLost: it is not kept, or not any more.
        """
        ...


class Git(Protocol):
    def get_remote(self, url: str, access: GitAccess = GitAccess(), *, timeout: float = 60.0) -> GitRemote:
        """Return a handle; nothing is sent yet.

        Args:
            timeout: seconds that each Git command may take.

        Raises:
            StalledError: the URL is not one of http, https, ssh (or file), or the access is of another kind.
            GitAccessDenied: the access holds what cannot be shown to a remote.
        """
        ...

    def get_trees(self, name: str) -> Trees:
        """Return what is kept under `name`, which no other name shares; nothing happens yet."""
        ...

    async def load_signer(self, kind: Literal["gpg", "ssh"], values: Mapping[str, Sensitive], about: str) -> Signer:
        """Load the key in a Secret's decoded values: gpg `git.asc`, `passphrase`; ssh `identity`, `password`.

        Args:
            about: names the Secret, for the message.

        Raises:
            SigningFailed: a key is missing, cannot be read or opened, or is too weak.
        """
        ...
