"""The real distribution registry: open, behind a password file, behind a token server; and one that misbehaves.

Images are pushed by the registry API itself, never by the code under test.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.server
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.servers.certificates import Authority, KeyPair
from tests.servers.images import Pusher
from tests.servers.programs import answers, free_port, listens, running

USER, PASSWORD = "puller", "s3cret"
_BCRYPT = "$2b$04$JmyCs6lJLgKyWbTBv2FdQOZkN3wlE9VoWynXgLnHTYNLoXzIAz3i6"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class RealRegistry:
    """A running registry.

    Attributes:
        host: what image names begin with.
        token_url: where tokens are made, "" without a token server.
        guarded: whether USER and PASSWORD are needed.
    """

    host: str
    token_url: str = ""
    guarded: bool = False

    def push(self, repository: str, tag: str) -> str:
        """Push an image without layers; returns its digest."""
        config = json.dumps({"tag": tag}).encode()
        digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        media_type = "application/vnd.oci.image.config.v1+json"
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {"mediaType": media_type, "digest": digest, "size": len(config)},
                "layers": [],
            }
        )
        with requests.Session() as session:
            session.trust_env = False
            self._identify(session, repository)
            url = f"http://{self.host}/v2/{repository}"
            upload = session.post(f"{url}/blobs/uploads/", timeout=10)
            upload.raise_for_status()
            location = upload.headers["Location"]
            separator = "&" if "?" in location else "?"
            session.put(f"{location}{separator}digest={digest}", data=config, timeout=10).raise_for_status()
            put = session.put(f"{url}/manifests/{tag}", data=manifest, headers={"Content-Type": _MANIFEST}, timeout=10)
            put.raise_for_status()
            return str(put.headers["Docker-Content-Digest"])

    @contextmanager
    def pusher(self, repository: str) -> Iterator[Pusher]:
        """Yield a pusher of other things than images of one tag."""
        with Pusher(self.host, repository) as pusher:
            self._identify(pusher.session, repository)
            yield pusher

    def _identify(self, session: requests.Session, repository: str) -> None:
        if self.token_url:
            scope = {"service": "tests", "scope": f"repository:{repository}:pull,push"}
            answer = session.get(self.token_url, params=scope, auth=(USER, PASSWORD), timeout=10)
            session.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        elif self.guarded:
            session.auth = (USER, PASSWORD)


class _TokenServer(http.server.ThreadingHTTPServer):
    """Signs whatever scope USER asks for, as https://distribution.github.io/distribution/spec/auth/jwt/ says."""

    def __init__(self, pair: KeyPair) -> None:
        super().__init__(("127.0.0.1", 0), _TokenHandler)
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        self.chain = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.key = key

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/token"

    def token(self, service: str, scopes: list[str]) -> str:
        now = int(time.time())
        access = []
        for scope in scopes:
            type_, name, actions = scope.split(":", 2)
            access.append({"type": type_, "name": name, "actions": actions.split(",")})
        times = {"exp": now + 300, "nbf": now - 10, "iat": now}
        claims = {"iss": "tests", "sub": USER, "aud": service, "jti": str(now), "access": access, **times}
        head = {"typ": "JWT", "alg": "ES256", "x5c": [self.chain]}
        body = ".".join(_unpadded(json.dumps(part).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self.key.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{body}.{_unpadded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class _TokenHandler(http.server.BaseHTTPRequestHandler):
    server: _TokenServer

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {basic}":
            self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]})
            return
        self._answer(200, {"token": self.server.token(query["service"][0], query.get("scope", [])), "expires_in": 300})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


def _unpadded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@contextmanager
def _registry(folder: Path, auth: str = "") -> Iterator[str]:
    folder.mkdir()
    port = free_port()
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\nlog: {accesslog: {disabled: true}, level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n{auth}"
    )
    status = 401 if auth else 200
    url = f"http://127.0.0.1:{port}/v2/"
    with running(["registry", "serve", config], folder=folder, ready=lambda: answers(url, status=status)):
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="session")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with _registry(tmp_path_factory.mktemp("registry") / "open") as host:
        yield RealRegistry(host)


@pytest.fixture(scope="session")
def password_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    (folder / "users").write_text(f"{USER}:{_BCRYPT}\n")
    with _registry(folder / "guarded", f"auth: {{htpasswd: {{realm: tests, path: {folder / 'users'}}}}}\n") as host:
        yield RealRegistry(host, guarded=True)


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    authority = Authority.make(folder / "ca")
    server = _TokenServer(authority.server())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    token = f"{{realm: '{server.url}', service: tests, issuer: tests, rootcertbundle: {authority.certificate}}}"
    try:
        with _registry(folder / "guarded", f"auth: {{token: {token}}}\n") as host:
            yield RealRegistry(host, server.url, guarded=True)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class TlsRegistry:
    """A registry that speaks TLS, with a certificate of an authority that nobody knows.

    Attributes:
        registry: to push to, without a certificate; it serves the same images.
        host: where it speaks TLS.
        client: a certificate of the same authority, which the mutual one wants to see.
    """

    registry: RealRegistry
    host: str
    ca: bytes
    client: KeyPair


