"""What the kernel needs from the world, each a Protocol with its contract.

A contract test in tests/contracts/ states what every implementation does; adapters/ holds the implementations. Adapters
translate every failure into gitops_core.errors, retry only what their peer turned away, never log bodies.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, TypeVarTuple, Unpack

from gitops_core.domain.health.expressions import Evaluation, Question
from gitops_core.domain.render.encrypted import Block, Format
from gitops_core.domain.render.sopskeys import SopsKeys
from gitops_core.domain.sources.buckets import StoredObject as StoredObject  # of Buckets
from gitops_core.domain.sources.identities import Role
from gitops_core.errors import BucketUnavailable, CredentialsInvalid, RegistryUnavailable
from gitops_core.meta import (
    Kind,
    Manifest,
    ObjectKey,
    ObjectMeta,
    ObjectRef,
    Resource,
    Revision,
    Sensitive,
    Tree,
    Wire,
)
from gitops_core.oci.cosign import SignedClaim
from gitops_core.oci.credentials import OPEN, Credentials, RegistryAccess
from gitops_core.oci.references import Repository

T = TypeVar("T")
R = TypeVar("R", bound=Resource)
Ts = TypeVarTuple("Ts")


# Time, chance and computing


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return the seconds since some moment; they never go back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Chance(Protocol):
    def random(self) -> float:
        """Draw a number from [0, 1), all equally likely."""
        ...


class Compute(Protocol):
    async def run(self, weight: int, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """Compute `work(*args)` and return or raise what it does, so that nobody else has to wait for it.

        Everything whose cost a user's input decides goes through here. It may run in another thread, and end anywhere
        when the reconciliation has used up what it may: so `work` is pure, but for reading a Tree.

        Args:
            weight: about how many characters, entries or steps it looks at; what is small is done on the spot.

        Raises:
            TransientError: the reconciliation used up the computing that it may have, or too much waits.
        """
        ...


# The cluster


@dataclass(frozen=True)
class Query:
    """Which objects of one kind.

    Attributes:
        namespace: "" for all namespaces (and for cluster-scoped kinds).
        labels: a label selector as kubectl writes it (`app=web,tier!=db,managed`), "" for all.
        name: only the object of that name, "" for all.
        metadata_only: ask for PartialObjectMetadata: apiVersion, kind and metadata, nothing else.
    """

    kind: Kind
    namespace: str = ""
    labels: str = ""
    name: str = ""
    metadata_only: bool = False


class PartialObject(Wire):
    """What a metadata_only query decodes to."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()


@dataclass(frozen=True)
class Unreadable:
    """An object that did not decode to the type asked for: served as such, so that one bad object hides no other."""

    ref: ObjectRef
    resource_version: str
    cause: str


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some items of a list. `continue_token` is "" on the last page; resource_version is where a watch goes on."""

    items: Sequence[T | Unreadable]
    resource_version: str
    continue_token: str


@dataclass(frozen=True)
class WatchEvent(Generic[T]):
    """One change. A BOOKMARK carries no object; DELETED carries the last state."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: T | Unreadable | None
    resource_version: str


class ApiResource(NamedTuple):
    """How the API server serves a kind: what `kubectl api-resources` shows."""

    kind: Kind
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


class AccountToken(NamedTuple):
    """A token of a service account. `audiences` are those that it proves something to."""

    token: Sensitive
    audiences: tuple[str, ...]
    expires: datetime


