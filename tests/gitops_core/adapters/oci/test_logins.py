"""Cloud logins: the real SDKs against moto (AWS) and against servers with the documented answers (Google, Microsoft).

Not covered: the clouds themselves, and instance metadata beside Google's. moto lacks public.ecr.aws: a server of ours
gives its documented answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gitops_core.adapters.clouds.identities import SdkClouds
from gitops_core.adapters.oci.logins import Provider, SdkLogins, aws, azure, gcp
from gitops_core.domain.sources.identities import Role
from gitops_core.errors import CredentialsInvalid, StalledError
from gitops_core.meta import ObjectKey, Sensitive
from gitops_core.oci.references import Repository
from gitops_core.ports import CloudIdentity
from tests.servers.clouds import TENANT, CloudServer, azure_cloud, cloud_server

ECR = Repository("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "shop/web")
GAR = Repository("europe-west1-docker.pkg.dev", "project/shop/web")
ACR = Repository("shop.azurecr.io", "web")
ANOTHER_ACR = Repository("bakery.azurecr.io", "web")

Environment = Callable[[dict[str, str]], None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Sets variables; those that the SDKs would find an identity of this machine by are gone."""
    for name in os.environ:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "GCE_", "IDENTITY_", "MSI_")) or name.lower().endswith(
            "_proxy"
        ):
            monkeypatch.delenv(name)
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "NO_GCE_CHECK": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/nonexistent")

    def add(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return add


@pytest.fixture
async def logins() -> AsyncIterator[SdkLogins]:
    logins = SdkLogins()
    yield logins
    await logins.close()


async def prove() -> Sensitive:
    return Sensitive("token-of-the-account")


def account(provider: Provider, *names: str) -> CloudIdentity:
    return CloudIdentity(ObjectKey("shop", "puller"), "1", Role(provider, names, "audience"), prove)


@pytest.fixture
def google(environment: Environment, tmp_path: Path) -> Iterator[CloudServer]:
    """A service account's key file, whose token endpoint is a server of ours."""
    key = rsa.generate_private_key(65537, 2048)
    with cloud_server() as server:
        account = {
            "type": "service_account",
            "client_email": "sealoop@project.example.com",
            "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "private_key_id": "1",
            "token_uri": f"http://{server.host}/token",
        }
        (tmp_path / "key.json").write_text(json.dumps(account))
        environment({"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")})
        yield server


@pytest.fixture
def microsoft(environment: Environment, tmp_path: Path) -> Iterator[CloudServer]:
    """Workload identity, as Azure's webhook sets it up."""
    with azure_cloud(tmp_path, "login.microsoftonline.com", ACR.registry, ANOTHER_ACR.registry) as (server, variables):
        environment(variables)
        yield server


# aws


