"""Connections by a SOCKS 5 proxy, which looks names up itself: aiohttp-socks makes them (docs/decisions/0011)."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp

from gitops_core.errors import StalledError

PORT = 1080


class SocksFailed(aiohttp.ClientConnectionError):
    """The proxy does not answer, or does not connect. The message says which, and quotes nothing."""


def is_socks(proxy: str) -> bool:
    """Tell whether a proxy's URL is that of a SOCKS proxy."""
    return proxy.startswith("socks5://")


def make_socks_connector(proxy: str, base: type[aiohttp.TCPConnector], **options: Any) -> aiohttp.TCPConnector:
    """Make a connector of that kind whose connections go by the proxy. Raises StalledError: it needs aiohttp-socks."""
    try:
        from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError
    except ImportError:
        raise StalledError(
            "a socks5 proxy needs aiohttp-socks: install sealoop[socks]", reason="AuthenticationFailed"
        ) from None

    class Connector(base, ProxyConnector):  # type: ignore[misc, valid-type]
        async def _wrap_create_connection(self, *args: Any, req: aiohttp.ClientRequest, **kwargs: Any) -> Any:
            try:
                return await super()._wrap_create_connection(*args, req=req, **kwargs)
            except ssl.SSLCertVerificationError as error:
                raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from None
            except ssl.SSLError as error:
                raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from None
            except (ProxyConnectionError, ProxyTimeoutError):
                raise SocksFailed("cannot be reached") from None
            except ProxyError as error:
                raise SocksFailed(f"does not connect: {str(error)[:100]}") from None

    parts = urlsplit(proxy)
    return Connector(
        parts.hostname or "",
        parts.port or PORT,
        username=unquote(parts.username or "") or None,
        password=unquote(parts.password or "") if parts.username else None,
        rdns=True,
        **options,
    )