class Cluster(Protocol):
    """A Kubernetes API.

    Every method raises ClusterUnavailable (network, time-out, 429, 5xx), Forbidden, and KindUnknown when the API serves
    no such kind. `field_manager` is recorded in managedFields as the real API server does.
    """

    async def find_api_resource(self, kind: Kind) -> ApiResource:
        """Find how `kind` is served; looked up again, once, when it was unknown before."""
        ...

    async def list_api_resources(self) -> Sequence[ApiResource]:
        """List every kind that is served, in its preferred version, as the API server says now."""
        ...

    async def get(self, ref: ObjectRef) -> Manifest | None:
        """Return the object, or None when there is none."""
        ...

    async def list(self, query: Query, type_: type[T], *, limit: int = 500, continue_token: str = "") -> Page[T]:
        """Return one page of at most `limit` objects, each decoded to `type_` (a Wire class, or dict).

        Raises:
            Expired: the continue token is too old; begin again.
        """
        ...

    def watch(
        self, query: Query, type_: type[T], resource_version: str, *, seconds: int | None = None
    ) -> AsyncIterator[WatchEvent[T]]:
        """Yield every change after `resource_version`, in order, with bookmarks; ends when the server ends it.

        An object whose labels stop to match a selector is DELETED, one that begins to match ADDED.

        Args:
            seconds: after how many to end it, three at least. Servers send a bookmark before an end that they know, two
                seconds before it: who wants to know soon how far a quiet kind is asks for a short watch.

        Raises:
            Expired: that version is no longer remembered; list again.
        """
        ...

    async def create(self, manifest: Manifest, *, field_manager: str, dry_run: bool = False) -> Manifest:
        """Create an object and return it as stored. Raises AlreadyExists, Invalid, BadRequest. Honours
        metadata.generateName.
        """
        ...

    async def replace(
        self, manifest: Manifest, *, field_manager: str, subresource: str = "", dry_run: bool = False
    ) -> Manifest:
        """PUT an object. Raises NotFound, Invalid, and Conflict when metadata.resourceVersion or uid is not the stored
        one.
        """
        ...

    async def apply(
        self, manifest: Manifest, *, field_manager: str, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        """Apply server-side: create or merge, and remove what this manager applied before and no longer names.

        An apply that changes nothing leaves resourceVersion as it was.

        Raises:
            ApplyConflict: other managers own some of the fields, and `force` is false.
            Invalid, BadRequest.
        """
        ...

    async def patch(
        self,
        ref: ObjectRef,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        field_manager: str,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Manifest:
        """Send a JSON merge patch (a mapping, RFC 7396) or a JSON patch (a sequence, RFC 6902).

        A merge patch that holds metadata.resourceVersion or metadata.uid is refused with Conflict when they differ.

        Raises:
            NotFound, Invalid, Conflict.
        """
        ...

    async def delete(
        self,
        ref: ObjectRef,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        dry_run: bool = False,
    ) -> None:
        """Delete an object. Raises NotFound; Conflict when uid or resource_version are given and are not the stored
        ones.
        """
        ...

    async def request_token(self, account: ObjectKey, audiences: Sequence[str] = ()) -> AccountToken:
        """Request a token that proves to `audiences` (none: to this API server) to be a service account, for an hour.

        Raises:
            NotFound: there is no such service account; BadRequest: this API gives no tokens.
        """
        ...

    def impersonate(self, user: str, groups: Iterable[str] = ()) -> Cluster:
        """Return the same API with the rights of `user`. The embedded cluster has no rights to check and returns
        itself.
        """
        ...

    def connect_apart(self) -> Cluster:
        """Connect to the same API with connections of its own, for what must not wait behind other requests.

        It lives as long as this one. The embedded cluster has no connections and returns itself.
        """
        ...


@dataclass(frozen=True)
class Target:
    """A cluster as one identity.

    Attributes:
        id: where its objects are seen: what is watched, written and kept of them is keyed by this and a reference. Our
            own cluster is "", whoever writes to it, for we watch it as ourselves; another one is seen as its kubeconfig
            and the service account may see it. Of this process only, and no secret can be told from it.
    """

    id: str
    cluster: Cluster


@dataclass(frozen=True)
class RemoteCluster:
    """A cluster that takes bearer tokens that live shortly.

    Attributes:
        server: `https://HOST:PORT`.
        ca: PEM to trust instead of the system's authorities; None for these.
        identity: whatever the tokens depend on, as text: who has another one shares nothing.
        get_token: gets one that is good now, another one than that which was refused. Raises ClusterError.
    """

    server: str
    ca: bytes | None
    identity: str
    get_token: Callable[[Sensitive | None], Awaitable[Sensitive]] = field(compare=False, repr=False)


class Clusters(Protocol):
    """The clusters that users may name, each as whom they say."""

    def open(
        self, cluster: Sensitive | RemoteCluster | None, service_account: ObjectKey | None, *, about: str = ""
    ) -> AbstractAsyncContextManager[Target]:
        """Open a cluster (of a kubeconfig, or one that takes tokens; None: our own), as a service account (None: as the
        kubeconfig, the token or we are).

        A kubeconfig is its author's: it reads no file and runs no program of this machine, and shares its connections
        with nobody who does not have it. They end with its last user.

        Args:
            about: what errors call the kubeconfig, as `the kubeconfig in Secret/shop/remote`.

        Raises:
            StalledError: the kubeconfig cannot be used, or nobody can be called so.
        """
        ...


@dataclass(frozen=True)
class Change(Generic[T]):
    """What became of one object; None stands for: there is none."""

    old: T | None
    new: T | None


class Objects(Protocol):
    """Our own kinds as this process's watches see them, whether it leads or stands by: reading one costs no request."""

    async def get(self, type_: type[R], key: ObjectKey) -> R | None:
        """Return the object as last seen, or None. A kind that no controller watches is read from the cluster."""
        ...

    async def list(self, type_: type[R], namespace: str = "") -> tuple[R, ...]:
        """Return every object of the kind ("" for all namespaces) as last seen, ordered by key; else as `get` does."""
        ...

    async def find(
        self, type_: type[R], list_terms: Callable[[R], Iterable[str]], terms: Iterable[str]
    ) -> tuple[R, ...]:
        """Return the objects of the kind for which `list_terms` lists any of `terms`, ordered by key.

        Args:
            list_terms: a function of a module: by it is kept what was listed, so that nobody looks through all objects.
        """
        ...

    def follow(self, type_: type[R], namespace: str = "") -> AsyncGenerator[Change[R], None]:
        """Yield what there is (`old` None), then every change, without end: to be closed. A kind may be watched for it.

        Who reads slowly gets for each object one change, from what was read of it last to what it is now.
        """
        ...


class Events(Protocol):
    def emit(
        self,
        about: Resource,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        metadata: Mapping[str, str],
    ) -> None:
        """Record a Kubernetes Event, soon: repeated ones are counted, not written again. Never raises, never blocks.

        Args:
            metadata: becomes the Event's annotations.
        """
        ...


class Statuses(Protocol):
    async def write(self, resource: R, status: Wire) -> R:
        """Store `status` now, in the middle of a reconciliation, and return `resource` with it.

        Only the fields that differ from `resource.status` are sent; fields that we do not know stay as they are.
        Conditions, observedGeneration and lastHandledReconcileAt are the runtime's and are not touched.
        """
        ...


class Pushes(Protocol):
    """What was pushed elsewhere, as webhooks say it: objects of one kind are told of it, where others are woken."""

    @property
    def kind(self) -> Kind: ...

    def read(self, type_: str, headers: Mapping[str, str], body: bytes) -> Sequence[Any]:
        """Return the pushes that a sender of a Receiver's spec.type reports; () when it reports something else. Pure.

        Args:
            headers: by their names in lower case.

        Raises:
            PayloadInvalid.
        """
        ...

    async def tell(self, key: ObjectKey, pushed: Iterable[Any]) -> bool:
        """Give pushes to the object; tell whether some are its own, which it knows then. Raises ClusterError."""
        ...


class Images(Protocol):
    """Container images, as far as the embedded cluster's workloads need them."""

    async def exists(self, image: str) -> bool:
        """Tell whether a reference (`host/repository:tag` or `@digest`) can be pulled. Raises TransientError."""
        ...


# Git


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


# Registries


class ArtifactLayer(NamedTuple):
    """One layer of an artifact. `size` is what the manifest says, in bytes."""

    media_type: str
    digest: str
    size: int


class OciArtifact(NamedTuple):
    """What the manifest of an artifact says.

    Attributes:
        annotations: of a size that somebody wrote.
    """

    annotations: Mapping[str, str]
    layers: tuple[ArtifactLayer, ...]


class Artifacts(Protocol):
    """Artifacts in OCI registries, whatever they hold.

    Every method raises RegistryUnavailable (network, time-out, 429, 5xx, an answer that is none) and RegistryDenied.
    The credentials go to the repository's own registry and to the token server that it names, nowhere else.
    """

    async def list_tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        """List every tag. Raises RepositoryUnknown."""
        ...

    async def resolve_digest(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> str:
        """Resolve a tag to the digest of the manifest or index that it names now: one request. Raises ImageUnknown."""
        ...

    async def read_artifact(self, repository: Repository, digest: str, access: RegistryAccess = OPEN) -> OciArtifact:
        """Read the manifest of that digest; of an index, the one for linux/amd64, or the first without a platform.

        Raises:
            ImageUnknown, ImageUnreadable.
        """
        ...

    async def stream_layer(
        self,
        repository: Repository,
        layer: ArtifactLayer,
        take: Callable[[bytes], Awaitable[object]],
        access: RegistryAccess = OPEN,
        *,
        limit: int,
        seconds: float,
    ) -> None:
        """Give the bytes of a layer to `take`, part by part, as they come. Only when this returns are they the layer's:
        what its digest says.

        Args:
            limit: bytes.
            seconds: that it may take.

        Raises:
            ImageUnknown, ImageUnreadable; what `take` raises.
        """
        ...

    async def list_claims(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN
    ) -> tuple[SignedClaim, ...]:
        """List the cosign signatures of `digest`; () for none. Nobody checked them."""
        ...


class NoArtifacts:
    """Implements Artifacts where no registry is asked."""

    async def list_tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        raise _make_unasked(repository)

    async def resolve_digest(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> str:
        raise _make_unasked(repository)

    async def read_artifact(self, repository: Repository, digest: str, access: RegistryAccess = OPEN) -> OciArtifact:
        raise _make_unasked(repository)

    async def stream_layer(
        self,
        repository: Repository,
        layer: ArtifactLayer,
        take: Callable[[bytes], Awaitable[object]],
        access: RegistryAccess = OPEN,
        *,
        limit: int,
        seconds: float,
    ) -> None:
        raise _make_unasked(repository)

    async def list_claims(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN
    ) -> tuple[SignedClaim, ...]:
        raise _make_unasked(repository)


def _make_unasked(repository: Repository) -> RegistryUnavailable:
    return RegistryUnavailable(f"registry {repository.registry} is not asked: this process has no registries")


class CloudLogins(Protocol):
    """The registries of the big clouds, whose passwords are short-lived and made by the cloud's own API."""

    async def login(
        self,
        provider: Literal["aws", "azure", "gcp"],
        repository: Repository,
        identity: CloudIdentity | None = None,
    ) -> Credentials:
        """Return the credentials of a cloud identity (None: this process's own) for the repository's registry, kept
        while they last.

        Raises:
            CredentialsInvalid: the cloud gave none.
            StalledError: the registry is none of this provider's, or the provider's SDK is not installed.
        """
        ...


class NoCloudLogins:
    """Implements CloudLogins where there are none."""

    async def login(
        self,
        provider: Literal["aws", "azure", "gcp"],
        repository: Repository,
        identity: CloudIdentity | None = None,
    ) -> Credentials:
        raise CredentialsInvalid(f"no login of provider {provider!r} is set up for registry {repository.registry}")


@dataclass(frozen=True)
class CloudIdentity:
    """A ServiceAccount with a role in a cloud.

    Attributes:
        uid: the account's, for another one may get its name.
        prove: requests a token of the account, which only the cloud's token service takes.
    """

    account: ObjectKey
    uid: str
    role: Role
    prove: Callable[[], Awaitable[Sensitive]] = field(compare=False, repr=False)


class AwsKeys(NamedTuple):
    """What requests to AWS, and to stores that speak S3's API, are signed with."""

    access_key: str
    secret_key: Sensitive
    session_token: Sensitive | None = None


class FoundCluster(NamedTuple):
    """A cluster as its cloud describes it: the addresses of its API server, and in PEM whom to trust there."""

    addresses: tuple[str, ...]
    ca: bytes


class Clouds(Protocol):
    """Who we are to the big clouds, proven by keys and tokens that live shortly; they are kept while they last.

    An identity of None is this process's own: whoever is given its keys or tokens sends them to that cloud alone.
    Every method raises CredentialsInvalid (the cloud gave none) and StalledError (its SDK is not installed, or what is
    asked cannot be).
    """

    async def get_aws_keys(
        self, region: str, identity: CloudIdentity | None, *, sts: str = "", access: RegistryAccess = OPEN
    ) -> AwsKeys:
        """Return keys of AWS.

        Args:
            region: "" for the process's own.
            sts: the address of the token service, which is AWS's; "" for the region's.
            access: the way to it.
        """
        ...

    async def get_token(
        self, provider: Literal["azure", "gcp"], scope: str, identity: CloudIdentity | None
    ) -> Sensitive:
        """Return a bearer token for that scope."""
        ...

    async def get_google_token(self, key: Sensitive, about: str, scope: str) -> Sensitive:
        """Return a bearer token for the key (a JSON file) of a Google service account, which errors call `about`."""
        ...

    async def get_git_access(
        self, provider: Literal["aws", "azure"], url: str, identity: CloudIdentity | None
    ) -> GitAccess:
        """Return what proves who asks for a repository of that cloud's. Raises StalledError: it is none, or not TLS."""
        ...

    async def find_cluster(
        self, provider: Literal["aws", "azure", "gcp"], cluster: str, identity: CloudIdentity | None
    ) -> FoundCluster:
        """Find where a cluster is that the cloud runs, by its name there (domain/sync/remotes)."""
        ...

    async def get_cluster_token(
        self,
        provider: Literal["aws", "azure", "gcp"],
        cluster: str,
        identity: CloudIdentity | None,
        *,
        anew: bool = False,
    ) -> Sensitive:
        """Return a bearer token that the cluster takes; `anew`: not the one that is kept."""
        ...

    async def log_in(self, endpoint: str, username: str, password: Sensitive, access: RegistryAccess = OPEN) -> AwsKeys:
        """Return keys from an object store's own token service, which asks a directory (LDAP) for the password."""
        ...


class NoClouds:
    """Implements Clouds where there are none."""

    async def get_aws_keys(
        self, region: str, identity: CloudIdentity | None, *, sts: str = "", access: RegistryAccess = OPEN
    ) -> AwsKeys:
        raise _make_cloudless("aws")

    async def get_token(
        self, provider: Literal["azure", "gcp"], scope: str, identity: CloudIdentity | None
    ) -> Sensitive:
        raise _make_cloudless(provider)

    async def get_google_token(self, key: Sensitive, about: str, scope: str) -> Sensitive:
        raise _make_cloudless("gcp")

    async def get_git_access(
        self, provider: Literal["aws", "azure"], url: str, identity: CloudIdentity | None
    ) -> GitAccess:
        raise _make_cloudless(provider)

    async def find_cluster(
        self, provider: Literal["aws", "azure", "gcp"], cluster: str, identity: CloudIdentity | None
    ) -> FoundCluster:
        raise _make_cloudless(provider)

    async def get_cluster_token(
        self,
        provider: Literal["aws", "azure", "gcp"],
        cluster: str,
        identity: CloudIdentity | None,
        *,
        anew: bool = False,
    ) -> Sensitive:
        raise _make_cloudless(provider)

    async def log_in(self, endpoint: str, username: str, password: Sensitive, access: RegistryAccess = OPEN) -> AwsKeys:
        raise _make_cloudless("ldap")


NO_CLOUDS = NoClouds()


def _make_cloudless(provider: str) -> CredentialsInvalid:
    return CredentialsInvalid(f"no identity of provider {provider!r} is set up in this process")


# Object stores


@dataclass(frozen=True)
class BucketPlace:
    """One bucket, and how it is reached.

    Attributes:
        endpoint: `https://HOST[:PORT]`, or http.
        keys: sign each request; a bearer token is sent with each; neither is anonymous.
        trust: certificates and proxy; its credentials play no part.
    """

    endpoint: str
    name: str
    region: str = ""
    keys: AwsKeys | None = None
    bearer_token: Sensitive | None = None
    trust: RegistryAccess = OPEN


class Buckets(Protocol):
    """Buckets of object stores that speak S3's API.

    Every method raises BucketUnavailable (network, time-out, 5xx, an answer that is none), BucketDenied and
    BucketUnknown.
    """

    async def check(self, place: BucketPlace) -> None:
        """Check that the bucket is there. Raises as all do."""
        ...

    async def list_objects(self, place: BucketPlace, prefix: str, *, most: int) -> tuple[StoredObject, ...]:
        """List the objects whose keys begin with `prefix`, from all pages. Raises BucketUnavailable: beyond `most`."""
        ...

    async def fetch(self, place: BucketPlace, key: str, *, limit: int) -> tuple[bytes, str]:
        """Return the contents of an object, and its ETag as it is now.

        Raises:
            ObjectUnknown; BucketUnavailable: also for more than `limit` bytes.
        """
        ...


class NoBuckets:
    """Implements Buckets where no object store is asked."""

    async def check(self, place: BucketPlace) -> None:
        raise BucketUnavailable(f"{place.endpoint} is not asked: this process has no object stores")

    async def list_objects(self, place: BucketPlace, prefix: str, *, most: int) -> tuple[StoredObject, ...]:
        raise BucketUnavailable(f"{place.endpoint} is not asked: this process has no object stores")

    async def fetch(self, place: BucketPlace, key: str, *, limit: int) -> tuple[bytes, str]:
        raise BucketUnavailable(f"{place.endpoint} is not asked: this process has no object stores")


@dataclass(frozen=True)
class Remotes:
    """Where files may come from beside Git."""

    artifacts: Artifacts = field(default_factory=NoArtifacts)
    logins: CloudLogins = field(default_factory=NoCloudLogins)
    buckets: Buckets = field(default_factory=NoBuckets)
    clouds: Clouds = field(default_factory=NoClouds)


# Rendering


@dataclass(frozen=True)
class Overlay:
    """What a Kustomization's spec adds to the folder it names, in kustomize's own words (kustomization.yaml fields)."""

    namespace: str = ""
    name_prefix: str = ""
    name_suffix: str = ""
    fields: tuple[tuple[str, Any], ...] = ()
    """Further kustomization.yaml fields, e.g. ("images", [...]), ("patches", [...]), ("components", [...])."""
    optional_components: tuple[str, ...] = ()
    """Components that are left out where the folder is not there; they come after the others."""


class Renderer(Protocol):
    async def render(self, tree: Tree, overlay: Overlay, path: str = "") -> tuple[Manifest, ...]:
        """Build folder `path` of `tree`, with `overlay` applied; return the objects in the order of the build.

        A folder without a kustomization file stands for all manifests below it. Bases may lie outside `path` but not
        outside `tree`.

        Raises:
            ManifestInvalid: names every file that is at fault.
        """
        ...

    async def find_files(self, tree: Tree, overlay: Overlay, path: str = "") -> UsedFiles:
        """Find the files of `tree` that a build of the folder reads. Raises ManifestInvalid."""
        ...


@dataclass(frozen=True)
class UsedFiles:
    """What a build reads, by their paths in the tree.

    Attributes:
        paths: all of them.
        shown: of these, what is put into objects that are no Secrets as it is: generators make ConfigMaps of it.
        stored: of these, what secretGenerators put into Secrets.
        literals: a secretGenerator also holds values itself.
    """

    paths: tuple[str, ...]
    shown: frozenset[str] = frozenset()
    stored: frozenset[str] = frozenset()
    literals: bool = False


class Decryptor(Protocol):
    async def decrypt(
        self, text: bytes, format_: Format, block: Block, keys: SopsKeys, *, check_mac: bool = True
    ) -> bytes:
        """Decrypt what SOPS encrypted, and verify its mac; return it in the same format.

        Args:
            text: a whole file, or what of one was encrypted together (domain/render/encrypted.take_apart).
            check_mac: False takes it also when it was changed since.

        Raises:
            MacMismatch, DecryptionFailed: a sentence that goes on from the file's name, without anything of its inside.
            TransientError: nothing can be decrypted here.
        """
        ...


class Expressions(Protocol):
    async def evaluate(self, questions: Sequence[Question]) -> tuple[Evaluation, ...]:
        """Evaluate CEL expressions that strangers wrote, with bounded time and memory; the answers in their order.

        Raises:
            TransientError: none can be evaluated here.
        """
        ...
