"""How an object says its registry is reached: the Secrets and the ServiceAccount that it names, together.

    secretRef, serviceAccountName   one docker configuration; of entries that fit equally well, secretRef's
    certSecretRef, proxySecretRef   whom to trust, which certificate to show, which way to go
    provider                        not generic: the cloud's login instead of the first line, by the account's role

Source: github.com/fluxcd/image-reflector-controller, internal/registry/options.go.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from hashlib import blake2b
from typing import Literal, Protocol

from gitops_core.api.fields import LocalReference
from gitops_core.errors import CredentialsInvalid, StalledError
from gitops_core.meta import SERVICE_ACCOUNT, Manifest, ObjectKey, ObjectMeta, ObjectRef, Sensitive
from gitops_core.oci.credentials import (
    OPEN,
    Credentials,
    Entry,
    RegistryAccess,
    choose_credentials,
    parse_entries,
)
from gitops_core.oci.reaching import ProxyUnsupported, Trust, read_proxy, read_trust
from gitops_core.oci.references import Repository
from gitops_core.ports import CloudLogins, Cluster, Compute, NoCloudLogins
from gitops_core.runtime.remotes.credentials import SECRET, decode_data, list_secrets
from gitops_core.runtime.remotes.identities import read_identity
from gitops_core.runtime.sharing.computing import IN_PLACE

CONFIG_KEYS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}
MOST_PULL_SECRETS = 50
ENTRY_WEIGHT = 20
"""What an entry of a docker configuration counts that is compared with a repository."""
TROUBLE = "failed to configure authentication options"

_KEY = secrets.token_bytes(32)


class Reach(Protocol):
    """What Flux's kinds say of a registry in their spec, each in the same words."""

    @property
    def secret_ref(self) -> LocalReference | None: ...
    @property
    def cert_secret_ref(self) -> LocalReference | None: ...
    @property
    def proxy_secret_ref(self) -> LocalReference | None: ...
    @property
    def service_account_name(self) -> str: ...
    @property
    def provider(self) -> Literal["generic", "aws", "azure", "gcp"]: ...


class InRegistry(Protocol):
    """An object that is about something in a registry."""

    @property
    def metadata(self) -> ObjectMeta: ...
    @property
    def spec(self) -> Reach: ...


async def read_registry_access(
    cluster: Cluster,
    wanted: InRegistry,
    repository: Repository,
    logins: CloudLogins | None = None,
    compute: Compute = IN_PLACE,
    default_account: str = "",
) -> RegistryAccess:
    """Read how to reach `repository`, which is `wanted`'s, with everything that `wanted` names.

    Args:
        default_account: as whom a cloud is asked where no ServiceAccount is named; "" for this process itself.

    Raises:
        CredentialsInvalid: an object that it names is missing, or is not what it should be.
        StalledError: it asks for what cannot be.
        ClusterError.
    """
    spec, namespace = wanted.spec, wanted.metadata.namespace
    try:
        proxy = (
            await read_proxy_secret(cluster, ObjectKey(namespace, spec.proxy_secret_ref.name))
            if spec.proxy_secret_ref
            else None
        )
        trust = (
            await read_trust_secret(cluster, ObjectKey(namespace, spec.cert_secret_ref.name))
            if spec.cert_secret_ref
            else Trust()
        )
        if spec.provider != "generic":
            name, identity = spec.service_account_name or default_account, None
            if name:
                identity = await read_identity(cluster, spec.provider, ObjectKey(namespace, name))
            credentials = await (logins or NoCloudLogins()).login(spec.provider, repository, identity)
        else:
            credentials = await _find_credentials(cluster, wanted, repository, compute)
    except ProxyUnsupported as error:
        raise StalledError(f"{TROUBLE}: {error}", reason="AuthenticationFailed") from None
    except (ValueError, CredentialsInvalid) as error:
        raise CredentialsInvalid(f"{TROUBLE}: {error}") from None
    return RegistryAccess(credentials, trust.ca, trust.certificate, trust.key, proxy)


