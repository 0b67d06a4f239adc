"""Implements Clouds: with the clouds' SDKs, in threads, and for AWS's token service by one request of our own.

    this process    boto3, google-auth, azure-identity: the node's, the ServiceAccount's, the environment's
    ServiceAccount  a token of it, made for the cloud's token service, is exchanged for what its role may have

Of each identity what it was given is kept apart, by its ServiceAccount's uid and role.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from gitops_core.adapters.clouds import aws, azure, gcp
from gitops_core.adapters.clouds.clusters import MANAGEMENT, SCOPES, ClusterApis, make_eks_token
from gitops_core.adapters.clouds.repositories import (
    AWS_HOSTS,
    AZURE_HOSTS,
    DEVOPS,
    find_codecommit,
    is_azure_devops,
    make_password,
    make_username,
)
from gitops_core.adapters.clouds.sdks import BearerToken, SdkMissing, count_seconds
from gitops_core.adapters.s3.answers import Given
from gitops_core.adapters.s3.keys import KeyServices
from gitops_core.domain.sources.identities import (
    Provider,
    is_region,
    is_sts_endpoint,
    split_address,
    write_sts_endpoint,
)
from gitops_core.errors import CredentialsInvalid, StalledError
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.ports import AwsKeys, CloudIdentity, FoundCluster, GitAccess
from gitops_core.runtime.remotes.registries import identify_access
from gitops_core.runtime.sharing.remembered import Kept, Remembered

T = TypeVar("T")

PATIENCE = 45.0
THREADS = 4
GIVEN = 8 << 10
"""Bytes that keys, a token or a cluster's description take, roughly."""
CLUSTER_SECONDS = 600.0
EKS_SECONDS = PASSWORD_SECONDS = 600.0
"""A token, or a password for CodeCommit, is taken for 15 minutes."""
MOST_REMEMBERED = 500 * GIVEN
LONGEST_SESSION_NAME = 64
LARGEST_FILE = 1 << 20


