"""Implements CloudLogins with the clouds' own SDKs: passwords for ECR, Artifact Registry (GAR, GCR) and ACR.

    aws     <account>.dkr.ecr.<region>.amazonaws.com, public.ecr.aws
    gcp     <location>-docker.pkg.dev, gcr.io, <location>.gcr.io
    azure   <name>.azurecr.io

The identity is that of a ServiceAccount's role, or this process's own, wherever its SDK finds one: the node's, the
ServiceAccount's, the environment's.
What a cloud gave is sent to hosts of that cloud only, so a registry of another name is refused. An SDK blocks, so it
runs in a thread; each is imported by the first login that needs it.

Source: github.com/fluxcd/pkg, auth/{aws,azure,gcp}/provider.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, NamedTuple

from gitops_core.adapters.clouds.sdks import SdkMissing, count_seconds
from gitops_core.adapters.oci.logins import aws, azure, gcp
from gitops_core.adapters.oci.logins.login import Login
from gitops_core.errors import CredentialsInvalid, StalledError
from gitops_core.oci.credentials import Credentials
from gitops_core.oci.references import Repository
from gitops_core.ports import NO_CLOUDS, CloudIdentity, Clouds
from gitops_core.runtime.sharing.remembered import Kept, Remembered

Provider = Literal["aws", "azure", "gcp"]
PATIENCE = 45.0
LOGIN = 8 << 10
"""Bytes that a login takes, roughly: the clouds' tokens have up to a few thousand characters."""
MOST_REMEMBERED = 500 * LOGIN
THREADS = 4


class _Cloud(NamedTuple):
    """One provider.

    Attributes:
        find_scope: what a login is good for, from the registry's host; "" when the host is none of this provider's.
        login: asks the cloud as this process; blocks.
        login_as: asks it as a ServiceAccount, whose part of the talk `Clouds` leads.
    """

    find_scope: Callable[[str], str]
    login: Callable[[str], Login]
    login_as: Callable[[Clouds, str, CloudIdentity], Awaitable[Callable[[], Login]]]
    hosts: str


CLOUDS: Mapping[str, _Cloud] = {
    "aws": _Cloud(aws.find_scope, aws.login, aws.login_as, aws.HOSTS),
    "azure": _Cloud(azure.find_scope, azure.login, azure.login_as, azure.HOSTS),
    "gcp": _Cloud(gcp.find_scope, gcp.login, gcp.login_as, gcp.HOSTS),
}


class SdkLogins:
    """Implements CloudLogins. To be closed.

    Args:
        clouds: give ServiceAccounts' tokens and keys.
    """

    def __init__(self, clouds: Clouds = NO_CLOUDS) -> None:
        self._clouds = clouds
        self._logins: Remembered[tuple[str, str, CloudIdentity | None], Credentials] = Remembered(
            MOST_REMEMBERED, lambda _: LOGIN
        )
        self._threads: dict[str, ThreadPoolExecutor] = {}

    async def close(self) -> None:
        """End without waiting for a cloud that does not answer."""
        await self._logins.close()
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)
        self._threads.clear()

    async def login(
        self, provider: Provider, repository: Repository, identity: CloudIdentity | None = None
    ) -> Credentials:
        cloud = CLOUDS[provider]
        scope = cloud.find_scope(repository.registry)
        if not scope or repository.insecure:
            cause = "is asked over plain HTTP" if scope else f"is none of provider {provider!r} ({cloud.hosts})"
            raise StalledError(f"registry {repository.registry!r} {cause}", reason=CredentialsInvalid.reason)
        return await self._logins.get((provider, scope, identity), lambda: self._ask(provider, cloud, scope, identity))

    async def _ask(
        self, provider: Provider, cloud: _Cloud, scope: str, identity: CloudIdentity | None
    ) -> Kept[Credentials]:
        ask: Callable[[], Login] = partial(cloud.login, scope)
        if identity is not None:
            ask = await cloud.login_as(self._clouds, scope, identity)
        # threads of its own for each cloud: one that hangs keeps no other one waiting
        threads = self._threads.setdefault(provider, ThreadPoolExecutor(THREADS, f"login-{provider}"))
        try:
            async with asyncio.timeout(PATIENCE):
                login = await asyncio.get_running_loop().run_in_executor(threads, ask)
        except TimeoutError:
            raise CredentialsInvalid(f"{provider} gave no credentials for {scope} within {PATIENCE:g}s") from None
        except SdkMissing as error:
            raise StalledError(
                f"provider {provider!r} needs {error}: install sealoop[{provider}]", reason=CredentialsInvalid.reason
            ) from None
        return Kept(login.credentials, count_seconds(login.expires))
