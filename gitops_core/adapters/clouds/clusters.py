"""Where the clusters are that a cloud runs, by its API, and what AWS's take as a token.

    aws    GET https://eks.REGION.amazonaws.com/clusters/NAME           a signed URL of STS's GetCallerIdentity
    gcp    GET https://container.googleapis.com/v1/projects/...         an access token
    azure  GET https://management.azure.com/subscriptions/...,          an access token for AKS
           POST .../listClusterUserCredential

Source: github.com/fluxcd/pkg, auth/{aws,azure,gcp}/provider.go; kubernetes-sigs/aws-iam-authenticator.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
import yaml
from yarl import URL

from gitops_core.adapters.http import BodyTooLarge, find_proxy, read_body
from gitops_core.adapters.oci import Sessions, explain_connection
from gitops_core.adapters.s3.signing import presign, sign
from gitops_core.decoding import convert, decode_json
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import RegistryAccess
from gitops_core.ports import AwsKeys, FoundCluster

T = TypeVar("T")

TOTAL, READ, SESSIONS = 30.0, 20.0, 8
LARGEST_ANSWER = 1 << 20
GOOGLE, AZURE = "https://container.googleapis.com/v1", "https://management.azure.com"
AZURE_VERSION = "2024-09-01"
TOKEN_SECONDS = 60
"""That the URL in an EKS token is good for by itself; the cluster takes it for 15 minutes."""
SCOPES: Mapping[str, str] = {
    "azure": "6dae42f8-4368-4678-94ff-3960e28e3630/.default",
    "gcp": "https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/userinfo.email",
}
MANAGEMENT: Mapping[str, str] = {"azure": f"{AZURE}/.default", "gcp": SCOPES["gcp"]}


class _Authority(msgspec.Struct):
    data: str


class _EksCluster(msgspec.Struct, rename="camel"):
    endpoint: str
    certificate_authority: _Authority


class _Eks(msgspec.Struct):
    cluster: _EksCluster


class _MasterAuth(msgspec.Struct, rename="camel"):
    cluster_ca_certificate: str


class _Gke(msgspec.Struct, rename="camel"):
    endpoint: str
    master_auth: _MasterAuth


class _AksProperties(msgspec.Struct, rename="camel"):
    aad_profile: dict[str, object] | None = None


class _Aks(msgspec.Struct):
    properties: _AksProperties


class _Kubeconfig(msgspec.Struct):
    value: str


class _AksCredentials(msgspec.Struct):
    kubeconfigs: list[_Kubeconfig]


class _Place(msgspec.Struct, rename="kebab"):
    server: str
    certificate_authority_data: str = ""


class _Named(msgspec.Struct):
    cluster: _Place


class _Clusters(msgspec.Struct):
    clusters: list[_Named]


class ClusterApis:
    """To be closed.

    Args:
        environment: whose proxies count, and whose certificates (AWS_CA_BUNDLE, SSL_CERT_FILE) `trust` is of.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._sessions = Sessions(TOTAL, READ, SESSIONS)

    async def close(self) -> None:
        await self._sessions.close()

    async def find_eks(self, region: str, name: str, keys: AwsKeys, trust: RegistryAccess) -> FoundCluster:
        host, path = f"eks.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}", f"/clusters/{name}"
        headers = sign("GET", host, path, "", datetime.now(UTC), region, keys, service="eks")
        found = (await self._ask("GET", f"https://{host}{path}", headers, trust, _Eks)).cluster
        return FoundCluster((found.endpoint,), _decode(found.certificate_authority.data))

    async def find_gke(self, cluster: str, token: Sensitive, trust: RegistryAccess) -> FoundCluster:
        url = f"{GOOGLE}/{quote(cluster, safe='/:')}"
        found = await self._ask("GET", url, _show(token), trust, _Gke)
        return FoundCluster((found.endpoint,), _decode(found.master_auth.cluster_ca_certificate))

    async def find_aks(self, cluster: str, token: Sensitive, trust: RegistryAccess) -> FoundCluster:
        base, version = f"{AZURE}{quote(cluster, safe='/()')}", f"api-version={AZURE_VERSION}"
        found = await self._ask("GET", f"{base}?{version}", _show(token), trust, _Aks)
        if found.properties.aad_profile is None:
            raise CredentialsInvalid(f"AKS cluster {cluster} has no Microsoft Entra ID integration, which is needed")
        url = f"{base}/listClusterUserCredential?{version}"
        places = [
            _read_place(each.value)
            for each in (await self._ask("POST", url, _show(token), trust, _AksCredentials)).kubeconfigs
        ]
        if not places:
            raise CredentialsInvalid(f"AKS cluster {cluster} has no kubeconfig")
        return FoundCluster(tuple(place.server for place in places), _decode(places[0].certificate_authority_data))

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], trust: RegistryAccess, type_: type[T]) -> T:
        about = f"{method} {url.partition('?')[0]}"
        try:
            async with (
                self._sessions.used(trust) as session,
                session.request(
                    method,
                    URL(url, encoded=True),
                    headers=headers,
                    allow_redirects=False,
                    proxy=find_proxy(url, self._environment),
                ) as response,
            ):
                status, body = response.status, await read_body(response, LARGEST_ANSWER)
        except BodyTooLarge as error:
            raise CredentialsInvalid(f"{about}: {error}") from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            cause = explain_connection(error, None).replace("the registry", "the cloud")
            raise CredentialsInvalid(f"{about}: {cause}") from None
        if status != HTTPStatus.OK:
            raise CredentialsInvalid(f"{about}: the cloud refuses this identity, or has no such cluster: HTTP {status}")
        try:
            return decode_json(body, type_)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise CredentialsInvalid(f"{about}: the answer is no description of a cluster") from None


def make_eks_token(region: str, name: str, keys: AwsKeys) -> Sensitive:
    """Make what an EKS cluster asks STS with, who we are; good for that cluster alone."""
    host = f"sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    pairs = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")]
    named = {"host": host, "x-k8s-aws-id": name}
    query = presign("GET", "/", pairs, named, datetime.now(UTC), region, keys, service="sts", seconds=TOKEN_SECONDS)
    encoded = base64.urlsafe_b64encode(f"https://{host}/?{query}".encode()).decode().rstrip("=")
    return Sensitive(f"k8s-aws-v1.{encoded}")


def _show(token: Sensitive) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.reveal_text()}"}


def _decode(text: str) -> bytes:
    try:
        authority = base64.b64decode(text, validate=True)
    except ValueError:
        authority = b""
    if b"-----BEGIN CERTIFICATE-----" not in authority:
        raise CredentialsInvalid("the cloud does not say whom to trust: the cluster's authority is no certificate")
    return authority


def _read_place(kubeconfig: str) -> _Place:
    try:
        clusters = convert(yaml.safe_load(base64.b64decode(kubeconfig, validate=True)), _Clusters).clusters
        return clusters[0].cluster
    except (yaml.YAMLError, msgspec.ValidationError, ValueError, LookupError, RecursionError):
        raise CredentialsInvalid("the cloud's kubeconfig of the cluster is none") from None
