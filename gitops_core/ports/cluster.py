"""The cluster: what is asked of an API server, and what the runtime keeps of it for reconcilers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from gitops_core.meta import (
    Kind,
    Manifest,
    ObjectKey,
    ObjectMeta,
    ObjectRef,
    Resource,
    Sensitive,
    Wire,
)

T = TypeVar("T")
R = TypeVar("R", bound=Resource)


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
