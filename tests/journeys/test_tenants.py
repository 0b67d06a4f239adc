"""Two teams share a cluster: what a folder holds is applied with the rights of its team's service account."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

from tests.journeys.surroundings import Surroundings, config_map, deployment, flux
from tests.journeys.test_permissions import grant, printed_roles
from tests.servers.controlplane import list_trusting_options, start_control_plane
from tests.servers.git import BareRepository

Remote = tuple[BareRepository, str]


def sync(around: Surroundings, name: str, **spec: Any) -> None:
    source = {"kind": "GitRepository", "name": "app"}
    defaults = {"sourceRef": source, "path": f"./{name}", "interval": "1h", "retryInterval": "1s", "prune": True}
    around.apply(flux("kustomize", "Kustomization", name, **{"targetNamespace": around.namespace, **defaults, **spec}))


async def test_a_folder_is_applied_with_the_rights_of_its_service_account(around: Surroundings, remote: Remote) -> None:
    repository, url = remote
    folders = ("mine", "theirs", "nameless")
    await repository.commit({f"{name}/a.yaml": config_map(name, at="1") for name in folders})
    plane, user = around.plane, f"system:serviceaccount:{around.namespace}"

    def forbids(name: str, who: str) -> bool:
        message = around.condition(f"kustomization/{name}")["message"]
        ref, why = f"ConfigMap/{other if name == 'theirs' else around.namespace}/{name}", f'User "{user}:{who}" cannot '
        return message.startswith(f"{ref} dry-run failed (Forbidden)") and why in message

    def story() -> None:
        spec = {"url": url, "interval": "1s", "ref": {"branch": "main"}, "secretRef": {"name": "git"}}
        around.apply(flux("source", "GitRepository", "app", **spec))
        plane.service_account(around.namespace, "deployer")
        rights = ["get", "create", "patch", "delete"]
        plane.grant(f"{user}:deployer", rights, ["configmaps"], namespace=around.namespace)
        sync(around, "mine", serviceAccountName="deployer")
        sync(around, "theirs", serviceAccountName="deployer", targetNamespace=other)
        sync(around, "nameless")
        service = around.service("service", "--default-service-account", "visitor")
        try:
            around.until(lambda: around.ready("kustomization/mine"), "the team's own folder is applied")
            around.until(lambda: forbids("theirs", "deployer"), "another team's namespace is closed")
            around.until(lambda: forbids("nameless", "visitor"), "who names no account has the default's rights")
            assert around.get("configmap/mine")["data"] == {"at": "1"}
            assert plane.get("configmap/theirs", other) is None
            assert around.get("configmap/nameless") == {}

            second = asyncio.run(repository.commit({"mine/a.yaml": None, "mine/b.yaml": config_map("b", at="2")}))
            around.until(
                lambda: around.get("kustomization/mine")["status"]["lastAppliedRevision"].endswith(second), "pruned"
            )
            assert (around.get("configmap/mine"), around.get("configmap/b")["data"]) == ({}, {"at": "2"})

            plane.kubectl("delete", "serviceaccount/deployer", "-n", around.namespace)
            plane.kubectl("delete", "kustomization/mine", "-n", around.namespace, "--timeout=60s")
            left = [event for event in around.told() if event["reason"] == "PruneFailed"]
        finally:
            service.stop(60)
        account = f"ServiceAccount/{around.namespace}/deployer"
        assert [(event["type"], event["involvedObject"]["name"]) for event in left] == [("Warning", "mine")]
        assert left[0]["message"] == f"the objects of the inventory are left: {account}, which applied them, is gone"
        assert around.get("configmap/b")["data"] == {"at": "2"}

    other = plane.namespace("other")
    await asyncio.to_thread(story)


def kubeconfig(around: Surroundings, name: str, user: dict[str, Any], *, key: str = "value") -> None:
    """A Secret with a kubeconfig of the control plane, which stands for another cluster here."""
    ca = base64.b64encode(around.plane.ca.read_bytes()).decode()
    config = {
        "current-context": "there",
        "clusters": [{"name": "there", "cluster": {"server": around.plane.url, "certificate-authority-data": ca}}],
        "users": [{"name": "them", "user": user}],
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "them"}}],
    }
    metadata = {"name": name, "labels": {"reconcile.fluxcd.io/watch": "Enabled"}}
    around.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {key: json.dumps(config)}})


async def test_a_folder_is_applied_to_the_cluster_of_a_kubeconfig(around: Surroundings, remote: Remote) -> None:
    repository, url = remote
    await repository.commit({"there/a.yaml": config_map("a", at="1")})
    plane = around.plane

    def says(text: str) -> bool:
        return text in around.condition("kustomization/there")["message"]

    def story() -> None:
        spec = {"url": url, "interval": "1s", "ref": {"branch": "main"}, "secretRef": {"name": "git"}}
        around.apply(flux("source", "GitRepository", "app", **spec))
        token = plane.service_account(other, "remote")
        plane.grant(f"system:serviceaccount:{other}:remote", ["*"], ["configmaps"], namespace=other)
        reference = {"secretRef": {"name": "cluster"}}
        sync(around, "there", kubeConfig=reference, targetNamespace=other, wait=True)
        service = around.service()
        try:
            where = f"the kubeconfig in Secret/{around.namespace}/cluster (value or value.yaml)"
            around.until(lambda: says(f"{where} is not there"), "a missing Secret is named")
            kubeconfig(
                around, "cluster", {"exec": {"command": "/bin/sh", "apiVersion": "client.authentication.k8s.io/v1"}}
            )
            around.until(lambda: says("exec"), "a kubeconfig that would run a program is refused")
            kubeconfig(around, "cluster", {"token": token})
            around.until(lambda: around.ready("kustomization/there"), "the mended kubeconfig is used")
            assert plane.get("configmap/a", other)["data"] == {"at": "1"}

            plane.kubectl("patch", "configmap/a", "-n", other, "--type=merge", "-p", '{"data":{"at":"drifted"}}')
            asyncio.run(repository.commit({"there/b.yaml": config_map("b", at="2")}))
            around.until(lambda: plane.get("configmap/b", other), "a new commit is applied there")
            around.until(lambda: plane.get("configmap/a", other)["data"] == {"at": "1"}, "drift is healed there")
            plane.kubectl("delete", "kustomization/there", "-n", around.namespace, "--timeout=60s")
            assert plane.get("configmap/a", other) is None
        finally:
            service.stop(60)
        writers = {
            r.user
            for r in plane.requests()
            if r.resource == "configmaps"
            and r.verb in ("patch", "delete")
            and other in r.uri
            and r.user.startswith("system:serviceaccount")
        }
        assert writers == {f"system:serviceaccount:{other}:remote"}

    other = plane.namespace("other")
    await asyncio.to_thread(story)


async def test_a_folder_is_applied_to_the_cluster_that_a_config_map_describes(
    around: Surroundings, remote: Remote, tmp_path: Path
) -> None:
    """The other cluster trusts the first one's issuer. The service has the rights that `sealoop rbac` prints."""
    repository, url = remote
    await repository.commit({"there/a.yaml": config_map("a", at="1")})
    (tmp_path / "far").mkdir()
    options = list_trusting_options(around.plane, "far", tmp_path / "far")

    def story() -> None:
        far.namespace("shop")
        user = f"near:system:serviceaccount:{around.namespace}:deployer"
        far.grant(user, ["*"], ["configmaps"], namespace="shop-1")
        around.plane.service_account(around.namespace, "deployer")
        spec = {"url": url, "interval": "1s", "ref": {"branch": "main"}, "secretRef": {"name": "git"}}
        around.apply(flux("source", "GitRepository", "app", **spec))
        described = {"provider": "generic", "address": far.url, "ca.crt": far.ca.read_text(), "audiences": "[far]"}
        metadata = {"name": "far", "labels": {"reconcile.fluxcd.io/watch": "Enabled"}}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": described}
        around.apply(manifest)
        sync(around, "there", kubeConfig={"configMapRef": {"name": "far"}}, targetNamespace="shop-1", wait=True)
        kubeconfig = grant(around, printed_roles(around.namespace))
        service = around.service("service", "--kubeconfig", str(kubeconfig))
        try:
            about = f"the cluster that ConfigMap/{around.namespace}/far describes cannot be used"
            why = "provider generic needs serviceAccountName: the service's own token is sent nowhere"
            around.until(lambda: around.condition("kustomization/there")["message"] == f"{about}: {why}", "it is told")
            around.apply({**manifest, "data": {**described, "serviceAccountName": "deployer"}})
            around.until(lambda: around.ready("kustomization/there"), "the mended ConfigMap is used")
            assert far.get("configmap/a", "shop-1")["data"] == {"at": "1"}

            around.plane.kubectl("delete", "kustomization/there", "-n", around.namespace, "--timeout=60s")
            assert far.get("configmap/a", "shop-1") is None
        finally:
            service.stop(60)
        assert {r.user for r in far.requests(agent="sealoop") if r.resource == "configmaps"} == {user}

    far = await asyncio.to_thread(lambda: start_control_plane(tmp_path / "far", *options, issuer="https://far.example"))
    try:
        await asyncio.to_thread(story)
    finally:
        far.stop()