def identify_access(access: RegistryAccess) -> str:
    """Identify an access by a text that equal ones share while this process lives; "" for the one that proves nothing.

    It is keyed with what only this process knows, so that nobody can try passwords on it.
    """
    if access == OPEN:
        return ""
    credentials = access.credentials
    digest = blake2b(key=_KEY, digest_size=16)
    values = (
        credentials.password,
        credentials.identity_token,
        credentials.bearer_token,
        access.client_key,
        access.proxy,
    )
    parts = (
        credentials.username.encode(),
        b"" if access.unverified else None,
        access.ca,
        access.client_certificate,
        *(value.reveal() if value is not None else None for value in values),
    )
    for part in parts:
        digest.update(b"-" if part is None else b"+" + blake2b(part, key=_KEY).digest())
    return digest.hexdigest()


def list_named_for_access(wanted: InRegistry) -> Iterator[ObjectRef]:
    """List the objects that `wanted` names to reach its registry; "*" for those that a ServiceAccount names."""
    spec, namespace = wanted.spec, wanted.metadata.namespace
    yield from list_secrets(namespace, spec.secret_ref, spec.cert_secret_ref, spec.proxy_secret_ref)
    if spec.service_account_name:
        yield ObjectRef(SERVICE_ACCOUNT, ObjectKey(namespace, spec.service_account_name))
        yield ObjectRef(SECRET, ObjectKey(namespace, "*"))


async def _find_credentials(
    cluster: Cluster, wanted: InRegistry, repository: Repository, compute: Compute
) -> Credentials:
    """Find the credentials for `repository` among those that `wanted` names. Raises ValueError."""
    namespace, configs = wanted.metadata.namespace, list[tuple[Entry, ...]]()
    if wanted.spec.secret_ref is not None:
        key = ObjectKey(namespace, wanted.spec.secret_ref.name)
        configs.append(await _read_entries(await _get_secret(cluster, key), key, compute))
    if wanted.spec.service_account_name:
        key = ObjectKey(namespace, wanted.spec.service_account_name)
        account = await cluster.get(ObjectRef(SERVICE_ACCOUNT, key))
        if account is None:
            raise ValueError(f"serviceaccount '{key}' not found")
        for name in _list_pull_secrets(account):
            secret = ObjectKey(namespace, name)
            manifest = await cluster.get(ObjectRef(SECRET, secret))
            if manifest is not None:  # the kubelet passes over those that are missing, too
                configs.append(await _read_entries(manifest, secret, compute))
    return await compute.run(ENTRY_WEIGHT * sum(map(len, configs)), choose_credentials, configs, repository)


def _list_pull_secrets(account: Manifest) -> list[str]:
    references = account.get("imagePullSecrets") or ()
    names = [str(reference.get("name") or "") for reference in references]
    return [name for name in dict.fromkeys(names) if name][:MOST_PULL_SECRETS]


async def _read_entries(manifest: Manifest, key: ObjectKey, compute: Compute) -> tuple[Entry, ...]:
    """Read the entries of a registry Secret, on the compute port. Raises ValueError."""
    size = sum(len(value or "") for value in (manifest.get("data") or {}).values())
    return await compute.run(size, _parse_entries, manifest, key)


def _parse_entries(manifest: Manifest, key: ObjectKey) -> tuple[Entry, ...]:
    """Parse the entries of a registry Secret. Raises ValueError."""
    field = CONFIG_KEYS.get(manifest.get("type") or "")
    if field is None:
        raise ValueError(f"secret '{key}' is not of type kubernetes.io/dockerconfigjson")
    try:
        return parse_entries(_decode(manifest, key).get(field, b""), bare=field == ".dockercfg")
    except ValueError as error:
        raise ValueError(f"secret '{key}': {error}") from None


async def read_trust_secret(cluster: Cluster, key: ObjectKey) -> Trust:
    """Read whom a Secret tells us to trust. Raises ValueError, ClusterError."""
    return read_trust(_decode(await _get_secret(cluster, key), key), str(key))


async def read_proxy_secret(cluster: Cluster, key: ObjectKey) -> Sensitive:
    """Read the proxy that a Secret names. Raises ValueError, ProxyUnsupported; ClusterError."""
    return read_proxy(_decode(await _get_secret(cluster, key), key), str(key))


async def _get_secret(cluster: Cluster, key: ObjectKey) -> Manifest:
    manifest = await cluster.get(ObjectRef(SECRET, key))
    if manifest is None:
        raise ValueError(f"secret '{key}' not found")
    return manifest


def _decode(manifest: Manifest, key: ObjectKey) -> dict[str, bytes]:
    try:
        return decode_data(manifest)
    except ValueError as error:
        raise ValueError(f"secret '{key}': {error}") from None
