"""What a registry answered, and what went wrong in words that name the request and never a credential."""

from __future__ import annotations

import base64
import os
import re
import socket
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec
from multidict import CIMultiDict, CIMultiDictProxy

from gitops_core.adapters.http import SocksFailed, parse_retry_after
from gitops_core.adapters.oci.challenges import Challenge, parse_challenges
from gitops_core.decoding import decode_json
from gitops_core.errors import ImageUnknown, RegistryDenied, RegistryError, RegistryUnavailable, RepositoryUnknown
from gitops_core.gotemplate.printing import text_of
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import RegistryAccess

LONGEST_CAUSE = 300
_PROOF = re.compile(r"\b((?:bearer|basic) +)[\w.~+/=-]{16,}|\beyJ[\w-]{8,}(?:\.[\w-]*){1,4}", re.IGNORECASE | re.ASCII)
"""A header's value, or a token of the form that most token servers give."""

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_NO_REFERRERS = frozenset({400, 405, 406, 501})
"""What registries older than the referrers API answer to it beside 404; go-containerregistry reads them so, too."""


class Answer(NamedTuple):
    """A response whose body was read."""

    method: str
    url: str
    status: int
    headers: CIMultiDictProxy[str] | CIMultiDict[str]
    body: bytes

    @property
    def request(self) -> str:
        return f"{self.method} {self.url}"

    @property
    def challenges(self) -> tuple[Challenge, ...]:
        return parse_challenges(self.headers.getall("WWW-Authenticate", []))


class _ErrorItem(msgspec.Struct):
    code: str = ""
    message: str = ""
    detail: Any = None


class _ErrorAnswer(msgspec.Struct):
    errors: list[_ErrorItem] | None = None


def make_failure(answer: Answer, access: RegistryAccess) -> RegistryError:
    """Make the error that an answer other than a success stands for."""
    message = f"{answer.request}: {_shorten(_mute(_read_cause(answer), access))}"
    match answer.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return RegistryDenied(message)
        case HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return RegistryDenied(f"{answer.request}: the proxy wants a user name and a password, or other ones")
        case HTTPStatus.NOT_FOUND if "/manifests/" in answer.url:
            return ImageUnknown(message)
        case HTTPStatus.NOT_FOUND:
            return RepositoryUnknown(message)
        case status if status in _NO_REFERRERS and "/referrers/" in answer.url:
            return RepositoryUnknown(message)
    delay = parse_retry_after(answer.headers.get("Retry-After"), datetime.now(UTC))
    return RegistryUnavailable(message, retry_after=delay)


def explain_connection(error: Exception, proxy: Sensitive | None) -> str:
    """Say why there was no answer."""
    match error:
        case aiohttp.ClientHttpProxyError(status=status):
            return f"the proxy {_get_host(proxy)} answered {status} {_PHRASES.get(status, '')}".rstrip()
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy {_get_host(proxy)} cannot be reached: {_name_errno(error)}"
        case SocksFailed():
            return f"the proxy {_get_host(proxy)} {error}"
        case aiohttp.ClientConnectorCertificateError():
            return "the registry's certificate is not trusted"
        case aiohttp.ClientConnectorSSLError():
            return "the registry does not speak TLS"
        case aiohttp.ClientConnectorError():
            return _name_errno(error)
        case aiohttp.ClientOSError() if "ssl" in str(error).lower():
            return "the registry ended the TLS connection; it may want a client certificate, or another one"
    return type(error).__name__


def _read_cause(answer: Answer) -> str:
    """Return what the registry reports as wrong, in go-containerregistry's words. The body itself is never quoted."""
    try:
        errors = decode_json(answer.body, _ErrorAnswer).errors or []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        errors = []
    said = [f"{e.code}: {e.message}" + (f"; {text_of(e.detail)}" if e.detail is not None else "") for e in errors]
    if not said:
        return f"unexpected status code {answer.status} {_PHRASES.get(answer.status, '')}".rstrip()
    return said[0] if len(said) == 1 else f"multiple errors returned: {'; '.join(said)}"


def _mute(text: str, access: RegistryAccess) -> str:
    """Remove passwords and tokens: a registry that repeats what it was sent must not bring them into a status."""
    credentials = access.credentials
    secrets = [secret.reveal_text() for secret in credentials.secrets]
    if credentials.password is not None:  # as the header has it
        secrets.append(
            base64.b64encode(f"{credentials.username}:{credentials.password.reveal_text()}".encode()).decode()
        )
    for secret in secrets:
        text = text.replace(secret, "***")
    return _PROOF.sub(lambda match: f"{match[1] or ''}***", text)


def _shorten(text: str) -> str:
    """Shorten a text to one line. To be done last: a half of a password is not found any more."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_CAUSE else line[:LONGEST_CAUSE] + "..."


def _get_host(proxy: Sensitive | None) -> str:
    return urlsplit(proxy.reveal_text()).netloc.rpartition("@")[2] if proxy is not None else ""


def _name_errno(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error.os_error, socket.gaierror):
        return "the host's name cannot be resolved"
    number = error.os_error.errno
    return os.strerror(number).lower() if number and number > 0 else type(error.os_error).__name__
