"""The control plane that other tests stand on does what they rely on."""

from __future__ import annotations

import json
import time

from tests.servers.controlplane import ControlPlane, summary

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAMESPACE}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.test/web:IMAGE"}]}
"""


def test_rights_are_checked_and_can_be_granted(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()
    jane = control_plane.user("jane")
    ask = ("auth", "can-i", "list", "secrets", "-n", namespace, "--as", "jane")

    answers = []
    answers.append(json.loads(control_plane.kubectl("get", "--raw", "/api", kubeconfig=jane))["kind"])
    answers.append(control_plane.call("GET", f"/api/v1/namespaces/{namespace}/secrets", token="wrong").status)
    control_plane.grant("jane", ["list"], ["secrets"], namespace=namespace)
    answers.append(control_plane.kubectl(*ask).strip())

    assert answers == ["APIVersions", 401, "yes"]


def test_a_service_account_proves_who_it_is(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()

    token = control_plane.service_account(namespace, "app")

    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    status, answer = control_plane.call(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review, token=token
    )
    assert (status, answer["status"]["userInfo"]["username"]) == (201, f"system:serviceaccount:{namespace}:app")


def test_requests_are_counted_by_client(control_plane: ControlPlane) -> None:
    namespace, mark = control_plane.namespace(), control_plane.mark()

    control_plane.expect("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "counted"}})
    control_plane.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/missing")

    asked = control_plane.requests(agent="tests", since=mark)
    assert summary(asked) == (("create", "configmaps", 1), ("get", "configmaps", 1))
    assert [(r.verb, r.resource, r.name, r.code) for r in asked] == [
        ("create", "configmaps", "counted", 201),
        ("get", "configmaps", "missing", 404),
    ]
    assert control_plane.request_totals()["POST", "configmaps"] >= 1


def test_pods_run_and_broken_images_do_not(workloads: ControlPlane) -> None:
    namespace = workloads.namespace()
    manifest = DEPLOYMENT.replace("NAMESPACE", namespace)

    workloads.kubectl("apply", "-f", "-", stdin=manifest.replace("IMAGE", "1"))
    workloads.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=55s")
    workloads.kubectl("apply", "-f", "-", stdin=manifest.replace("IMAGE", "2-broken"))

    reason = "jsonpath={.items[*].status.containerStatuses[0].state.waiting.reason}"
    deadline = time.monotonic() + 120
    while not (seen := workloads.kubectl("get", "pods", "-n", namespace, "-o", reason)):
        assert time.monotonic() < deadline, "the broken image did not fail"
        time.sleep(0.2)
    assert set(seen.split()) == {"ImagePullBackOff"}
    assert "2" in workloads.kubectl("get", "deployment/web", "-n", namespace, "-o", "jsonpath={.status.readyReplicas}")
