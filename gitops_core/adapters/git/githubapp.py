"""Tokens of GitHub Apps: who holds an App's private key is given one for an installation, for an hour.

    GET  API/orgs/OWNER/installation, API/users/OWNER/installation    {"id": 5}       where only the owner is known
    POST API/app/installations/5/access_tokens                        {"token": ..., "expires_at": ...}

Each request proves the App by a JWT (RS256) that lives for two minutes. A token is kept until four fifths of its time
are over, or a remote refuses it. API is https://api.github.com, or https://HOST/api/v3 of a server of one's own.

Source: docs.github.com, Authenticating as a GitHub App installation; RFC 7519.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import ssl
import time
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from gitops_core.adapters.git.keyfiles import TooSlow, refuse_slow
from gitops_core.adapters.git.proxies import Proxy
from gitops_core.adapters.http import BodyTooLarge, SocksFailed, find_proxy, is_slow, open_session, read_body
from gitops_core.decoding import decode_json
from gitops_core.errors import GitAccessDenied, GitBusy
from gitops_core.meta import Sensitive
from gitops_core.ports import GitAccess, GitHubApp
from gitops_core.runtime.sharing.places import Places, PlacesTaken
from gitops_core.runtime.sharing.remembered import Kept, Remembered

T = TypeVar("T", bound=msgspec.Struct)

USERNAME = "x-access-token"
SECONDS = 30.0
LARGEST = 1 << 16
JWT_AGE, JWT_LIFE = 30, 120
KEPT, LEAST_KEPT = 0.8, 10.0
REMEMBERED, TOKEN_WEIGHT = 1 << 20, 1000
LEAST_RSA_BITS, MOST_RSA_BITS = 2048, 4096


class _Token(msgspec.Struct):
    token: str
    expires_at: datetime


class _Installation(msgspec.Struct):
    id: int


class _Complaint(msgspec.Struct):
    message: str = ""


@dataclass(frozen=True)
class AppTokens:
    """The tokens that were asked for lately, by the fingerprint of who asks."""

    places: Places
    _kept: Remembered[bytes, Sensitive] = field(default_factory=lambda: Remembered(REMEMBERED, lambda _: TOKEN_WEIGHT))

    async def get_token(self, fingerprint: bytes, access: GitAccess, app: GitHubApp, proxy: Proxy | None) -> Sensitive:
        """Return a token of the App. Raises GitAccessDenied: there is none."""
        return await self._kept.get(fingerprint, lambda: self._ask(access, app, proxy))

    def forget(self, fingerprint: bytes) -> None:
        """Ask for another token the next time: this one was refused."""
        self._kept.forget(fingerprint)

    async def _ask(self, access: GitAccess, app: GitHubApp, proxy: Proxy | None) -> Kept[Sensitive]:
        try:
            async with self.places.taken(proxy.place if proxy is not None else app.api, SECONDS):
                found = await _Talk(app, access.ca, proxy).make_token()
        except PlacesTaken as error:
            raise GitBusy(str(error)) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            cause = f"{type(error).__name__}" if isinstance(error, aiohttp.ClientError) else str(error)
            if isinstance(error, SocksFailed) and proxy is not None:
                cause = f"the proxy {proxy.place} {error}"
            raise _deny(app, f"{app.api} cannot be asked: {cause or 'it does not answer'}") from None
        if not re.fullmatch(r"[\x21-\x7e]{1,2000}", found.token):
            raise _deny(app, f"what {app.api} gives is no token")
        seconds = max(found.expires_at.timestamp() - time.time(), 0.0) * KEPT
        return Kept(Sensitive(found.token), max(seconds, LEAST_KEPT))


@dataclass(frozen=True)
class _Talk:
    app: GitHubApp
    ca: bytes | None
    proxy: Proxy | None

    async def make_token(self) -> _Token:
        headers = {
            "Authorization": f"Bearer {await asyncio.to_thread(write_jwt, self.app, int(time.time()))}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "sealoop",
        }
        socks = self.proxy.write_url("socks5") if self.proxy is not None and self.proxy.scheme == "socks5" else ""
        trust = _trust(self.app, self.ca)
        async with open_session(total=SECONDS, headers=headers, ssl_context=trust, socks=socks) as session:
            installation = self.app.installation_id or await self._find_installation(session)
            return await self._request(session, "POST", f"app/installations/{installation}/access_tokens", _Token)

    async def _find_installation(self, session: aiohttp.ClientSession) -> int:
        owner = quote(self.app.owner, safe="")
        try:
            return (await self._request(session, "GET", f"orgs/{owner}/installation", _Installation)).id
        except GitAccessDenied:  # a person, perhaps
            return (await self._request(session, "GET", f"users/{owner}/installation", _Installation)).id

    async def _request(self, session: aiohttp.ClientSession, method: str, path: str, shape: type[T]) -> T:
        url = f"{self.app.api}/{path}"
        proxy = find_proxy(url, os.environ)
        if self.proxy is not None:  # a SOCKS proxy is the session's own
            proxy = self.proxy.write_url(self.proxy.scheme) if self.proxy.scheme != "socks5" else None
        async with session.request(method, url, proxy=proxy, allow_redirects=False) as response:
            try:
                body = await read_body(response, LARGEST)
                if response.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
                    raise _deny(self.app, f"{method} {url} answers {response.status}{_read_complaint(body)}")
                return decode_json(body, shape)
            except (BodyTooLarge, msgspec.MsgspecError, ValueError):
                raise _deny(self.app, f"{method} {url} answers what is no answer of GitHub's") from None


def write_jwt(app: GitHubApp, now: int) -> str:
    """Write what proves the App. Blocks for some milliseconds. Raises GitAccessDenied: its key cannot be used."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if is_slow(app.key.reveal()):
        raise _deny(app, f"its private key has more than {MOST_RSA_BITS} bits: use a shorter one")
    try:
        refuse_slow(app.key.reveal())
        key = load_pem_private_key(app.key.reveal().strip() + b"\n", None)
    except TooSlow as error:
        raise _deny(app, f"its private key {error}") from None
    except Exception:  # the texts of its errors, of several kinds, may quote the key
        raise _deny(app, "githubAppPrivateKey is no private key in PEM without a passphrase") from None
    if not isinstance(key, rsa.RSAPrivateKey) or not LEAST_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
        raise _deny(app, f"githubAppPrivateKey is no RSA key of {LEAST_RSA_BITS} to {MOST_RSA_BITS} bits")
    issued = now - JWT_AGE  # clocks differ
    claims = {"iat": issued, "exp": issued + JWT_LIFE, "iss": str(app.app_id)}
    signed = b".".join(_encode(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    return (signed + b"." + _encode(key.sign(signed, padding.PKCS1v15(), hashes.SHA256()))).decode()


def _encode(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def _trust(app: GitHubApp, ca: bytes | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        if ca:
            context.load_verify_locations(cadata=ca.decode())
    except (ssl.SSLError, UnicodeDecodeError):
        raise _deny(app, "ca.crt holds no certificates in PEM") from None
    return context


def _read_complaint(body: bytes) -> str:
    try:
        message = decode_json(body, _Complaint).message
    except (msgspec.MsgspecError, ValueError):
        return ""
    shown = "".join(character if character.isprintable() else "?" for character in message[:200])
    return f": {shown}" if shown else ""


def _deny(app: GitHubApp, cause: str) -> GitAccessDenied:
    return GitAccessDenied(f"failed to configure authentication options: GitHub App {app.app_id}: {cause}")