def _tls_registry(folder: Path, *, mutual: bool) -> Iterator[TlsRegistry]:
    authority = Authority.make(folder / "ca")
    pair, port = authority.server(), free_port()
    with _registry(folder / "open") as host:
        clients = f", clientcas: ['{authority.certificate}']" if mutual else ""
        tls = f"{{certificate: '{pair.certificate}', key: '{pair.key}'{clients}}}"
        config = folder / "tls.yml"
        config.write_text(
            "version: 0.1\nlog: {accesslog: {disabled: true}, level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder / 'open' / 'data'}}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}', tls: {tls}}}\n"
        )
        with running(["registry", "serve", config], folder=folder, ready=lambda: listens(port), name="tls-registry"):
            ca = authority.certificate.read_bytes()
            yield TlsRegistry(RealRegistry(host), f"127.0.0.1:{port}", ca, authority.client("updater"))


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRegistry]:
    yield from _tls_registry(tmp_path_factory.mktemp("tls-registry"), mutual=False)


@pytest.fixture(scope="session")
def mutual_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRegistry]:
    yield from _tls_registry(tmp_path_factory.mktemp("mutual-registry"), mutual=True)


Misbehaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _page_of_tags(request: web.Request) -> web.StreamResponse:
    """Answer with 7 tags, 2 on a page, and the kinds of Link that registries send."""
    last = int(request.query.get("last", "0"))
    tags = [f"1.0.{number}" for number in range(last + 1, min(last + 2, 7) + 1)]
    target = {
        "relative": f"{request.path}?last={last + 2}&n=2",
        "absolute": f"http://{request.host}{request.path}?last={last + 2}&n=2",
        "query": f"?last={last + 2}&n=2",
    }[request.path.split("/")[2]]
    headers = {"Link": f'<{target}>; rel="next"'} if last + 2 < 7 else {}
    return web.json_response({"name": "x", "tags": tags}, headers=headers)


async def _unauthorized(request: web.Request) -> web.StreamResponse:
    error = {"code": "UNAUTHORIZED", "message": "authentication required"}
    return web.json_response({"errors": [error]}, status=401)


async def _unknown(request: web.Request) -> web.StreamResponse:
    error = {"code": "NAME_UNKNOWN", "message": "repository name not known to registry"}
    return web.json_response({"errors": [error]}, status=404)


async def _busy(request: web.Request) -> web.StreamResponse:
    return web.Response(status=429, headers={"Retry-After": "7"}, text="<html>slow down</html>")


async def _broken(request: web.Request) -> web.StreamResponse:
    return web.Response(status=500, text="<html>oops " + request.headers.get("Authorization", "") + "</html>")


