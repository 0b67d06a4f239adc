"""Repositories of Azure DevOps and CodeCommit: real Git over TLS under their names, tokens of servers with the clouds'
documented answers, and roles of moto. What CodeCommit checks (the signature) the SDK checks here.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gitops_core.adapters.clouds.identities import SdkClouds
from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.local import LocalCluster
from gitops_core.api import GitRepository
from gitops_core.errors import GitAccessDenied, GitOpsError, StalledError
from gitops_core.meta import ObjectKey, Sensitive
from gitops_core.ports import Clouds, GitAccess, GitRef
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.remotes.credentials import read_repository_access
from gitops_core.schema import read_manifest
from sealoop.embedded.githttp import GitServer, create_repository, make_basic, make_bearer
from tests.servers.certificates import Authority
from tests.servers.clouds import LeadingProxy, azure_cloud

AZURE = "https://dev.azure.com/shop/apps/_git/fleet"
REGION = "eu-central-1"
CODECOMMIT = f"https://git-codecommit.{REGION}.amazonaws.com/v1/repos/fleet"


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in os.environ:
        if name.startswith(("AWS_", "AZURE_", "IDENTITY_", "MSI_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
async def clouds() -> AsyncIterator[SdkClouds]:
    clouds = SdkClouds({})
    yield clouds
    await clouds.close()


async def read_access(
    clouds: Clouds,
    url: str,
    provider: str,
    *,
    secrets: Mapping[str, Mapping[str, str]] = {},
    other: str = "",
    **spec: Any,
) -> GitAccess:
    """Read the access of a GitRepository of that spec, whose Secrets are those; `other` is an automation's."""
    cluster = LocalCluster.open(None, SystemClock(), SystemChance())
    for name, values in secrets.items():
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}}
        await cluster.apply({**manifest, "data": {k: _encode(v) for k, v in values.items()}}, field_manager="test")
    wanted = {"url": url, "interval": "1m", "provider": provider, **spec}
    metadata = {"name": "fleet", "namespace": "default"}
    kind = {"apiVersion": GitRepository.KIND.api_version, "kind": "GitRepository"}
    repository = read_manifest(GitRepository, {**kind, "metadata": metadata, "spec": wanted})
    try:
        return await read_repository_access(cluster, repository, ObjectKey("default", other) if other else None, clouds)
    finally:
        cluster.close()


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@asynccontextmanager
async def served(
    folder: Path, path: str, host: str, authorization: str
) -> AsyncIterator[tuple[str, Mapping[str, str]]]:
    """Serve a repository under a host's name, to whoever has that authorization; yield a proxy, and whom to trust."""
    await create_repository(folder / "git" / path, {"a.yaml": b"a"})
    authority = Authority.make(folder / "git-authority")
    pair, context = authority.server(host), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    async with GitServer(folder / "git", authorization={path: authorization}, tls=context) as server:
        with LeadingProxy(int(server.url.rpartition(":")[2])) as proxy:
            yield f"http://127.0.0.1:{proxy.port}", {"ca.crt": authority.certificate.read_text()}


async def resolve(folder: Path, url: str, access: GitAccess) -> str:
    git = GitMirrors(folder / "mirrors")
    try:
        return str(await git.get_remote(url, access).resolve(GitRef(branch="main")))
    finally:
        await git.close()


