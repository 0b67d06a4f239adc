"""A ServiceAccount at the key services of clouds: its role opens what SOPS encrypted with keys that are kept there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gitops_core.domain.render.encrypted import Recipient
from gitops_core.domain.render.sopskeys import LogIn
from gitops_core.errors import CredentialsInvalid, DecryptionFailed, ManifestInvalid, StalledError
from gitops_core.meta import SERVICE_ACCOUNT, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Clouds, Cluster
from gitops_core.runtime.remotes.identities import AccountMissing, read_account, read_identity

KMS = "https://www.googleapis.com/auth/cloudkms"
_REGION = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]{1,40}):")


@dataclass(frozen=True)
class KeyServices:
    cluster: Cluster
    clouds: Clouds

    async def find(self, account: ObjectKey) -> tuple[str, LogIn]:
        """Find the ServiceAccount. Returns what nobody else is called, and how it logs in where that is needed.

        Raises:
            ManifestInvalid: there is no such account; ClusterError.
        """
        try:
            metadata = await read_account(self.cluster, account)
        except AccountMissing as error:
            raise ManifestInvalid(f"spec.decryption.serviceAccountName: {error}") from None

        async def log_in(recipients: Sequence[Recipient]) -> Mapping[str, Sensitive]:
            try:
                return await self._log_in(account, recipients)
            except (CredentialsInvalid, StalledError) as error:
                told = ObjectRef(SERVICE_ACCOUNT, account)
                raise DecryptionFailed(f"no key service is asked as {told}: {error}") from None

        return f"{account} {metadata.get('uid', '')}", log_in

    async def _log_in(self, account: ObjectKey, recipients: Sequence[Recipient]) -> Mapping[str, Sensitive]:
        """Return the credentials of the account's roles in the clouds whose keys are named, as their clients call them.

        What nobody named is not asked for, and Azure's clients take no token that somebody else got.
        """
        given: dict[str, Sensitive] = {}
        regions = [match[1] for one in recipients if one.kind == "kms" and (match := _REGION.match(one.name))]
        if regions:
            identity = await read_identity(self.cluster, "aws", account)
            keys = await self.clouds.get_aws_keys(regions[0], identity)
            given |= {"AWS_ACCESS_KEY_ID": Sensitive(keys.access_key), "AWS_SECRET_ACCESS_KEY": keys.secret_key}
            given |= {"AWS_SESSION_TOKEN": keys.session_token} if keys.session_token is not None else {}
        if any(one.kind == "gcp_kms" for one in recipients):
            identity = await read_identity(self.cluster, "gcp", account)
            given["GOOGLE_OAUTH_ACCESS_TOKEN"] = await self.clouds.get_token("gcp", KMS, identity)
        return given
