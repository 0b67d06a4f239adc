"""Buckets without keys in a Secret: a real API server's tokens, AWS's roles on moto, Google's token services.

moto checks signatures, session tokens and policies; its gate (tests/servers/awsgate) checks the web identity's token.
Google's store is S3's API there too: moto, which does not look at bearer tokens.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gitops_core.adapters.clouds.identities import SdkClouds
from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.adapters.oci import SdkLogins
from gitops_core.adapters.s3 import S3Buckets
from gitops_core.api import Bucket
from gitops_core.errors import (
    BucketDenied,
    BucketUnavailable,
    CredentialsInvalid,
    Forbidden,
    GitOpsError,
    SourceFailed,
    StalledError,
)
from gitops_core.meta import ObjectKey, Sensitive
from gitops_core.oci.references import Repository
from gitops_core.ports import BucketPlace, Cluster
from gitops_core.reconcilers.bucketproofs import Prover
from gitops_core.reconcilers.buckets import BucketSource
from gitops_core.reconcilers.kepttrees import KeptTrees
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.remotes.identities import read_identity
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.schema import read_manifest
from tests.servers.aws import S3Server
from tests.servers.awsgate import AwsGate, aws_gate
from tests.servers.certificates import Authority
from tests.servers.clouds import CloudServer, azure_cloud
from tests.servers.controlplane import ControlPlane

REGION = "eu-central-1"
S3, STS, VPC = f"s3.{REGION}.amazonaws.com", f"sts.{REGION}.amazonaws.com", f"vpce-1.sts.{REGION}.vpce.amazonaws.com"
ROLE = "arn:aws:iam::123456789012:role/fleet"
ECR = f"api.ecr.{REGION}.amazonaws.com"
POOL = "projects/1/locations/global/workloadIdentityPools/clusters/providers/one"


@dataclass
class Cloud:
    """A process's sources, on a real API server and behind the gate of AWS."""

    plane: ControlPlane
    cluster: Cluster
    clouds: SdkClouds
    gate: AwsGate
    git: GitMirrors
    namespace: str
    policy: Policy = field(default_factory=Policy)

    def account(self, name: str, annotations: Mapping[str, str]) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{name}"
        metadata = {"name": name, "annotations": dict(annotations)}
        self.plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}, path)

    def secret(self, name: str, values: Mapping[str, str]) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/secrets/{name}"
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(values)}
        self.plane.apply(manifest, path)

    async def open(self, **spec: Any) -> BucketPlace:
        complete = {
            "provider": "aws",
            "bucketName": "fleet",
            "endpoint": S3,
            "region": REGION,
            "interval": "1h",
            "certSecretRef": {"name": "authority"},
            "proxySecretRef": {"name": "proxy"},
            **spec,
        }
        manifest = {
            "apiVersion": Bucket.KIND.api_version,
            "kind": "Bucket",
            "metadata": {"name": "fleet", "namespace": self.namespace},
            "spec": {name: value for name, value in complete.items() if value is not None},
        }
        wanted = read_manifest(Bucket, manifest)
        prover = Prover(self.cluster, self.clouds, self.policy)
        async with S3Buckets() as buckets:
            source = BucketSource(self.cluster, KeptTrees(self.git), buckets, prover, IN_PLACE, self.policy)
            return await source.open(wanted)

    async def fetch(self, **spec: Any) -> str:
        """Read the one object of the bucket that an object of that spec names."""
        place = await self.open(**spec)
        async with S3Buckets() as buckets:
            await buckets.check(place)
            listed = await buckets.list_objects(place, "", most=10)
            return (await buckets.fetch(place, listed[0].key, limit=1000))[0].decode()

    async def refusal(self, **spec: Any) -> GitOpsError:
        with pytest.raises((SourceFailed, StalledError, Forbidden)) as caught:
            await self.open(**spec)
        return caught.value


