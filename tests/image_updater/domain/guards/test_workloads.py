"""What workloads say of themselves, in the shapes that their controllers write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_updater.domain.guards.workloads import (
    RunningImage,
    explain_pod_trouble,
    find_spoken_for,
    read_canary_state,
    read_images,
    read_rollout_state,
    read_running_state,
    write_pod_selector,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["spec", "status", "x"]), inner),
)


def template(*images: str) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": i, "image": i} for i in images]}}}}


def test_images_are_canonical_and_told_once() -> None:
    found = read_images(
        template("nginx:1.27", "docker.io/library/nginx:1.27", "ghcr.io/o/a:1@sha256:" + "a" * 64, "??")
    )

    assert found == (
        RunningImage("index.docker.io/library/nginx", "1.27"),
        RunningImage("ghcr.io/o/a", "1", "sha256:" + "a" * 64),
    )


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"observedGeneration": "2", "phase": "Healthy"}, "Healthy"),
        ({"observedGeneration": "2", "phase": "Degraded", "message": "RolloutAborted: x"}, "Failed"),
        ({"observedGeneration": "2", "phase": "Paused"}, "Progressing"),
        ({"observedGeneration": "1", "phase": "Degraded"}, "Progressing"),
        ({}, "Progressing"),
    ],
)
def test_a_rollout_is_believed_once_it_has_seen_its_spec(status: dict[str, Any], state: str) -> None:
    assert read_rollout_state({"metadata": {"generation": 2}, "status": status})[0] == state


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        ("Failed", "Failed"),
        ("Succeeded", "Healthy"),
        ("Initialized", "Healthy"),
        ("WaitingPromotion", "Progressing"),
        ("", "Progressing"),
    ],
)
def test_a_canary_speaks_for_its_target(phase: str, state: str) -> None:
    canary = {"spec": {"targetRef": {"kind": "Deployment", "name": "web"}}, "status": {"phase": phase}}

    assert read_canary_state(canary)[0] == state
    assert find_spoken_for({"kind": "Canary", **canary}) == ("Deployment", "web")


ALL = dict.fromkeys(("replicas", "readyReplicas", "currentReplicas", "updatedReplicas"), 2)
SCHEDULED = {"desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2}
BY_HAND = {"replicas": 2, "updateStrategy": {"type": "OnDelete"}}


@pytest.mark.parametrize(
    ("kind", "spec", "status", "state"),
    [
        ("Deployment", {}, ALL, "Healthy"),
        ("Deployment", {"replicas": 2}, ALL, "Healthy"),
        ("Deployment", {"replicas": 0}, {}, "Idle"),
        ("StatefulSet", {"replicas": 2}, ALL, "Healthy"),
        ("StatefulSet", {"replicas": 0}, ALL, "Idle"),
        ("StatefulSet", BY_HAND, ALL, "Healthy"),
        ("StatefulSet", BY_HAND, {**ALL, "updatedReplicas": 0}, "Idle"),
        ("StatefulSet", BY_HAND, {**ALL, "readyReplicas": 1}, "Progressing"),
        (
            "StatefulSet",
            {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            {"replicas": 2},
            "Idle",
        ),
        ("DaemonSet", {}, SCHEDULED, "Healthy"),
        ("DaemonSet", {}, {"desiredNumberScheduled": 0}, "Idle"),
        ("Rollout", {"replicas": 0}, {"phase": "Healthy"}, "Idle"),
        ("Rollout", {}, {"phase": "Healthy"}, "Healthy"),
    ],
)
def test_a_workload_without_a_pod_is_not_healthy(
    kind: str, spec: dict[str, Any], status: dict[str, Any], state: str
) -> None:
    assert read_running_state({"kind": kind, "spec": spec, "status": status})[0] == state


def test_a_rollout_speaks_for_the_deployment_that_it_refers_to() -> None:
    spec = {"replicas": 2, "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}

    assert find_spoken_for({"kind": "Rollout", "spec": spec}) == ("Deployment", "web")
    assert find_spoken_for({"kind": "Rollout", "spec": {"template": {}}}) is None
    assert find_spoken_for({"kind": "Deployment", "spec": spec}) is None


def pod(image: str, reason: str, age: float = 60.0) -> dict[str, Any]:
    started = (NOW - timedelta(seconds=age)).isoformat().replace("+00:00", "Z")
    return {
        "metadata": {"name": "web-1", "creationTimestamp": started},
        "spec": {"containers": [{"name": "web", "image": image}]},
        "status": {"containerStatuses": [{"name": "web", "state": {"waiting": {"reason": reason}}}]},
    }


def test_a_pod_that_cannot_pull_its_image_fails_after_a_while() -> None:
    images = read_images(template("ghcr.io/o/a:2"))

    assert explain_pod_trouble([pod("ghcr.io/o/a:2", "ErrImagePull")], images, NOW, 30) == "Pod web-1: ErrImagePull"
    assert explain_pod_trouble([pod("ghcr.io/o/a:2", "ErrImagePull", 10)], images, NOW, 30) == ""
    assert explain_pod_trouble([pod("ghcr.io/o/a:2", "ContainerCreating")], images, NOW, 30) == ""
    assert explain_pod_trouble([pod("ghcr.io/o/a:1", "ErrImagePull")], images, NOW, 30) == ""


def test_the_selector_is_that_of_the_workload() -> None:
    assert write_pod_selector({"spec": {"selector": {"matchLabels": {"b": "2", "a": "1"}}}}) == "a=1,b=2"
    assert write_pod_selector({}) == ""


@given(st.dictionaries(st.sampled_from(["spec", "status", "metadata"]), JSON))
def test_odd_objects_are_read_without_trouble(manifest: dict[str, Any]) -> None:
    read_images(manifest)
    read_rollout_state(manifest)
    read_canary_state(manifest)
    assert explain_pod_trouble([manifest], (), NOW, 0.0) == ""
