"""Artifact Registry and Container Registry: an access token of the Application Default Credentials, for an hour.

Source: https://cloud.google.com/artifact-registry/docs/docker/authentication#token.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from gitops_core.adapters.clouds.gcp import get_token
from gitops_core.adapters.oci.logins.login import Login
from gitops_core.oci.credentials import Credentials
from gitops_core.ports import CloudIdentity, Clouds

HOSTS = "<location>-docker.pkg.dev, gcr.io, <location>.gcr.io"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
USER = "oauth2accesstoken"

_HOST = re.compile(r"(?:[a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev")


def find_scope(registry: str) -> str:
    """Return the same for all registries of Google: one token is good for all of them."""
    return "Google's registries" if _HOST.fullmatch(registry) else ""


def login(scope: str) -> Login:
    """Log in to a registry of Google. Raises CredentialsInvalid, SdkMissing."""
    given = get_token(SCOPE, about=scope)
    return Login(Credentials(USER, given.token), given.expires)


async def login_as(clouds: Clouds, scope: str, identity: CloudIdentity) -> Callable[[], Login]:
    """Get a token of a ServiceAccount's role, which is the password; it is kept by who gave it."""
    token = await clouds.get_token("gcp", SCOPE, identity)
    return lambda: Login(Credentials(USER, token), datetime.now(UTC))
