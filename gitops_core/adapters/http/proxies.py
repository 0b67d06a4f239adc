"""Which proxy the environment asks for."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def find_proxy(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the proxy that the environment's HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY ask for, in either case.

    >>> find_proxy("https://api.example:6443", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".internal"})
    'http://proxy:3128'
    >>> find_proxy("https://api.internal:6443", {"https_proxy": "http://proxy:3128", "no_proxy": ".internal"}) is None
    True
    """
    parts = urlsplit(url)
    settings = {name.lower(): value for name, value in sorted(environment.items()) if value}  # lower case wins
    proxy = settings.get(f"{parts.scheme}_proxy") or settings.get("all_proxy")
    host = parts.hostname or ""
    exempt = ["localhost", "127.0.0.0/8", "::1", *settings.get("no_proxy", "").split(",")]
    if not proxy or any(_matches(host, parts.port, entry.strip().lower()) for entry in exempt):
        return None
    return proxy


def _matches(host: str, port: int | None, entry: str) -> bool:
    """Tell whether an entry of NO_PROXY means the host: `*`, a network, a name or `.suffix`, with or without a port."""
    if not entry or entry == "*":
        return bool(entry)
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        name, _, only = entry.partition(":")
        suffix = name.removeprefix("*").removeprefix(".")
        return only in ("", str(port)) and (host == suffix or host.endswith(f".{suffix}"))
