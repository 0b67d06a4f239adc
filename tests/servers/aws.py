"""AWS on loopback: moto's server, for the session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config

from tests.servers.certificates import Authority
from tests.servers.programs import answers, free_port, listens, running


@pytest.fixture(scope="session")
def aws_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of every service's endpoint."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(
        ["moto_server", "-H", "127.0.0.1", "-p", str(port)],
        folder=tmp_path_factory.mktemp("aws"),
        ready=lambda: answers(f"{url}/moto-api/"),
        timeout=60.0,
    ):
        yield url


@dataclass(frozen=True)
class S3Server:
    """An object store.

    Attributes:
        host: its endpoint, with the port.
        keys: who may do everything.
        authority: whom to trust, a file; None without TLS.
    """

    host: str
    keys: tuple[str, str] = ("any", "any")
    authority: Path | None = None
    region: str = "us-east-1"

    @property
    def ca(self) -> str:
        return self.authority.read_text() if self.authority else ""

    def client(self, service: str = "s3") -> Any:
        scheme = "https" if self.authority else "http"
        config = Config(proxies={}, s3={"addressing_style": "path"}, retries={"max_attempts": 1})
        return boto3.client(
            service,
            endpoint_url=f"{scheme}://{self.host}",
            aws_access_key_id=self.keys[0],
            aws_secret_access_key=self.keys[1],
            region_name=self.region,
            verify=str(self.authority) if self.authority else None,
            config=config,
        )


@contextmanager
def _moto(folder: Path, *options: str, **environment: str) -> Iterator[str]:
    port = free_port()
    command = ["moto_server", "-H", "127.0.0.1", "-p", str(port), *options]
    with running(command, folder=folder, ready=lambda: listens(port), timeout=60.0, environment=environment):
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with _moto(tmp_path_factory.mktemp("s3")) as host:
        yield S3Server(host)


@pytest.fixture(scope="session")
def s3_tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    authority = Authority.make(tmp_path_factory.mktemp("s3-ca"))
    pair = authority.server()
    with _moto(tmp_path_factory.mktemp("s3-tls"), "-s", "-c", str(pair.certificate), "-k", str(pair.key)) as host:
        yield S3Server(host, authority=authority.certificate)


@pytest.fixture(scope="session")
def s3_auth_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A store that checks signatures, and EKS with a cluster `prod`. Role `fleet` may see them, role `weak` may not."""
    with _moto(tmp_path_factory.mktemp("s3-auth"), INITIAL_NO_AUTH_ACTION_COUNT="1000000") as host:
        iam = S3Server(host).client("iam")
        iam.create_user(UserName="lab")
        key = iam.create_access_key(UserName="lab")["AccessKey"]
        statement = '{"Effect": "Allow", "Action": ["s3:*", "eks:*", "ecr:*", "kms:*"], "Resource": "*"}'
        allow = f'{{"Version": "2012-10-17", "Statement": [{statement}]}}'
        iam.put_user_policy(UserName="lab", PolicyName="p", PolicyDocument=allow)
        refuse = allow.replace("Allow", "Deny")
        for role, policy in (("fleet", allow), ("weak", refuse)):
            iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
            iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=policy)
        eks = S3Server(host, region="eu-central-1").client("eks")
        eks.create_cluster(name="prod", roleArn="arn:aws:iam::123456789012:role/fleet", resourcesVpcConfig={})
        with requests.Session() as session:
            session.trust_env = False
            session.post(f"http://{host}/moto-api/reset-auth", data="0", timeout=30).raise_for_status()
        yield S3Server(host, (key["AccessKeyId"], key["SecretAccessKey"]))