async def test_ecr_gives_a_password(logins: SdkLogins, environment: Environment, aws_server: str) -> None:
    environment({"AWS_ENDPOINT_URL": aws_server, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"})

    credentials = await logins.login("aws", ECR)

    assert credentials.username == "AWS"
    assert credentials.password is not None
    assert credentials.password.reveal_text().endswith("-auth-token")


async def test_the_public_registry_of_aws_gives_a_password(logins: SdkLogins, environment: Environment) -> None:
    with cloud_server() as server:
        environment(
            {"AWS_ENDPOINT_URL": f"http://{server.host}", "AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "k"}
        )

        credentials = await logins.login("aws", Repository("public.ecr.aws", "nginx/nginx"))

    assert credentials.username == "AWS"
    assert credentials.password is not None
    assert credentials.password.reveal_text() == "token-1"


async def test_a_login_without_an_identity_says_so(logins: SdkLogins, environment: Environment) -> None:
    with pytest.raises(CredentialsInvalid, match="aws gave no credentials for ECR in eu-central-1: NoCredentialsError"):
        await logins.login("aws", ECR)


async def test_an_unreachable_cloud_is_told_without_the_key(logins: SdkLogins, environment: Environment) -> None:
    secret = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "very-secret"}
    environment({"AWS_ENDPOINT_URL": "http://127.0.0.1:1", **secret})

    with pytest.raises(CredentialsInvalid, match="EndpointConnectionError") as caught:
        await logins.login("aws", ECR)
    assert "very-secret" not in str(caught.value)


# gcp


async def test_google_gives_a_token_that_is_shared_until_it_ends(logins: SdkLogins, google: CloudServer) -> None:
    many = await asyncio.gather(*(logins.login("gcp", GAR) for _ in range(20)))
    other = await logins.login("gcp", Repository("gcr.io", "project/app"))

    assert {credentials.username for credentials in many} == {"oauth2accesstoken"}
    assert set(many) == {other}
    assert many[0].password is not None
    assert many[0].password.reveal_text() == "token-1"
    assert [asked.path for asked in google.asked] == ["/token"]
    assert google.asked[0].form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"


async def test_a_token_that_ends_at_once_is_not_kept(logins: SdkLogins, google: CloudServer) -> None:
    google.lifetime = 0

    assert await logins.login("gcp", GAR) != await logins.login("gcp", GAR)


async def test_google_refuses(logins: SdkLogins, google: CloudServer) -> None:
    google.refused.add("/token")

    with pytest.raises(CredentialsInvalid, match="gcp gave no credentials for Google's registries: RefreshError"):
        await logins.login("gcp", GAR)

    google.refused.clear()
    assert (await logins.login("gcp", GAR)).password is not None


def test_googles_metadata_server_gives_a_token(environment: Environment) -> None:
    """In a process of its own: the SDK looks for the metadata server's address when it is imported."""
    program = (
        "from gitops_core.adapters.oci.logins import gcp\n"
        "login = gcp.login('x')\n"
        "print(login.credentials.username, login.credentials.password.reveal_text(), login.expires.tzinfo)"
    )
    with cloud_server() as server:
        place = {"GCE_METADATA_HOST": server.host, "GCE_METADATA_IP": server.host, "NO_GCE_CHECK": "false"}
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **place},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("oauth2accesstoken token-")
    assert ran.stdout.endswith(" UTC\n")


# azure


async def test_azure_exchanges_an_identity_for_the_registrys_token(logins: SdkLogins, microsoft: CloudServer) -> None:
    credentials = await logins.login("azure", ACR)

    assert credentials.username == "00000000-0000-0000-0000-000000000000"
    assert credentials.password is not None
    assert credentials.password.reveal_text().startswith("head.")
    token, exchange = microsoft.asked[-2:]
    assert token.form["client_assertion"] == "signed-by-the-cluster"
    assert token.form["scope"].startswith("https://management.azure.com/.default")
    assert (exchange.host, exchange.path) == (ACR.registry, "/oauth2/exchange")
    assert exchange.form["service"] == ACR.registry
    assert exchange.form["grant_type"] == "access_token"
    assert exchange.form["access_token"].startswith("token-")


async def test_each_registry_of_azure_has_a_token_of_its_own(logins: SdkLogins, microsoft: CloudServer) -> None:
    first, again, other = [await logins.login("azure", each) for each in (ACR, ACR, ANOTHER_ACR)]

    assert first == again != other
    assert [asked.host for asked in microsoft.asked if asked.path == "/oauth2/exchange"] == [
        ACR.registry,
        ANOTHER_ACR.registry,
    ]


async def test_a_registry_of_azure_refuses_the_identity(logins: SdkLogins, microsoft: CloudServer) -> None:
    microsoft.refused.add("/oauth2/exchange")

    with pytest.raises(CredentialsInvalid, match="the registry refuses this identity: HTTP 401") as caught:
        await logins.login("azure", ACR)
    assert "token-" not in str(caught.value)


async def test_azure_without_an_identity_says_so(
    logins: SdkLogins, environment: Environment, microsoft: CloudServer
) -> None:
    environment({"AZURE_FEDERATED_TOKEN_FILE": "/nonexistent", "AZURE_TOKEN_CREDENTIALS": "WorkloadIdentityCredential"})

    with pytest.raises(CredentialsInvalid, match=r"azure gave no credentials for shop\.azurecr\.io"):
        await logins.login("azure", ACR)


# hosts


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ("aws", "ghcr.io"),
        ("aws", "123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example"),
        ("aws", "evil.example/123456789012.dkr.ecr.eu-central-1.amazonaws.com"),
        ("aws", "12.dkr.ecr.eu-central-1.amazonaws.com"),
        ("aws", "public.ecr.aws:8443"),
        ("gcp", "gcr.io.evil.example"),
        ("gcp", "evilgcr.io"),
        ("gcp", "docker.pkg.dev"),
        ("azure", "shop.azurecr.io.evil.example"),
        ("azure", "azurecr.io"),
        ("azure", "shop.azurecr.io:8443"),
    ],
)
async def test_a_registry_of_another_name_is_refused(logins: SdkLogins, provider: Provider, host: str) -> None:
    with pytest.raises(StalledError, match=f"is none of provider '{provider}'") as caught:
        await logins.login(provider, Repository(host, "app"))
    assert caught.value.reason == "AuthenticationFailed"


