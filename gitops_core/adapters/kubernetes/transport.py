"""Requests to one API server: proven to be ours, bounded in time and size, and failing in one sentence.

Nothing that was sent or received is ever part of a message, except what the server says of it in a Status. A request is
sent again when it cannot have been carried out twice:

    401                                    once, if the credentials can be renewed
    429, 503 with Retry-After              any method: the server turned it away. As often and as late as it says
    another 5xx with Retry-After           GET
    the connection is lost, no answer yet  GET

Source: client-go, rest/with_retry.go (which sends every method again after any 5xx with Retry-After).
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gitops_core.adapters.http import BodyTooLarge, open_session, parse_retry_after, read_body, show_certificate
from gitops_core.adapters.kubernetes.answers import make_error, read_refusal
from gitops_core.adapters.kubernetes.credentials import Identity, make_credentials
from gitops_core.adapters.kubernetes.kubeconfig import ClientCertificate, ConfigurationError, Endpoint
from gitops_core.errors import ClusterUnavailable
from gitops_core.meta import ObjectRef

MIB = 1024 * 1024
LARGEST_ANSWER = 256 * MIB
LARGEST_REFUSAL = MIB
IN_FLIGHT = 64
MOST_RETRIES = 10
LONGEST_TRYING = 30.0
"""Seconds after which no request is sent again, nor waited for: that is for who asked to decide."""
SHORTEST_PAUSE, PAUSE_AFTER_LOSS = 0.1, 1.0

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    """One request, whole.

    Attributes:
        about: the object (or, with no name, the kind) that errors speak of.
        target: path and query, already encoded.
        largest: bytes of a success that are read; of a longer one nothing, and AnswerTooLarge is raised.
    """

    method: str
    target: str
    about: ObjectRef
    headers: Headers = ()
    body: bytes | None = None
    largest: int = LARGEST_ANSWER


class AnswerTooLarge(ClusterUnavailable):
    """The answer is longer than the request allows."""


class _Lost(ClusterUnavailable):
    """The connection was lost before anything of an answer came."""


class Answer(NamedTuple):
    code: int
    headers: CIMultiDict[str]
    body: bytes


class Transport:
    """One API server as one identity. Opens its connections when first used, on the event loop it is used on.

    Args:
        largest: bytes of any answer that are read.
    """

    def __init__(self, endpoint: Endpoint, agent: str, seconds: float, largest: int = LARGEST_ANSWER) -> None:
        parts = urlsplit(endpoint.server)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self.name = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
        self._base = self.name + parts.path
        self._endpoint, self._agent, self._seconds, self._largest = endpoint, agent, seconds, largest
        self._patience = aiohttp.ClientTimeout(total=seconds, sock_connect=10.0)
        self._credentials = make_credentials(endpoint.login)
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[ClientCertificate | None, ssl.SSLContext] = {}
        local = parts.hostname == "localhost" or (parts.hostname or "").startswith("127.")
        encoding = "gzip" if endpoint.compress and not local else "identity"
        self._always = {"Accept": "application/json", "Accept-Encoding": encoding, "User-Agent": agent}

    def connect_apart(self) -> Transport:
        """Connect to the same server with connections, credentials and places of its own."""
        return Transport(self._endpoint, self._agent, self._seconds, self._largest)

    async def send(self, request: Request) -> bytes:
        """Send a request; return the body of a success. Raises the ClusterError that any other answer stands for."""
        answer = await self.exchange(request)
        if answer.code >= 300:
            self.refuse(answer, request)
        return answer.body

    async def exchange(self, request: Request) -> Answer:
        """Send a request; return any answer. Raises ClusterUnavailable when there is none, and what getting credentials
        raises.
        """
        retries, end = 0, _now() + LONGEST_TRYING
        while True:
            latest = end if retries < MOST_RETRIES else float("-inf")
            try:
                answer = await self._attempt(request)
            except _Lost:
                pause = PAUSE_AFTER_LOSS
                if request.method != "GET" or _now() + pause > latest:
                    raise
            else:
                asked = _pause(request.method, answer)
                if asked is None or _now() + asked > latest:
                    return answer
                pause = asked
            await asyncio.sleep(pause)  # without a place: the others need not wait for it
            retries += 1

    async def _attempt(self, request: Request) -> Answer:
        async with self._slots:
            identity = await self._credentials.get_identity()
            answer = await self._send_once(request, identity)
            if answer.code == 401 and (fresh := await self._credentials.renew(identity)):
                answer = await self._send_once(request, fresh)
            return answer

    @asynccontextmanager
    async def stream(self, request: Request, idle: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield a successful answer whose body is still to be read, at most `idle` seconds between two chunks.

        Raises what `send` raises, also while the body is read.
        """
        patience = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=idle)
        identity = await self._credentials.get_identity()
        async with self._open(request, identity, patience) as response:
            if response.status < 300:
                with _drop(response):
                    yield response
                return
            answer = await self._read_refusal(response)
        if answer.code != 401 or (fresh := await self._credentials.renew(identity)) is None:
            self.refuse(answer, request)
        async with self._open(request, fresh, patience) as response:
            if response.status >= 300:
                self.refuse(await self._read_refusal(response), request)
            with _drop(response):
                yield response

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send_once(self, request: Request, identity: Identity) -> Answer:
        async with self._open(request, identity, self._patience) as response:
            if response.status >= 400:
                return await self._read_refusal(response)
            body = await read_body(response, min(request.largest, self._largest))
            return Answer(response.status, CIMultiDict(response.headers), body)

    async def _read_refusal(self, response: aiohttp.ClientResponse) -> Answer:
        try:
            body = await read_body(response, LARGEST_REFUSAL)
        except BodyTooLarge:
            body = b""  # not a Status: its code says enough
        return Answer(response.status, CIMultiDict(response.headers), body)

    def refuse(self, answer: Answer, request: Request) -> NoReturn:
        """Raise the error that an answer other than a success stands for."""
        delay = parse_retry_after(answer.headers.get("Retry-After"), datetime.now(UTC))
        raise make_error(answer.code, read_refusal(answer.code, answer.body), request.about, delay)

    @asynccontextmanager
    async def _open(
        self, request: Request, identity: Identity, patience: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = open_session(connections=0)  # watches hold theirs; requests are counted by the semaphore
        with self._translate(patience):
            async with self._session.request(
                request.method,
                URL(self._base + request.target, encoded=True),
                data=request.body,
                headers=self._make_headers(request, identity),
                ssl=self._get_context(identity.certificate),
                server_hostname=self._endpoint.server_name,
                proxy=self._endpoint.proxy,
                allow_redirects=False,
                timeout=patience,
            ) as response:
                yield response

    @contextmanager
    def _translate(self, patience: aiohttp.ClientTimeout) -> Iterator[None]:
        where = f"the API server {self.name}"
        try:
            yield
        except TimeoutError as error:
            limit = patience.total or patience.sock_read or 0
            raise ClusterUnavailable(f"{where} did not answer within {limit:g} s") from error
        except aiohttp.ClientConnectorCertificateError as error:
            cause = getattr(error.certificate_error, "verify_message", "") or "it does not fit"
            raise ClusterUnavailable(f"{where} has a certificate that is not trusted: {cause}") from error
        except aiohttp.ClientConnectorError as error:
            # a positive number is the system's; the text may be asyncio's own, which does not say why
            cause = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
            raise ClusterUnavailable(f"{where} cannot be reached: {cause}") from error
        except BodyTooLarge as error:
            raise AnswerTooLarge(f"{where} sent too much: {error}") from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise _Lost(f"{where} broke off: {type(error).__name__}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ClusterUnavailable(f"{where} broke off: {type(error).__name__}") from error

    def _make_headers(self, request: Request, identity: Identity) -> CIMultiDict[str]:
        headers = CIMultiDict(self._always)
        for name, value in (*self._make_impersonation(request), *request.headers):
            if name == "Accept":
                headers[name] = value
            else:
                headers.add(name, value)
        if identity.authorization is not None:
            value = identity.authorization.reveal_text()
            if not value.isprintable():  # also keeps a line feed from beginning another header
                raise ConfigurationError("the token holds a character that a header cannot carry")
            headers["Authorization"] = value
        return headers

    def _make_impersonation(self, request: Request) -> Headers:
        """Return the kubeconfig's headers of impersonation, unless the request names somebody."""
        named = any(name.startswith("Impersonate-") for name, _ in request.headers)
        return () if named else self._endpoint.impersonate

    def _get_context(self, certificate: ClientCertificate | None) -> ssl.SSLContext:
        if certificate not in self._contexts:
            self._contexts = {certificate: make_tls_context(self._endpoint, certificate)}  # the one before has expired
        return self._contexts[certificate]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _pause(method: str, answer: Answer) -> float | None:
    """Return the seconds until the same request may be sent again; None when its answer stands."""
    turned_away = answer.code in (429, 503) or (answer.code >= 500 and method == "GET")
    delay = parse_retry_after(answer.headers.get("Retry-After"), datetime.now(UTC)) if turned_away else None
    return None if delay is None else max(delay, SHORTEST_PAUSE)


@contextmanager
def _drop(response: aiohttp.ClientResponse) -> Iterator[None]:
    """End the connection of a stream that is left before its end: at once, for TLS's goodbye may outlive the loop."""
    try:
        yield
    finally:
        connection = response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()


async def read_until_cut(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Read the chunks of a stream until it ends, or until a lost connection ends it: a watch goes on elsewhere."""
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientPayloadError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        return


def make_tls_context(endpoint: Endpoint, certificate: ClientCertificate | None) -> ssl.SSLContext:
    """Make the context of a connection to the endpoint. Raises ConfigurationError: not PEM, or not a pair."""
    try:
        context = ssl.create_default_context(cadata=endpoint.ca.decode("latin-1") if endpoint.ca else None)
    except (ssl.SSLError, TypeError):  # of what is not even ASCII
        raise ConfigurationError(f"the certificate authority of {endpoint.server} is not PEM") from None
    # Python 3.13 refuses authorities without a key identifier; clusters have them, and kubectl takes them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        try:
            show_certificate(context, certificate.chain, certificate.key)
        except ValueError:
            raise ConfigurationError("the client certificate and its key are not a pair in PEM") from None
    return context
