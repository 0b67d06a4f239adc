"""Which hosts answer to one owner, so that what proves us to one of them may be sent to another.

    auth.docker.io                index.docker.io                   yes: below docker.io, which somebody registered
    auth.co.uk                    registry.co.uk                    no: anybody may register a name below co.uk
    a.azurecr.io                  b.azurecr.io                      no: SHARED
    auth.shop.svc.cluster.local   registry.shop.svc.cluster.local   yes: both are in one namespace
    10.0.0.1, localhost                                             only themselves

Hosts are compared as they are asked: in lower case, decoded (IDNA), without the dot at the end.

Source: publicsuffix.org/list, with its private section; url.spec.whatwg.org/#ends-in-a-number-checker.
"""

from __future__ import annotations

import functools
import re

from publicsuffixlist import PublicSuffixList
from yarl import URL

SHARED = (
    *("azurecr.io", "azurecr.cn", "azurecr.us", "azurecr.de", "azure.com", "azure.net", "windows.net"),
    *("amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "on.aws", "api.aws"),
    *("aliyuncs.com", "tencentcloudcr.com", "myhuaweicloud.com", "volces.com", "baidubce.com"),
    *("ghe.com", "googleapis.com", "ionos.com", "jfrog.io", "oraclecloud.com", "ovh.net", "scw.cloud", "vultrcr.com"),
    *("nip.io", "sslip.io", "traefik.me"),
)
"""Domains whose names belong to different customers and of which the list knows none, or not all."""

_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


def get_host(url: str) -> str:
    """Return the host that a client asks for `url`; "" for none, and for a text that is not a URL.

    >>> get_host("https://user@Git.Example.:8443/app")
    'git.example'
    """
    try:
        return (URL(url).host or "").removesuffix(".")
    except ValueError:
        return ""


def is_address(host: str) -> bool:
    """Tell whether the host is an address instead of a name, in any of the ways in which addresses are written."""
    return ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def is_same_site(one: str, other: str) -> bool:
    """Tell whether two hosts, as `get_host` gives them, have one owner. "" has none."""
    return bool(one) and (one == other or _find_owner(one) == _find_owner(other) != "")


def is_same_forge(url: str, api: str) -> bool:
    """Tell whether what is sent to the repository at `url` may be sent to the forge's API at `api`, too.

    It may go to the same host and port, and to `api.` before the host; never without TLS where the repository has it.

    >>> is_same_forge("https://github.com/org/app", "https://api.github.com")
    True
    >>> is_same_forge("https://git.example/org/app", "https://git.example:8443/api/v1")
    False
    """
    try:
        here, there = URL(url), URL(api)
    except ValueError:
        return False
    own, host = get_host(url), get_host(api)
    is_private = there.scheme == "https" or (there.scheme == "http" and here.scheme == "http")
    same_port = here.port == there.port or (here.is_default_port() and there.is_default_port())
    named = host == own or (host == f"api.{own}" and _is_somebodys(own))
    return bool(own) and is_private and same_port and named and "@" not in there.raw_authority


def _is_somebodys(host: str) -> bool:
    """Tell whether the names below `host` belong to whom it belongs to."""
    return not is_address(host) and host not in SHARED and _load_suffixes().privatesuffix(host) is not None


def _find_owner(host: str) -> str:
    """Return what all hosts of one owner have in common; "" for a host that stands for itself."""
    labels = host.split(".")
    if is_address(host) or "" in labels or any(f".{host}".endswith(f".{domain}") for domain in SHARED):
        return ""
    if "svc" in labels[1:]:  # a Service of the cluster: its namespace is the owner
        namespace = labels.index("svc", 1) - 1
        return ".".join(labels[namespace:]) if namespace else ""
    return _load_suffixes().privatesuffix(host) or ""


@functools.cache
def _load_suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_encoded_idn=False)
