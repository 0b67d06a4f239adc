"""An OCI registry in this process: what the demo pushes to and the embedded cluster's workloads pull from.

    GET  /v2/                                PUT /v2/<path>/manifests/<tag>
    GET  /v2/<path>/tags/list?n=&last=       POST, PATCH, PUT /v2/<path>/blobs/uploads/...
    GET, HEAD /v2/<path>/manifests/<tag>     GET, HEAD /v2/<path>/blobs/<digest>

Everything is held in memory. `add(repository, tag)` makes an image without a request; `deny` makes it ask for a
password.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

from aiohttp import web

INDEX = "application/vnd.oci.image.manifest.v1+json"
LARGEST_UPLOAD = 64 << 20
DIGEST_HEADER = "Docker-Content-Digest"


@dataclass(frozen=True)
class Account:
    """Who may pull and push; `scheme` is how the registry asks for it."""

    username: str
    password: str
    scheme: Literal["basic", "bearer"] = "basic"


@dataclass
class _Repository:
    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)


class RegistryServer:
    """A registry on 127.0.0.1.

    Args:
        port: 0 for a free one.
        page: tags on one page at most, whatever the client asks for.
        account: without one, everybody may do everything.
    """

    def __init__(self, port: int = 0, *, page: int = 1000, account: Account | None = None) -> None:
        self._port, self._page, self._account = port, page, account
        self._repositories: dict[str, _Repository] = {}
        self._uploads: dict[str, bytes] = {}
        self._tokens: set[str] = set()
        self._runner: web.AppRunner | None = None
        self.requests: list[tuple[str, str]] = []
        """Method and path with query of every request, in order."""

    @property
    def host(self) -> str:
        """Return the host that image names begin with: `127.0.0.1:<port>`."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    async def start(self) -> None:
        application = web.Application(client_max_size=LARGEST_UPLOAD, middlewares=[self._gate])
        application.router.add_get("/token", self._grant_token)
        application.router.add_route("*", "/v2/{rest:.*}", self._route)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> RegistryServer:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    def add(self, repository: str, tag: str, labels: Mapping[str, str] | None = None) -> str:
        """Make an image without layers under that tag; returns its digest."""
        config = json.dumps({"config": {"Labels": dict(labels or {})}, "tag": tag}).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **self._make_descriptor(config)},
            "layers": [],
        }
        store = self._repositories.setdefault(repository, _Repository())
        store.blobs[_compute_digest(config)] = config
        return self._keep(store, tag, INDEX, json.dumps(manifest).encode())

    def remove(self, repository: str, tag: str) -> None:
        """Remove a tag. Raises KeyError: there is none."""
        del self._repositories[repository].tags[tag]

    def _make_descriptor(self, content: bytes) -> dict[str, Any]:
        return {"digest": _compute_digest(content), "size": len(content)}

    def _keep(self, store: _Repository, reference: str, media_type: str, content: bytes) -> str:
        digest = _compute_digest(content)
        store.manifests[digest] = (media_type, content)
        if not reference.startswith("sha256:"):
            store.tags[reference] = digest
        return digest

    # who asks

    @web.middleware
    async def _gate(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        if request.path == "/token" or self._may(request):
            return await handler(request)
        answer = _make_error(401, "UNAUTHORIZED", "authentication required")
        answer.headers["WWW-Authenticate"] = self._make_challenge(request)
        return answer

    def _may(self, request: web.Request) -> bool:
        if self._account is None:
            return True
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if self._account.scheme == "bearer":
            return scheme == "Bearer" and value in self._tokens
        return scheme == "Basic" and self._knows(value)

    def _knows(self, basic: str) -> bool:
        assert self._account is not None  # noqa: S101  # asked only when there is one
        wanted = base64.b64encode(f"{self._account.username}:{self._account.password}".encode()).decode()
        return hmac.compare_digest(basic, wanted)

    def _make_challenge(self, request: web.Request) -> str:
        if self._account is None or self._account.scheme == "basic":
            return 'Basic realm="embedded"'
        path = request.path.removeprefix("/v2/").partition("/manifests/")[0].partition("/tags/")[0]
        scope = f',scope="repository:{path}:pull"' if path else ""
        return f'Bearer realm="http://{self.host}/token",service="embedded"{scope}'

    async def _grant_token(self, request: web.Request) -> web.StreamResponse:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if self._account is None or scheme != "Basic" or not self._knows(value):
            return _make_error(401, "UNAUTHORIZED", "authentication required")
        token = secrets.token_urlsafe(16)
        self._tokens.add(token)
        return web.json_response({"token": token, "expires_in": 300})

    # what is asked

    async def _route(self, request: web.Request) -> web.StreamResponse:
        rest = request.match_info["rest"]
        if not rest:
            return web.json_response({})
        for part, handler in (
            ("/tags/list", self._list_tags),
            ("/manifests/", self._serve_manifest),
            ("/blobs/uploads/", self._upload),
            ("/blobs/", self._serve_blob),
        ):
            path, found, reference = rest.partition(part)
            if found:
                return await handler(request, path, reference)
        return _make_error(404, "UNSUPPORTED", "unsupported")

    async def _list_tags(self, request: web.Request, path: str, _: str) -> web.StreamResponse:
        store = self._repositories.get(path)
        if store is None:
            return _make_error(404, "NAME_UNKNOWN", "repository name not known to registry")
        asked, last = request.query.get("n", ""), request.query.get("last", "")
        size = min(int(asked), self._page) if asked.isdigit() and int(asked) else self._page
        following = [tag for tag in sorted(store.tags) if tag > last]
        headers = {}
        if len(following) > size:
            query = urlencode({"last": following[size - 1], "n": size})
            headers["Link"] = f'</v2/{path}/tags/list?{query}>; rel="next"'
        return web.json_response({"name": path, "tags": following[:size]}, headers=headers)

    async def _serve_manifest(self, request: web.Request, path: str, reference: str) -> web.StreamResponse:
        if request.method == "PUT":
            store = self._repositories.setdefault(path, _Repository())
            digest = self._keep(store, reference, request.content_type, await request.read())
            return web.Response(status=201, headers={"Location": request.path, DIGEST_HEADER: digest})
        store = self._repositories.get(path) or _Repository()
        digest = store.tags.get(reference, reference)
        if digest not in store.manifests:
            return _make_error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, content = store.manifests[digest]
        return _read_content(request, content, {DIGEST_HEADER: digest, "Content-Type": media_type})

    async def _serve_blob(self, request: web.Request, path: str, digest: str) -> web.StreamResponse:
        content = (self._repositories.get(path) or _Repository()).blobs.get(digest)
        if content is None:
            return _make_error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return _read_content(request, content, {DIGEST_HEADER: digest, "Content-Type": "application/octet-stream"})

    async def _upload(self, request: web.Request, path: str, upload: str) -> web.StreamResponse:
        if request.method == "POST":
            upload = secrets.token_hex(8)
            self._uploads[upload] = b""
        if upload not in self._uploads:
            return _make_error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        content = self._uploads[upload] + await request.read()
        self._uploads[upload] = content
        location = f"/v2/{path}/blobs/uploads/{upload}"
        if digest := request.query.get("digest", ""):
            return self._finish(path, upload, digest)
        end = max(len(content) - 1, 0)
        return web.Response(status=202, headers={"Location": location, "Range": f"0-{end}"})

    def _finish(self, path: str, upload: str, digest: str) -> web.StreamResponse:
        content = self._uploads.pop(upload)
        if digest != _compute_digest(content):
            return _make_error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self._repositories.setdefault(path, _Repository()).blobs[digest] = content
        return web.Response(status=201, headers={"Location": f"/v2/{path}/blobs/{digest}", DIGEST_HEADER: digest})


def _compute_digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _read_content(request: web.Request, content: bytes, headers: Mapping[str, str]) -> web.Response:
    if request.method == "HEAD":
        return web.Response(headers={**headers, "Content-Length": str(len(content))})
    return web.Response(body=content, headers=headers)


def _make_error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status)
