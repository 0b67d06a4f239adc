"""One request to a registry, with whatever proof it needs, along the way that its RegistryAccess says.

a token of the host's bucket ──► one of the host's places ──► session of the TLS setting ──► (proxy) ──► registry
      └── it asked for silence         └── it answers nobody: both are refused at once, for this host only
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from gitops_core.adapters.http import BodyTooLarge, find_proxy, pass_body, read_body
from gitops_core.adapters.oci.answers import Answer, explain_connection, make_failure
from gitops_core.adapters.oci.challenges import Challenge, belongs
from gitops_core.adapters.oci.pacing import Paces
from gitops_core.adapters.oci.sessions import Sessions, find_http_proxy
from gitops_core.adapters.oci.tokens import Tokens
from gitops_core.errors import RegistryDenied, RegistryError, RegistryUnavailable
from gitops_core.oci.credentials import RegistryAccess
from gitops_core.oci.references import Repository
from gitops_core.oci.sites import get_host
from gitops_core.recent import Recent
from gitops_core.runtime.sharing.places import Places, PlacesTaken

LARGEST_ERROR = 64 << 10
READING = frozenset({"GET", "HEAD"})
LARGEST_TOKEN = 1 << 20
JSON = "application/json"
MOST_REMEMBERED = 1 << 20
"""Bytes of what all servers want, and as many of how they are reached; both are found out again."""
_OVERHEAD = 500
"""Bytes that one server takes beside its texts, roughly."""


@dataclass(frozen=True)
class Limits:
    """What a registry may cost.

    Attributes:
        per_host: requests to one host at the same time.
        total, read: seconds for one request, and without a single byte.
        queue: seconds until a request gives up because those before it are not answered.
        rate, burst: requests a second to one host, and how many without waiting after a pause.
        sessions: open ones that nobody uses, each with certificates of its own.
    """

    per_host: int = 8
    total: float = 60.0
    read: float = 30.0
    queue: float = 10.0
    rate: float = 50.0
    burst: float = 500.0
    sessions: int = 64


Take = Callable[[bytes], Awaitable[object]]
_Server = tuple[str, bool, bool]
"""A registry's host, and how little proof of it is wanted."""


class _Body(NamedTuple):
    """What is sent, and how the answer's body is taken: read whole, or given to `take` as it comes; within how many
    bytes and seconds.
    """

    limit: int
    take: Take | None = None
    seconds: float | None = None
    content: Mapping[str, str] | bytes | None = None


