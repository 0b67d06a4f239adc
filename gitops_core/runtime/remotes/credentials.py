"""From a Secret in one of Flux's shapes to what proves who we are to a Git remote.

    username, password                 basic
    bearerToken                        bearer, wins over basic
    identity, known_hosts, password    SSH key, hosts to trust, the key's passphrase
    ca.crt (caFile)                    certificates to trust beside the system's
    tls.crt, tls.key (certFile, keyFile)  client certificate

    githubAppID, githubAppPrivateKey, githubAppBaseURL, and githubAppInstallationID or githubAppInstallationOwner

and of another one, which names a proxy:

    address, username, password        http, https or socks5

Source: Flux, the Secret of GitRepository.spec.secretRef.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from gitops_core.api import GitRepository
from gitops_core.api.fields import LocalReference
from gitops_core.errors import CredentialsInvalid, GitAccessDenied, StalledError
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Sensitive
from gitops_core.oci.reaching import read_proxy
from gitops_core.ports import NO_CLOUDS, Clouds, Cluster, GitAccess, GitHubApp
from gitops_core.runtime.remotes.identities import read_identity

SECRET = Kind("", "v1", "Secret")
WRONG_PROVIDER = "InvalidProviderConfiguration"
NO_APP = "secretRef with github app data must be specified when provider is set to github"


def list_secrets(namespace: str, *references: LocalReference | None) -> Iterator[ObjectRef]:
    """List the Secrets that an object of that namespace names; None for what it does not."""
    return (ObjectRef(SECRET, ObjectKey(namespace, each.name)) for each in references if each is not None)


async def read_git_access(cluster: Cluster, namespace: str, secret_name: str, url: str) -> GitAccess:
    """Read the access that the Secret gives to `url`; no Secret ("") is anonymous.

    Raises:
        GitAccessDenied: no such Secret, or it lacks what the URL's protocol needs.
        ClusterError: the Secret could not be read.
    """
    if not secret_name:
        return GitAccess()
    key = ObjectKey(namespace, secret_name)
    return make_git_access(await _read_values(cluster, key), key, url)


async def read_repository_access(
    cluster: Cluster,
    repository: GitRepository,
    credentials: ObjectKey | None = None,
    clouds: Clouds = NO_CLOUDS,
    default_account: str = "",
) -> GitAccess:
    """Read how a GitRepository is reached: with its credentials, or those of another Secret, and by its proxy.

    Args:
        default_account: as whom a cloud is asked where no ServiceAccount is named; "" for this process itself.

    Raises:
        GitAccessDenied: a Secret is missing, or is not what it should be, or a cloud gives nothing.
        StalledError: it is no repository of its provider's; ClusterError.
    """
    spec, namespace = repository.spec, repository.metadata.namespace
    if credentials is None and spec.secret_ref is not None:
        credentials = ObjectKey(namespace, spec.secret_ref.name)
    if credentials is None and spec.provider == "github":
        raise StalledError(NO_APP, reason=WRONG_PROVIDER)
    own = ObjectKey(namespace, spec.secret_ref.name) if spec.secret_ref is not None else None
    access, is_own = GitAccess(), credentials == own
    if credentials is not None:
        values = await _read_values(cluster, credentials)
        if "githubAppID" in values and spec.provider != "github":
            cause = f"secretRef '{credentials}' has github app data but provider is not set to github"
            raise GitAccessDenied(cause, reason=WRONG_PROVIDER)
        if spec.provider in ("aws", "azure") and is_own:
            access = replace(make_git_access(values, credentials, spec.url), username="", password=None)
        elif spec.provider == "github" and (is_own or "githubAppID" in values):
            access = make_app_access(values, credentials)
        else:
            access = make_git_access(values, credentials, spec.url)
    if spec.provider in ("aws", "azure") and (credentials is None or is_own):
        access = await _log_in(cluster, repository, access, clouds, default_account)
    if spec.proxy_secret_ref is None:
        return access
    key = ObjectKey(namespace, spec.proxy_secret_ref.name)
    try:
        return replace(access, proxy=read_proxy(await _read_values(cluster, key), str(key)))
    except (ValueError, GitAccessDenied) as error:
        raise GitAccessDenied(f"failed to configure proxy options: {error}") from None


async def _log_in(
    cluster: Cluster, repository: GitRepository, access: GitAccess, clouds: Clouds, default_account: str
) -> GitAccess:
    """Add what a cloud gives for its repository. Raises GitAccessDenied, StalledError, ClusterError."""
    provider, name = repository.spec.provider, repository.spec.service_account_name or default_account
    if provider not in ("aws", "azure"):
        return access
    try:
        account = ObjectKey(repository.metadata.namespace, name)
        identity = await read_identity(cluster, provider, account) if name else None
        given = await clouds.get_git_access(provider, repository.spec.url, identity)
    except CredentialsInvalid as error:
        raise GitAccessDenied(f"failed to configure authentication options: {error}") from None
    return replace(access, username=given.username, password=given.password, bearer_token=given.bearer_token)


async def read_secret(cluster: Cluster, key: ObjectKey) -> dict[str, bytes]:
    """Read the values of a Secret. Raises ValueError, which names it and quotes nothing of it; ClusterError."""
    manifest = await cluster.get(ObjectRef(SECRET, key))
    if manifest is None:
        raise ValueError(f"failed to get secret '{key}': not found")
    try:
        return decode_data(manifest)
    except ValueError:
        raise ValueError(f"secret '{key}' holds data that is not base64") from None


async def _read_values(cluster: Cluster, key: ObjectKey) -> dict[str, bytes]:
    try:
        return await read_secret(cluster, key)
    except ValueError as error:
        raise GitAccessDenied(str(error)) from None


def make_app_access(values: Mapping[str, bytes], key: ObjectKey) -> GitAccess:
    """Make the access of the GitHub App in a Secret's decoded values. Raises GitAccessDenied."""
    texts = {name: value.decode("utf-8", "replace").strip() for name, value in values.items()}
    if not texts.get("githubAppID"):
        raise GitAccessDenied(NO_APP, reason=WRONG_PROVIDER)
    named = [name for name in ("githubAppInstallationID", "githubAppInstallationOwner") if texts.get(name)]
    if len(named) != 1:
        raise GitAccessDenied(
            f"secret '{key}' needs exactly one of githubAppInstallationID and githubAppInstallationOwner",
            reason=WRONG_PROVIDER,
        )
    for name in ("githubAppID", "githubAppInstallationID"):
        if name in texts and not re.fullmatch(r"[0-9]{1,18}", texts[name] or "0"):
            raise GitAccessDenied(f"secret '{key}': {name} is no number", reason=WRONG_PROVIDER)
    if not texts.get("githubAppPrivateKey"):
        raise GitAccessDenied(f"secret '{key}' has no githubAppPrivateKey", reason=WRONG_PROVIDER)
    api = texts.get("githubAppBaseURL", "").rstrip("/") or GitHubApp.api
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+(?:/[A-Za-z0-9._~/-]*)?", api):
        raise GitAccessDenied(f"secret '{key}': githubAppBaseURL is no URL of an API", reason=WRONG_PROVIDER)
    app = GitHubApp(
        int(texts["githubAppID"]),
        Sensitive(values["githubAppPrivateKey"]),
        int(texts.get("githubAppInstallationID") or 0),
        texts.get("githubAppInstallationOwner", ""),
        api,
    )
    return GitAccess(app=app, ca=values.get("ca.crt", values.get("caFile")))


