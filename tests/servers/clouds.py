"""What stands in for Google's and Microsoft's token services: HTTP(S) servers that give the documented answers.

The Azure SDK insists on TLS and on well-known names, so it reaches them through a proxy that leads every name to this
server, whose certificate an authority of the test's own signed.
"""

from __future__ import annotations

import base64
import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from tests.servers.certificates import Authority

TENANT = "11111111-2222-3333-4444-555555555555"
METADATA = {"Metadata-Flavor": "Google"}


class Asked(NamedTuple):
    """One request: the host that was meant, the path without its query, and the form."""

    method: str
    host: str
    path: str
    form: dict[str, str]


class CloudServer(http.server.ThreadingHTTPServer):
    """Answers for Google's metadata server and token endpoint, Microsoft's login, registries of ACR, ecr-public,
    GKE and AKS.

    Attributes:
        asked: every request, in order.
        refused: paths that get a 401.
        lifetime: seconds that what is given lasts.
        cluster: where GKE's and AKS's clusters are, and whom to trust there (base64 of PEM).
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.refused: set[str] = set()
        self.lifetime = 3600
        self.cluster = ("", "")
        self._given = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def answer(self, asked: Asked) -> Any:
        self._given += 1
        token = {"access_token": f"token-{self._given}", "expires_in": self.lifetime, "token_type": "Bearer"}
        match asked.path.strip("/").split("/"):
            case ["computeMetadata", "v1", "instance", "service-accounts", _, "token"] | ["token"]:
                return token
            case ["v1", "projects", *_] if asked.host == "container.googleapis.com":
                return {"endpoint": self.cluster[0], "masterAuth": {"clusterCaCertificate": self.cluster[1]}}
            case ["subscriptions", *_, "listClusterUserCredential"]:
                place = {"server": self.cluster[0], "certificate-authority-data": self.cluster[1]}
                kubeconfig = json.dumps({"clusters": [{"name": "aks", "cluster": place}]}).encode()
                return {"kubeconfigs": [{"name": "aks", "value": base64.b64encode(kubeconfig).decode()}]}
            case ["subscriptions", *_]:
                return {"properties": {"aadProfile": {"managed": True}}}
            case ["v1", "token"]:  # sts.googleapis.com
                return {**token, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
            case ["v1", "projects", "-", "serviceAccounts", _]:  # iamcredentials.googleapis.com
                end = datetime.now(UTC) + timedelta(seconds=self.lifetime)
                return {"accessToken": f"token-{self._given}", "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
            case [""] if asked.method == "POST":  # ecr-public's GetAuthorizationToken
                given = base64.b64encode(f"AWS:token-{self._given}".encode()).decode()
                return {"authorizationData": {"authorizationToken": given, "expiresAt": time.time() + self.lifetime}}
            case [""] | ["computeMetadata", *_]:
                return {"email": "sealoop@project.example.com", "scopes": ["x"], "aliases": ["default"]}
            case ["common", "discovery", "instance"]:
                return {
                    "tenant_discovery_endpoint": f"https://{asked.host}/{TENANT}/v2.0/.well-known/openid-configuration"
                }
            case [_, "v2.0", ".well-known", "openid-configuration"]:
                base = f"https://{asked.host}/{TENANT}"
                authorization, token_endpoint = f"{base}/oauth2/v2.0/authorize", f"{base}/oauth2/v2.0/token"
                return {
                    "issuer": f"{base}/v2.0",
                    "authorization_endpoint": authorization,
                    "token_endpoint": token_endpoint,
                }
            case [_, "oauth2", "v2.0", "token"]:
                return token
            case ["oauth2", "exchange"]:
                return {"refresh_token": self._refresh_token()}
        return None

    def _refresh_token(self) -> str:
        claims = json.dumps({"exp": int(time.time()) + self.lifetime, "n": self._given}).encode()
        return f"head.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.signature"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: CloudServer

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def _respond(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        asked = Asked(
            self.command, self.headers.get("Host", ""), urlsplit(self.path).path, dict(parse_qsl(content.decode()))
        )
        self.server.asked.append(asked)
        said = None if asked.path in self.server.refused else self.server.answer(asked)
        body = json.dumps(said if said is not None else {"error": "invalid_client", "error_description": "no"}).encode()
        self.send_response(401 if asked.path in self.server.refused else 404 if said is None else 200)
        for name, value in {**METADATA, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def cloud_server() -> Iterator[CloudServer]:
    """Serve over plain HTTP, as metadata servers speak it."""
    server = CloudServer()
    with serving(server):
        yield server


@contextmanager
def azure_cloud(folder: Path, *names: str) -> Iterator[tuple[CloudServer, dict[str, str]]]:
    """Serve over TLS for `names`; also yields the environment in which a process of Azure's SDK finds its way there."""
    authority = Authority.make(folder / "authority")
    pair = authority.server(*names)
    server = CloudServer()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    # the handshake is the request's thread's: one that never ends must not keep the server from stopping
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    token = folder / "federated-token"
    token.write_text("signed-by-the-cluster")
    with serving(server), LeadingProxy(server.server_port) as proxy:
        yield (
            server,
            {
                "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}",
                "NO_PROXY": "",
                "REQUESTS_CA_BUNDLE": str(authority.certificate),
                "AZURE_TENANT_ID": TENANT,
                "AZURE_CLIENT_ID": "99999999-8888-7777-6666-555555555555",
                "AZURE_FEDERATED_TOKEN_FILE": str(token),
                "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com",
            },
        )


@contextmanager
def serving(server: http.server.HTTPServer) -> Iterator[None]:
    """Serve in a thread, until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class LeadingProxy:
    """Answers every CONNECT with a connection to one port of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> LeadingProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        with client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = client.recv(1)
                if not byte:
                    return
                head += byte
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while content := source.recv(65536):
            sink.sendall(content)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return