async def test_azure_devops_takes_the_token_of_this_process(
    clouds: SdkClouds, no_identity: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with azure_cloud(tmp_path / "azure", "login.microsoftonline.com") as (microsoft, variables):
        for name, value in variables.items():
            no_identity.setenv(name, value)
        token = (await read_access(clouds, AZURE, "azure")).bearer_token
        assert token is not None
        proof = make_bearer(token.reveal_text())
        async with served(tmp_path, "shop/apps/_git/fleet", "dev.azure.com", proof) as (proxy, ca):
            secrets = {"git": {**ca, "username": "somebody", "password": "else"}, "proxy": {"address": proxy}}
            names: dict[str, Any] = {"secretRef": {"name": "git"}, "proxySecretRef": {"name": "proxy"}}
            access = await read_access(clouds, AZURE, "azure", secrets=secrets, **names)

            assert (await resolve(tmp_path, AZURE, access)).startswith("main@sha1:")
        assert microsoft.asked[-1].form["scope"].startswith("499b84ac-1321-427f-aa17-267ca6975798/.default")
        assert (access.username, access.password) == ("", None)


async def test_codecommit_takes_a_signature_of_the_repository_for_a_password(
    clouds: SdkClouds, no_identity: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "ses/sion=="}
    for name, value in keys.items():
        no_identity.setenv(name, value)
    access = await read_access(clouds, CODECOMMIT, "aws")
    assert access.password is not None
    password, host = access.password.reveal_text(), f"git-codecommit.{REGION}.amazonaws.com"

    assert access.username == "AKIAEXAMPLE%ses/sion=="
    moment, signature = password.split("Z")
    assert abs(datetime.strptime(moment, "%Y%m%dT%H%M%S").replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds() < 600
    signer = botocore.auth.SigV4Auth(Credentials("AKIAEXAMPLE", "secret", "ses/sion=="), "codecommit", REGION)
    request = AWSRequest("GIT", CODECOMMIT)
    request.context["timestamp"] = moment
    text = signer.string_to_sign(request, f"GIT\n/v1/repos/fleet\n\nhost:{host}\n\nhost\n")
    assert signature == signer.signature(text, request)
    async with served(tmp_path, "v1/repos/fleet", host, make_basic(access.username, password)) as (proxy, ca):
        names: dict[str, Any] = {"secretRef": {"name": "git"}, "proxySecretRef": {"name": "proxy"}}
        secrets = {"git": ca, "proxy": {"address": proxy}}
        access = await read_access(clouds, CODECOMMIT, "aws", secrets=secrets, **names)
        assert (await resolve(tmp_path, CODECOMMIT, access)).startswith("main@sha1:")


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("azure", "https://dev.azure.com.evil.example/a/b"),
        ("azure", "https://evil.example/dev.azure.com"),
        ("azure", "https://dev.azure.com@evil.example/a"),
        ("azure", "https://dev.azure.com:8443/a"),
        ("azure", "http://dev.azure.com/a"),
        ("azure", "ssh://dev.azure.com/a"),
        ("azure", "https://evil.visualstudio.com.evil.example/a"),
        ("azure", CODECOMMIT),
        ("azure", "https://["),
        ("aws", "https://a\u2100b/v1/repos/fleet"),
        ("aws", CODECOMMIT.replace("https", "http")),
        ("aws", CODECOMMIT.replace("amazonaws.com", "amazonaws.com.evil.example")),
        ("aws", "https://git-codecommit.evil.example/.amazonaws.com/v1/repos/fleet"),
        ("aws", f"{CODECOMMIT}/../other"),
        ("aws", AZURE),
    ],
)
async def test_what_proves_us_to_a_cloud_goes_to_its_own_repositories(
    provider: str, url: str, clouds: SdkClouds, no_identity: pytest.MonkeyPatch
) -> None:
    no_identity.setenv("AWS_ACCESS_KEY_ID", "own")
    no_identity.setenv("AWS_SECRET_ACCESS_KEY", "own")
    with pytest.raises(StalledError, match="is no repository of provider") as caught:
        await read_access(clouds, url, provider)
    assert caught.value.reason == "InvalidProviderConfiguration"


async def test_an_automation_s_own_secret_goes_before_the_cloud(clouds: SdkClouds) -> None:
    secrets = {"write": {"username": "bot", "password": "p"}}
    access = await read_access(clouds, AZURE, "azure", secrets=secrets, other="write")
    assert (access.username, access.password, access.bearer_token) == ("bot", Sensitive("p"), None)


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"serviceAccountName": "missing"}, "ServiceAccount/default/missing not found"),
        ({}, "azure gave no credentials for 499b84ac"),
    ],
)
async def test_who_has_no_identity_is_told(spec: dict[str, Any], cause: str, clouds: SdkClouds) -> None:
    with pytest.raises(GitOpsError) as caught:
        await read_access(clouds, AZURE, "azure", **spec)
    assert isinstance(caught.value, GitAccessDenied)
    assert str(caught.value).startswith(f"failed to configure authentication options: {cause}")
