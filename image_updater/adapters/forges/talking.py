"""One request to a forge's API, and what its answer means, for all of them.

An answer is believed when it is JSON of the documented shape; anything else is ForgeUnavailable. Messages name the
request and what the forge says of it, never the token. A redirect is followed within the API's own origin only: the
token goes nowhere else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import msgspec
from yarl import URL

from gitops_core.adapters.http import BodyTooLarge, parse_retry_after, read_body
from gitops_core.decoding import decode_json, make_decoder
from gitops_core.meta import Sensitive
from image_updater.domain.forges.pullrequests import PullRequest
from image_updater.errors import ForgeDenied, ForgeUnavailable
from image_updater.ports import Forge

T = TypeVar("T")
LARGEST = 16 << 20
LONGEST_CAUSE = 300
LARGEST_COMPLAINT = SMALL = 1 << 16
"""Bytes: an error that says more is not read; an answer that is longer is decoded in a thread."""
MOST_REDIRECTS = 3
_REDIRECTS = {301, 302, 307, 308}


class NotThere(ForgeDenied):
    """404: the repository, or a branch of it, is not there or not to be seen."""


class AlreadyThere(Exception):
    """409 (a conflict) or 422: the forge has such a thing, or says that it cannot be. The message is ForgeDenied's."""

    def __init__(self, message: str, *, is_conflict: bool) -> None:
        super().__init__(message)
        self.is_conflict = is_conflict


async def find_open(forge: Forge, head: str, base: str) -> PullRequest | None:
    """Return the pull request that is in the way of a new one, if any."""
    return next((each for each in await forge.find(head, base) if each.state == "open"), None)


async def find_refused(forge: Forge, head: str, base: str, refusal: AlreadyThere) -> PullRequest:
    """Return the open pull request that `refusal` is about. Raises ForgeDenied: it is about none."""
    live = await find_open(forge, head, base)
    if live is None:
        raise ForgeDenied(str(refusal)) from None
    return live


class _Complaint(msgspec.Struct):
    """How the three of them say what is wrong: each has some of these."""

    message: Any = ""
    error: Any = ""
    errors: Any = ()
    error_description: Any = ""


