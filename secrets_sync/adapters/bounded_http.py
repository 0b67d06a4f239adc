"""A requests session that cannot hang, grow, wander off or read the environment.

Every answer has a size limit and a deadline for all of it; nothing is retried; no redirect is followed, because the
token would go along; certificates are checked against the given ones alone, or the system's.
"""

from __future__ import annotations

import ssl
import time
from typing import Any

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

CONNECT_TIMEOUT = 5.0
MAX_BODY = 4 * 1024 * 1024
"""Bytes of an answer, unpacked. Kubernetes takes 1 MiB for a whole Secret."""


class TooLarge(requests.RequestException):
    """The answer is larger than MAX_BODY."""


class _Bounded(HTTPAdapter):
    def __init__(self, context: ssl.SSLContext, timeout: float) -> None:
        self._timeout, self._context = timeout, context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        conn.cert_reqs = "CERT_REQUIRED"  # the inherited method would add requests' own bundle to the given one

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        deadline = time.monotonic() + self._timeout
        kwargs |= {"stream": True, "timeout": (min(CONNECT_TIMEOUT, self._timeout), self._timeout), "proxies": {}}
        response = super().send(request, **kwargs)
        try:
            response._content = _read_body(response, deadline)
            response._content_consumed = True
        finally:
            response.close()
        return response


def _read_body(response: requests.Response, deadline: float) -> bytes:
    parts = []
    size = 0
    while part := _read(response):
        size += len(part)
        parts.append(part)
        if size > MAX_BODY:
            raise TooLarge(f"the answer has more than {MAX_BODY} bytes")
        if time.monotonic() > deadline:
            raise requests.Timeout("the answer took too long")
    return b"".join(parts)


def _read(response: requests.Response) -> bytes:
    """Return what has arrived next, b"" at the end. requests translates these errors for its own readers only."""
    try:
        part: bytes = response.raw.read1(65536, decode_content=True)
    except urllib3.exceptions.ReadTimeoutError:
        raise requests.Timeout("the answer took too long") from None
    except urllib3.exceptions.HTTPError:
        raise requests.ConnectionError("the answer broke off") from None
    return part


def make_bounded_session(context: ssl.SSLContext, timeout: float) -> requests.Session:
    """Make a session that trusts what `context` does.

    Args:
        timeout: seconds until the last byte of an answer must be here.
    """
    adapter = _Bounded(context, timeout)
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
