"""Google: access tokens of the Application Default Credentials, of a ServiceAccount's role, or of a key.

Source: github.com/fluxcd/pkg, auth/gcp/provider.go; cloud.google.com/iam/docs/workload-identity-federation.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

import msgspec

from gitops_core.adapters.clouds.sdks import READ, BearerToken, SdkMissing, shorten_message
from gitops_core.decoding import decode_json
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import Sensitive

TOKENS = "https://sts.googleapis.com/v1/token"
IMPERSONATION = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{}:generateAccessToken"
KEY_TOKENS = "https://oauth2.googleapis.com/token"


class _Key(msgspec.Struct):
    """The part of a key file that is used: an address in it would say where what it proves is sent."""

    type: Literal["service_account"]
    client_email: str
    private_key: str
    private_key_id: str = ""


def get_token(
    scope: str, names: tuple[str, ...] = (), proof: Sensitive | None = None, *, about: str = ""
) -> BearerToken:
    """Get a token. Blocks. Raises CredentialsInvalid, SdkMissing.

    Args:
        scope: several with blanks between them.
        names: the pool's provider, and an e-mail or ""; () for this process's own identity.
        proof: a token of the ServiceAccount, made for the pool.
        about: what it is for, for the message.
    """
    try:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request
    except ImportError:
        raise SdkMissing("google-auth") from None
    request = Request()
    try:
        if proof is None:
            credentials: Any = google.auth.default(scopes=scope.split(), request=request)[0]
        else:
            credentials = _federate(scope, names, proof)
        credentials.refresh(partial(request, timeout=READ))
    except GoogleAuthError as error:
        raise CredentialsInvalid(f"gcp gave no credentials for {about or scope}: {shorten_message(error)}") from None
    return _read(credentials)


def get_key_token(key: Sensitive, about: str, scope: str) -> BearerToken:
    """Get a token for a key. Blocks. Raises CredentialsInvalid, SdkMissing."""
    try:
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request
        from google.oauth2 import service_account
    except ImportError:
        raise SdkMissing("google-auth") from None
    try:
        held = decode_json(key.reveal(), _Key)
        info = {**msgspec.to_builtins(held), "token_uri": KEY_TOKENS}
        make: Any = service_account.Credentials.from_service_account_info
        credentials: Any = make(info, scopes=(scope,))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise CredentialsInvalid(f"{about} is no key of a Google service account (JSON)") from None
    try:
        credentials.refresh(partial(Request(), timeout=READ))
    except GoogleAuthError as error:
        raise CredentialsInvalid(f"gcp gave no token for {about}: {shorten_message(error)}") from None
    return _read(credentials)


def _federate(scope: str, names: tuple[str, ...], proof: Sensitive) -> Any:
    from google.auth import identity_pool

    class Supplier(identity_pool.SubjectTokenSupplier):
        def get_subject_token(self, context: object, request: object) -> str:
            return proof.reveal_text()

    audience, email = names
    make: Any = identity_pool.Credentials
    return make(
        audience=audience,
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",  # noqa: S106 - says what kind it is
        token_url=TOKENS,
        subject_token_supplier=Supplier(),
        service_account_impersonation_url=IMPERSONATION.format(email) if email else None,
        scopes=scope.split(),
    )


def _read(credentials: Any) -> BearerToken:
    if not credentials.token:
        raise CredentialsInvalid("gcp gave no token")
    expires = credentials.expiry.replace(tzinfo=UTC) if credentials.expiry else datetime.now(UTC) + timedelta(minutes=5)
    return BearerToken(Sensitive(credentials.token), expires)
