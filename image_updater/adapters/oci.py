"""Implements Registry: the distribution API over HTTP.

    GET  /v2/<path>/tags/list?n=1000     all pages, by Link
    HEAD /v2/<path>/manifests/<tag>      Docker-Content-Digest

A listing ends: pages, tags and bytes are bounded, and the session bounds the time of each request.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import aiohttp
import msgspec

from gitops_core.adapters.http import BodyTooLarge, open_session, read_body, retry_after
from gitops_core.gotemplate.printing import text_of
from gitops_core.meta import Sensitive
from image_updater.adapters.challenges import Challenge, belongs, next_page, parse_challenges
from image_updater.domain.credentials import OPEN, Credentials, RegistryAccess
from image_updater.domain.references import Repository
from image_updater.errors import (
    ImageUnknown,
    RegistryDenied,
    RegistryError,
    RegistryUnavailable,
    RepositoryUnknown,
)

PAGE = 1000
MOST_TAGS = 1_000_000
LARGEST_PAGE = 32 << 20
LARGEST_ERROR = 64 << 10
LONGEST_TAG = 128
MOST_TOKENS = 1000
LONGEST_CAUSE = 300
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class _Answer(NamedTuple):
    """A response whose body was read."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    challenges: tuple[Challenge, ...]
    body: bytes


class _Token(NamedTuple):
    value: Sensitive
    expires: float


