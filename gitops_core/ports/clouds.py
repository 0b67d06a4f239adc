"""Who we are to the big clouds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from gitops_core.domain.sources.identities import Role
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import (
    ObjectKey,
    Sensitive,
)
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.ports.git import GitAccess


@dataclass(frozen=True)
class CloudIdentity:
    """A ServiceAccount with a role in a cloud.

    Attributes:
        uid: the account's, for another one may get its name.
        prove: requests a token of the account, which only the cloud's token service takes.
    """

    account: ObjectKey
    uid: str
    role: Role
    prove: Callable[[], Awaitable[Sensitive]] = field(compare=False, repr=False)


class AwsKeys(NamedTuple):
    """What requests to AWS, and to stores that speak S3's API, are signed with."""

    access_key: str
    secret_key: Sensitive
    session_token: Sensitive | None = None


class FoundCluster(NamedTuple):
    """A cluster as its cloud describes it: the addresses of its API server, and in PEM whom to trust there."""

    addresses: tuple[str, ...]
    ca: bytes


class Clouds(Protocol):
    """Who we are to the big clouds, proven by keys and tokens that live shortly; they are kept while they last.

    An identity of None is this process's own: whoever is given its keys or tokens sends them to that cloud alone.
    Every method raises CredentialsInvalid (the cloud gave none) and StalledError (its SDK is not installed, or what is
    asked cannot be).
    """

    async def get_aws_keys(
        self, region: str, identity: CloudIdentity | None, *, sts: str = "", access: RegistryAccess = OPEN
    ) -> AwsKeys:
        """Return keys of AWS.

        Args:
            region: "" for the process's own.
            sts: the address of the token service, which is AWS's; "" for the region's.
            access: the way to it.
        """
        ...

    async def get_token(
        self, provider: Literal["azure", "gcp"], scope: str, identity: CloudIdentity | None
    ) -> Sensitive:
        """Return a bearer token for that scope."""
        ...

    async def get_google_token(self, key: Sensitive, about: str, scope: str) -> Sensitive:
        """Return a bearer token for the key (a JSON file) of a Google service account, which errors call `about`."""
        ...

    async def get_git_access(
        self, provider: Literal["aws", "azure"], url: str, identity: CloudIdentity | None
    ) -> GitAccess:
        """Return what proves who asks for a repository of that cloud's. Raises StalledError: it is none, or not TLS."""
        ...

    async def find_cluster(
        self, provider: Literal["aws", "azure", "gcp"], cluster: str, identity: CloudIdentity | None
    ) -> FoundCluster:
        """Find where a cluster is that the cloud runs, by its name there (domain/sync/remotes)."""
        ...

    async def get_cluster_token(
        self,
        provider: Literal["aws", "azure", "gcp"],
        cluster: str,
        identity: CloudIdentity | None,
        *,
        anew: bool = False,
    ) -> Sensitive:
        """Return a bearer token that the cluster takes; `anew`: not the one that is kept."""
        ...

    async def log_in(self, endpoint: str, username: str, password: Sensitive, access: RegistryAccess = OPEN) -> AwsKeys:
        """Return keys from an object store's own token service, which asks a directory (LDAP) for the password."""
        ...


class NoClouds:
    """Implements Clouds where there are none."""

    async def get_aws_keys(
        self, region: str, identity: CloudIdentity | None, *, sts: str = "", access: RegistryAccess = OPEN
    ) -> AwsKeys:
        raise _make_cloudless("aws")

    async def get_token(
        self, provider: Literal["azure", "gcp"], scope: str, identity: CloudIdentity | None
    ) -> Sensitive:
        raise _make_cloudless(provider)

    async def get_google_token(self, key: Sensitive, about: str, scope: str) -> Sensitive:
        raise _make_cloudless("gcp")

    async def get_git_access(
        self, provider: Literal["aws", "azure"], url: str, identity: CloudIdentity | None
    ) -> GitAccess:
        raise _make_cloudless(provider)

    async def find_cluster(
        self, provider: Literal["aws", "azure", "gcp"], cluster: str, identity: CloudIdentity | None
    ) -> FoundCluster:
        raise _make_cloudless(provider)

    async def get_cluster_token(
        self,
        provider: Literal["aws", "azure", "gcp"],
        cluster: str,
        identity: CloudIdentity | None,
        *,
        anew: bool = False,
    ) -> Sensitive:
        raise _make_cloudless(provider)

    async def log_in(self, endpoint: str, username: str, password: Sensitive, access: RegistryAccess = OPEN) -> AwsKeys:
        raise _make_cloudless("ldap")


NO_CLOUDS = NoClouds()


def _make_cloudless(provider: str) -> CredentialsInvalid:
    return CredentialsInvalid(f"no identity of provider {provider!r} is set up in this process")