class SdkClouds:
    """To be closed.

    Args:
        environment: whose proxies count, AWS_CA_BUNDLE or SSL_CERT_FILE, and what AWS's webhook writes into it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._services, self._apis = KeyServices(environment), ClusterApis(environment)
        self._clusters: Remembered[Hashable, FoundCluster] = Remembered(MOST_REMEMBERED, lambda _: GIVEN)
        self._keys: Remembered[Hashable, AwsKeys] = Remembered(MOST_REMEMBERED, lambda _: GIVEN)
        self._tokens: Remembered[Hashable, Sensitive] = Remembered(MOST_REMEMBERED, lambda _: GIVEN)
        self._passwords: Remembered[Hashable, GitAccess] = Remembered(MOST_REMEMBERED, lambda _: GIVEN)
        self._threads: dict[str, ThreadPoolExecutor] = {}

    async def close(self) -> None:
        """End without waiting for a cloud that does not answer."""
        await self._keys.close()
        await self._tokens.close()
        await self._clusters.close()
        await self._passwords.close()
        await self._services.close()
        await self._apis.close()
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)
        self._threads.clear()

    async def get_aws_keys(
        self, region: str, identity: CloudIdentity | None, *, sts: str = "", access: RegistryAccess = OPEN
    ) -> AwsKeys:
        if region and not is_region(region):
            raise StalledError(f"{region[:60]!r} is no region of AWS", reason=CredentialsInvalid.reason)
        if sts and not is_sts_endpoint(sts):
            cause = "is no token service of AWS's: name one as https://sts.eu-central-1.amazonaws.com"
            raise StalledError(f"the STS endpoint {sts[:200]!r} {cause}", reason=CredentialsInvalid.reason)
        key = ("aws", region, identity, sts, identify_access(access))
        return await self._keys.get(key, lambda: self._ask_aws(region, identity, sts, access))

    async def get_token(
        self, provider: Literal["azure", "gcp"], scope: str, identity: CloudIdentity | None
    ) -> Sensitive:
        async def ask() -> Kept[Sensitive]:
            proof = await identity.prove() if identity is not None else None
            names = identity.role.names if identity is not None else ()
            cloud = azure if provider == "azure" else gcp
            return _keep(await self._run(provider, lambda: cloud.get_token(scope, names, proof)))

        return await self._tokens.get((provider, scope, identity), ask)

    async def get_google_token(self, key: Sensitive, about: str, scope: str) -> Sensitive:
        async def ask() -> Kept[Sensitive]:
            return _keep(await self._run("gcp", lambda: gcp.get_key_token(key, about, scope)))

        return await self._tokens.get(("key", key, scope), ask)

    async def get_git_access(
        self, provider: Literal["aws", "azure"], url: str, identity: CloudIdentity | None
    ) -> GitAccess:
        if provider == "azure":
            if not is_azure_devops(url):
                raise _refuse_repository(url, f"{provider!r} (https, {AZURE_HOSTS})")
            return GitAccess(bearer_token=await self.get_token("azure", DEVOPS, identity))
        repository = find_codecommit(url)
        if repository is None:
            raise _refuse_repository(url, f"{provider!r} (https, {AWS_HOSTS}/v1/repos/NAME)")

        async def ask() -> Kept[GitAccess]:
            keys = await self.get_aws_keys(repository.region, identity)
            password = make_password(repository, datetime.now(UTC), keys)
            return Kept(GitAccess(make_username(keys), password), PASSWORD_SECONDS)

        return await self._passwords.get((repository, identity), ask)

    async def find_cluster(self, provider: Provider, cluster: str, identity: CloudIdentity | None) -> FoundCluster:
        async def ask() -> Kept[FoundCluster]:
            trust = await self._trust(OPEN)
            if provider == "aws":
                region, name = _split(cluster)
                keys = await self.get_aws_keys(region, identity)
                return Kept(await self._apis.find_eks(region, name, keys, trust), CLUSTER_SECONDS)
            token = await self.get_token(provider, MANAGEMENT[provider], identity)
            find = self._apis.find_gke if provider == "gcp" else self._apis.find_aks
            return Kept(await find(cluster, token, trust), CLUSTER_SECONDS)

        return await self._clusters.get((provider, cluster, identity), ask)

    async def get_cluster_token(
        self, provider: Provider, cluster: str, identity: CloudIdentity | None, *, anew: bool = False
    ) -> Sensitive:
        if provider != "aws":
            if anew:
                self._tokens.forget((provider, SCOPES[provider], identity))
            return await self.get_token(provider, SCOPES[provider], identity)
        region, name = _split(cluster)

        async def ask() -> Kept[Sensitive]:
            return Kept(make_eks_token(region, name, await self.get_aws_keys(region, identity)), EKS_SECONDS)

        if anew:
            self._tokens.forget(("eks", cluster, identity))
        return await self._tokens.get(("eks", cluster, identity), ask)

    async def log_in(self, endpoint: str, username: str, password: Sensitive, access: RegistryAccess = OPEN) -> AwsKeys:
        async def ask() -> Kept[AwsKeys]:
            given = await self._services.log_in(endpoint, username, password, access)
            return Kept(given.keys, count_seconds(given.expires))

        return await self._keys.get(("ldap", endpoint, username, password, identify_access(access)), ask)

    async def _ask_aws(
        self, region: str, identity: CloudIdentity | None, sts: str, access: RegistryAccess
    ) -> Kept[AwsKeys]:
        given = await self._find_aws_keys(region, identity, sts, access)
        return Kept(given.keys, count_seconds(given.expires))

    async def _find_aws_keys(
        self, region: str, identity: CloudIdentity | None, sts: str, access: RegistryAccess
    ) -> Given:
        file, role = (self._environment.get(f"AWS_{name}", "") for name in ("WEB_IDENTITY_TOKEN_FILE", "ROLE_ARN"))
        if identity is not None:
            if not region:
                cause = f"ServiceAccount/{identity.account} is not known to AWS without a region"
                raise StalledError(f"{cause}: set spec.region", reason=CredentialsInvalid.reason)
            account = identity.account
            session = f"{account.name}.{account.namespace}.{region}.fluxcd.io"[:LONGEST_SESSION_NAME]
            proof, (arn,) = await identity.prove(), identity.role.names
        elif sts and file and role:  # the SDK would ask another one
            session, arn = re.sub(r"[^\w+=,.@-]", "-", self._environment.get("AWS_ROLE_SESSION_NAME", "sealoop")), role
            proof = await asyncio.to_thread(_read_file, Path(file))
        else:
            return await self._run("aws", lambda: aws.find_own_keys(region))
        endpoint = sts or write_sts_endpoint(region)
        return await self._services.assume_role(endpoint, arn, session, proof, await self._trust(access))

    async def _trust(self, access: RegistryAccess) -> RegistryAccess:
        """Trust also whom AWS's own tools, and OpenSSL's, are told to."""
        if not (bundle := self._environment.get("AWS_CA_BUNDLE") or self._environment.get("SSL_CERT_FILE") or ""):
            return access
        return replace(access, ca=(await asyncio.to_thread(_read_file, Path(bundle))).reveal())

    async def _run(self, provider: str, ask: Callable[[], T]) -> T:
        # threads of its own for each cloud: one that hangs keeps no other one waiting
        threads = self._threads.setdefault(provider, ThreadPoolExecutor(THREADS, f"identity-{provider}"))
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.get_running_loop().run_in_executor(threads, ask)
        except TimeoutError:
            raise CredentialsInvalid(f"{provider} gave no credentials within {PATIENCE:g}s") from None
        except SdkMissing as error:
            raise StalledError(
                f"provider {provider!r} needs {error}: install sealoop[{provider}]", reason=CredentialsInvalid.reason
            ) from None


def _refuse_repository(url: str, provider: str) -> StalledError:
    address = split_address(url)
    where = f"{address.scheme}://{address.hostname}{address.path}"[:200]
    return StalledError(f"{where} is no repository of provider {provider}", reason="InvalidProviderConfiguration")


def _split(cluster: str) -> tuple[str, str]:
    region, name = cluster.split(":")[3], cluster.rpartition("/")[2]
    return region, name


def _keep(given: BearerToken) -> Kept[Sensitive]:
    return Kept(given.token, count_seconds(given.expires))


def _read_file(file: Path) -> Sensitive:
    try:
        with file.open("rb") as opened:
            return Sensitive(opened.read(LARGEST_FILE).strip())
    except OSError as error:
        raise CredentialsInvalid(f"{file} cannot be read: {error.strerror}") from None