async def test_a_password_does_not_go_over_plain_http(logins: SdkLogins) -> None:
    with pytest.raises(StalledError, match="is asked over plain HTTP"):
        await logins.login("aws", Repository(ECR.registry, "app", insecure=True))


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com", "us-east-1"),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
        ("public.ecr.aws", "public.ecr.aws"),
    ],
)
def test_the_host_names_the_region(host: str, region: str) -> None:
    assert aws.find_scope(host) == region


@pytest.mark.parametrize("host", ["gcr.io", "eu.gcr.io", "us-docker.pkg.dev", "europe-west1-docker.pkg.dev"])
def test_registries_of_google(host: str) -> None:
    assert gcp.find_scope(host)


@pytest.mark.parametrize("host", ["shop.azurecr.io", "shop.azurecr.cn", "shop.azurecr.us"])
def test_registries_of_azure(host: str) -> None:
    assert azure.find_scope(host) == host


@pytest.mark.parametrize(("provider", "sdk"), [("aws", "boto3"), ("gcp", "google.auth"), ("azure", "azure.identity")])
def test_a_missing_sdk_stalls_and_says_what_to_install(provider: str, sdk: str, tmp_path: Path) -> None:
    """In a process of its own, in which the SDK cannot be imported, and nothing else imports it either."""
    hosts = {"aws": ECR.registry, "gcp": GAR.registry, "azure": ACR.registry}
    program = (
        f"import asyncio, sys\nsys.modules[{sdk!r}] = None\n"
        "from gitops_core.adapters.oci.logins import SdkLogins\n"
        "from gitops_core.oci.references import Repository\n"
        "from gitops_core.errors import StalledError\n"
        f"try:\n    asyncio.run(SdkLogins().login({provider!r}, Repository({hosts[provider]!r}, 'app')))\n"
        "except StalledError as error:\n    print(error.reason, error)\n"
    )

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert f"install sealoop[{provider}]" in ran.stdout, ran.stderr
    assert ran.stdout.startswith("AuthenticationFailed ")


def test_an_sdk_that_is_not_used_is_not_imported() -> None:
    program = (
        "import sys\nimport gitops_core.adapters.oci.logins\n"
        "print({'boto3', 'botocore', 'google.auth', 'azure.identity', 'msal', 'requests'} & set(sys.modules))"
    )

    assert subprocess.check_output([sys.executable, "-c", program], text=True, timeout=60) == "set()\n"


# ServiceAccounts: AWS's are in tests/gitops_core/reconcilers/test_bucket_identities.py, where keys are checked


async def test_a_service_account_s_pool_gives_google_s_password(environment: Environment, tmp_path: Path) -> None:
    with azure_cloud(tmp_path, "sts.googleapis.com") as (server, variables):
        environment(variables)
        clouds = SdkClouds({})
        logins = SdkLogins(clouds)

        mine = await logins.login("gcp", GAR, account("gcp", "//iam.googleapis.com/pool", ""))

        assert (mine.username, mine.password) == ("oauth2accesstoken", Sensitive("token-1"))
        assert server.asked[0].form["subject_token"] == "token-of-the-account"
        assert await logins.login("gcp", GAR, account("gcp", "//iam.googleapis.com/other", "")) != mine
        await logins.close()
        await clouds.close()


async def test_a_service_account_s_application_gives_the_registry_s_token(
    microsoft: CloudServer, environment: Environment
) -> None:
    clouds = SdkClouds({})
    logins = SdkLogins(clouds)

    mine = await logins.login("azure", ACR, account("azure", TENANT, "77777777-8888"))
    own = await logins.login("azure", ACR)

    assert mine != own
    asked = [asked.form for asked in microsoft.asked if "client_assertion" in asked.form]
    assert [(form["client_id"], form["client_assertion"]) for form in asked] == [
        ("77777777-8888", "token-of-the-account"),
        ("99999999-8888-7777-6666-555555555555", "signed-by-the-cluster"),
    ]
    await logins.close()
    await clouds.close()


async def test_no_account_proves_itself_for_a_registry_of_another_name() -> None:
    async def refuse() -> Sensitive:
        raise AssertionError("a token was asked for")

    identity = CloudIdentity(ObjectKey("shop", "puller"), "1", Role("gcp", ("p", ""), "p"), refuse)
    clouds = SdkClouds({})
    logins = SdkLogins(clouds)
    with pytest.raises(StalledError, match="is none of provider 'gcp'"):
        await logins.login("gcp", Repository("ghcr.io", "a"), identity)
    await logins.close()
    await clouds.close()