@pytest.fixture
def no_identity(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing of this machine that an SDK would find an identity by."""
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "GCE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "NO_GCE_CHECK": "true", "HOME": "/nonexistent"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
async def cloud(
    control_plane: ControlPlane, s3_auth_server: S3Server, tmp_path: Path, no_identity: pytest.MonkeyPatch
) -> AsyncIterator[Cloud]:
    await asyncio.to_thread(_fill, s3_auth_server)

    def review(token: str) -> bool:
        asked = {"spec": {"token": token, "audiences": ["sts.amazonaws.com"]}}
        answer = control_plane.expect("POST", "/apis/authentication.k8s.io/v1/tokenreviews", asked)
        return bool(answer["status"].get("authenticated"))

    cluster = KubernetesCluster.connect(
        control_plane.url, ca=control_plane.ca.read_bytes(), token=Sensitive(control_plane.token)
    )
    with aws_gate(tmp_path, s3_auth_server, review, S3, STS, VPC, ECR, "storage.googleapis.com") as gate:
        clouds = SdkClouds({"HTTPS_PROXY": gate.proxy, "AWS_CA_BUNDLE": str(gate.authority)})
        git = GitMirrors(tmp_path / "git")
        made = Cloud(control_plane, cluster, clouds, gate, git, control_plane.namespace("cloud"))
        made.secret("authority", {"ca.crt": gate.authority.read_text()})
        made.secret("proxy", {"address": gate.proxy})
        made.account("fleet", {"eks.amazonaws.com/role-arn": ROLE})
        yield made
        await git.close()
        await clouds.close()
    await cluster.close()


def _fill(server: S3Server) -> None:
    client = server.client()
    client.create_bucket(Bucket="fleet")
    client.put_object(Bucket="fleet", Key="app/one.yaml", Body=b"one")


async def test_a_service_account_s_role_reads_the_bucket_by_a_token_for_aws_alone(cloud: Cloud) -> None:
    assert await cloud.fetch(serviceAccountName="fleet") == "one"

    (form,) = cloud.gate.assumed
    assert form["RoleArn"] == ROLE
    assert form["RoleSessionName"] == f"fleet.{cloud.namespace}.{REGION}.fluxcd.io"
    assert cloud.gate.hosts[0] == STS
    used = cloud.plane.call("GET", "/api", token=form["WebIdentityToken"])
    assert used.status == 401, "our own API server does not take it"


async def test_keys_are_kept_for_one_account_and_one_role_and_no_other(cloud: Cloud) -> None:
    cloud.account("baker", {"eks.amazonaws.com/role-arn": ROLE})
    both = await asyncio.gather(*(cloud.open(serviceAccountName=name) for name in ("fleet", "fleet", "baker")))
    assert len(cloud.gate.assumed) == 2
    assert both[0].keys == both[1].keys != both[2].keys

    cloud.account("fleet", {"eks.amazonaws.com/role-arn": f"{ROLE}-other"})
    assert (await cloud.open(serviceAccountName="fleet")).keys != both[0].keys
    cloud.plane.expect("DELETE", f"/api/v1/namespaces/{cloud.namespace}/serviceaccounts/baker")
    cloud.account("baker", {"eks.amazonaws.com/role-arn": ROLE})
    assert (await cloud.open(serviceAccountName="baker")).keys != both[2].keys, "another account of that name"


async def test_a_role_without_the_right_is_told_by_the_store(cloud: Cloud) -> None:
    cloud.account("weak", {"eks.amazonaws.com/role-arn": ROLE.replace("fleet", "weak")})
    with pytest.raises(BucketDenied):
        await cloud.fetch(serviceAccountName="weak")


async def test_spec_sts_names_another_token_service_of_aws(cloud: Cloud) -> None:
    assert await cloud.fetch(serviceAccountName="fleet", sts={"provider": "aws", "endpoint": f"https://{VPC}"}) == "one"
    assert cloud.gate.hosts[0] == VPC


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example/x.sts.amazonaws.com",
        "http://sts.amazonaws.com",
        "https://sts.amazonaws.com.evil.example",
        "https://me@sts.amazonaws.com",
        "https://sts.amazonaws.com:8443",
        "https://evil.example#.sts.amazonaws.com",
        "https://evil.example\\.sts.amazonaws.com",
        "https://[",
        "https://sts.amazonaws.com:port",
    ],
)
async def test_no_token_goes_to_a_token_service_that_is_not_aws_s(endpoint: str, cloud: Cloud) -> None:
    error = await cloud.refusal(serviceAccountName="fleet", sts={"provider": "aws", "endpoint": endpoint})

    assert isinstance(error, StalledError)
    assert "is no token service of AWS's" in str(error)
    assert cloud.gate.hosts == []


async def test_a_region_that_is_none_becomes_no_host(cloud: Cloud) -> None:
    error = await cloud.refusal(serviceAccountName="fleet", region="evil.example/")
    assert str(error) == "'evil.example/' is no region of AWS"
    error = await cloud.refusal(serviceAccountName="fleet", region=None)
    assert str(error).endswith("is not known to AWS without a region: set spec.region")
    assert cloud.gate.hosts == []


@pytest.mark.parametrize(
    ("annotations", "cause"),
    [
        (None, "ServiceAccount/{}/x not found"),
        ({}, "it has no annotation eks.amazonaws.com/role-arn"),
        ({"eks.amazonaws.com/role-arn": "fleet"}, "its annotation eks.amazonaws.com/role-arn is none: 'fleet'"),
    ],
)
async def test_an_account_without_a_role_is_told(annotations: dict[str, str] | None, cause: str, cloud: Cloud) -> None:
    if annotations is not None:
        cloud.account("x", annotations)
    error = await cloud.refusal(serviceAccountName="x")
    assert cause.format(cloud.namespace) in str(error)
    assert error.reason == "AuthenticationFailed"


async def test_without_leave_to_make_tokens_it_says_so(cloud: Cloud) -> None:
    cloud.plane.grant("reader", ["get"], ["serviceaccounts", "secrets"])
    cloud.cluster = cloud.cluster.impersonate("reader")
    assert 'cannot create resource "serviceaccounts/token"' in str(await cloud.refusal(serviceAccountName="fleet"))


async def test_a_token_service_that_refuses_or_repeats_the_token_is_told_without_it(cloud: Cloud) -> None:
    cloud.gate.review = lambda _: False
    error = await cloud.refusal(serviceAccountName="fleet")
    assert str(error) == f"POST https://{STS} (AssumeRoleWithWebIdentity): 400 Incorrect token audience"

    taken = cloud.gate.assumed[0]["WebIdentityToken"]
    cloud.gate.refusal = f"<ErrorResponse><Error><Message>no {taken}</Message></Error></ErrorResponse>"
    cloud.account("echo", {"eks.amazonaws.com/role-arn": ROLE})
    error = await cloud.refusal(serviceAccountName="echo")
    assert "403 no " in str(error)


async def test_ecr_s_password_is_asked_for_with_the_role_s_keys(cloud: Cloud, no_identity: pytest.MonkeyPatch) -> None:
    for name, value in {"HTTPS_PROXY": cloud.gate.proxy, "AWS_CA_BUNDLE": str(cloud.gate.authority)}.items():
        no_identity.setenv(name, value)
    cloud.account("weak", {"eks.amazonaws.com/role-arn": ROLE.replace("fleet", "weak")})
    logins, ecr = SdkLogins(cloud.clouds), Repository(f"123456789012.dkr.ecr.{REGION}.amazonaws.com", "shop/web")
    fleet, weak = [
        await read_identity(cloud.cluster, "aws", ObjectKey(cloud.namespace, name)) for name in ("fleet", "weak")
    ]

    assert (await logins.login("aws", ecr, fleet)).username == "AWS"
    assert cloud.gate.hosts == [STS, ECR]
    keys = await cloud.clouds.get_aws_keys(REGION, fleet)
    assert f"Credential={keys.access_key}/" in cloud.gate.proofs[1]
    with pytest.raises(CredentialsInvalid, match="AccessDenied"):
        await logins.login("aws", ecr, weak)
    await logins.close()


# this process's own identity


async def test_the_process_s_own_keys_read_the_bucket(cloud: Cloud, no_identity: pytest.MonkeyPatch) -> None:
    access_key, secret_key = cloud.gate.moto.keys
    no_identity.setenv("AWS_ACCESS_KEY_ID", access_key)
    no_identity.setenv("AWS_SECRET_ACCESS_KEY", secret_key)

    assert await cloud.fetch() == "one"


async def test_the_process_s_own_role_is_assumed_where_its_webhook_says(
    cloud: Cloud, no_identity: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = {"spec": {"audiences": ["sts.amazonaws.com"]}}
    path = f"/api/v1/namespaces/{cloud.namespace}/serviceaccounts/fleet/token"
    (tmp_path / "token").write_text(cloud.plane.expect("POST", path, asked)["status"]["token"])
    webhook = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": ROLE, "AWS_REGION": REGION}
    way = {"HTTPS_PROXY": cloud.gate.proxy, "AWS_CA_BUNDLE": str(cloud.gate.authority)}
    for name, value in {**webhook, **way, "AWS_STS_REGIONAL_ENDPOINTS": "regional"}.items():
        no_identity.setenv(name, value)

    assert await cloud.fetch() == "one"
    assert cloud.gate.hosts[0] == STS

    other = SdkClouds({**way, **webhook})
    cloud.clouds, mark = other, len(cloud.gate.hosts)
    assert await cloud.fetch(sts={"provider": "aws", "endpoint": f"https://{VPC}"}) == "one"
    assert cloud.gate.hosts[mark] == VPC
    await other.close()


@pytest.mark.parametrize(
    "spec",
    [
        {"endpoint": "evil.example"},
        {"endpoint": "s3.amazonaws.com.evil.example"},
        {"endpoint": "fleet"},
        {"endpoint": "s3.amazonaws.com:8443"},
        {"insecure": True},
    ],
)
async def test_the_process_s_own_keys_are_shown_to_aws_alone(
    spec: dict[str, Any], cloud: Cloud, no_identity: pytest.MonkeyPatch
) -> None:
    no_identity.setenv("AWS_ACCESS_KEY_ID", "own")
    no_identity.setenv("AWS_SECRET_ACCESS_KEY", "own")

    error = await cloud.refusal(**spec)

    assert isinstance(error, StalledError)
    assert "which is not AWS over TLS: set spec.serviceAccountName or spec.secretRef" in str(error)


async def test_where_the_operator_names_a_default_account_nobody_is_the_process(
    cloud: Cloud, no_identity: pytest.MonkeyPatch
) -> None:
    no_identity.setenv("AWS_ACCESS_KEY_ID", "own")
    no_identity.setenv("AWS_SECRET_ACCESS_KEY", "own")
    cloud.policy = Policy(default_service_account="fleet")
    assert await cloud.fetch() == "one"
    assert len(cloud.gate.assumed) == 1

    cloud.policy = Policy(default_service_account="missing")
    assert f"ServiceAccount/{cloud.namespace}/missing not found" in str(await cloud.refusal())


async def test_a_process_without_an_identity_says_so(cloud: Cloud) -> None:
    assert str(await cloud.refusal()) == "aws gave no keys: this process has no identity there"


# a store's own directory


@dataclass
class Directory:
    """An object store's token service with one user, as MinIO documents it."""

    keys: tuple[str, str]
    answer: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        answer = self._answer(form)
        answer.force_close()  # TLS's goodbye may outlive the loop
        return answer

    def _answer(self, form: dict[str, str]) -> web.Response:
        if self.answer:
            return web.Response(text=self.answer)
        if (form["LDAPUsername"], form["LDAPPassword"]) != ("lab", "pass&word"):
            told = f"LDAP server error: no {form['LDAPPassword']}"
            text = f"<ErrorResponse><Error><Code>x</Code><Message>{told}</Message></Error></ErrorResponse>"
            return web.Response(status=400, text=text)
        keys = f"<AccessKeyId>{self.keys[0]}</AccessKeyId><SecretAccessKey>{self.keys[1]}</SecretAccessKey>"
        given = f"<Credentials>{keys}<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>"
        return web.Response(
            text=f"<AssumeRoleWithLDAPIdentityResponse><R>{given}</R></AssumeRoleWithLDAPIdentityResponse>"
        )


@asynccontextmanager
async def directory(keys: tuple[str, str], authority: Authority) -> AsyncIterator[tuple[Directory, str]]:
    pair = authority.server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    served, app = Directory(keys), web.Application()
    app.router.add_post("/", served.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield served, f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("endpoint", ["https://[", "https://a b", "https://127.0.0.1:port", "https://a\u2100b"])
async def test_an_address_that_is_none_is_told(endpoint: str, cloud: Cloud) -> None:
    cloud.secret("user", {"username": "lab", "password": "pass&word"})
    sts = {"provider": "ldap", "endpoint": endpoint, "secretRef": {"name": "user"}}
    for proxy in ({}, {"proxySecretRef": None}):
        error = await cloud.refusal(provider="generic", sts=sts, **proxy)
        assert str(error).startswith(f"POST {endpoint} (AssumeRoleWithLDAPIdentity): ")


async def test_a_token_service_that_hangs_is_asked_by_few_at_a_time(cloud: Cloud, tmp_path: Path) -> None:
    """Of a hundred who ask, eight wait for its answer; the others are told, and come again."""
    open_now, most = 0, 0

    async def hang(request: web.Request) -> web.Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await gone.wait()
        return web.Response(status=503)

    gone, app = asyncio.Event(), web.Application()
    app.router.add_post("/", hang)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    asking = [
        asyncio.create_task(cloud.clouds.log_in(endpoint, f"user-{number}", Sensitive("p"))) for number in range(100)
    ]
    done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_EXCEPTION)
    gone.set()
    await asyncio.gather(*asking, return_exceptions=True)
    await runner.cleanup()

    assert most == 8
    assert all("it is busy or hangs" in str(task.exception()) for task in done)


async def test_a_directory_s_user_gets_keys_over_the_trust_of_spec_sts(cloud: Cloud, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "directory")
    cloud.secret("sts-ca", {"ca.crt": authority.certificate.read_text()})
    cloud.secret("user", {"username": "lab", "password": "pass&word"})
    cloud.secret("stranger", {"username": "lab", "password": "guess"})
    cloud.secret("half", {"username": "lab"})
    store = {"provider": "generic", "endpoint": cloud.gate.moto.host, "insecure": True, "proxySecretRef": None}
    async with directory(cloud.gate.moto.keys, authority) as (served, url):
        sts = {"provider": "ldap", "endpoint": url, "certSecretRef": {"name": "sts-ca"}, "secretRef": {"name": "user"}}

        assert await cloud.fetch(**store, sts=sts) == "one"
        assert await cloud.fetch(**store, sts=sts) == "one"
        assert len(served.asked) == 1
        untrusted = {name: value for name, value in sts.items() if name != "certSecretRef"}
        assert "certificate is not trusted" in str(await cloud.refusal(**store, sts=untrusted))
        told = await cloud.refusal(**store, sts={**sts, "secretRef": {"name": "stranger"}})
        assert str(told) == f"POST {url} (AssumeRoleWithLDAPIdentity): 400 LDAP server error: no ***"
        told = await cloud.refusal(**store, sts={**sts, "secretRef": {"name": "half"}})
        assert "secret data for 'ldap' STS provider: required fields username, password" in str(told)
        told = await cloud.refusal(**store, sts={name: value for name, value in sts.items() if name != "secretRef"})
        assert str(told) == "spec.sts.secretRef is required for the 'ldap' STS provider"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ("nothing", "it is no XML"),
        ("<a/>", "it holds no keys"),
        (f"<a>{'x' * 100_000}</a>", "longer than 65536 bytes"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "it has a document type"),
        (
            "<Credentials><AccessKeyId>a\n</AccessKeyId><SecretAccessKey>s3cret</SecretAccessKey></Credentials>",
            "it holds no keys",
        ),
        (
            "<Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>s3cret</SecretAccessKey></Credentials>",
            "it does not say until when",
        ),
    ],
)
async def test_a_token_service_that_answers_something_else_is_told(
    answer: str, cause: str, cloud: Cloud, tmp_path: Path
) -> None:
    authority = Authority.make(tmp_path / "directory")
    cloud.secret("sts-ca", {"ca.crt": authority.certificate.read_text()})
    cloud.secret("user", {"username": "lab", "password": "pass&word"})
    async with directory(("a", "b"), authority) as (served, url):
        served.answer = answer
        sts = {"provider": "ldap", "endpoint": url, "certSecretRef": {"name": "sts-ca"}, "secretRef": {"name": "user"}}
        error = await cloud.refusal(provider="generic", proxySecretRef=None, sts=sts)
    assert cause in str(error)
    assert "s3cret" not in str(error)