@dataclass(frozen=True)
class Talk:
    """How one repository's API is asked.

    Attributes:
        api: base URL; every path begins behind it.
        headers: of every request, the proof of who we are among them.
        secrets: what no message may hold.
        tls: None for the system's certificates.
    """

    session: aiohttp.ClientSession
    api: str
    headers: Mapping[str, Sensitive]
    secrets: tuple[Sensitive, ...] = ()
    tls: ssl.SSLContext | None = None
    proxy: str | None = None

    async def ask(
        self,
        method: str,
        path: str,
        type_: type[T],
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> T:
        """Send a request and decode its answer.

        Raises:
            AlreadyThere, ForgeDenied, ForgeUnavailable.
        """
        url = f"{self.api}{path}{'?' + urlencode(query) if query else ''}"
        request = f"{method} {self.api}{path}"
        for _ in range(MOST_REDIRECTS + 1):
            status, headers, content = await self._send(method, url, request, body)
            if status not in _REDIRECTS:
                break
            url = self._follow(url, headers.get("Location", ""), request)
        else:
            raise ForgeUnavailable(f"{request}: redirects without end")
        if not 200 <= status < 300:
            raise self._make_failure(request, status, headers, content)
        try:
            if len(content) <= SMALL:
                return decode_json(content, type_)
            return await asyncio.to_thread(make_decoder(type_).decode, content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ForgeUnavailable(f"{request}: the answer is not what a forge's API says") from None

    async def _send(
        self, method: str, url: str, request: str, body: Mapping[str, Any] | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            headers = {
                name: value.reveal_text().strip() for name, value in self.headers.items()
            }  # Secrets end with a newline
        except ValueError:
            raise ForgeDenied(f"{request}: the token is not text") from None
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self.session.request(
                method,
                URL(url, encoded=True),  # a GitLab project's %2F has to stay one
                headers=headers,
                data=None if body is None else msgspec.json.encode(body),
                allow_redirects=False,
                ssl=self.tls or True,
                proxy=self.proxy,
            ) as response:
                HTTPStatus(response.status)
                return response.status, response.headers, await read_body(response, LARGEST)
        except BodyTooLarge as error:
            raise ForgeUnavailable(f"{request}: {error}") from None
        except aiohttp.ClientConnectorCertificateError:
            raise ForgeUnavailable(f"{request}: the forge's certificate is not trusted") from None
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise ForgeUnavailable(f"{request}: {type(error).__name__}") from None

    def _follow(self, url: str, location: str, request: str) -> str:
        """Return where a redirect leads. Raises ForgeDenied: it leads away from this host."""
        target = urljoin(url, location)
        here, there = urlsplit(self.api), urlsplit(target)
        if not location or (here.scheme, here.netloc) != (there.scheme, there.netloc):
            shown = there.hostname or "nowhere"
            raise ForgeDenied(f"{request}: redirects to {shown!r}, where the token must not go: use the new address")
        return target

    def _make_failure(self, request: str, status: int, headers: Mapping[str, str], content: bytes) -> Exception:
        cause = self._mute(_read_cause(content)) or HTTPStatus(status).phrase.lower()
        message = f"{request}: {status} {cause}"
        limited = status in (403, 429) and (
            headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in headers or "rate limit" in cause.lower()
        )
        if status in (403, 429) and limited:
            return ForgeUnavailable(message, retry_after=_read_delay(headers))
        match status:
            case 401:
                return ForgeDenied(f"{message}: the token is wrong, missing or expired")
            case 403:
                return ForgeDenied(f"{message}: the token may not do this")
            case 404:
                return NotThere(f"{message}: there is no such repository, or the token may not see it")
            case 409 | 422:
                return AlreadyThere(message, is_conflict=status == 409)
            case 400 | 405 | 410 | 413:
                return ForgeDenied(message)
        return ForgeUnavailable(message, retry_after=_read_delay(headers))

    def _mute(self, text: str) -> str:
        secrets = [secret.reveal_text().strip() for secret in self.secrets]
        if (header := self.headers.get("Authorization")) is not None:
            secrets += header.reveal_text().split()[1:]
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return text if len(text) <= LONGEST_CAUSE else f"{text[:LONGEST_CAUSE]}..."


def _read_delay(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait, from Retry-After or from when a rate limit ends (seconds since 1970)."""
    now = datetime.now(UTC)
    if (delay := parse_retry_after(headers.get("Retry-After"), now)) is not None:
        return delay
    for name in ("X-RateLimit-Reset", "RateLimit-Reset"):
        text = headers.get(name, "")
        if text.isascii() and text.isdigit() and headers.get(name.replace("Reset", "Remaining")) == "0":
            return parse_retry_after(str(max(0, int(text[:12]) - int(now.timestamp()))), now)
    return None


def _read_cause(content: bytes) -> str:
    """Return what the forge reports as wrong, on one line; a body that is not JSON is not quoted."""
    if len(content) > LARGEST_COMPLAINT:
        return ""
    try:
        complaint = decode_json(content, _Complaint)
        words = [
            *_list_words(complaint.message),
            *_list_words(complaint.errors),
            *_list_words(complaint.error),
            *_list_words(complaint.error_description),
        ]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return " ".join("; ".join(dict.fromkeys(words)).split())


def _list_words(value: object) -> Iterable[str]:
    match value:
        case str() if value:
            yield value
        case list():
            for each in value[:10]:
                yield from _list_words(each)
        case {"message": str() as message} if message:
            yield message
        case dict():
            for name, each in list(value.items())[:10]:
                yield from (f"{name}: {text}" for text in _list_words(each))
