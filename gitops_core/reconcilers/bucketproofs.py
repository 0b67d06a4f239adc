"""Who we are to the store of a Bucket.

    provider   secretRef                    serviceAccountName, or the operator's default     neither
    generic    accesskey, secretkey         -                                                 sts ldap, or anonymous
    aws        accesskey, secretkey         its role, by the region's STS (or sts.endpoint)   the process's own identity
    gcp        serviceaccount: a JSON key   its role                                          the process's own identity

The process's own keys sign only what goes to AWS over TLS: who reads a signature may ask with it.

Source: github.com/fluxcd/source-controller, internal/bucket/{minio,gcp}.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gitops_core.api import Bucket
from gitops_core.api.fields import LocalReference
from gitops_core.domain.sources.identities import Provider, is_aws_host
from gitops_core.errors import StalledError
from gitops_core.meta import ObjectKey, Sensitive
from gitops_core.oci.credentials import RegistryAccess
from gitops_core.oci.reaching import Trust
from gitops_core.ports import AwsKeys, CloudIdentity, Clouds, Cluster
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.remotes.credentials import read_secret
from gitops_core.runtime.remotes.identities import read_identity
from gitops_core.runtime.remotes.registries import read_trust_secret

DENIED = "AuthenticationFailed"
GOOGLE = "https://storage.googleapis.com"
READ_ONLY = "https://www.googleapis.com/auth/devstorage.read_only"


class Proof(NamedTuple):
    """Keys to sign with, or a token to send; neither is anonymous."""

    keys: AwsKeys | None = None
    token: Sensitive | None = None


@dataclass(frozen=True)
class Prover:
    cluster: Cluster
    clouds: Clouds
    policy: Policy

    async def prove(self, wanted: Bucket, proxy: Sensitive | None) -> Proof:
        """Find what proves who asks for the bucket. Raises ValueError, CredentialsInvalid, StalledError, ClusterError.

        Args:
            proxy: the way to AWS's token service, and to an object store's own.
        """
        match wanted.spec.provider:
            case "gcp":
                return Proof(token=await self._find_google_token(wanted))
            case "aws" if wanted.spec.secret_ref is None:
                return Proof(await self._find_aws_keys(wanted, proxy))
            case _ if wanted.spec.secret_ref is not None:
                return Proof(await self._read_keys(ObjectKey(wanted.metadata.namespace, wanted.spec.secret_ref.name)))
            case _ if wanted.spec.sts is not None:
                return Proof(await self._log_in(wanted, proxy))
        return Proof()

    async def _read_keys(self, key: ObjectKey) -> AwsKeys:
        values = await read_secret(self.cluster, key)
        if not values.get("accesskey") or not values.get("secretkey"):
            raise ValueError(f"invalid '{key}' secret data: required fields 'accesskey' and 'secretkey'")
        return AwsKeys(values["accesskey"].decode("utf-8", "replace"), Sensitive(values["secretkey"]))

    async def _find_aws_keys(self, wanted: Bucket, proxy: Sensitive | None) -> AwsKeys:
        spec, identity = wanted.spec, await self._find_identity(wanted, "aws")
        if identity is None and (spec.insecure or not is_aws_host(spec.endpoint.removesuffix(":443"))):
            cause = f"{wanted.ref} would show this process's own identity to {spec.endpoint}, which is not AWS over TLS"
            raise StalledError(f"{cause}: set spec.serviceAccountName or spec.secretRef", reason=DENIED)
        sts = spec.sts.endpoint.rstrip("/") if spec.sts is not None else ""
        return await self.clouds.get_aws_keys(spec.region, identity, sts=sts, access=RegistryAccess(proxy=proxy))

    async def _find_google_token(self, wanted: Bucket) -> Sensitive:
        if wanted.spec.secret_ref is None:
            return await self.clouds.get_token("gcp", READ_ONLY, await self._find_identity(wanted, "gcp"))
        key = ObjectKey(wanted.metadata.namespace, wanted.spec.secret_ref.name)
        values = await read_secret(self.cluster, key)
        if not values.get("serviceaccount"):
            raise ValueError(f"invalid '{key}' secret data: required fields 'serviceaccount'")
        about = f"'serviceaccount' of secret '{key}'"
        return await self.clouds.get_google_token(Sensitive(values["serviceaccount"]), about, READ_ONLY)

    async def _find_identity(self, wanted: Bucket, provider: Provider) -> CloudIdentity | None:
        name = wanted.spec.service_account_name or self.policy.default_service_account
        if not name:
            return None
        return await read_identity(self.cluster, provider, ObjectKey(wanted.metadata.namespace, name))

    async def _log_in(self, wanted: Bucket, proxy: Sensitive | None) -> AwsKeys:
        sts, namespace = wanted.spec.sts, wanted.metadata.namespace
        if sts is None or sts.secret_ref is None:
            raise ValueError("spec.sts.secretRef is required for the 'ldap' STS provider")
        key = ObjectKey(namespace, sts.secret_ref.name)
        values = await read_secret(self.cluster, key)
        if not values.get("username") or not values.get("password"):
            fields = "username, password"
            raise ValueError(f"invalid '{key}' secret data for 'ldap' STS provider: required fields {fields}")
        way = await read_way(self.cluster, namespace, sts.cert_secret_ref, proxy)
        username = values["username"].decode("utf-8", "replace")
        return await self.clouds.log_in(sts.endpoint, username, Sensitive(values["password"]), way)


async def read_way(
    cluster: Cluster, namespace: str, certificates: LocalReference | None, proxy: Sensitive | None
) -> RegistryAccess:
    """Read whom to trust, and which certificate to show. Raises ValueError, ClusterError."""
    trust = Trust()
    if certificates is not None:
        trust = await read_trust_secret(cluster, ObjectKey(namespace, certificates.name))
    return RegistryAccess(ca=trust.ca, client_certificate=trust.certificate, client_key=trust.key, proxy=proxy)
