"""One HTTP session for each way to prove who we are to a TLS peer, what each of them trusts, and each SOCKS proxy.

An own authority is trusted beside the system's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from gitops_core.adapters.http import is_slow, is_socks, open_session, show_certificate
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import RegistryAccess

UNUSED = 600.0
"""Seconds after which a session that nobody uses is closed: its certificate may be another by now."""

_Setting = tuple[bytes | None, bytes | None, Sensitive | None, bool, Sensitive | None]


@dataclass
class _Opened:
    session: aiohttp.ClientSession
    users: int = 0
    last_used: float = 0.0


class Sessions:
    """The open sessions, each by authority, certificate, key, whether the host is verified at all, and SOCKS proxy.

    Args:
        total, read: seconds for one request, and without a single byte.
        most: how many are kept when nobody uses them.
    """

    def __init__(self, total: float, read: float, most: int) -> None:
        self._total, self._read, self._most = total, read, most
        self._open: dict[_Setting, _Opened] = {}

    @asynccontextmanager
    async def used(self, access: RegistryAccess) -> AsyncIterator[aiohttp.ClientSession]:
        """Yield the session for `access`, which stays open while the block runs.

        Raises:
            CredentialsInvalid, StalledError.
        """
        socks = access.proxy if access.proxy is not None and is_socks(access.proxy.reveal_text()) else None
        setting = (access.ca, access.client_certificate, access.client_key, access.unverified, socks)
        opened = self._open.get(setting)
        if opened is None:
            context = make_tls_context(access)
            opened = self._open[setting] = _Opened(
                open_session(
                    total=self._total,
                    read=self._read,
                    connections=0,
                    ssl_context=context,
                    socks=socks.reveal_text() if socks is not None else "",
                )
            )
        opened.users += 1
        opened.last_used = asyncio.get_running_loop().time()
        try:
            if len(self._open) > 1:
                await self._close_unused()
            yield opened.session
        finally:
            opened.users -= 1

    async def close(self) -> None:
        while self._open:
            _, opened = self._open.popitem()
            await opened.session.close()

    async def _close_unused(self) -> None:
        now = asyncio.get_running_loop().time()
        oldest_first = sorted(self._open.items(), key=lambda item: item[1].last_used)
        for setting, opened in oldest_first:
            too_many = len(self._open) > self._most
            is_old = too_many or now - opened.last_used > UNUSED
            if is_old and not opened.users and self._open.get(setting) is opened:
                del self._open[setting]
                await opened.session.close()


def find_http_proxy(access: RegistryAccess) -> str | None:
    """Find the proxy to name with a request in the session for `access`: a SOCKS proxy is the session's own."""
    proxy = access.proxy.reveal_text() if access.proxy is not None else None
    return None if proxy is None or is_socks(proxy) else proxy


def make_tls_context(access: RegistryAccess) -> ssl.SSLContext | bool:
    """Make the context of a connection; True for the default one.

    Raises:
        CredentialsInvalid: not PEM, certificate and key are not a pair, or a key that takes long to use.
    """
    if not (access.ca or access.client_certificate or access.unverified):
        return True
    context = ssl.create_default_context()
    if access.unverified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Python 3.13 refuses authorities without a key identifier; registries have them, and container runtimes take them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    trouble = "failed to configure authentication options: failed to parse"
    if access.ca:
        try:
            context.load_verify_locations(cadata=access.ca.decode("latin-1"))
        except ssl.SSLError:
            raise CredentialsInvalid(f"{trouble} CA certificate: it is not PEM") from None
    if access.client_certificate and access.client_key:
        if is_slow(access.client_certificate, access.client_key.reveal()):
            raise CredentialsInvalid("failed to configure authentication options: TLS key: more than 4,096 bits of RSA")
        try:
            show_certificate(context, access.client_certificate, access.client_key)
        except ValueError:
            raise CredentialsInvalid(f"{trouble} TLS certificate and key: they are not a pair in PEM") from None
    return context