def make_git_access(values: Mapping[str, bytes], key: ObjectKey, url: str) -> GitAccess:
    """Make the access that a Secret's decoded values stand for. Raises GitAccessDenied."""
    if url.startswith("ssh://"):
        return _make_ssh_access(values, key)
    username, password = values.get("username", b""), values.get("password")
    token = values.get("bearerToken")
    if password is not None and not username and not token:
        raise GitAccessDenied(f"secret '{key}' has a password but no username")
    certificate, client_key = (
        values.get("tls.crt", values.get("certFile")),
        values.get("tls.key", values.get("keyFile")),
    )
    if (certificate is None) != (client_key is None):  # one of a pair
        raise GitAccessDenied(f"secret '{key}' needs tls.crt and tls.key together")
    # a token goes before name and password
    return GitAccess(
        username="" if token else username.decode("utf-8", "replace"),
        password=None if token or password is None else Sensitive(password),
        bearer_token=Sensitive(token) if token else None,
        ca=values.get("ca.crt", values.get("caFile")),
        client_certificate=certificate,
        client_key=Sensitive(client_key) if client_key is not None else None,
    )


def _make_ssh_access(values: Mapping[str, bytes], key: ObjectKey) -> GitAccess:
    missing = [name for name in ("identity", "known_hosts") if not values.get(name)]
    if missing:
        raise GitAccessDenied(f"secret '{key}' has no {' and no '.join(missing)}, which ssh needs")
    passphrase = values.get("password")
    return GitAccess(
        identity=Sensitive(values["identity"]),
        known_hosts=values["known_hosts"],
        passphrase=Sensitive(passphrase) if passphrase else None,
    )


def decode_data(secret: Manifest) -> dict[str, bytes]:
    """Return the values of a Secret, by key. Raises ValueError, which quotes none of them: one is not base64."""
    encoded = (secret.get("data") or {}).items()
    try:
        return {name: base64.b64decode(text or "", validate=True) for name, text in encoded}
    except (ValueError, TypeError):
        raise ValueError("data is not base64") from None
