"""Artifact Registry and Container Registry: an access token of the Application Default Credentials, for an hour.

Source: https://cloud.google.com/artifact-registry/docs/docker/authentication#token.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from gitops_core.adapters.oci.logins.login import READ, Login, SdkMissing, shorten_message
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import Credentials

HOSTS = "<location>-docker.pkg.dev, gcr.io, <location>.gcr.io"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
USER = "oauth2accesstoken"

_HOST = re.compile(r"(?:[a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev")


def find_scope(registry: str) -> str:
    """Return the same for all registries of Google: one token is good for all of them."""
    return "Google's registries" if _HOST.fullmatch(registry) else ""


def login(scope: str) -> Login:
    """Log in to a registry of Google. Raises CredentialsInvalid, SdkMissing."""
    try:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request
    except ImportError:
        raise SdkMissing("google-auth") from None
    try:
        request = Request()
        credentials: Any = google.auth.default(scopes=SCOPES, request=request)[0]
        credentials.refresh(partial(request, timeout=READ))
    except GoogleAuthError as error:
        raise CredentialsInvalid(f"gcp gave no credentials for {scope}: {shorten_message(error)}") from None
    if not credentials.token:
        raise CredentialsInvalid(f"gcp gave no token for {scope}")
    expires = credentials.expiry.replace(tzinfo=UTC) if credentials.expiry else datetime.now(UTC) + timedelta(minutes=5)
    return Login(Credentials(USER, Sensitive(credentials.token)), expires)
