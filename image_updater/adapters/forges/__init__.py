"""Implements Forges: one HTTP session to the API of whatever forge a repository's URL names."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import NamedTuple, Self

import aiohttp

from gitops_core.adapters.http import find_proxy, open_session
from gitops_core.errors import StalledError
from gitops_core.meta import Sensitive
from gitops_core.ports import GitAccess
from gitops_core.recent import Recent
from image_updater.adapters.forges import gitea, github, gitlab
from image_updater.adapters.forges.addresses import find_endpoint
from image_updater.adapters.forges.talking import Talk
from image_updater.ports import Forge, ForgeAddress

AGENT = {"User-Agent": "sealoop", "Accept": "application/json"}
CONTEXT = 1 << 20
"""Bytes that a TLS context with the system's authorities takes, roughly."""
MOST_CONTEXTS = 64 * CONTEXT


class _Kind(NamedTuple):
    forge: Callable[[Talk, str], Forge]
    headers: Callable[[GitAccess], dict[str, Sensitive]]


KINDS: dict[str, _Kind] = {
    "gitea": _Kind(gitea.Gitea, gitea.make_headers),
    "github": _Kind(github.GitHub, github.make_headers),
    "gitlab": _Kind(gitlab.GitLab, gitlab.make_headers),
}


class HttpForges:
    """Implements Forges, inside `async with`.

    Args:
        environment: where proxies are named.
        total, read: seconds for one request, and without a single byte.
    """

    def __init__(self, environment: Mapping[str, str], *, total: float = 30.0, read: float = 20.0) -> None:
        self._environment, self._total, self._read = environment, total, read
        self._open: aiohttp.ClientSession | None = None
        self._contexts: Recent[bytes, ssl.SSLContext] = Recent(MOST_CONTEXTS)

    async def __aenter__(self) -> Self:
        self._open = open_session(total=self._total, read=self._read, connections=16, headers=AGENT)
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._open is not None:
            await self._open.close()
        self._open = None

    def make_forge(self, address: ForgeAddress) -> Forge:
        if self._open is None:
            raise RuntimeError("use the forges inside `async with`")
        endpoint, kind, access = find_endpoint(address), KINDS[address.kind], address.access
        try:
            headers = kind.headers(access)
        except ValueError:
            raise StalledError(f"the password for {endpoint.api} is not text") from None
        talk = Talk(
            session=self._open,
            api=endpoint.api,
            headers=headers,
            secrets=tuple(secret for secret in (access.password, access.bearer_token) if secret),
            tls=self._load_trust(access.ca),
            proxy=find_proxy(endpoint.api, self._environment),
        )
        return kind.forge(talk, endpoint.path)

    def _load_trust(self, ca: bytes | None) -> ssl.SSLContext | None:
        """Return the certificates to trust, None for the system's. Raises StalledError: `ca` holds none."""
        if ca is None:
            return None
        context = self._contexts.get(ca)
        if context is None:
            context = ssl.create_default_context()
            try:
                context.load_verify_locations(cadata=ca.decode("ascii"))
            except (ssl.SSLError, ValueError):
                raise StalledError("the certificates to trust (ca.crt) are not PEM") from None
            self._contexts.put(ca, context, CONTEXT + len(ca))
        return context