ONCE = b"""apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: once, image: "once:1"}]
"""
OWNER = "kustomize.toolkit.fluxcd.io"
PATH = "secrets?limit=1&x"
"""What would be another path of the API server if it were taken for the end of a version."""
OWN_KINDS = {"kustomizations", "gitrepositories", "events", "leases"}


async def test_a_service_that_may_apply_nothing_itself_does_nothing_itself_whatever_a_tenant_writes(
    around: Surroundings, remote: Remote
) -> None:
    repository, url = remote
    app = {"app/web.yaml": deployment("web:1"), "app/once.yaml": ONCE, "app/b.yaml": config_map("b", at="1")}
    await repository.commit({**app, "forger/a.yaml": config_map("forger", at="1")})
    plane, user = around.plane, f"system:serviceaccount:{around.namespace}"
    victim = plane.namespace("victim")
    roles = [role for role in printed_roles(around.namespace) if role["metadata"]["name"] != "sealoop-applier"]
    kubeconfig = grant(around, roles)

    def look(name: str) -> None:
        now = f"reconcile.fluxcd.io/requestedAt={time.monotonic_ns()}"
        plane.kubectl("annotate", "--overwrite", f"kustomization/{name}", "-n", around.namespace, now)

    def forge(name: str, *ids: str, version: str = "v1") -> None:
        """A status with an inventory of the tenant's own making."""
        status = {"status": {"inventory": {"entries": [{"id": id_, "v": version} for id_ in ids]}}}
        patch = ("--subresource=status", "--type=merge", "-p", json.dumps(status))
        plane.kubectl("patch", f"kustomization/{name}", "-n", around.namespace, *patch)

    def says(name: str, *words: str) -> bool:
        return all(word in around.condition(f"kustomization/{name}")["message"] for word in words)

    def story() -> None:
        spec = {"url": url, "interval": "1s", "ref": {"branch": "main"}, "secretRef": {"name": "git"}}
        around.apply(flux("source", "GitRepository", "app", **spec))
        plane.service_account(around.namespace, "deployer")
        for group, resource in (("", "configmaps"), ("apps", "deployments"), ("batch", "jobs")):
            verbs = ["get", "create", "patch", "delete"]
            plane.grant(f"{user}:deployer", verbs, [resource], namespace=around.namespace, groups=[group])
        owner = {f"{OWNER}/name": "forger", f"{OWNER}/namespace": around.namespace}
        for kind in ("configmaps", "secrets"):
            path = f"/api/v1/namespaces/{victim}/{kind}"
            plane.expect("POST", path, {"metadata": {"name": "gold", "labels": owner}})
        here = ("--watch-namespace", around.namespace)  # others' objects may be on the plane
        service = around.service("service", "--kubeconfig", str(kubeconfig), *here)
        try:
            sync(around, "app", serviceAccountName="deployer", wait=True, timeout="10m")
            around.until(lambda: around.ready("kustomization/app"), "what cannot be watched is looked at", 60)
            plane.kubectl("patch", "configmap/b", "-n", around.namespace, "-p", '{"data":{"at":"2"}}')
            look("app")
            around.until(lambda: around.get("configmap/b")["data"] == {"at": "1"}, "drift is healed")
            asyncio.run(repository.commit({"app/b.yaml": None}))
            around.until(lambda: not around.get("configmap/b"), "what left the folder is pruned")

            sync(around, "forger", serviceAccountName="deployer")
            around.until(lambda: around.ready("kustomization/forger"), "the forger's own folder is applied")
            forge("forger", f"{victim}_gold__ConfigMap", f"{victim}_gold__Secret")
            look("forger")
            who = f'User "{user}:deployer" cannot get resource "secrets" in API group "" in the namespace "{victim}"'
            around.until(lambda: says("forger", f"Secret/{victim}/gold delete failed (Forbidden)", who), "not pruned")
            forge("forger", f"{victim}_x__Foo", version=f"v1/{PATH}")
            look("forger")
            around.until(lambda: around.ready("kustomization/forger"), "what no server serves is gone")
            checks = [{"apiVersion": "v1", "kind": "Secret", "name": "gold", "namespace": victim}]
            sync(around, "spy", path="./forger", serviceAccountName="deployer", healthChecks=checks)
            around.until(lambda: says("spy", who), "nor looked at")
            sync(around, "dots", path="./forger", serviceAccountName="../x")
            around.until(lambda: says("dots", "'../x', as which no ServiceAccount can be called"), "nobody's name")
            forge("dots", f"{victim}_gold__ConfigMap")
            plane.kubectl("delete", "kustomization/dots", "-n", around.namespace, "--timeout=60s")
            plane.kubectl("delete", "kustomization/forger", "-n", around.namespace, "--wait=false")
            bindings = [each["metadata"]["name"] for each in around.get("rolebinding")["items"]]
            granted = [name for name in bindings if name.startswith("granted-")]
            plane.kubectl("delete", "rolebinding", "-n", around.namespace, *granted)
            look("app")
            around.until(lambda: says("app", "(Forbidden)") or says("app", "cannot get"), "its rights are gone")
            plane.kubectl("delete", "serviceaccount/deployer", "-n", around.namespace)
            around.until(lambda: not around.get("kustomization/forger"), "who has no account any more may go")
        finally:
            service.stop(60)
        assert plane.get("configmap/gold", victim) is not None
        assert plane.get("secret/gold", victim) is not None

    await asyncio.to_thread(story)

    asked = plane.requests(user=f"{user}:sealoop", as_itself=True)
    assert {r.resource.partition("/")[0] for r in asked if r.verb not in ("get", "list", "watch")} <= OWN_KINDS
    assert {(r.verb, r.resource) for r in asked if r.code == 403} == {("list", "jobs")}
    assert [r for r in asked if f"/namespaces/{victim}/" in r.uri or r.uri.endswith(PATH)] == []
