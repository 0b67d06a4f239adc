"""Keys that live shortly, from a service that takes another proof for them.

    POST https://sts.eu-central-1.amazonaws.com/    Action=AssumeRoleWithWebIdentity&WebIdentityToken=...&RoleArn=...
    POST https://minio.example:9000/                Action=AssumeRoleWithLDAPIdentity&LDAPUsername=...&LDAPPassword=...

No redirect is followed: a proof is for one host.

Source: docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html,
github.com/minio/minio, docs/sts/ldap.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote_plus, urlencode

import aiohttp
from yarl import URL

from gitops_core.adapters.http import BodyTooLarge, find_proxy, read_body
from gitops_core.adapters.oci import Sessions, explain_connection, find_http_proxy
from gitops_core.adapters.s3.answers import Given, read_error, read_keys
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import RegistryAccess
from gitops_core.runtime.sharing.places import Places, PlacesTaken

PER_HOST, TOTAL, READ, QUEUE, SESSIONS = 8, 30.0, 20.0, 10.0, 16
LARGEST_ANSWER = 64 << 10
LONGEST_CAUSE = 300
VERSION = "2011-06-15"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class KeyServices:
    """To be closed.

    Args:
        environment: as that of S3Buckets.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._sessions = Sessions(TOTAL, READ, SESSIONS)
        self._places = Places(remote=None, per_host=PER_HOST, patience=QUEUE)

    async def close(self) -> None:
        await self._sessions.close()

    async def assume_role(
        self, endpoint: str, role: str, session: str, token: Sensitive, access: RegistryAccess
    ) -> Given:
        """Assume a role of AWS's by a token of a ServiceAccount. Raises CredentialsInvalid."""
        form = {"RoleArn": role, "RoleSessionName": session}
        return await self._ask(endpoint, "AssumeRoleWithWebIdentity", form, "WebIdentityToken", token, access)

    async def log_in(self, endpoint: str, username: str, password: Sensitive, access: RegistryAccess) -> Given:
        """Log in to an object store with a name and a password of its directory. Raises CredentialsInvalid."""
        form = {"LDAPUsername": username}
        return await self._ask(endpoint, "AssumeRoleWithLDAPIdentity", form, "LDAPPassword", password, access)

    async def _ask(
        self,
        endpoint: str,
        action: str,
        form: Mapping[str, str],
        field: str,
        secret: Sensitive,
        access: RegistryAccess,
    ) -> Given:
        about = f"POST {endpoint[:LONGEST_CAUSE]} ({action})"
        body = urlencode({"Action": action, "Version": VERSION, **form, field: secret.reveal()})
        try:
            address, proxy = URL(endpoint, encoded=True), find_http_proxy(access)
            if access.proxy is None:
                proxy = find_proxy(endpoint, self._environment)
            async with (
                self._places.taken(address.authority, TOTAL),
                self._sessions.used(access) as session,
                session.post(address, data=body, headers=FORM, allow_redirects=False, proxy=proxy) as response,
            ):
                status, answer = response.status, await read_body(response, LARGEST_ANSWER)
        except PlacesTaken as error:
            raise CredentialsInvalid(f"{about}: it is busy or hangs: {error}") from None
        except BodyTooLarge as error:
            raise CredentialsInvalid(f"{about}: {error}") from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            cause = explain_connection(error, access.proxy).replace("the registry", "the token service")
            raise CredentialsInvalid(f"{about}: {cause}") from None
        if status != HTTPStatus.OK:
            told = " ".join(read_error(answer).split())
            for shown in (secret.reveal().decode("utf-8", "replace"), quote_plus(secret.reveal())):
                told = told.replace(shown, "***")  # of a service that repeats what it was sent
            raise CredentialsInvalid(f"{about}: {status} {told[:LONGEST_CAUSE]}".rstrip())
        try:
            return read_keys(answer)
        except ValueError as error:
            raise CredentialsInvalid(f"{about}: the answer is none: {error}") from None
