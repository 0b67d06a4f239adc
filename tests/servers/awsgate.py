"""AWS by its own names, over TLS: moto behind a gate that takes a web identity for what the cluster says it is.

    *.amazonaws.com ── a proxy that leads there ── gate ── moto, which checks signatures, session tokens and policies

moto believes any token. The gate asks the cluster that issued it, as AWS asks an issuer.
"""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qsl

from tests.servers.aws import S3Server
from tests.servers.certificates import Authority
from tests.servers.clouds import LeadingProxy, serving

REFUSAL = "<ErrorResponse><Error><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>"


class AwsGate(http.server.ThreadingHTTPServer):
    """Attributes:
    proxy: a URL; all hosts are led to the gate.
    authority: whom to trust.
    assumed: the forms with which roles were asked for, tokens included.
    hosts, proofs: of every request, in order: whom it was for, and its Authorization.
    cluster: where EKS's cluster is, for moto runs none, and whom to trust there (base64 of PEM).
    refusal: told to who asks for a role, in the place of keys.
    review: tells whether the token of a web identity is good.
    """

    daemon_threads = True

    def __init__(self, moto: S3Server, authority: Path, review: Callable[[str], bool]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.moto, self.authority, self.review = moto, authority, review
        self.proxy = self.refusal = ""
        self.cluster = ("", "")
        self.assumed: list[dict[str, str]] = []
        self.hosts: list[str] = []
        self.proofs: list[str] = []
        self.turn = threading.Lock()

    def ask_moto(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, str]:
        """Return status, body and ETag of an answer."""
        connection = HTTPConnection(self.moto.host, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers.get("ETag", "")
        finally:
            connection.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: AwsGate

    def do_GET(self) -> None:
        self._respond()

    def do_HEAD(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def _respond(self) -> None:
        gate, host = self.server, self.headers["Host"]
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        gate.hosts.append(host)
        gate.proofs.append(self.headers.get("Authorization", ""))
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        if form.get("Action") == "AssumeRoleWithWebIdentity":
            gate.assumed.append(form)
            if gate.refusal:
                return self._send(403, gate.refusal.encode())
            if not gate.review(form["WebIdentityToken"]):
                return self._send(400, REFUSAL.format("InvalidIdentityToken", "Incorrect token audience").encode())
        with gate.turn:
            if form.get("Action") == "AssumeRoleWithWebIdentity":  # moto would have it signed
                gate.ask_moto("POST", "/moto-api/reset-auth", b"1", {})  # but for the next request that it gets
            status, answer, etag = gate.ask_moto(self.command, self.path, body, dict(self.headers.items()))
        if status == 200 and host.startswith("eks."):
            said = {"endpoint": gate.cluster[0], "certificateAuthority": {"data": gate.cluster[1]}}
            answer = json.dumps({"cluster": said}).encode()
        return self._send(status, answer, etag)

    def _send(self, status: int, body: bytes, etag: str = "") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **({"ETag": etag} if etag else {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def aws_gate(folder: Path, moto: S3Server, review: Callable[[str], bool], *names: str) -> Iterator[AwsGate]:
    """Serve AWS's hosts of those names."""
    authority = Authority.make(folder / "aws-authority")
    pair, context = authority.server(*names), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    gate = AwsGate(moto, authority.certificate, review)
    # the handshake is the request's thread's: one that never ends must not keep the server from stopping
    gate.socket = context.wrap_socket(gate.socket, server_side=True, do_handshake_on_connect=False)
    with serving(gate), LeadingProxy(gate.server_port) as proxy:
        gate.proxy = f"http://127.0.0.1:{proxy.port}"
        yield gate
