"""The part of GitHub's API that gives out tokens, on loopback: it checks the JWT, and git servers take its tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

APP, INSTALLATION = 1234, 99


@dataclass
class GitHub:
    """A running API.

    Attributes:
        lifetime: seconds that a token lives.
        tokens: given so far.
        requests: method and path of each.
        answers: what is answered in the place of what is right, by path.
        elsewhere: where such an answer leads, if it is a redirect.
        owners: the paths of those who installed the App.
    """

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    lifetime: float = 3600.0
    api: str = ""
    elsewhere: str = "http://127.0.0.1:9/"
    tokens: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    owners: tuple[str, ...] = ("orgs/acme", "users/bob")

    @property
    def pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/api/v3/")
        self.requests.append(f"{request.method} {path}")
        if path in self.answers:
            status, body = self.answers[path]
            return web.Response(status=status, body=body, headers={"Location": self.elsewhere})
        if not self._is_app(request.headers.get("Authorization", "")):
            return web.json_response({"message": "A JSON web token could not be decoded"}, status=401)
        if request.method == "GET" and path.removesuffix("/installation") in self.owners:
            return web.json_response({"id": INSTALLATION, "account": {"login": "acme"}})
        if (request.method, path) == ("POST", f"app/installations/{INSTALLATION}/access_tokens"):
            self.tokens.append(f"ghs_{len(self.tokens)}token")
            expires = datetime.fromtimestamp(time.time() + self.lifetime, UTC).isoformat()
            return web.json_response({"token": self.tokens[-1], "expires_at": expires}, status=201)
        return web.json_response({"message": "Not Found"}, status=404)

    def _is_app(self, header: str) -> bool:
        """Check the JWT as RFC 7519 and GitHub's documentation say it."""
        scheme, _, token = header.partition(" ")
        head, claims, signature = token.split(".")
        try:
            signed = f"{head}.{claims}".encode()
            self.key.public_key().verify(_decode(signature), signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        said: Mapping[str, Any] = json.loads(_decode(claims))
        now = time.time()
        is_timely = said["iat"] <= now < said["exp"] <= now + 600 and isinstance(said["iat"], int)
        return (
            scheme == "Bearer" and json.loads(_decode(head))["alg"] == "RS256" and is_timely and said["iss"] == str(APP)
        )


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@asynccontextmanager
async def github(**settings: Any) -> AsyncIterator[GitHub]:
    api = GitHub(**settings)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.serve)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.api = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v3"
    try:
        yield api
    finally:
        await runner.cleanup()