class Transport:
    """The connections to all registries. To be made where an event loop runs, and closed.

    Args:
        environment: whose proxy variables count where an access names no proxy.
    """

    def __init__(self, limits: Limits, environment: Mapping[str, str]) -> None:
        self._limits = limits
        self._environment = {name: text for name, text in environment.items() if name.lower().endswith("_proxy")}
        self._sessions = Sessions(limits.total, limits.read, limits.sessions)
        self._places = Places(remote=None, per_host=limits.per_host, patience=limits.queue)
        self._paces = Paces(limits.rate, limits.burst, limits.queue)
        self._tokens = Tokens(self._ask_token_server)
        self._schemes: Recent[_Server, str] = Recent(MOST_REMEMBERED)
        self._challenges: Recent[_Server, Challenge] = Recent(MOST_REMEMBERED)

    async def close(self) -> None:
        await self._tokens.close()
        await self._sessions.close()

    async def ask(
        self,
        method: str,
        repository: Repository,
        path: str,
        access: RegistryAccess,
        headers: Mapping[str, str],
        limit: int,
        besides: frozenset[int] = frozenset(),
        *,
        take: Take | None = None,
        seconds: float | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """Ask for an answer of status 200, or 304 where `headers` hold a condition, or one of `besides`.

        Args:
            path: with its query.
            limit: bytes of the body.
            take: gets the body of status 200 in parts, as it comes; the answer has none then.
            seconds: that it may take, where that is another time than that of all requests.
            content: what is sent.

        Raises:
            RegistryError.
            CredentialsInvalid: certificate or key cannot be used.
        """
        try:
            body = _Body(limit, take, seconds, content)
            answer = await self._ask_proven(method, repository, path, access, headers, body)
        except BodyTooLarge as error:
            raise RegistryUnavailable(f"{method} {self._make_url(repository, access, path)}: {error}") from None
        except RegistryDenied as error:
            raise self._explain(error, repository, access) from None
        if answer.status in {HTTPStatus.OK, *besides} or (
            answer.status == HTTPStatus.NOT_MODIFIED and "If-None-Match" in headers
        ):
            return answer
        raise self._explain(make_failure(answer, access), repository, access)

    def _explain(self, error: RegistryError, repository: Repository, access: RegistryAccess) -> RegistryError:
        """Add the reason to an error, where it was refused because our credentials stayed here."""
        challenge = self._challenges.get(_get_server(repository, access))
        if not isinstance(error, RegistryDenied) or not access.credentials.is_exchanged or challenge is None:
            return error
        over_http = self._schemes.get(_get_server(repository, access)) == "http"
        if challenge.scheme != "bearer" or belongs(challenge.realm, repository.registry, over_http=over_http):
            return error
        where = get_host(challenge.realm)
        return RegistryDenied(
            f"{error}; the registry names a token server of another owner ({where!r}),"
            " which was not given the credentials"
        )

    async def _ask_proven(
        self,
        method: str,
        repository: Repository,
        path: str,
        access: RegistryAccess,
        headers: Mapping[str, str],
        body: _Body,
    ) -> Answer:
        server = _get_server(repository, access)
        known = self._challenges.get(server)
        try:
            proof = await self._get_proof(known, repository, access)
        except RegistryError:
            proof = ""  # what the host asked for elsewhere need not be asked for here: then it will say so
        answer = await self._send(method, repository, path, access, _add_proof(headers, proof), body)
        challenges = answer.challenges if answer.status == HTTPStatus.UNAUTHORIZED else ()
        if not challenges or (known is not None and challenges[0].scheme == known.scheme == "basic"):
            return answer
        wanted = replace(challenges[0], scope="")  # the scope is this repository's
        self._challenges.put(server, wanted, _OVERHEAD + len(wanted.realm) + len(wanted.service))
        better = await self._get_proof(challenges[0], repository, access, refused=proof)
        if not better or better == proof:
            return answer
        return await self._send(method, repository, path, access, _add_proof(headers, better), body)

    async def _get_proof(
        self, challenge: Challenge | None, repository: Repository, access: RegistryAccess, refused: str = ""
    ) -> str:
        over_http = self._schemes.get(_get_server(repository, access)) == "http"
        return await self._tokens.get_proof(challenge, repository, access, over_http=over_http, refused=refused)

    async def _send(
        self,
        method: str,
        repository: Repository,
        path: str,
        access: RegistryAccess,
        headers: Mapping[str, str],
        body: _Body,
    ) -> Answer:
        """Send a request over the first scheme that connects, which is remembered."""
        known = self._schemes.get(_get_server(repository, access))
        schemes = (known,) if known else ("https", "http") if access.unverified else repository.schemes
        for scheme in schemes:
            url = f"{scheme}://{repository.registry}{path}"
            try:
                answer = await self._request(method, url, access, headers, body)
            except aiohttp.ClientConnectorError as error:
                # who shows a certificate speaks TLS: nothing is said to it in the clear, whatever is wrong with it
                is_tls = isinstance(error, aiohttp.ClientConnectorCertificateError)
                if is_tls or scheme == schemes[-1]:
                    raise RegistryUnavailable(f"{method} {url}: {explain_connection(error, access.proxy)}") from None
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise RegistryUnavailable(f"{method} {url}: {explain_connection(error, access.proxy)}") from None
            else:
                self._schemes.put(_get_server(repository, access), scheme, _OVERHEAD)
                return answer
        raise AssertionError("a repository has a scheme")

    async def _ask_token_server(
        self,
        method: str,
        url: str,
        access: RegistryAccess,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
    ) -> Answer:
        try:
            return await self._request(
                method, url, access, {"Accept": JSON, **headers}, _Body(LARGEST_TOKEN, content=form)
            )
        except (aiohttp.ClientError, TimeoutError, BodyTooLarge, ValueError) as error:
            cause = explain_connection(error, access.proxy)
            raise RegistryUnavailable(f"the token server {urlsplit(url).netloc} did not answer: {cause}") from None

    async def _request(
        self,
        method: str,
        url: str,
        access: RegistryAccess,
        headers: Mapping[str, str],
        body: _Body,
    ) -> Answer:
        """Send a request. Raises what aiohttp does, TimeoutError, ValueError, BodyTooLarge and RegistryUnavailable."""
        address = URL(url)
        host = address.host_port_subcomponent or ""
        pace = self._paces.get(host)
        await pace.take_turn()
        try:
            async with (
                self._places.taken(host, body.seconds or self._limits.total),
                self._sessions.used(access) as session,
                session.request(
                    method,
                    address,
                    headers=headers,
                    data=body.content,
                    allow_redirects=method in READING,
                    max_redirects=4,
                    proxy=self._find_proxy(url, access),
                    timeout=_make_timeout(session.timeout, body.seconds),
                ) as response,
            ):
                content = b"" if method == "HEAD" else await _take_body(response, body)
        except PlacesTaken as error:
            raise RegistryUnavailable(f"registry {host} is busy or hangs: {error}") from None
        if not response.history:  # the end of a redirect is another host
            pace.learn(response.status, response.headers)
        return Answer(method, url, response.status, response.headers, content)

    def _find_proxy(self, url: str, access: RegistryAccess) -> str | None:
        if access.proxy is not None:
            return find_http_proxy(access)
        proxy = find_proxy(url, self._environment) if self._environment else None
        if proxy is None:
            return None
        scheme, separator, _ = proxy.partition("://")
        if separator and scheme.lower() not in ("http", "https"):
            where = urlsplit(url).netloc
            raise RegistryUnavailable(f"registry {where}: the environment names a proxy that is not http: {scheme!r}")
        return proxy if separator else f"http://{proxy}"

    def _make_url(self, repository: Repository, access: RegistryAccess, path: str) -> str:
        scheme = self._schemes.get(_get_server(repository, access)) or repository.schemes[0]
        return f"{scheme}://{repository.registry}{path}"


def _get_server(repository: Repository, access: RegistryAccess) -> _Server:
    """Return the key of a remembered scheme and challenge: who wants no proof of the host decides for nobody else."""
    return repository.registry, repository.insecure, access.unverified


def _make_timeout(usual: aiohttp.ClientTimeout, seconds: float | None) -> aiohttp.ClientTimeout:
    if seconds is None:
        return usual
    return aiohttp.ClientTimeout(total=seconds, sock_connect=usual.sock_connect, sock_read=usual.sock_read)


async def _take_body(response: aiohttp.ClientResponse, body: _Body) -> bytes:
    """Take the body as it is wanted; of an error it is read. Raises BodyTooLarge."""
    if response.status != HTTPStatus.OK:
        return await read_body(response, LARGEST_ERROR)
    if body.take is None:
        return await read_body(response, body.limit)
    await pass_body(response, body.limit, body.take)
    return b""


def _add_proof(headers: Mapping[str, str], proof: str) -> Mapping[str, str]:
    return {**headers, "Authorization": proof} if proof else headers
