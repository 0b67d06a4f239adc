"""Files whose key a cloud keeps, opened by the role of a ServiceAccount: a real API server's tokens, and moto's KMS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from gitops_core.adapters.sops import Sops
from gitops_core.domain.render.encrypted import take_apart
from gitops_core.domain.render.sopskeys import SopsKeys, parse_keys
from gitops_core.errors import DecryptionFailed, ManifestInvalid
from gitops_core.meta import ObjectKey
from gitops_core.reconcilers.keyservices import KeyServices
from tests.gitops_core.reconcilers.test_bucket_identities import (
    REGION,
    ROLE,
    Cloud,
    cloud,
    no_identity,
)
from tests.servers.aws import S3Server
from tests.servers.sops import SECRET_FIELDS, AgeKey, encrypt

__all__ = ["cloud", "no_identity"]

PASSWORD = "hunter2-4711-tiger"
SECRET = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: db}}\nstringData: {{password: {PASSWORD}}}\n"


async def _find(cloud: Cloud, account: str) -> SopsKeys:
    name, log_in = await KeyServices(cloud.cluster, cloud.clouds).find(ObjectKey(cloud.namespace, account))
    return replace(SopsKeys(), account=name, log_in=log_in)


async def _open(sops: Sops, sealed: bytes, keys: SopsKeys) -> str:
    (piece,) = take_apart(sealed, "a.yaml")
    assert piece.format is not None
    assert piece.block is not None
    return (await sops.decrypt(piece.text, piece.format, piece.block, keys)).decode()


@pytest.fixture
def sealed(s3_auth_server: S3Server, tmp_path: Path) -> bytes:
    url, (key, secret) = f"http://{s3_auth_server.host}", s3_auth_server.keys
    kms = boto3.client("kms", REGION, endpoint_url=url, aws_access_key_id=key, aws_secret_access_key=secret)
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    environment = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_ENDPOINT_URL_KMS": url}
    return encrypt(tmp_path, SECRET, "--kms", arn, *SECRET_FIELDS, environment=environment)


async def test_the_role_of_the_service_account_opens_what_it_may_and_nobody_else_is_asked_as(
    cloud: Cloud, s3_auth_server: S3Server, sealed: bytes
) -> None:
    key, secret = s3_auth_server.keys
    own = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}  # which may, and is not lent
    sops = Sops(environment={"AWS_ENDPOINT_URL_KMS": f"http://{s3_auth_server.host}", **own})
    cloud.account("weak", {"eks.amazonaws.com/role-arn": ROLE.replace("fleet", "weak")})
    cloud.account("plain", {})

    assert PASSWORD in await _open(sops, sealed, await _find(cloud, "fleet"))
    with pytest.raises(DecryptionFailed, match=r"^no key opens it: it is for kms arn:\S+$"):
        await _open(sops, sealed, await _find(cloud, "weak"))
    with pytest.raises(
        DecryptionFailed, match=r"no key service is asked as ServiceAccount/.*/plain: .* has no identity"
    ):
        await _open(sops, sealed, await _find(cloud, "plain"))
    with pytest.raises(
        ManifestInvalid, match=r"spec\.decryption\.serviceAccountName: ServiceAccount/.*/none not found"
    ):
        await _find(cloud, "none")


async def test_a_role_is_not_asked_for_while_a_key_at_hand_opens_the_file(cloud: Cloud, tmp_path: Path) -> None:
    key = AgeKey.make()
    sealed = encrypt(tmp_path, SECRET, *SECRET_FIELDS, age=key)
    found = await _find(cloud, "fleet")

    keys = replace(parse_keys({"a.agekey": key.identity.encode()}), account=found.account, log_in=found.log_in)

    assert PASSWORD in await _open(Sops(), sealed, keys)
    assert not cloud.gate.assumed


async def test_what_one_account_opened_is_not_found_by_another(cloud: Cloud) -> None:
    cloud.account("baker", {"eks.amazonaws.com/role-arn": ROLE})

    fleet, again, baker = [await _find(cloud, name) for name in ("fleet", "fleet", "baker")]

    assert fleet.fingerprint == again.fingerprint
    assert len({fleet.fingerprint, baker.fingerprint, SopsKeys().fingerprint}) == 3
    cloud.plane.expect("DELETE", f"/api/v1/namespaces/{cloud.namespace}/serviceaccounts/baker")
    cloud.account("baker", {"eks.amazonaws.com/role-arn": ROLE})
    assert (await _find(cloud, "baker")).fingerprint != baker.fingerprint
