"""Whether a refusal of a real API server says that fields cannot change, and nothing else: that decides a deletion."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.domain.sync.owners import make_kustomization_ownership
from gitops_core.domain.sync.plan import plan_sync
from gitops_core.domain.sync.replacing import is_immutable
from gitops_core.errors import Invalid
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.reconcilers.applying import Applier, SyncFailed
from gitops_core.runtime.clock import SystemClock
from tests.servers.controlplane import ControlPlane

MANAGER = "kustomize-controller"
Change = Callable[[Any], object]


def make(api_version: str, kind: str, **fields: Any) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": f"fixed-{kind.lower()}"}, **fields}


POD = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "web:1"}]}
LABELS = {"app": "web"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}
SELECTED = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "one"}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "a"}
SERVICE = make("v1", "Service", spec={"ports": [{"port": 80}], "selector": LABELS})
JOB = make("batch/v1", "Job", spec={"template": {"spec": POD}})
VOLUME = {
    "capacity": {"storage": "1Gi"},
    "accessModes": ["ReadWriteOnce"],
    "storageClassName": "a",
    "hostPath": {"path": "/a"},
}
CONFIG_MAP = make("v1", "ConfigMap", data={"a": "1"}, immutable=True)
SECRET = make("v1", "Secret", stringData={"a": "1"}, type="Opaque")
DEPLOYMENT = make("apps/v1", "Deployment", spec=SELECTED)
STATEFUL_SET = make("apps/v1", "StatefulSet", spec={**SELECTED, "serviceName": "web"})


def put(*path: str | int, to: Any) -> Change:
    def change(manifest: Any) -> None:
        for part in path[:-1]:
            manifest = manifest[part]
        manifest[path[-1]] = to

    return change


OTHER = {"app": "other"}
SELECTING_OTHERS = {"selector": {"matchLabels": OTHER}, "template": {**TEMPLATE, "metadata": {"labels": OTHER}}}
FIXED: list[tuple[Manifest, Change]] = [
    (SERVICE, put("spec", "clusterIP", to="10.96.7.8")),
    (SERVICE, put("spec", "clusterIP", to="None")),
    (make("v1", "PersistentVolumeClaim", spec=CLAIM), put("spec", "storageClassName", to="b")),
    (make("v1", "PersistentVolumeClaim", spec=CLAIM), put("spec", "accessModes", to=["ReadWriteMany"])),
    (make("v1", "PersistentVolume", spec=VOLUME), put("spec", "hostPath", "path", to="/b")),
    (STATEFUL_SET, put("spec", "serviceName", to="other")),
    (STATEFUL_SET, put("spec", "podManagementPolicy", to="Parallel")),
    (JOB, put("spec", "template", "spec", "containers", 0, "image", to="web:2")),
    (JOB, put("spec", "completions", to=3)),
    (make("v1", "Pod", spec=POD), put("spec", "restartPolicy", to="Always")),
    (make("v1", "Pod", spec=POD), put("spec", "containers", 0, "command", to=["x"])),
    (CONFIG_MAP, put("data", "a", to="2")),
    (CONFIG_MAP, put("immutable", to=False)),
    ({**SECRET, "immutable": True}, put("stringData", "a", to="2")),
    (SECRET, put("type", to="example.org/other")),
    (
        make("rbac.authorization.k8s.io/v1", "RoleBinding", roleRef=ROLE, subjects=[]),
        put("roleRef", "name", to="two"),
    ),
    (
        make("networking.k8s.io/v1", "IngressClass", spec={"controller": "example.org/a"}),
        put("spec", "controller", to="example.org/b"),
    ),
    (make("storage.k8s.io/v1", "StorageClass", provisioner="example.org/a"), put("provisioner", to="example.org/b")),
    (
        make("storage.k8s.io/v1", "StorageClass", provisioner="example.org/a", parameters={"a": "1"}),
        put("parameters", to={"a": "2"}),
    ),
    (
        make("storage.k8s.io/v1", "StorageClass", provisioner="example.org/a", reclaimPolicy="Delete"),
        put("reclaimPolicy", to="Retain"),
    ),
    (
        make("storage.k8s.io/v1", "StorageClass", provisioner="example.org/a"),
        put("volumeBindingMode", to="WaitForFirstConsumer"),
    ),
    (make("storage.k8s.io/v1", "CSIDriver", spec={"attachRequired": True}), put("spec", "attachRequired", to=False)),
    (make("scheduling.k8s.io/v1", "PriorityClass", value=10), put("value", to=11)),
    (make("node.k8s.io/v1", "RuntimeClass", handler="one"), put("handler", to="two")),
    (
        make("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4", endpoints=[], ports=[]),
        put("addressType", to="IPv6"),
    ),
    (DEPLOYMENT, put("spec", to={**SELECTED, **SELECTING_OTHERS})),
    (make("apps/v1", "DaemonSet", spec=SELECTED), put("spec", to=SELECTING_OTHERS)),
]
MERELY_WRONG: list[tuple[Manifest, Change]] = [
    (SERVICE, put("spec", "type", to="immutable")),
    (SERVICE, put("spec", "sessionAffinity", to="may not change once set")),
    (SERVICE, put("metadata", "labels", to={"a": "field is immutable"})),
    (CONFIG_MAP, put("metadata", "labels", to={"a": "field is immutable"})),
    (DEPLOYMENT, put("spec", "replicas", to=-1)),
    (DEPLOYMENT, put("spec", "template", "spec", "dnsPolicy", to="cannot be changed")),
]


async def refuse(cluster: KubernetesCluster, before: Manifest, change: Change, namespace: str) -> Invalid:
    first = deepcopy(dict(before))
    first["metadata"] = {**before["metadata"], "namespace": namespace}
    if not (await cluster.find_api_resource(Kind.of_manifest(first))).namespaced:
        del first["metadata"]["namespace"]
        first["metadata"]["name"] += "." + namespace
    await cluster.apply(first, field_manager=MANAGER, force=True)
    second = deepcopy(first)
    change(second)
    with pytest.raises(Invalid) as caught:
        await cluster.apply(second, field_manager=MANAGER, force=True, dry_run=True)
    return caught.value


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesCluster]:
    connected = await KubernetesCluster.from_environment(Path(control_plane.kubeconfig))
    yield connected
    await connected.close()


@pytest.mark.parametrize(("before", "change"), FIXED)
async def test_a_field_that_cannot_change_is_told_by_the_refusal(
    control_plane: ControlPlane, cluster: KubernetesCluster, before: Manifest, change: Change
) -> None:
    assert is_immutable(await refuse(cluster, before, change, control_plane.namespace("fixed")))


@pytest.mark.parametrize(("before", "change"), MERELY_WRONG)
async def test_a_value_that_is_wrong_is_no_field_that_cannot_change(
    control_plane: ControlPlane, cluster: KubernetesCluster, before: Manifest, change: Change
) -> None:
    assert not is_immutable(await refuse(cluster, before, change, control_plane.namespace("wrong")))


async def test_a_policy_that_refuses_a_change_is_no_field_that_cannot_change(
    control_plane: ControlPlane, cluster: KubernetesCluster
) -> None:
    namespace = control_plane.namespace("policy")
    admission = "/apis/admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"]}
    validation = {"expression": "object.data == oldObject.data", "message": "the field data is immutable"}
    about = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": namespace}}
    policy = {"matchConstraints": {"resourceRules": [rule]}, "validations": [validation], "failurePolicy": "Fail"}
    chosen = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    binding = {"policyName": namespace, "validationActions": ["Deny"], "matchResources": chosen}
    for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)):
        plural = "validatingadmissionpolicies" if spec is policy else "validatingadmissionpolicybindings"
        control_plane.apply({**about, "kind": kind, "spec": spec}, f"{admission}/{plural}/{namespace}")
    guarded = make("v1", "ConfigMap", data={"a": "1"})
    guarded["metadata"]["namespace"] = namespace
    await cluster.apply(guarded, field_manager=MANAGER, force=True)

    async def be_refused() -> Invalid:
        while True:  # until the policy is in force
            try:
                await cluster.apply({**guarded, "data": {"a": "2"}}, field_manager=MANAGER, force=True, dry_run=True)
            except Invalid as refusal:
                return refusal
            await asyncio.sleep(0.2)

    async with asyncio.timeout(60):
        refusal = await be_refused()

    assert "immutable" in str(refusal)
    assert not is_immutable(refusal)


async def test_a_service_survives_that_another_one_holds_the_address_it_was_to_get(
    control_plane: ControlPlane, cluster: KubernetesCluster
) -> None:
    """No trial tells of an address that is held."""
    namespace = control_plane.namespace("taken")
    ownership = make_kustomization_ownership(ObjectKey(namespace, "apps"))
    await cluster.create(make_service("other", namespace, "10.96.9.1"), field_manager="somebody")
    before = ownership.add_mark(make_service("web", namespace, "10.96.9.2"))
    await cluster.apply(before, field_manager=MANAGER, force=True)
    applier = Applier(cluster, SystemClock(), ownership, force=True)

    async def replace(address: str) -> None:
        wanted = ownership.add_mark(make_service("web", namespace, address))
        predictions = await applier.try_out(plan_sync([wanted], (), ownership, prune=True))
        await applier.replace(predictions.values())

    async def get_address() -> str:
        live = await cluster.get(ObjectRef.of(before))
        return str(live["spec"]["clusterIP"]) if live is not None else "none"

    with pytest.raises(SyncFailed, match=r"provided IP is already allocated.*the object is back as it was"):
        await replace("10.96.9.1")
    assert await get_address() == "10.96.9.2"

    await replace("10.96.9.3")
    assert await get_address() == "10.96.9.3"


def make_service(name: str, namespace: str, address: str) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {**SERVICE, "metadata": metadata, "spec": {**SERVICE["spec"], "clusterIP": address}}
