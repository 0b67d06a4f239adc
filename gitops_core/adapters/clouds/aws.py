"""AWS: this process's own keys, wherever boto3 finds some."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from gitops_core.adapters.clouds.sdks import SdkMissing, shorten_message
from gitops_core.adapters.s3.answers import Given
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import Sensitive
from gitops_core.ports import AwsKeys

FRESH = timedelta(minutes=10)
"""For how long boto3's keys last at least: it renews them before."""


def find_own_keys(region: str) -> Given:
    """Find them. Blocks. Raises CredentialsInvalid, SdkMissing."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise SdkMissing("boto3") from None
    try:
        # a session of its own: boto3's default one is not made for several threads
        found: Any = boto3.session.Session(region_name=region or None).get_credentials()
        keys = found.get_frozen_credentials() if found is not None else None
    except (BotoCoreError, ClientError) as error:
        raise CredentialsInvalid(f"aws gave no keys: {shorten_message(error)}") from None
    if keys is None:
        raise CredentialsInvalid("aws gave no keys: this process has no identity there")
    token = Sensitive(keys.token) if keys.token else None
    return Given(AwsKeys(keys.access_key, Sensitive(keys.secret_key), token), datetime.now(UTC) + FRESH)
