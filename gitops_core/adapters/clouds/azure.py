"""Microsoft Entra: access tokens of this process's identity, or of the application that a ServiceAccount is.

Source: github.com/fluxcd/pkg, auth/azure/provider.go.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gitops_core.adapters.clouds.sdks import CONNECT, READ, BearerToken, SdkMissing, shorten_message
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import Sensitive


def get_token(
    scope: str, names: tuple[str, ...] = (), proof: Sensitive | None = None, *, about: str = ""
) -> BearerToken:
    """Get a token. Blocks. Raises CredentialsInvalid, SdkMissing.

    Args:
        names: tenant and client; () for this process's own identity.
        proof: a token of the ServiceAccount that is this client.
        about: what it is for, for the message.
    """
    try:
        import azure.identity  # noqa: F401
        from azure.core.exceptions import AzureError
    except ImportError:
        raise SdkMissing("azure-identity") from None
    try:
        with _make_credential(names, proof) as credential:
            given = credential.get_token(scope)
    except (AzureError, ValueError) as error:
        raise CredentialsInvalid(f"azure gave no credentials for {about or scope}: {shorten_message(error)}") from None
    return BearerToken(Sensitive(given.token), datetime.fromtimestamp(given.expires_on, UTC))


def _make_credential(names: tuple[str, ...], proof: Sensitive | None) -> Any:
    from azure.identity import ClientAssertionCredential, DefaultAzureCredential

    limits: dict[str, Any] = {"connection_timeout": CONNECT, "read_timeout": READ, "retry_total": 1}
    if proof is not None:
        tenant, client = names
        return ClientAssertionCredential(tenant, client, proof.reveal_text, **limits)
    # environment, workload identity, managed identity: what starts programs or reads a developer's files stays out
    return DefaultAzureCredential(
        exclude_cli_credential=True,
        exclude_developer_cli_credential=True,
        exclude_powershell_credential=True,
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_interactive_browser_credential=True,
        exclude_broker_credential=True,
        **limits,
    )