# gcp


@pytest.fixture
def google(tmp_path: Path, no_identity: pytest.MonkeyPatch) -> Iterator[CloudServer]:
    """Google's token services by their own names."""
    names = ("oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com")
    with azure_cloud(tmp_path / "google", *names) as (server, variables):
        for name in ("HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"):
            no_identity.setenv(name, variables[name])
        yield server


async def test_a_key_of_a_google_service_account_is_proven_to_google_alone(cloud: Cloud, google: CloudServer) -> None:
    key = rsa.generate_private_key(65537, 2048)
    held = {
        "type": "service_account",
        "client_email": "fleet@project.example.com",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "token_uri": "https://evil.example/token",
    }
    cloud.secret("key", {"serviceaccount": json.dumps(held)})

    place = await cloud.open(provider="gcp", secretRef={"name": "key"}, endpoint="evil.example", insecure=True)

    assert [(asked.host, asked.path) for asked in google.asked] == [("oauth2.googleapis.com", "/token")]
    assert place.endpoint == "https://storage.googleapis.com"
    assert place.bearer_token == Sensitive("token-1")
    claims = json.loads(base64.urlsafe_b64decode(google.asked[0].form["assertion"].split(".")[1] + "=="))
    assert claims["scope"] == "https://www.googleapis.com/auth/devstorage.read_only"
    assert claims["aud"] == "https://oauth2.googleapis.com/token"


