"""The service does the main jobs of every kind with the rights that `sealoop rbac` prints, and with no other.

For what it applies, it is given the verbs that are printed, on the kinds that the folder holds.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from sealoop.main import main
from tests.journeys.surroundings import Surroundings, config_map, deployment, flux
from tests.servers.artifacts import describe, push
from tests.servers.controlplane import AuditedRequest, start_control_plane
from tests.servers.git import BareRepository
from tests.servers.programs import free_port
from tests.servers.registry import RealRegistry
from tests.servers.vault import VaultServer

API = "rbac.authorization.k8s.io"
APPLIED = ("apps", "deployments")
UNSEEN = {
    ("events", "patch"),  # an Event is counted on after three minutes
    ("serviceaccounts", "impersonate"),  # asked for when a request says for whom it is
    ("deployments", "create"),  # asked for when an apply makes an object: the request itself is a patch
    ("externalsecrets/finalizers", "update"),  # asked for when a Secret gets an owner
}
"""Writes that are no requests of this journey."""
READS = {"get", "list", "watch"}


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Surroundings]:
    """A control plane that asks owners for the right to be owners."""
    plane = start_control_plane(tmp_path, "--enable-admission-plugins=OwnerReferencesPermissionEnforcement")
    try:
        plane.install_crds()
        yield Surroundings(plane, plane.namespace("journey"), tmp_path)
    finally:
        plane.stop()


def printed_roles(namespace: str) -> list[dict[str, Any]]:
    printed = CliRunner().invoke(main, ["rbac", "--lease-namespace", namespace])
    assert printed.exit_code == 0, printed.output
    return list(yaml.safe_load_all(printed.output))


def grant(around: Surroundings, roles: list[dict[str, Any]]) -> Path:
    """Give a service account the roles, the applier's on APPLIED alone. Returns its kubeconfig."""
    for role in roles:
        if role["metadata"]["name"] == "sealoop-applier":
            (rule,) = role["rules"]
            role["rules"] = [rule | {"apiGroups": [APPLIED[0]], "resources": [APPLIED[1]]}]
    return bind(around, roles)


def bind(around: Surroundings, roles: list[dict[str, Any]]) -> Path:
    """Give a service account the roles as they are. Returns its kubeconfig."""
    token = around.plane.service_account(around.namespace, "sealoop")
    subject = {"kind": "ServiceAccount", "name": "sealoop", "namespace": around.namespace}
    for role in roles:
        kind, metadata = role["kind"], role["metadata"]
        reference = {"apiGroup": API, "kind": kind, "name": metadata["name"]}
        binding = {
            "apiVersion": role["apiVersion"],
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": reference,
            "subjects": [subject],
        }
        around.apply(role, binding)
    return around.plane.write_kubeconfig("sealoop", {"token": token})