class _TokenAnswer(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float = 60.0


class _TagsAnswer(msgspec.Struct):
    tags: list[str] | None = None


class _ErrorItem(msgspec.Struct):
    code: str = ""
    message: str = ""
    detail: Any = None


class _ErrorAnswer(msgspec.Struct):
    errors: list[_ErrorItem] | None = None


class OciRegistry:
    """Implements Registry, inside `async with`.

    Args:
        per_host: requests to one registry at the same time.
        total, read: seconds for one request, and without a single byte.
        queue: seconds until a request gives up because those before it are not answered.
    """

    def __init__(self, *, per_host: int = 8, total: float = 60.0, read: float = 30.0, queue: float = 10.0) -> None:
        self._per_host, self._total, self._read, self._queue = per_host, total, read, queue
        self._open: aiohttp.ClientSession | None = None
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._schemes: dict[tuple[str, bool], str] = {}
        self._challenges: dict[tuple[str, bool], Challenge] = {}
        self._tokens: dict[tuple[str, str, str, Credentials], _Token] = {}

    async def __aenter__(self) -> Self:
        self._open = open_session(total=self._total, read=self._read, connections=0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._session.close()
        self._open = None

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            raise RuntimeError("use the registry client inside `async with`")
        return self._open

    async def tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        path: str | None = f"/v2/{repository.path}/tags/list?n={PAGE}"
        found: dict[str, None] = {}
        visited: set[str] = set()
        while path is not None:
            visited.add(path)
            answer = await self._ask("GET", repository, path, access.credentials)
            known = len(found)
            found.update(dict.fromkeys(_tags_in(answer)))
            path = _next_path(answer)
            if path is not None and (path in visited or len(found) == known):
                raise RegistryUnavailable(f"{_request(answer)}: pages go round without new tags")
            if len(found) > MOST_TAGS:
                raise RegistryUnavailable(f"{_request(answer)}: more than {MOST_TAGS} tags")
        return tuple(found)

    async def digest(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> str:
        path = f"/v2/{repository.path}/manifests/{quote(reference, safe=':')}"
        answer = await self._ask("HEAD", repository, path, access.credentials)
        if digest := answer.headers.get("Docker-Content-Digest", ""):
            return digest
        answer = await self._ask("GET", repository, path, access.credentials)  # the header is optional for a registry
        return f"sha256:{hashlib.sha256(answer.body).hexdigest()}"

    async def fetch(
        self, repository: Repository, path: str, access: RegistryAccess = OPEN, *, limit: int
    ) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of `GET /v2/<repository>/<path>`, a manifest, a blob or a list of referrers.

        Raises:
            RegistryUnavailable: also for a body of more than `limit` bytes.
            ImageUnknown, RepositoryUnknown: 404, for a manifest and for anything else.
        """
        answer = await self._ask("GET", repository, f"/v2/{repository.path}/{path}", access.credentials)
        if len(answer.body) > limit:
            raise RegistryUnavailable(f"{_request(answer)}: the answer is longer than {limit} bytes")
        return answer.headers, answer.body

    # one request, with whatever proof it needs

    async def _ask(self, method: str, repository: Repository, path: str, credentials: Credentials) -> _Answer:
        """A successful answer. Raises RegistryError."""
        async with self._slot(repository.registry):
            try:
                answer = await self._proven(method, repository, path, credentials)
                if answer.status != HTTPStatus.OK:
                    raise _failure(answer, credentials)
            except BodyTooLarge as error:
                raise RegistryUnavailable(f"{method} {repository.registry}{path}: {error}") from None
        return answer

    @contextlib.asynccontextmanager
    async def _slot(self, host: str) -> AsyncIterator[None]:
        """Raises RegistryUnavailable: a registry that answers nobody must not keep everybody waiting."""
        slots = self._slots.setdefault(host, asyncio.Semaphore(self._per_host))
        try:
            async with asyncio.timeout(self._queue):
                await slots.acquire()
        except TimeoutError:
            waited = f"{self._per_host} requests were not answered within {self._queue:g}s"
            raise RegistryUnavailable(f"registry {host} is busy or hangs: {waited}") from None
        try:
            yield
        finally:
            slots.release()

    async def _proven(self, method: str, repository: Repository, path: str, credentials: Credentials) -> _Answer:
        known = self._challenges.get(_server(repository))
        answer = await self._send(method, repository, path, await self._proof(known, repository, credentials))
        if answer.status != HTTPStatus.UNAUTHORIZED or not answer.challenges:
            return answer
        challenge = answer.challenges[0]
        if challenge == known and challenge.scheme == "basic":
            return answer
        self._challenges[_server(repository)] = challenge
        proof = await self._proof(challenge, repository, credentials, fresh=True)
        return await self._send(method, repository, path, proof) if proof else answer

    async def _send(self, method: str, repository: Repository, path: str, proof: str) -> _Answer:
        """The answer over the first scheme that connects, which is remembered."""
        known = self._schemes.get(_server(repository))
        schemes = (known,) if known else repository.schemes
        for scheme in schemes:
            url = f"{scheme}://{repository.registry}{path}"
            try:
                answer = await self._request(method, url, {"Authorization": proof} if proof else {})
            except aiohttp.ClientConnectorError as error:
                if scheme == schemes[-1]:
                    raise RegistryUnavailable(f"{method} {url}: {_connection_cause(error)}") from None
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise RegistryUnavailable(f"{method} {url}: {type(error).__name__}") from None
            else:
                self._schemes[_server(repository)] = scheme
                return answer
        raise AssertionError("a repository has a scheme")

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> _Answer:
        everything = {"Accept": MANIFESTS if "/manifests/" in url else "application/json", **headers}
        async with self._session.request(
            method, url, headers=everything, data=form, allow_redirects=method != "POST", max_redirects=4
        ) as response:
            limit = LARGEST_PAGE if response.status == HTTPStatus.OK else LARGEST_ERROR
            challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
            body = b"" if method == "HEAD" else await read_body(response, limit)
            return _Answer(method, url, response.status, response.headers, challenges, body)

    # proof

    async def _proof(
        self, challenge: Challenge | None, repository: Repository, credentials: Credentials, *, fresh: bool = False
    ) -> str:
        """The Authorization header, "" for none."""
        if credentials.bearer_token is not None:
            return f"Bearer {credentials.bearer_token.text()}"
        if challenge is None:
            return ""
        if challenge.scheme == "basic":
            return _basic(credentials)
        scope = f"repository:{repository.path}:pull"
        key = (challenge.realm, challenge.service, scope, credentials)
        token = self._tokens.get(key)
        if token is None or fresh or token.expires < asyncio.get_running_loop().time():
            token = await self._token(challenge, scope, repository, credentials)
            if len(self._tokens) >= MOST_TOKENS:
                self._tokens.clear()
            self._tokens[key] = token
        return f"Bearer {token.value.text()}"

    async def _token(
        self, challenge: Challenge, scope: str, repository: Repository, credentials: Credentials
    ) -> _Token:
        over_http = self._schemes.get(_server(repository), "https") == "http"
        if not belongs(challenge.realm, repository.registry, over_http=over_http):
            shown = urlsplit(challenge.realm).hostname
            raise RegistryDenied(f"{repository.registry} asks for a token of another site ({shown!r}): refused")
        try:
            answer = await self._ask_token(challenge, scope, credentials)
            if answer.status != HTTPStatus.OK:
                raise _failure(answer, credentials)
            said = msgspec.json.decode(answer.body, type=_TokenAnswer)
        except (aiohttp.ClientError, TimeoutError, BodyTooLarge, msgspec.MsgspecError) as error:
            where = urlsplit(challenge.realm).netloc
            raise RegistryUnavailable(f"the token server {where} did not answer: {type(error).__name__}") from None
        value = said.token or said.access_token
        if not value or not value.isprintable():
            raise RegistryUnavailable(f"the token server {urlsplit(challenge.realm).netloc} gave no token")
        lifetime = min(max(said.expires_in, 10.0), 3600.0)
        return _Token(Sensitive(value), asyncio.get_running_loop().time() + 0.8 * lifetime)

    async def _ask_token(self, challenge: Challenge, scope: str, credentials: Credentials) -> _Answer:
        parameters = {"service": challenge.service, "scope": scope}
        parts = urlsplit(challenge.realm)
        if credentials.identity_token is not None:
            form = {
                **parameters,
                "grant_type": "refresh_token",
                "client_id": "sealoop",
                "refresh_token": credentials.identity_token.text(),
            }
            return await self._request("POST", urlunsplit(parts._replace(query="", fragment="")), {}, form)
        query = "&".join(filter(None, (parts.query, urlencode({k: v for k, v in parameters.items() if v}))))
        proof = _basic(credentials)
        headers = {"Authorization": proof} if proof else {}
        return await self._request("GET", urlunsplit(parts._replace(query=query, fragment="")), headers)


def _server(repository: Repository) -> tuple[str, bool]:
    """What scheme and challenge are remembered for: who asks for plain HTTP decides for nobody else."""
    return repository.registry, repository.insecure


def _basic(credentials: Credentials) -> str:
    if not credentials.username and credentials.password is None:
        return ""
    password = credentials.password.text() if credentials.password is not None else ""
    return aiohttp.encode_basic_auth(credentials.username, password)


def _tags_in(answer: _Answer) -> list[str]:
    try:
        tags = msgspec.json.decode(answer.body, type=_TagsAnswer).tags or []
    except msgspec.MsgspecError:
        raise RegistryUnavailable(f"{_request(answer)}: the answer is not a list of tags") from None
    if any(not tag or len(tag) > LONGEST_TAG or not tag.isprintable() for tag in tags):
        raise RegistryUnavailable(f"{_request(answer)}: the answer holds names that are no tags")
    return tags


def _next_path(answer: _Answer) -> str | None:
    try:
        return next_page(answer.headers.get("Link", ""), urlsplit(answer.url))
    except ValueError as error:
        raise RegistryUnavailable(f"{_request(answer)}: {error}") from None


def _failure(answer: _Answer, credentials: Credentials) -> RegistryError:
    message = f"{_request(answer)}: {_muted(_cause(answer), credentials)}"
    match answer.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return RegistryDenied(message)
        case HTTPStatus.NOT_FOUND if "/manifests/" in answer.url:
            return ImageUnknown(message)
        case HTTPStatus.NOT_FOUND:
            return RepositoryUnknown(message)
    delay = retry_after(answer.headers.get("Retry-After"), datetime.now(UTC))
    return RegistryUnavailable(message, retry_after=delay)


def _request(answer: _Answer) -> str:
    return f"{answer.method} {answer.url}"


def _cause(answer: _Answer) -> str:
    """What the registry says went wrong, in go-containerregistry's words. The body itself is never quoted."""
    try:
        errors = msgspec.json.decode(answer.body, type=_ErrorAnswer).errors or []
    except msgspec.MsgspecError:
        errors = []
    said = [f"{e.code}: {e.message}" + (f"; {text_of(e.detail)}" if e.detail is not None else "") for e in errors]
    if not said:
        phrase = _PHRASES.get(answer.status, "")
        return f"unexpected status code {answer.status} {phrase}".rstrip()
    text = said[0] if len(said) == 1 else f"multiple errors returned: {'; '.join(said)}"
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_CAUSE else text[:LONGEST_CAUSE] + "..."


def _muted(text: str, credentials: Credentials) -> str:
    """A registry that repeats what it was sent must not bring a password into a status."""
    for secret in credentials.secrets:
        text = text.replace(secret.text(), "***")
    return text


def _connection_cause(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "the registry's certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "the registry does not speak TLS"
    number = error.os_error.errno
    return os.strerror(number).lower() if number and number > 0 else type(error.os_error).__name__