async def _echo(request: web.Request) -> web.StreamResponse:
    if "Authorization" not in request.headers:
        return web.json_response({}, status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    given = base64.b64decode(request.headers["Authorization"].partition(" ")[2]).decode()
    return web.json_response({"errors": [{"code": "DENIED", "message": f"not {given}"}]}, status=403)


async def _html(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>sign in</html>", content_type="text/html")


async def _half(request: web.Request) -> web.StreamResponse:
    return web.Response(text='{"name": "x", "tags": ["1.0", "1', content_type="application/json")


async def _endless(request: web.Request) -> web.StreamResponse:
    number = int(request.query.get("last", "0")) + 1
    headers = {"Link": f'<{request.path}?last={number}>; rel="next"'}
    return web.json_response({"tags": ["1.0.0"]}, headers=headers)


async def _circle(request: web.Request) -> web.StreamResponse:
    return web.json_response({"tags": ["1.0.0"]}, headers={"Link": f'<{request.path_qs}>; rel="next"'})


async def _moved(request: web.Request) -> web.StreamResponse:
    """Answer as Nexus behind a proxy: host and path are its own. The second page is empty, the third is the last."""
    page = int(request.query.get("page", "0"))
    links = [("Link", f'<http://nexus:8081/repository/docker{request.path}?page={page + 1}>; rel="next"')]
    tags = [[f"1.0.{number}" for number in range(3)], [], ["2.0.0"]][page]
    answer = web.json_response({"tags": tags})
    answer.headers.extend([("Link", '<?page=0>; rel="first"'), *(links if page < 2 else [])])
    return answer


async def _silent(request: web.Request) -> web.StreamResponse:
    """Answer with as many as asked of 2,500 tags, and no Link."""
    tags = [f"1.{number:04}" for number in range(2500)]
    after = [tag for tag in tags if tag > request.query.get("last", "")]
    return web.json_response({"tags": after[: int(request.query["n"])]})


async def _modest(request: web.Request) -> web.StreamResponse:
    """Answer with 250 tags, at most a hundred at once; refuse to give more: distribution's tags.maxtags."""
    number = int(request.query.get("n", "100"))
    if number > 100:
        said = {"code": "PAGINATION_NUMBER_INVALID", "message": "invalid number of results requested"}
        return web.json_response({"errors": [said]}, status=400)
    tags = [f"1.{number:04}" for number in range(250) if f"1.{number:04}" > request.query.get("last", "")]
    link = {"Link": f'<?last={tags[number - 1]}&n={number}>; rel="next"'} if len(tags) > number else {}
    return web.json_response({"tags": tags[:number]}, headers=link)


async def _choosy(request: web.Request) -> web.StreamResponse:
    """Refuse whatever is asked, with the status of too large a page."""
    return web.json_response({"errors": [{"code": "NAME_INVALID", "message": "no"}]}, status=400)


async def _errors(request: web.Request) -> web.StreamResponse:
    """Say what went wrong, with the status of success."""
    return web.json_response({"errors": [{"code": "UNAVAILABLE", "message": "later"}]})


async def _no_digest(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"{}", headers={"Docker-Content-Digest": "sha256:latest"})


async def _deaf(request: web.Request) -> web.StreamResponse:
    """Answer with 1,000 tags, whatever is asked."""
    return web.json_response({"tags": [f"1.{number:04}" for number in range(1000)]})


async def _garbled(request: web.Request) -> web.StreamResponse:
    return web.json_response({"tags": ["1.0.0"]}, headers={"Link": "next page: ?n=2"})


async def _empty(request: web.Request) -> web.StreamResponse:
    number = int(request.query.get("last", "0")) + 1
    return web.json_response({"tags": []}, headers={"Link": f'<?last={number}>; rel="next"'})


async def _no_head(request: web.Request) -> web.StreamResponse:
    if request.method == "HEAD":
        return web.Response(status=int(request.path.split("/")[3]))
    return web.Response(body=b"{}")


async def _elsewhere(request: web.Request) -> web.StreamResponse:
    link = f'<http://localhost:1{request.path}?last=1>; rel="next"'
    return web.json_response({"tags": [f"1.0.{request.query.get('last', '0')}"]}, headers={"Link": link})


async def _foreign_realm(request: web.Request) -> web.StreamResponse:
    challenge = 'Bearer realm="http://thief.invalid/token",service="x"'
    return web.json_response({}, status=401, headers={"WWW-Authenticate": challenge})


async def _huge(request: web.Request) -> web.StreamResponse:
    """Answer with 10 MiB of tags on one page."""
    return web.json_response({"tags": [f"1.0.{number:096}" for number in range(100_000)]})


async def _flood(request: web.Request) -> web.StreamResponse:
    """Answer with more than anybody should read."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    try:
        while True:
            await response.write(b'{"tags": [' + b'"1.0.0",' * 100_000)
    except ConnectionError:
        return response


async def _odd_tags(request: web.Request) -> web.StreamResponse:
    return web.json_response({"tags": ["1.0.0", 7, None]})


async def _null_tags(request: web.Request) -> web.StreamResponse:
    return web.json_response({"name": "x", "tags": None})


async def _hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def _hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


BEHAVIOURS: dict[str, Misbehaviour] = {
    "relative": _page_of_tags,
    "absolute": _page_of_tags,
    "query": _page_of_tags,
    "unauthorized": _unauthorized,
    "unknown": _unknown,
    "busy": _busy,
    "broken": _broken,
    "echo": _echo,
    "html": _html,
    "half": _half,
    "endless": _endless,
    "circle": _circle,
    "elsewhere": _elsewhere,
    "moved": _moved,
    "silent": _silent,
    "modest": _modest,
    "choosy": _choosy,
    "errors": _errors,
    "no-digest": _no_digest,
    "deaf": _deaf,
    "garbled": _garbled,
    "empty": _empty,
    "no-head": _no_head,
    "foreign-realm": _foreign_realm,
    "huge": _huge,
    "flood": _flood,
    "odd-tags": _odd_tags,
    "null-tags": _null_tags,
    "hang": _hang,
    "hang-up": _hang_up,
}
"""What the repository of each name answers: `<host>/broken/app`."""


@asynccontextmanager
async def hostile_registry() -> AsyncIterator[str]:
    """Yield a registry's host; the first part of a repository's path says how it behaves."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await BEHAVIOURS[request.path.split("/")[2]](request)

    application = web.Application()
    application.router.add_route("*", "/v2/{rest:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
