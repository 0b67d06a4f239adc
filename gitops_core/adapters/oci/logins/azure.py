"""ACR: a Microsoft Entra token is exchanged for the registry's own refresh token, good for three hours.

    azure-identity ──> access token ──POST https://<registry>/oauth2/exchange──> refresh token

Source: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md, github.com/fluxcd/pkg, auth/azure/provider.go.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from gitops_core.adapters.clouds.azure import get_token
from gitops_core.adapters.clouds.sdks import CONNECT, READ
from gitops_core.adapters.oci.logins.login import Login
from gitops_core.decoding import decode_json
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import Credentials
from gitops_core.ports import CloudIdentity, Clouds

if TYPE_CHECKING:
    from requests import PreparedRequest

HOSTS = "<name>.azurecr.io, .cn, .us or .de"
USER = "00000000-0000-0000-0000-000000000000"
LARGEST_ANSWER = 64 << 10

_HOST = re.compile(r"[a-z0-9][a-z0-9.-]*\.azurecr\.(io|cn|us|de)")
_MANAGEMENT = {
    "cn": "https://management.chinacloudapi.cn/.default",
    "us": "https://management.usgovcloudapi.net/.default",
}
_PUBLIC = "https://management.azure.com/.default"


class _Exchanged(msgspec.Struct):
    refresh_token: str


class _Claims(msgspec.Struct):
    exp: float


def find_scope(registry: str) -> str:
    """Return the host itself: a refresh token is good for one registry."""
    return registry if _HOST.fullmatch(registry) else ""


def login(registry: str) -> Login:
    """Log in to a registry of Azure. Raises CredentialsInvalid, SdkMissing."""
    return exchange(registry, get_token(_find_management(registry), about=registry).token)


async def login_as(clouds: Clouds, registry: str, identity: CloudIdentity) -> Callable[[], Login]:
    """Get a token of a ServiceAccount's application; return what exchanges it, and blocks."""
    token = await clouds.get_token("azure", _find_management(registry), identity)
    return partial(exchange, registry, token)


def exchange(registry: str, token: Sensitive) -> Login:
    """Exchange a Microsoft Entra access token for the registry's refresh token. Raises CredentialsInvalid."""
    import requests  # azure-identity brought it already

    url = f"https://{registry}/oauth2/exchange"
    form = {"grant_type": "access_token", "service": registry, "access_token": token.reveal_text()}
    try:
        with (
            requests.Session() as session,
            session.post(url, form, auth=_keep, timeout=(CONNECT, READ), allow_redirects=False, stream=True) as said,
        ):
            status, body = said.status_code, said.raw.read(LARGEST_ANSWER, decode_content=True)
    except (requests.RequestException, OSError) as error:
        raise CredentialsInvalid(f"POST {url}: {type(error).__name__}") from None
    if status != requests.codes.ok:
        raise CredentialsInvalid(f"POST {url}: the registry refuses this identity: HTTP {status}")
    try:
        refresh = decode_json(body, _Exchanged).refresh_token
        claims = refresh.split(".")[1]
        padded = base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))
        expires = datetime.fromtimestamp(decode_json(padded, _Claims).exp, UTC)
    except (msgspec.MsgspecError, ValueError, LookupError, OverflowError, OSError, RecursionError):
        raise CredentialsInvalid(f"POST {url}: the answer is no refresh token") from None
    return Login(Credentials(USER, Sensitive(refresh)), expires)


def _find_management(registry: str) -> str:
    return _MANAGEMENT.get(registry.rpartition(".")[2], _PUBLIC)


def _keep(request: PreparedRequest) -> PreparedRequest:
    """Return the request without a password from ~/.netrc added to it."""
    return request
