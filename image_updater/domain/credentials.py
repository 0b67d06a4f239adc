"""Registry credentials from a Secret of type kubernetes.io/dockerconfigjson.

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
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from gitops_core.meta import Sensitive
from image_updater.domain.references import DOCKER_HUB, Repository


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
    def secrets(self) -> tuple[Sensitive, ...]:
        return tuple(s for s in (self.password, self.identity_token, self.bearer_token) if s)


ANONYMOUS = Credentials()


@dataclass(frozen=True)
class RegistryAccess:
    """How to reach one registry: who we are, whom we trust, and through which proxy.

    Attributes:
        ca: PEM certificates to trust beside the system's.
        proxy: its URL, with user and password where it wants them.
    """

    credentials: Credentials = ANONYMOUS
    ca: bytes | None = None
    client_certificate: bytes | None = None
    client_key: Sensitive | None = None
    proxy: Sensitive | None = None


OPEN = RegistryAccess()
"""Anonymous, direct, with the system's certificates."""


def credentials_for(config: bytes, repository: Repository) -> Credentials:
    """What `config` says for the repository; anonymous when no entry fits.

    Raises:
        ValueError: not a docker configuration; the message quotes nothing of it.
    """
    try:
        auths = json.loads(config)["auths"]
        entries = [(_address(address), entry) for address, entry in auths.items() if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("not a docker configuration with 'auths'") from None
    fitting = [(path, host, entry) for (host, path), entry in entries if _fits(host, path, repository)]
    if not fitting:
        return ANONYMOUS
    return _credentials(max(fitting, key=lambda found: (len(found[0]), "*" not in found[1], found[1]))[2])


def _address(text: str) -> tuple[str, str]:
    """Host and path of an entry's key, which may be a URL."""
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


def _credentials(entry: Mapping[str, Any]) -> Credentials:
    username, password = entry.get("username") or "", entry.get("password") or ""
    if auth := entry.get("auth"):
        try:
            username, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (binascii.Error, ValueError, TypeError):
            raise ValueError("an 'auth' in the docker configuration is not base64 of user:password") from None
    identity, registry = entry.get("identitytoken"), entry.get("registrytoken")
    return Credentials(
        username=str(username),
        password=Sensitive(str(password)) if password else None,
        identity_token=Sensitive(str(identity)) if identity else None,
        bearer_token=Sensitive(str(registry)) if registry else None,
    )
