"""The provider vault: a key-value engine of HashiCorp Vault or OpenBao, and the ways to log in.

Source: github.com/external-secrets/external-secrets, apis/externalsecrets/v1/secretstore_vault_types.go.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gitops_core.meta import Wire
from gitops_core.schema import INT64, SERVER_DEFAULT, UNSUPPORTED
from secrets_sync.api.selectors import CaProvider, SecretKeySelector, ServiceAccountSelector


class VaultAppRole(Wire):
    """Log in with a role id (or the Secret key that holds it) and the secret id in `secretRef`."""

    secret_ref: SecretKeySelector
    path: Annotated[str, SERVER_DEFAULT] = "approle"
    role_id: str = ""
    role_ref: SecretKeySelector | None = None


class VaultKubernetes(Wire):
    """Log in with a ServiceAccount's token."""

    role: str
    mount_path: Annotated[str, SERVER_DEFAULT] = "kubernetes"
    service_account_ref: ServiceAccountSelector | None = None
    secret_ref: SecretKeySelector | None = None


class VaultLdap(Wire):
    """Log in with an LDAP user name and password."""

    username: str
    path: Annotated[str, SERVER_DEFAULT] = "ldap"
    secret_ref: SecretKeySelector | None = None


class VaultUserPass(Wire):
    """Log in with a user name and password."""

    username: str
    path: Annotated[str, SERVER_DEFAULT] = "userpass"
    secret_ref: SecretKeySelector | None = None


class VaultServiceAccountToken(Wire):
    """A token of a ServiceAccount to log in with."""

    service_account_ref: ServiceAccountSelector
    audiences: tuple[str, ...] = ()
    expiration_seconds: Annotated[int | None, INT64] = None


class VaultJwt(Wire):
    """Log in with a JWT, from a Secret or asked for on behalf of a ServiceAccount."""

    path: Annotated[str, SERVER_DEFAULT] = "jwt"
    role: str = ""
    secret_ref: SecretKeySelector | None = None
    kubernetes_service_account_token: VaultServiceAccountToken | None = None


class VaultCert(Wire):
    """Log in with a client certificate."""

    path: Annotated[str, SERVER_DEFAULT] = "cert"
    vault_role: str = ""
    client_cert: SecretKeySelector | None = None
    secret_ref: SecretKeySelector | None = None


class AwsCredentials(Wire):
    """AWS access keys in Secrets."""

    access_key_id: SecretKeySelector | None = msgspec.field(default=None, name="accessKeyIDSecretRef")
    secret_access_key: SecretKeySelector | None = msgspec.field(default=None, name="secretAccessKeySecretRef")
    session_token: SecretKeySelector | None = msgspec.field(default=None, name="sessionTokenSecretRef")


class AwsServiceAccount(Wire):
    """An AWS role that a ServiceAccount stands for."""

    service_account_ref: ServiceAccountSelector | None = None


class VaultIam(Wire):
    """Log in with a signed AWS request."""

    vault_role: str
    path: str = ""
    region: str = ""
    role: str = ""
    external_id: str = msgspec.field(default="", name="externalID")
    vault_aws_iam_server_id: str = msgspec.field(default="", name="vaultAwsIamServerID")
    secret_ref: AwsCredentials | None = None
    jwt: AwsServiceAccount | None = None


class GcpCredentials(Wire):
    """A Google service account key in a Secret."""

    secret_access_key: SecretKeySelector | None = msgspec.field(default=None, name="secretAccessKeySecretRef")


class GcpWorkloadIdentity(Wire):
    """A Google identity that a ServiceAccount stands for."""

    service_account_ref: ServiceAccountSelector
    cluster_location: str = ""
    cluster_name: str = ""
    cluster_project_id: str = msgspec.field(default="", name="clusterProjectID")


class VaultGcp(Wire):
    """Log in with a Google identity."""

    role: str
    path: Annotated[str, SERVER_DEFAULT] = "gcp"
    project_id: str = msgspec.field(default="", name="projectID")
    location: str = ""
    secret_ref: GcpCredentials | None = None
    workload_identity: GcpWorkloadIdentity | None = None
    service_account_ref: ServiceAccountSelector | None = None


class VaultAuth(Wire):
    """How to log in: exactly one way. `namespace` is where to log in, when not where the secrets are."""

    token_secret_ref: SecretKeySelector | None = None
    app_role: VaultAppRole | None = None
    namespace: Annotated[str, UNSUPPORTED] = ""
    kubernetes: Annotated[VaultKubernetes | None, UNSUPPORTED] = None
    ldap: Annotated[VaultLdap | None, UNSUPPORTED] = None
    user_pass: Annotated[VaultUserPass | None, UNSUPPORTED] = None
    jwt: Annotated[VaultJwt | None, UNSUPPORTED] = None
    cert: Annotated[VaultCert | None, UNSUPPORTED] = None
    iam: Annotated[VaultIam | None, UNSUPPORTED] = None
    gcp: Annotated[VaultGcp | None, UNSUPPORTED] = None


class VaultTls(Wire):
    """A client certificate: keys tls.crt and tls.key when the selectors name none."""

    cert_secret_ref: SecretKeySelector | None = None
    key_secret_ref: SecretKeySelector | None = None


class VaultCheckAndSet(Wire):
    """Whether writes name the version they replace."""

    required: bool = False


class VaultProvider(Wire):
    """A key-value engine, version 1 or 2, mounted at `path` of `server`.

    `caBundle` (base64 of PEM) or `caProvider` are the certificates to trust; the system's when neither is set.
    """

    server: str
    path: str | None = None
    version: Annotated[Literal["v1", "v2"], SERVER_DEFAULT] = "v2"
    namespace: str = ""
    auth: VaultAuth | None = None
    ca_bundle: bytes = b""
    ca_provider: CaProvider | None = None
    tls: Annotated[VaultTls | None, UNSUPPORTED] = None
    headers: Annotated[dict[str, str], UNSUPPORTED] = {}
    read_your_writes: Annotated[bool, UNSUPPORTED] = False
    forward_inconsistent: Annotated[bool, UNSUPPORTED] = False
    check_and_set: Annotated[VaultCheckAndSet | None, UNSUPPORTED] = None