def external_secret(name: str, key: str, target: dict[str, str] | None = None) -> dict[str, Any]:
    data = [{"secretKey": "password", "remoteRef": {"key": key, "property": "password"}}]
    spec = {"refreshInterval": "1s", "secretStoreRef": {"name": "vault"}, "data": data, "target": target or {}}
    return {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": name}, "spec": spec}


def secret_store(server: str) -> dict[str, Any]:
    auth = {"tokenSecretRef": {"name": "vault", "key": "token"}}
    ca = {"type": "ConfigMap", "name": "ca", "key": "ca.crt"}
    vault = {"server": server, "path": "secret", "auth": auth, "caProvider": ca}
    metadata = {"name": "vault"}
    spec = {"provider": {"vault": vault}}
    return {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": metadata, "spec": spec}


def sources(artifact: str) -> list[dict[str, Any]]:
    """What is fetched from elsewhere than Git; of the bucket no more than that it is not there."""
    keys = {"secretRef": {"name": "hook"}, "insecure": True}
    return [
        flux("source", "OCIRepository", "pushed", url=f"oci://{artifact}", interval="1h", serviceAccountName="puller"),
        flux("source", "Bucket", "kept", bucketName="b", endpoint=f"127.0.0.1:{free_port()}", interval="1h", **keys),
    ]


def describe_far_cluster() -> dict[str, Any]:
    """Describe a cluster that is not there: who applies to it gets a token first."""
    data = {"provider": "generic", "address": "https://127.0.0.1:1", "serviceAccountName": "deployer"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "far"}, "data": data}


def gitops(around: Surroundings, url: str, image: str) -> list[dict[str, Any]]:
    source = {"kind": "GitRepository", "name": "app"}
    folder = {"sourceRef": source, "path": "./app", "targetNamespace": around.namespace, "prune": True}
    git = {"commit": {"author": {"name": "bot", "email": "bot@example.com"}}}
    hook = {"type": "generic", "resources": [source], "secretRef": {"name": "hook"}}
    author = {"git": git, "update": {"path": "app"}}
    guard = {"apiVersion": "sealoop.dev/v1alpha1", "kind": "UpdateGuard", "metadata": {"name": "web"}}
    policy = {"semver": {"range": ">=1"}}
    return [
        flux(
            "source", "GitRepository", "app", url=url, interval="1h", ref={"branch": "main"}, secretRef={"name": "git"}
        ),
        flux("kustomize", "Kustomization", "app", interval="1h", **folder),
        describe_far_cluster(),
        flux(
            "kustomize", "Kustomization", "far", interval="1h", kubeConfig={"configMapRef": {"name": "far"}}, **folder
        ),
        flux(
            "kustomize",
            "Kustomization",
            "team",
            interval="1h",
            serviceAccountName="deployer",
            **folder | {"path": "./team"},
        ),
        flux("notification", "Receiver", "app", **hook),
        flux("image", "ImageRepository", "web", image=image, interval="1s", insecure=True, serviceAccountName="puller"),
        flux("image", "ImagePolicy", "web", imageRepositoryRef={"name": "web"}, policy=policy),
        flux("image", "ImageUpdateAutomation", "web", sourceRef=source, interval="1h", **author),
        guard | {"spec": {"rollback": {"within": "10m", "pullErrors": "1m"}}},
    ]


def secret(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


async def test_every_job_is_done_with_the_printed_permissions(
    around: Surroundings,
    remote: tuple[BareRepository, str],
    open_registry: RealRegistry,
    vault_server: VaultServer,
) -> None:
    repository, url = remote
    name = f"{around.namespace}/web"
    image = f"{open_registry.host}/{name}"
    marker = f'{{"$imagepolicy": "{around.namespace}:web"}}'
    await asyncio.to_thread(open_registry.push, name, "1.0.0")
    await repository.commit(
        {
            "app/web.yaml": deployment(f"{image}:1.0.0", marker=marker),
            "team/a.yaml": config_map("team", at="1"),
            "app/other.yaml": deployment(f"{image}:1.0.0").replace(b"name: web", b"name: other", 1),
        }
    )
    artifact = f"{open_registry.host}/{around.namespace}/config"
    pushed = describe({"a.yaml": "kind: List"})
    await asyncio.to_thread(push, open_registry.host, f"{around.namespace}/config", pushed, "latest")
    roles = printed_roles(around.namespace)
    kubeconfig = grant(around, roles)
    hooks = free_port()
    objects = [
        *gitops(around, url, image),
        *sources(artifact),
        secret_store(vault_server.url),
        external_secret("db", f"{name}/db"),
    ]

    def password(of: str) -> str:
        data = around.get(f"secret/{of}").get("data") or {}
        return base64.b64decode(data.get("password", "")).decode()

    def in_git() -> str:
        command = ["git", f"--git-dir={repository.directory}", "show", "main:app/web.yaml"]
        return subprocess.check_output(command, text=True)

    def sync() -> None:
        path = around.get("receiver/app")["status"]["webhookPath"]
        with urllib.request.urlopen(f"http://127.0.0.1:{hooks}{path}", b"{}") as answer:
            assert answer.status == 200

    def story() -> None:
        vault_server.put(f"{name}/db", {"password": "first"})
        around.apply(secret("vault", token=vault_server.token), secret("hook", token="hook-token"))
        around.plane.kubectl("create", "serviceaccount", "puller", "-n", around.namespace)
        around.plane.kubectl("create", "serviceaccount", "deployer", "-n", around.namespace)
        deployer = f"system:serviceaccount:{around.namespace}:deployer"
        around.plane.grant(deployer, [*READS, "create", "patch", "delete"], ["configmaps"], namespace=around.namespace)
        around.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "ca"},
                "data": {"ca.crt": _authority(around)},
            }
        )
        around.apply(*objects)
        options = ("--kubeconfig", str(kubeconfig), "--hooks", f"127.0.0.1:{hooks}")
        service = around.service("service", *options)
        try:
            around.until(lambda: around.ready("kustomization/app"), "the folder is applied")
            around.until(
                lambda: around.ready("kustomization/team"), "the team's folder is applied as its service account"
            )
            around.until(lambda: password("db") == "first", "the Secret is made")
            around.until(lambda: around.ready("ocirepository/pushed"), "the artifact is kept")
            around.until(lambda: around.get("bucket/kept")["status"].get("conditions"), "the bucket was asked for")
            around.until(lambda: around.ready("receiver/app"), "the Receiver has a path")
            cause = "the API server https://127.0.0.1:1 cannot be reached"
            around.until(lambda: cause in around.condition("kustomization/far")["message"], "there is a token for it")
            around.until(lambda: around.get("configmap/sealoop-tags-web"), "the ages of tags are kept")

            vault_server.put(f"{name}/db", {"password": "second"})
            around.until(lambda: password("db") == "second", "the rotated value arrives")
            around.apply(external_secret("db", f"{name}/db", {"name": "db2", "deletionPolicy": "Delete"}))
            around.until(lambda: password("db2") == "second" and not around.get("secret/db"), "the orphan is deleted")
            open_registry.push(name, "1.1.0")
            around.until(lambda: f"{image}:1.1.0" in in_git(), "the new tag is committed")
            asyncio.run(repository.commit({"app/other.yaml": None}))
            sync()
            around.until(lambda: not around.get("deployment/other"), "what left the folder is pruned")
            around.until(lambda: f"{image}:1.1.0" in json.dumps(around.get("deployment/web")), "the bump is applied")
            vault_server.call("DELETE", f"secret/metadata/{name}/db")
            around.until(lambda: not around.get("secret/db2"), "the Secret goes with its secret")
            kinds = sorted({f"{each['kind'].lower()}/{each['metadata']['name']}" for each in objects})
            around.plane.kubectl("delete", "-n", around.namespace, "--timeout=60s", *kinds)
        finally:
            service.stop(60)

    await asyncio.to_thread(story)

    asked = around.plane.requests(user=f"system:serviceaccount:{around.namespace}:sealoop")
    refused = [request for request in asked if request.code == 403]
    assert not refused, "\n".join(f"{r.verb} {r.resource} {r.name} {r.uri}" for r in refused)
    assert unused_writes(roles, asked) == UNSEEN


def _authority(around: Surroundings) -> str:
    return around.plane.ca.read_text()


def unused_writes(roles: list[dict[str, Any]], asked: list[AuditedRequest]) -> set[tuple[str, str]]:
    """What is granted and was not asked for."""
    granted = {
        (r, verb) for role in roles for rule in role["rules"] for r in rule["resources"] for verb in rule["verbs"]
    }
    return {g for g in granted if g[1] not in READS} - {(request.resource, request.verb) for request in asked}