@pytest.mark.parametrize("email", ["", "fleet@project.iam.gserviceaccount.com"])
async def test_a_service_account_s_pool_gives_google_s_token(email: str, cloud: Cloud, google: CloudServer) -> None:
    pool, annotations = POOL, {"gcp.auth.fluxcd.io/workload-identity-provider": POOL}
    cloud.account("fleet", annotations | ({"iam.gke.io/gcp-service-account": email} if email else {}))

    place = await cloud.open(provider="gcp", serviceAccountName="fleet", endpoint="storage.googleapis.com")

    first, *others = google.asked
    assert (first.host, first.path, first.form["audience"]) == (
        "sts.googleapis.com",
        "/v1/token",
        f"//iam.googleapis.com/{pool}",
    )
    asked = {"spec": {"token": first.form["subject_token"], "audiences": [f"//iam.googleapis.com/{pool}"]}}
    review = cloud.plane.expect("POST", "/apis/authentication.k8s.io/v1/tokenreviews", asked)
    assert review["status"]["user"]["username"] == f"system:serviceaccount:{cloud.namespace}:fleet"
    paths = [f"/v1/projects/-/serviceAccounts/{email}:generateAccessToken"] if email else []
    assert [each.path for each in others] == paths
    assert place.bearer_token == Sensitive(f"token-{len(google.asked)}")


async def test_each_request_to_google_s_store_shows_the_token_and_no_signature(
    cloud: Cloud, google: CloudServer
) -> None:
    cloud.account("fleet", {"gcp.auth.fluxcd.io/workload-identity-provider": POOL})
    with pytest.raises(BucketUnavailable):  # moto wants a signature
        await cloud.fetch(provider="gcp", serviceAccountName="fleet", endpoint="storage.googleapis.com")

    assert cloud.gate.hosts == ["storage.googleapis.com"]
    assert cloud.gate.proofs == ["Bearer token-1"]


@pytest.mark.parametrize(
    "held",
    [
        "{",
        "[]",
        json.dumps({"type": "external_account", "credential_source": {"file": "/etc/passwd"}}),
        json.dumps({"type": "service_account", "client_email": "a", "private_key": "none"}),
    ],
)
async def test_what_is_no_key_of_a_service_account_reads_no_file_and_runs_nothing(held: str, cloud: Cloud) -> None:
    cloud.secret("key", {"serviceaccount": held})
    error = await cloud.refusal(provider="gcp", secretRef={"name": "key"})
    about = f"'serviceaccount' of secret '{cloud.namespace}/key'"
    assert str(error) == f"{about} is no key of a Google service account (JSON)"
