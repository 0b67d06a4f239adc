"""Other clusters that ConfigMaps describe: a real API server gives the tokens, another one takes them or does not.

The other one trusts what the first one's key signed for the audience `remote`, and asks a webhook about the tokens of
clouds. The clouds are moto behind its gate, and a server with Google's and Microsoft's documented answers.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.auth
import pytest
from aiohttp import web
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gitops_core.adapters.clouds.identities import SdkClouds
from gitops_core.adapters.kubernetes import KubernetesCluster, KubernetesClusters
from gitops_core.domain.sync.remotes import write_address
from gitops_core.errors import CredentialsInvalid, Forbidden, StalledError
from gitops_core.meta import ObjectKey, Sensitive
from gitops_core.reconcilers.remoteclusters import DescriptionMissing, RemoteClusters
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.remotes.identities import AccountMissing, read_identity
from gitops_core.runtime.sharing.computing import IN_PLACE
from tests.servers.aws import S3Server
from tests.servers.awsgate import AwsGate, aws_gate
from tests.servers.certificates import Authority
from tests.servers.clouds import TENANT, CloudServer, azure_cloud
from tests.servers.controlplane import ControlPlane, list_trusting_options, start_control_plane
from tests.servers.programs import free_port

OWN = "https://kubernetes.default.svc"
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
REGION = "eu-central-1"
EKS = f"arn:aws:eks:{REGION}:123456789012:cluster/prod"
GKE = "projects/shop/locations/europe-west1/clusters/prod"
AKS = "/subscriptions/1-2/resourceGroups/shop/providers/Microsoft.ContainerService/managedClusters/prod"


@dataclass
class CloudTokens:
    """The webhook that the other API server asks about tokens. `taken` are those that it takes."""

    port: int
    taken: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/", self._review)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        yield
        await runner.cleanup()

    async def _review(self, request: web.Request) -> web.Response:
        asked = await request.json()
        token = asked["spec"]["token"]
        good = token in self.taken
        status = {"authenticated": good, **({"user": {"username": "cloud", "uid": "1"}} if good else {})}
        return web.json_response({"apiVersion": asked["apiVersion"], "kind": "TokenReview", "status": status})


@pytest.fixture(scope="module")
def webhook() -> CloudTokens:
    return CloudTokens(free_port())


@pytest.fixture(scope="module")
def far(
    control_plane: ControlPlane, webhook: CloudTokens, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    folder = tmp_path_factory.mktemp("far")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "w", "cluster": {"server": f"http://127.0.0.1:{webhook.port}"}}],
        "contexts": [{"name": "w", "context": {"cluster": "w", "user": ""}}],
        "current-context": "w",
    }
    (folder / "webhook.json").write_text(json.dumps(config))
    plane = start_control_plane(
        folder,
        *list_trusting_options(control_plane, "remote", folder),
        f"--authentication-token-webhook-config-file={folder / 'webhook.json'}",
        "--authentication-token-webhook-version=v1",
        "--authentication-token-webhook-cache-ttl=0s",
        issuer="https://far.example",
    )
    control_plane.service_account("default", "first")
    asked = {"spec": {"audiences": ["remote"]}}
    token = control_plane.expect("POST", "/api/v1/namespaces/default/serviceaccounts/first/token", asked)
    wait_for(lambda: plane.call("GET", "/api", token=token["status"]["token"]).status == 200)
    yield plane
    plane.stop()


def wait_for(claim: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < until, "the other API server knows no issuer"
        time.sleep(0.2)


@dataclass
class Near:
    """Our own cluster, and what a ConfigMap in it leads to."""

    plane: ControlPlane
    cluster: KubernetesCluster
    clouds: SdkClouds
    namespace: str
    policy: Policy = field(default_factory=Policy)
    remotes: RemoteClusters = field(init=False)

    def __post_init__(self) -> None:
        self.remotes = RemoteClusters(self.cluster, self.clouds, self.policy)

    def describe(self, data: Mapping[str, str]) -> ObjectKey:
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "far"}, "data": dict(data)}
        self.plane.apply(manifest, f"/api/v1/namespaces/{self.namespace}/configmaps/far")
        return ObjectKey(self.namespace, "far")

    def account(self, name: str, annotations: Mapping[str, str] = {}) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{name}"
        metadata = {"name": name, "annotations": dict(annotations)}
        self.plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}, path)

    async def ask_who(self, data: Mapping[str, str], environment: Mapping[str, str] = {}) -> str:
        """Ask the cluster of that description who we are there."""
        remote = await self.remotes.find(self.describe(data))
        clusters = KubernetesClusters(self.cluster, IN_PLACE, environment)
        async with clusters.open(remote, None) as target:
            return str((await target.cluster.create(REVIEW, field_manager="t"))["status"]["userInfo"]["username"])

    async def refusal(self, data: Mapping[str, str]) -> str:
        with pytest.raises((ValueError, CredentialsInvalid, StalledError)) as caught:
            await self.remotes.find(self.describe(data))
        return str(caught.value)

    def count_tokens(self, mark: int) -> int:
        return sum(r.resource == "serviceaccounts/token" for r in self.plane.requests(agent="sealoop", since=mark))


@pytest.fixture
async def near(control_plane: ControlPlane) -> AsyncIterator[Near]:
    token = Sensitive(control_plane.token)
    cluster = KubernetesCluster.connect(control_plane.url, ca=control_plane.ca.read_bytes(), token=token)
    clouds = SdkClouds({})
    near = Near(control_plane, cluster, clouds, control_plane.namespace("near"))
    near.account("deployer")
    yield near
    await clouds.close()
    await near.clouds.close()
    await cluster.close()


def generic(plane: ControlPlane, **data: str) -> dict[str, str]:
    defaults = {
        "provider": "generic",
        "address": plane.url,
        "ca.crt": plane.ca.read_text(),
        "serviceAccountName": "deployer",
        "audiences": "[remote]",
    }
    return {name: value for name, value in {**defaults, **data}.items() if value}


async def test_another_cluster_takes_the_account_s_token_and_our_own_does_not(near: Near, far: ControlPlane) -> None:
    assert await near.ask_who(generic(far)) == f"near:system:serviceaccount:{near.namespace}:deployer"

    remote = await near.remotes.find(near.describe(generic(far)))
    token = (await remote.get_token(None)).reveal_text()
    review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    assert near.plane.call("POST", review, REVIEW, token=token).status == 401


async def test_without_audiences_the_token_is_for_the_address(near: Near, far: ControlPlane) -> None:
    remote = await near.remotes.find(near.describe(generic(far, audiences="")))

    claims = (await remote.get_token(None)).reveal_text().split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["aud"] == [far.url]
    with pytest.raises(Forbidden):
        await near.ask_who(generic(far, audiences=""))


async def test_a_token_is_kept_until_it_is_refused_or_its_account_is_another(near: Near, far: ControlPlane) -> None:
    remote = await near.remotes.find(near.describe(generic(far)))
    mark = near.plane.mark()
    first = await remote.get_token(None)
    assert await (await near.remotes.find(near.describe(generic(far)))).get_token(None) == first
    assert near.count_tokens(mark) == 0

    second = await remote.get_token(first)
    assert second != first
    assert await remote.get_token(first) == second, "another request was refused the old one"

    near.plane.expect("DELETE", f"/api/v1/namespaces/{near.namespace}/serviceaccounts/deployer")
    assert await near.refusal(generic(far)) == f"ServiceAccount/{near.namespace}/deployer not found"
    near.account("deployer")
    assert await (await near.remotes.find(near.describe(generic(far)))).get_token(None) != second


async def test_who_has_another_account_or_other_audiences_shares_no_connection(near: Near, far: ControlPlane) -> None:
    near.account("baker")
    described = (generic(far), generic(far, serviceAccountName="baker"), generic(far, audiences="[remote, x]"))
    clusters, ids = KubernetesClusters(near.cluster, IN_PLACE, {}), set[str]()
    for data in (*described, described[0]):
        async with clusters.open(await near.remotes.find(near.describe(data)), None) as target:
            ids.add(target.id)
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ({"audiences": f"[remote, {OWN}]"}, "one that our own API server takes, so the other cluster could act here"),
        ({"audiences": f"['{OWN}', remote]"}, "our own API server takes"),
        ({"audiences": "[sts.amazonaws.com]"}, "one that a cloud takes"),
        ({"audiences": "['api://AzureADTokenExchange']"}, "one that a cloud takes"),
        ({"audiences": "[//iam.googleapis.com/projects/1/x]"}, "one that a cloud takes"),
        ({"audiences": "[shop.svc.id.goog]"}, "one that a cloud takes"),
        ({"audiences": "", "address": OWN}, "one that our own API server takes"),
        ({"audiences": "remote"}, "audiences is no YAML list of texts"),
        ({"audiences": "[{a: b}]"}, "audiences is no YAML list of texts"),
        ({"audiences": "[1]"}, "audiences is no YAML list of texts"),
        ({"audiences": "['']"}, "audiences is no YAML list of texts"),
        ({"audiences": "!!python/object/apply:os.system [id]"}, "audiences is no YAML list of texts"),
        ({"audiences": f"[{'x' * 5000}]"}, "of less than 4096 characters"),
        ({"serviceAccountName": ""}, "the service's own token is sent nowhere"),
        ({"serviceAccountName": "../x"}, "as which no ServiceAccount can be called"),
        ({"serviceAccountName": "nobody"}, "/nobody not found"),
        ({"address": ""}, "provider generic needs an address"),
        ({"address": "http://127.0.0.1:1"}, "a token goes over https only"),
        ({"address": "https://user@127.0.0.1:1"}, "and not https://HOST:PORT"),
        ({"address": "https://127.0.0.1:1/a"}, "and not https://HOST:PORT"),
        ({"address": "https://127.0.0.1:99999"}, "and not https://HOST:PORT"),
        ({"address": "https://a b"}, "and not https://HOST:PORT"),
        ({"ca.crt": "none"}, "ca.crt is no certificate in PEM"),
        ({"provider": ""}, "provider is '', and not generic, aws, azure or gcp"),
        ({"provider": "gce"}, "provider is 'gce', and not generic, aws, azure or gcp"),
        ({"provider": "aws"}, "cluster is '', and not of the form arn:aws:eks:REGION:ACCOUNT:cluster/NAME"),
        (
            {"provider": "aws", "cluster": "arn:aws:eks:evil.example/:1:cluster/a"},
            "and not of the form arn:aws:eks:REGION:ACCOUNT:cluster/NAME",
        ),
        ({"provider": "gcp", "cluster": "projects/../x/locations/a/clusters/b"}, "and not of the form projects/"),
        ({"provider": "azure", "cluster": AKS + "?x"}, "and not of the form /subscriptions/"),
    ],
)
async def test_what_describes_no_cluster_gets_no_token(
    data: dict[str, str], cause: str, near: Near, far: ControlPlane
) -> None:
    mark = near.plane.mark()

    assert cause in await near.refusal(generic(far, **data))

    assert near.count_tokens(mark) <= 1, "one that tells for whom our own API server takes tokens"


async def test_the_operator_s_default_account_is_taken_where_none_is_named(near: Near, far: ControlPlane) -> None:
    near.remotes = RemoteClusters(near.cluster, near.clouds, Policy(default_service_account="deployer"))
    described = generic(far, serviceAccountName="")
    assert await near.ask_who(described) == f"near:system:serviceaccount:{near.namespace}:deployer"


async def test_a_server_of_a_tenant_s_sees_no_token_but_its_own_and_leads_nowhere(
    near: Near, far: ControlPlane, tmp_path: Path
) -> None:
    """It answers everything with a redirect to our own API server."""

    seen: list[str] = []

    async def lead_away(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        answer = web.Response(status=307, headers={"Location": f"{near.plane.url}{request.raw_path}"})
        answer.force_close()  # TLS's goodbye may outlive the loop
        return answer

    authority = Authority.make(tmp_path / "evil")
    pair, context = authority.server(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", lead_away)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    described = {"address": f"https://127.0.0.1:{runner.addresses[0][1]}", "ca.crt": authority.certificate.read_text()}
    mark = near.plane.mark()
    with pytest.raises(Exception, match="307"):
        await near.ask_who(generic(far, **described))
    await runner.cleanup()

    assert seen
    for value in seen:
        token = value.removeprefix("Bearer ")
        assert near.plane.call("GET", "/api", token=token).status == 401
    asked = [r for r in near.plane.requests(agent="sealoop", since=mark) if "selfsubjectreviews" in r.uri]
    assert asked == []


async def test_that_the_account_or_the_config_map_is_gone_is_told_apart(near: Near, far: ControlPlane) -> None:
    key = near.describe(generic(far))
    await near.remotes.find(key)
    accounts, maps = (f"/api/v1/namespaces/{near.namespace}/{name}" for name in ("serviceaccounts", "configmaps"))

    near.plane.expect("DELETE", f"{accounts}/deployer")
    with pytest.raises(AccountMissing, match=f"^ServiceAccount/{near.namespace}/deployer not found$"):
        await near.remotes.find(key)
    near.plane.expect("DELETE", f"{maps}/far")
    with pytest.raises(DescriptionMissing):
        await near.remotes.find(key)


# clouds


@pytest.fixture
async def eks(near: Near, far: ControlPlane, s3_auth_server: S3Server, tmp_path: Path) -> AsyncIterator[AwsGate]:
    """AWS with one cluster, which is the other API server."""
    hosts = [f"{service}.{REGION}.amazonaws.com" for service in ("sts", "eks")]
    with aws_gate(tmp_path, s3_auth_server, lambda _: True, *hosts) as gate:
        gate.cluster = (far.url, far.ca_data)
        await near.clouds.close()
        near.clouds = SdkClouds({"HTTPS_PROXY": gate.proxy, "AWS_CA_BUNDLE": str(gate.authority)})
        near.remotes = RemoteClusters(near.cluster, near.clouds, near.policy)
        near.account("fleet", {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/fleet"})
        near.account("weak", {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/weak"})
        yield gate


def in_aws(**data: str) -> dict[str, str]:
    return {"provider": "aws", "cluster": EKS, "serviceAccountName": "fleet", **data}


async def test_a_cluster_of_eks_is_where_aws_says_and_takes_a_signed_question(
    near: Near, far: ControlPlane, eks: AwsGate, webhook: CloudTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = await near.remotes.find(near.describe(in_aws()))
    token = (await remote.get_token(None)).reveal_text()
    webhook.taken = {token}
    async with webhook.serving():
        assert await near.ask_who(in_aws()) == "cloud"

    assert remote.server == far.url
    prefix, _, encoded = token.partition(".")
    url = urlsplit(base64.urlsafe_b64decode(encoded + "==").decode())
    query = dict(parse_qsl(url.query))
    assert prefix == "k8s-aws-v1"
    assert (url.scheme, url.netloc) == ("https", f"sts.{REGION}.amazonaws.com")
    assert (query["Action"], query["X-Amz-SignedHeaders"]) == ("GetCallerIdentity", "host;x-k8s-aws-id")
    # the SDK signs the same question at the same moment
    keys = await near.clouds.get_aws_keys(REGION, (await _find_identity(near)))
    moment = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: moment)
    assert keys.session_token is not None
    credentials = Credentials(keys.access_key, keys.secret_key.reveal_text(), keys.session_token.reveal_text())
    request = AWSRequest(
        "GET",
        f"https://{url.netloc}/?Action=GetCallerIdentity&Version=2011-06-15",
        headers={"x-k8s-aws-id": "prod"},
    )
    botocore.auth.SigV4QueryAuth(credentials, "sts", REGION, expires=60).add_auth(request)
    assert dict(parse_qsl(urlsplit(request.url).query))["X-Amz-Signature"] == query["X-Amz-Signature"]


async def _find_identity(near: Near) -> Any:
    return await read_identity(near.cluster, "aws", ObjectKey(near.namespace, "fleet"))


async def test_an_address_that_aws_does_not_say_is_refused(near: Near, far: ControlPlane, eks: AwsGate) -> None:
    told = await near.refusal(in_aws(address="https://evil.example"))
    assert told == f"address is 'https://evil.example:443', but the cloud says {far.url}"
    remote = await near.remotes.find(near.describe(in_aws(address=far.url.upper().replace("HTTPS", "https"))))
    assert remote.server == far.url


async def test_a_role_that_may_not_see_the_cluster_is_told(near: Near, eks: AwsGate) -> None:
    told = await near.refusal(in_aws(serviceAccountName="weak"))
    url = f"https://eks.{REGION}.amazonaws.com/clusters/prod"
    assert told == f"GET {url}: the cloud refuses this identity, or has no such cluster: HTTP 403"


async def test_the_process_s_own_identity_goes_where_the_cloud_says_whatever_the_config_map_says(
    near: Near, far: ControlPlane, eks: AwsGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    access_key, secret_key = eks.moto.keys
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret_key)
    evil = {"address": "https://evil.example", "ca.crt": eks.authority.read_text()}

    told = await near.refusal(in_aws(**evil, serviceAccountName=""))
    assert told == f"address is 'https://evil.example:443', but the cloud says {far.url}"
    remote = await near.remotes.find(near.describe(in_aws(**{"ca.crt": evil["ca.crt"]}, serviceAccountName="")))
    assert (remote.server, remote.ca) == (far.url, far.ca.read_bytes())


@pytest.fixture
def google_and_microsoft(
    near: Near, far: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CloudServer]:
    names = ("sts.googleapis.com", "container.googleapis.com", "login.microsoftonline.com", "management.azure.com")
    with azure_cloud(tmp_path / "clouds", *names) as (server, variables):
        for name in ("HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(name, variables[name])
        server.cluster = (far.url, far.ca_data)
        bundle = variables["REQUESTS_CA_BUNDLE"]
        near.clouds = SdkClouds({"HTTPS_PROXY": variables["HTTPS_PROXY"], "SSL_CERT_FILE": bundle})
        near.remotes = RemoteClusters(near.cluster, near.clouds, near.policy)
        pool = "projects/1/locations/global/workloadIdentityPools/clusters/providers/one"
        near.account("google", {"gcp.auth.fluxcd.io/workload-identity-provider": pool})
        tenant = "azure.workload.identity/tenant-id"
        near.account("microsoft", {tenant: TENANT, "azure.workload.identity/client-id": "99999999-8888"})
        yield server


@pytest.mark.parametrize(
    ("data", "host"),
    [
        ({"provider": "gcp", "cluster": GKE, "serviceAccountName": "google"}, "container.googleapis.com"),
        ({"provider": "azure", "cluster": AKS, "serviceAccountName": "microsoft"}, "management.azure.com"),
    ],
    ids=["gcp", "azure"],
)
async def test_a_cluster_of_google_s_or_microsoft_s_is_where_they_say_and_takes_their_token(
    data: dict[str, str],
    host: str,
    near: Near,
    far: ControlPlane,
    google_and_microsoft: CloudServer,
    webhook: CloudTokens,
) -> None:
    remote = await near.remotes.find(near.describe(data))
    token = (await remote.get_token(None)).reveal_text()
    webhook.taken = {token}
    async with webhook.serving():
        assert await near.ask_who(data) == "cloud"

    assert token.startswith("token-")
    assert remote.server == write_address(far.url)
    assert host in [asked.host for asked in google_and_microsoft.asked]
    told = await near.refusal({**data, "address": "https://evil.example"})
    assert told == f"address is 'https://evil.example:443', but the cloud says {far.url}"
