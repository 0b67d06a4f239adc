"""ECR: a password for twelve hours, for all registries of a region that the identity may read.

    123456789012.dkr.ecr.eu-central-1.amazonaws.com  ──>  ecr:GetAuthorizationToken in eu-central-1
    public.ecr.aws                                   ──>  ecr-public:GetAuthorizationToken in us-east-1

Source: https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html,
github.com/awslabs/amazon-ecr-credential-helper, ecr-login/api/client.go (the pattern of host names).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from gitops_core.adapters.clouds.sdks import CONNECT, READ, SdkMissing, shorten_message
from gitops_core.adapters.oci.logins.login import Login
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import Credentials
from gitops_core.ports import AwsKeys, CloudIdentity, Clouds

HOSTS = "<account>.dkr.ecr.<region>.amazonaws.com, public.ecr.aws"
PUBLIC, PUBLIC_REGION = "public.ecr.aws", "us-east-1"

_HOST = re.compile(
    r"[0-9]{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9][a-z0-9-]*)\."
    r"(?:amazonaws\.(?:com(?:\.cn)?|eu)|on\.(?:aws|amazonwebservices\.com\.cn)|sc2s\.sgov\.gov|c2s\.ic\.gov"
    r"|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)"
)


def find_scope(registry: str) -> str:
    """Return the region, or PUBLIC; "" for a host that is not a registry of AWS."""
    if registry == PUBLIC:
        return PUBLIC
    match = _HOST.fullmatch(registry)
    return match[1] if match else ""


async def login_as(clouds: Clouds, region: str, identity: CloudIdentity) -> Callable[[], Login]:
    """Get keys of a ServiceAccount's role; return what logs in with them, and blocks."""
    keys = await clouds.get_aws_keys(PUBLIC_REGION if region == PUBLIC else region, identity)
    return partial(login, region, keys)


def login(region: str, keys: AwsKeys | None = None) -> Login:
    """Log in to a registry of AWS, with this process's own keys or others. Raises CredentialsInvalid, SdkMissing."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise SdkMissing("boto3") from None
    limits = Config(connect_timeout=CONNECT, read_timeout=READ, retries={"total_max_attempts": 2})
    try:
        # a session of its own: boto3's default one is not made for several threads
        session = boto3.session.Session(**(_name(keys) if keys is not None else {}))
        if region == PUBLIC:
            client: Any = session.client("ecr-public", region_name=PUBLIC_REGION, config=limits)
            said = client.get_authorization_token()["authorizationData"]
        else:
            client = session.client("ecr", region_name=region, config=limits)
            said = client.get_authorization_token()["authorizationData"][0]
        username, _, password = base64.b64decode(said["authorizationToken"], validate=True).decode().partition(":")
    except (BotoCoreError, ClientError) as error:
        raise CredentialsInvalid(f"aws gave no credentials for ECR in {region}: {shorten_message(error)}") from None
    except (LookupError, TypeError, binascii.Error, UnicodeDecodeError):
        raise CredentialsInvalid(f"aws gave something else than credentials for ECR in {region}") from None
    return Login(Credentials(username, Sensitive(password)), said["expiresAt"])


def _name(keys: AwsKeys) -> dict[str, str]:
    token = {"aws_session_token": keys.session_token.reveal_text()} if keys.session_token is not None else {}
    return {
        "aws_access_key_id": keys.access_key,
        "aws_secret_access_key": keys.secret_key.reveal_text(),
        **token,
    }
