"""Registry credentials from Secrets of type kubernetes.io/dockerconfigjson (or dockercfg, which is `auths` alone).

    {"auths": {"ghcr.io": {"auth": "<base64 of user:password>"},
               "https://index.docker.io/v1/": {"username": "u", "password": "p"},
               "*.example.com/team": {"identitytoken": "..."}}}

Of the entries that fit a repository, the one with the longest path wins; `*` stands for one label of the host.

Source: kubernetes.io/docs/concepts/containers/images (config.json), kubernetes/pkg/credentialprovider/keyring.go.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from gitops_core.meta import Sensitive
from gitops_core.oci.references import DOCKER_HUB, Repository


@dataclass(frozen=True)
class Credentials:
    """How to prove who we are to one registry. All empty is anonymous.

    Attributes:
        identity_token: an OAuth2 refresh token, in the place of a password.
        bearer_token: sent as it is.
    """

    username: str = ""
    password: Sensitive | None = None
    identity_token: Sensitive | None = None
    bearer_token: Sensitive | None = None

    @property
    def is_exchanged(self) -> bool:
        """Tell whether a token server gives a token for them."""
        return self.bearer_token is None and bool(self.username or self.password or self.identity_token)

    @property
    def secrets(self) -> tuple[Sensitive, ...]:
        return tuple(s for s in (self.password, self.identity_token, self.bearer_token) if s)


ANONYMOUS = Credentials()


@dataclass(frozen=True)
class RegistryAccess:
    """How to reach one registry: who we are, whom we trust, and through which proxy.

    Attributes:
        ca: PEM certificates to trust beside the system's.
        proxy: its URL, with user and password where it wants them.
        unverified: TLS with whatever certificate there is, and else plain HTTP.
    """

    credentials: Credentials = ANONYMOUS
    ca: bytes | None = None
    client_certificate: bytes | None = None
    client_key: Sensitive | None = None
    proxy: Sensitive | None = None
    unverified: bool = False


OPEN = RegistryAccess()
"""Anonymous, direct, with the system's certificates."""


class Entry(NamedTuple):
    """What a docker configuration says of one registry, or of what is below `path` there."""

    host: str
    path: str
    said: Mapping[str, Any]


_ELSEWHERE = "this docker configuration leaves its passwords to a program of another machine: write them into 'auths'"
_HELPED = {"credHelpers": True}
"""What is said of a registry whose password only a credential helper knows."""


def parse_entries(config: bytes, *, bare: bool = False) -> tuple[Entry, ...]:
    """Parse the entries of one configuration.

    Args:
        bare: a `.dockercfg`, whose entries stand at the top.

    Raises:
        ValueError: not a docker configuration; the message quotes nothing of it.
    """
    try:
        decoded = json.loads(config)
        auths = decoded if bare else decoded.get("auths") or {}
        store, helpers = (None, {}) if bare else (decoded.get("credsStore"), decoded.get("credHelpers") or {})
        found = {address: said for address, said in auths.items() if isinstance(said, dict)}
        helped = {address for address, said in found.items() if not said and store} | helpers.keys()
        is_none = not bare and "auths" not in decoded and not helped
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError("not a docker configuration with 'auths'") from None
    if store and not found and not helpers:
        raise ValueError(f"{_ELSEWHERE} (credsStore)")
    if is_none:
        raise ValueError("not a docker configuration with 'auths'")
    found |= {address: _HELPED for address in helped if not found.get(address)}
    return tuple(Entry(*_split_address(address), said) for address, said in found.items())


def choose_credentials(configs: Iterable[Iterable[Entry]], repository: Repository) -> Credentials:
    """Choose from the configurations' credentials; of entries that fit equally well, the first configuration's counts.

    Raises:
        ValueError: the entry that fits cannot be read; the message quotes nothing of it.
    """
    fitting = [e for entries in configs for e in _index_by_host(entries) if _fits(e.host, e.path, repository)]
    if not fitting:
        return ANONYMOUS
    return _read_credentials(max(fitting, key=lambda entry: (len(entry.path), "*" not in entry.host)).said)


def _index_by_host(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.host, reverse=True)


def _split_address(text: str) -> tuple[str, str]:
    """Split an entry's key, which may be a URL, into host and path."""
    bare = text.partition("://")[2] or text
    host, _, path = bare.partition("/")
    first, _, rest = path.partition("/")
    if first in ("v1", "v2"):  # `https://index.docker.io/v1/`: an address of the API, not of a repository
        path = rest
    return (DOCKER_HUB if host == "docker.io" else host), path.strip("/")


def _fits(host: str, path: str, repository: Repository) -> bool:
    wanted, labels = repository.registry.split("."), host.split(".")
    if len(wanted) != len(labels) or not all(map(fnmatchcase, wanted, labels)):
        return False
    return not path or repository.path == path or repository.path.startswith(f"{path}/")


def _read_credentials(entry: Mapping[str, Any]) -> Credentials:
    if entry is _HELPED:
        raise ValueError(f"{_ELSEWHERE} (credsStore, credHelpers)")
    username, password = entry.get("username") or "", entry.get("password") or ""
    if auth := entry.get("auth"):
        try:
            username, password = _decode(auth).split(":", 1)
        except (binascii.Error, ValueError, TypeError, AttributeError):
            raise ValueError("an 'auth' in the docker configuration is not base64 of user:password") from None
    identity, registry = entry.get("identitytoken"), entry.get("registrytoken")
    return Credentials(
        username=str(username),
        password=Sensitive(str(password)) if password else None,
        identity_token=Sensitive(str(identity)) if identity else None,
        bearer_token=Sensitive(str(registry)) if registry else None,
    )


def _decode(auth: str) -> str:
    """Decode base64 with or without padding, on one line or several, as the kubelet does
    (credentialprovider/config.go).
    """
    text = auth.replace("\n", "").replace("\r", "")
    if not text.rstrip().endswith("="):
        text += "=" * (-len(text) % 4)
    return base64.b64decode(text, validate=True).decode()
