"""The Cluster port on a real Kubernetes API server.

Every method is one HTTP request. What is not an HTTP matter (what a refusal means, how a list decodes, who we are) is
in the modules beside this one. Users' objects may be large: a page of a list is asked for again with fewer of them when
it is longer than LARGEST_PAGE, and what is long is decoded beside the event loop.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import copy
import os
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from gitops_core.adapters.kubernetes.decoding import decode_event, decode_page, split_lines
from gitops_core.adapters.kubernetes.discovery import Discovery
from gitops_core.adapters.kubernetes.kubeconfig import Endpoint, StaticLogin, find_endpoint, find_own_endpoint
from gitops_core.adapters.kubernetes.transport import (
    LARGEST_ANSWER,
    MIB,
    AnswerTooLarge,
    Headers,
    Request,
    Transport,
    read_until_cut,
)
from gitops_core.decoding import convert, make_decoder
from gitops_core.errors import BadRequest, ClusterUnavailable, KindUnknown, NotFound
from gitops_core.meta import SERVICE_ACCOUNT, Kind, Manifest, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import AccountToken, ApiResource, Compute, Page, Query, WatchEvent
from gitops_core.runtime.sharing.computing import BESIDE, BYTES_OF_WEIGHT

T = TypeVar("T")

AGENT = "sealoop"
REQUEST_SECONDS = 65.0  # the API server gives up after 60 s and says so: better its words than ours
WATCH_SECONDS = (300, 600)
LARGEST_PAGE = 2 * MIB
TOKEN_SECONDS = 3600
"""That a token of a service account is asked for."""


class _TokenSpec(msgspec.Struct):
    audiences: tuple[str, ...]


class _TokenStatus(msgspec.Struct, rename="camel"):
    token: str
    expiration_timestamp: datetime


class _TokenRequest(msgspec.Struct):
    spec: _TokenSpec
    status: _TokenStatus


_decode = make_decoder(dict[str, Any])
_encode = msgspec.json.Encoder()


class KubernetesCluster:
    """Implements Cluster. Opens its connections when first used; `close()` ends them.

    Args:
        request_seconds: that one request may take, other than a watch.
        watch_seconds: least and most that a watch lasts; each another while, so that they do not all end together.
        largest_answer: bytes of one answer that are read.
        compute: where answers are decoded.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        agent: str = AGENT,
        request_seconds: float = REQUEST_SECONDS,
        watch_seconds: tuple[int, int] = WATCH_SECONDS,
        largest_answer: int = LARGEST_ANSWER,
        compute: Compute = BESIDE,
    ) -> None:
        self.namespace = endpoint.namespace
        self._watch_seconds = watch_seconds
        self._transports = [
            Transport(endpoint, agent, request_seconds, largest_answer)
        ]  # our own, and of those that are apart
        self._transport = self._transports[0]
        self._compute = compute
        self._discovery = Discovery(self._transport, compute)
        self._identity: Headers = ()
        self._fitting: dict[Kind, int] = {}  # how many objects of a kind the next page may have

    @classmethod
    async def from_environment(
        cls,
        kubeconfig: Path | None = None,
        context: str | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        agent: str = AGENT,
    ) -> Self:
        """Return the cluster that kubectl would talk to. Raises ConfigurationError; the API server is not asked yet.

        Args:
            environment: where KUBECONFIG, HOME and the proxies are looked up; None for the process's own.
        """
        return cls(find_endpoint(kubeconfig, context, os.environ if environment is None else environment), agent=agent)

    @classmethod
    async def in_cluster(cls, *, environment: Mapping[str, str] | None = None, agent: str = AGENT) -> Self:
        """Return the cluster of the Pod we run in. Raises ConfigurationError."""
        return cls(find_own_endpoint(os.environ if environment is None else environment), agent=agent)

    @classmethod
    def connect(cls, url: str, *, ca: bytes | None, token: Sensitive, agent: str = AGENT) -> Self:
        """Connect to an API server by its URL. `ca` is PEM, None to trust the system's authorities."""
        return cls(Endpoint(url, StaticLogin(Sensitive(b"Bearer " + token.reveal())), ca=ca), agent=agent)

    async def close(self) -> None:
        for transport in self._transports:
            await transport.close()

    def impersonate(self, user: str, groups: Iterable[str] = ()) -> KubernetesCluster:
        values = [("Impersonate-User", user), *(("Impersonate-Group", group) for group in groups)]
        for _, value in values:
            if not value or not value.isprintable():  # a line feed would begin another header
                raise BadRequest(f"nobody can be called {value!r}")
        other = copy.copy(self)  # the same connections
        other._identity = tuple(values)
        return other

    def connect_apart(self) -> KubernetesCluster:
        other = copy.copy(self)  # closed with this one
        other._transport = self._transport.connect_apart()
        other._transports.append(other._transport)
        other._discovery = Discovery(other._transport, self._compute)
        return other

    # Reading

    async def find_api_resource(self, kind: Kind) -> ApiResource:
        return await self._discovery.find(kind)

    async def list_api_resources(self) -> Sequence[ApiResource]:
        return await self._discovery.find_all()

    async def get(self, ref: ObjectRef) -> Manifest | None:
        try:
            return await self._send("GET", await self._make_path(ref), ref)
        except NotFound:
            return None

    async def list(self, query: Query, type_: type[T], *, limit: int = 500, continue_token: str = "") -> Page[T]:
        fewer = min(limit, self._fitting.get(query.kind, limit))
        while True:
            try:
                page = await self._fetch_page(query, type_, fewer, continue_token)
            except AnswerTooLarge:
                if fewer == 1:
                    raise
                fewer = max(1, fewer // 4)
                continue
            if fewer < limit:
                self._fitting[query.kind] = 2 * fewer  # one large object is no reason to ask for few for ever
            return page

    async def _fetch_page(self, query: Query, type_: type[T], limit: int, continue_token: str) -> Page[T]:
        """Ask for one page. Raises AnswerTooLarge: it has several objects and is longer than LARGEST_PAGE."""
        options = {**_write_selectors(query), "limit": str(limit)}
        if continue_token:
            options["continue"] = continue_token
        request = await self._make_question(query, options, "PartialObjectMetadataList")
        if limit > 1:
            request = replace(request, largest=LARGEST_PAGE)
        with self._forgetting(query.kind):
            body = await self._transport.send(request)
            return await self._compute.run(len(body) // BYTES_OF_WEIGHT, decode_page, body, query, type_)

    async def watch(
        self, query: Query, type_: type[T], resource_version: str, *, seconds: int | None = None
    ) -> AsyncIterator[WatchEvent[T]]:
        length = seconds or random.randint(*self._watch_seconds)  # noqa: S311 - spreads load, hides nothing
        options = {
            **_write_selectors(query),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(length),
            "resourceVersion": resource_version,
        }
        request = await self._make_question(query, options, "PartialObjectMetadata")
        with self._forgetting(query.kind):
            async with self._transport.stream(request, idle=length + 30.0) as response:
                async for line in split_lines(read_until_cut(response)):
                    yield decode_event(line, query, type_)

    # Writing

    async def create(self, manifest: Manifest, *, field_manager: str, dry_run: bool = False) -> Manifest:
        ref = ObjectRef.of(manifest)
        path = await self._make_collection(ref.kind, ref.key.namespace)
        return await self._send("POST", path, ref, manifest, _make_options(field_manager, dry_run))

    async def replace(
        self, manifest: Manifest, *, field_manager: str, subresource: str = "", dry_run: bool = False
    ) -> Manifest:
        ref = ObjectRef.of(manifest)
        path = await self._make_path(ref, subresource)
        return await self._send("PUT", path, ref, manifest, _make_options(field_manager, dry_run))

    async def apply(
        self, manifest: Manifest, *, field_manager: str, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        ref = ObjectRef.of(manifest)
        options = {**_make_options(field_manager, dry_run), "force": "true" if force else "false"}
        path = await self._make_path(ref)
        return await self._send("PATCH", path, ref, manifest, options, "application/apply-patch+yaml")

    async def patch(
        self,
        ref: ObjectRef,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        field_manager: str,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Manifest:
        form = "merge-patch" if isinstance(patch, Mapping) else "json-patch"
        path = await self._make_path(ref, subresource)
        options = _make_options(field_manager, dry_run)
        return await self._send("PATCH", path, ref, patch, options, f"application/{form}+json")

    async def delete(
        self,
        ref: ObjectRef,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        dry_run: bool = False,
    ) -> None:
        conditions = {"uid": uid, "resourceVersion": resource_version}
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {field: value for field, value in conditions.items() if value},
            "dryRun": ["All"] if dry_run else [],
        }
        await self._send("DELETE", await self._make_path(ref), ref, options)

    async def request_token(self, account: ObjectKey, audiences: Sequence[str] = ()) -> AccountToken:
        ref = ObjectRef(SERVICE_ACCOUNT, account)
        wanted = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": list(audiences), "expirationSeconds": TOKEN_SECONDS},
        }
        answer = await self._send("POST", await self._make_path(ref, "token"), ref, wanted)
        try:
            given = convert(answer, _TokenRequest)
        except msgspec.ValidationError:
            raise ClusterUnavailable(f"{ref}: the API server answered with something that is no token") from None
        return AccountToken(Sensitive(given.status.token), given.spec.audiences, given.status.expiration_timestamp)

    # Requests

    async def _send(
        self,
        method: str,
        path: str,
        ref: ObjectRef,
        body: Any = None,
        options: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request about one object; return the object in its answer."""
        target = f"{path}?{urlencode(options)}" if options else path
        headers = self._identity if body is None else (*self._identity, ("Content-Type", content_type))
        content = None if body is None else _encode.encode(body)
        with self._forgetting(ref.kind):
            answer = await self._transport.send(Request(method, target, ref, headers, content))
        try:
            return await self._compute.run(len(answer) // BYTES_OF_WEIGHT, _decode.decode, answer)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ClusterUnavailable(f"{ref}: the API server answered with something that is no object") from None

    @contextmanager
    def _forgetting(self, kind: Kind) -> Iterator[None]:
        """Look the kind up again next time, when the server turns out not to serve it as we thought."""
        try:
            yield
        except KindUnknown:
            self._discovery.forget(kind)
            raise

    async def _make_question(self, query: Query, options: Mapping[str, str], shape: str) -> Request:
        path = await self._make_collection(query.kind, query.namespace)
        headers = self._identity
        if query.metadata_only:
            headers = (*headers, ("Accept", f"application/json;as={shape};v=v1;g=meta.k8s.io"))
        about = ObjectRef(query.kind, ObjectKey(query.namespace, query.name))
        return Request("GET", f"{path}?{urlencode(options)}", about, headers)

    async def _make_path(self, ref: ObjectRef, subresource: str = "") -> str:
        resource = await self._discovery.find(ref.kind)
        if resource.namespaced and not ref.key.namespace:
            raise BadRequest(f"{ref} needs a namespace")
        path = f"{_find_root(resource, ref.key.namespace)}/{_write_segment(ref.key.name, ref)}"
        return f"{path}/{_write_segment(subresource, ref)}" if subresource else path

    async def _make_collection(self, kind: Kind, namespace: str) -> str:
        return _find_root(await self._discovery.find(kind), namespace)


def _find_root(resource: ApiResource, namespace: str) -> str:
    group, version, _ = resource.kind
    root = f"/apis/{quote(group)}/{quote(version)}" if group else f"/api/{quote(version)}"
    if resource.namespaced and namespace:
        about = ObjectRef(resource.kind, ObjectKey(namespace, ""))
        root += f"/namespaces/{_write_segment(namespace, about)}"
    return f"{root}/{quote(resource.plural)}"


def _write_segment(name: str, ref: ObjectRef) -> str:
    """Write a name as part of a path. Raises BadRequest for names that Kubernetes refuses and that would be another
    path.
    """
    if not name or name in (".", "..") or "/" in name or "%" in name:
        raise BadRequest(f"{ref.kind.kind}: {name!r} cannot be the name of an object")
    return quote(name, safe=":")


def _write_selectors(query: Query) -> dict[str, str]:
    selectors = {"labelSelector": query.labels, "fieldSelector": f"metadata.name={query.name}" if query.name else ""}
    return {name: value for name, value in selectors.items() if value}


def _make_options(field_manager: str, dry_run: bool) -> dict[str, str]:
    return {"fieldManager": field_manager, **({"dryRun": "All"} if dry_run else {})}
