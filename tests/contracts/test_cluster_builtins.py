"""Built-in kinds on both clusters: who owns what after an apply, and that the table of types is the API server's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.adapters.local import LocalCluster
from tests.contracts.conftest import new_namespace
from tests.contracts.histories import comparable
from tests.servers.controlplane import ControlPlane
from tools.builtin_kinds import TABLE, build

LABELS = {"app": "web"}
CONTAINER = {
    "name": "web",
    "image": "web:1",
    "ports": [{"containerPort": 80, "protocol": "UDP"}, {"containerPort": 81}],
    "env": [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ],
    "resources": {"requests": {"cpu": "100m"}},
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
}
POD = {"containers": [CONTAINER], "volumes": [{"name": "v", "emptyDir": {}}], "serviceAccountName": "web"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": POD}
SELECTED = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE, "replicas": 0}
JOB = {"spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}}
METRIC = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}

OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "apps/v1", "kind": "Deployment", "spec": SELECTED},
    {"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {**SELECTED, "serviceName": "web"}},
    {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "spec": {"schedule": "0 * * * *", "suspend": True, "jobTemplate": JOB},
    },
    {"apiVersion": "v1", "kind": "Pod", "spec": POD},
    {"apiVersion": "v1", "kind": "Service", "spec": {"selector": LABELS, "ports": [{"port": 80, "targetPort": "web"}]}},
    {"apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": [{"name": "registry"}]},
    {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}, "binaryData": {"b": "eA=="}},
    {"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA=="}, "stringData": {"b": "c"}},
    {"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}},
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "spec": {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}}]},
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]},
    },
    {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "spec": {"minAvailable": "50%", "selector": {"matchLabels": LABELS}},
    },
    {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "metrics": [{"type": "Resource", "resource": METRIC}],
        },
    },
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [RULE]},
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "web"},
        "subjects": [{"kind": "ServiceAccount", "name": "web", "namespace": "default"}],
    },
    {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"},
    },
]


@pytest.mark.parametrize("manifest", OBJECTS, ids=lambda manifest: manifest["kind"])
async def test_an_apply_owns_the_same_on_both(
    manifest: dict[str, Any], local_cluster: LocalCluster, real_cluster: KubernetesCluster
) -> None:
    namespace = await new_namespace(local_cluster, real_cluster)
    wanted = {**manifest, "metadata": {"name": "web", "namespace": namespace, "labels": LABELS}}

    ours, theirs = [await c.apply(wanted, field_manager="ann") for c in (local_cluster, real_cluster)]

    assert comparable(ours)["metadata"] == comparable(theirs)["metadata"]


def test_the_table_of_built_in_kinds_is_the_api_servers(control_plane: ControlPlane) -> None:
    # `python -m tools.builtin_kinds` writes it again
    assert json.loads(TABLE.read_text()) == build(control_plane)
