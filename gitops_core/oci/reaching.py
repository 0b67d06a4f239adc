"""How to reach a registry, from the decoded `data` of the Secrets that an object names for it.

    certSecretRef     ca.crt, tls.crt + tls.key           older names: caFile, certFile + keyFile
    proxySecretRef    address (http://proxy:3128, socks5://proxy:1080), username, password

Raises ValueError with what is wrong, in the original's words; it never quotes a value.

Source: github.com/fluxcd/pkg/runtime/secrets (converter.go, error.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from gitops_core.meta import Sensitive

LONGEST_ADDRESS = 2048
PROXY_SCHEMES = ("http", "https", "socks5")


class Trust(NamedTuple):
    """Whose certificates are believed beside the system's, and the certificate to show. PEM."""

    ca: bytes | None = None
    certificate: bytes | None = None
    key: Sensitive | None = None


class ProxyUnsupported(ValueError):
    """A proxy of a kind that we cannot speak to."""


def read_trust(data: Mapping[str, bytes], name: str) -> Trust:
    """Read whom the Secret `name` (`namespace/name`) tells us to trust, and which certificate we show."""
    ca, certificate, key = (
        data.get(new) or data.get(old)
        for new, old in (("ca.crt", "caFile"), ("tls.crt", "certFile"), ("tls.key", "keyFile"))
    )
    if certificate and not key:
        raise ValueError(f"secret '{name}' contains 'tls.crt' but missing 'tls.key'")
    if key and not certificate:
        raise ValueError(f"secret '{name}' contains 'tls.key' but missing 'tls.crt'")
    if not ca and not certificate:
        raise ValueError(f"secret '{name}' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'")
    if ca and b"-----BEGIN CERTIFICATE-----" not in ca:
        raise ValueError(f"secret '{name}': failed to parse CA certificate")
    return Trust(ca or None, certificate or None, Sensitive(key) if key else None)


def read_proxy(data: Mapping[str, bytes], name: str) -> Sensitive:
    """Read the proxy's URL with user and password. Raises ProxyUnsupported beside ValueError."""
    if "address" not in data:
        raise ValueError(f"secret '{name}': key 'address' not found")
    try:
        address = data["address"].decode().strip()
        username, password = (data.get(key, b"").decode() for key in ("username", "password"))
        parts = urlsplit(address)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(f"secret '{name}': failed to parse proxy address") from None
    if not address:
        raise ValueError(f"secret '{name}': proxy address is empty")
    if len(address) > LONGEST_ADDRESS:
        raise ValueError(f"secret '{name}': proxy URL exceeds maximum length of {LONGEST_ADDRESS} characters")
    if parts.scheme not in PROXY_SCHEMES:
        supported = ", ".join(PROXY_SCHEMES)
        shown = parts.scheme if parts.scheme in ("socks5h", "socks4", "ftp") else ""
        got = f", got '{shown}'" if shown else ""
        raise ProxyUnsupported(f"secret '{name}': proxy URL must use one of the supported schemes ({supported}){got}")
    if not parts.hostname or not has_port:
        raise ValueError(f"secret '{name}': failed to parse proxy address")
    if not username:
        return Sensitive(address)
    user = quote(username, safe="") + (f":{quote(password, safe='')}" if "password" in data else "")
    return Sensitive(urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}")))
