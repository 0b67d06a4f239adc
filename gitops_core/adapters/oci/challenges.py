"""What a registry answers when it wants to know who asks, and the tokens it then accepts.

    WWW-Authenticate: Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"
    WWW-Authenticate: Basic realm="Registry"

Credentials go to a token server only when it belongs to the registry: the same host, or one of the same owner.

Source: https://distribution.github.io/distribution/spec/auth/token/, RFC 9110 11.6.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from yarl import URL

from gitops_core.oci.sites import get_host, is_address, is_same_site

_CHALLENGE = re.compile(
    r'(?<![\w-])([A-Za-z]+)(?:\s+((?:[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s,"]*)\s*,?\s*)+)|(?=\s*(?:,|\Z)))'
)
_ALIYUN = re.compile(r"[a-z0-9-]*registry[a-z0-9-]*\.([a-z0-9-]+)(?:\.cr)?\.aliyuncs\.com")
"""A registry of Alibaba Cloud, where customers choose names: its region has one token server for all of them."""
_PARAMETER = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')


@dataclass(frozen=True)
class Challenge:
    """One way to prove who we are. `scheme` is basic or bearer."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Parse the challenges that can be answered, bearer first: a password needs no parameters, a token a realm.

    >>> [c.scheme for c in parse_challenges(['Basic realm="x", Bearer realm="https://a/t",service="s"'])]
    ['bearer', 'basic']
    """
    found: list[Challenge] = []
    for header in headers:
        for match in _CHALLENGE.finditer(header[:4096]):
            parameters = {
                m[1].lower(): re.sub(r"\\(.)", r"\1", m[2] or m[3] or "") for m in _PARAMETER.finditer(match[2] or "")
            }
            known = {name: parameters.get(name, "") for name in ("realm", "service", "scope")}
            if match[1].lower() == "basic" or (match[1].lower() == "bearer" and known["realm"]):
                found.append(Challenge(match[1].lower(), **known))
    return tuple(sorted(found, key=lambda challenge: challenge.scheme != "bearer"))


def may_be_asked(realm: str, registry: str, *, over_http: bool) -> bool:
    """Tell whether `registry` can have its token server there: at a name, with TLS unless the registry is asked
    without.
    """
    try:
        parts = URL(realm)
    except ValueError:
        return False
    host = get_host(realm)
    if not host or "@" in parts.raw_authority or (is_address(host) and host != get_host(f"https://{registry}")):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and over_http)


def belongs(realm: str, registry: str, *, over_http: bool) -> bool:
    """Tell whether the token server `realm` may be asked with the credentials for `registry`."""
    if not may_be_asked(realm, registry, over_http=over_http):
        return False
    host, own = get_host(realm), get_host(f"https://{registry}")
    region = _ALIYUN.fullmatch(own)
    return is_same_site(host, own) or (
        region is not None and re.fullmatch(rf"dockerauth[a-z-]*\.{region[1]}\.aliyuncs\.com", host) is not None
    )
