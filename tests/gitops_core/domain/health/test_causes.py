"""What keeps a workload, told by its Pods."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.health.causes import LONGEST, find_cause, find_selector
from tests.simulation.loop import BEGINNING

NOW = BEGINNING + timedelta(minutes=2)
SINCE = "2026-01-01T00:01:20Z"


def pod(name: str = "web-7d9f", created: str = "2026-01-01T00:00:00Z", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": created}, "status": status}


def container(state: dict[str, Any], ready: bool = False, **more: Any) -> dict[str, Any]:
    return {"name": "main", "ready": ready, "state": state, **more}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


UNREADY = [{"type": "ContainersReady", "status": "False", "lastTransitionTime": SINCE}]
OOM = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "message": "password=hunter2"}}
PULL = container(waiting("ImagePullBackOff", 'Back-off pulling image "web:2"'))
CRASH = container(waiting("CrashLoopBackOff", "back-off 5m0s restarting"), lastState=OOM)


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (
            {"conditions": UNREADY, "containerStatuses": [PULL]},
            'container main of Pod web-7d9f: ImagePullBackOff for 40s: Back-off pulling image "web:2"',
        ),
        (
            {"conditions": UNREADY, "containerStatuses": [CRASH]},
            "container main of Pod web-7d9f: CrashLoopBackOff for 40s: OOMKilled (exit code 137) before",
        ),
        (
            {"containerStatuses": [container(waiting("ErrImagePull", "no\n such   image"))]},
            "container main of Pod web-7d9f: ErrImagePull for 2m0s: no such image",
        ),
        (
            {
                "initContainerStatuses": [
                    container({"terminated": {"exitCode": 2, "reason": "Error", "message": "key"}})
                ]
            },
            "container main of Pod web-7d9f: Error (exit code 2)",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]},
            "Pod web-7d9f cannot be scheduled: 0/3 nodes are available",
        ),
        (
            {"conditions": UNREADY, "containerStatuses": [container({"running": {}})]},
            "container main of Pod web-7d9f is not ready for 40s",
        ),
        ({"containerStatuses": [container(waiting("ContainerCreating"))]}, ""),
        ({"containerStatuses": [container({"running": {}}, ready=True)]}, ""),
        ({"containerStatuses": [container({"terminated": {"exitCode": 0}})]}, ""),
        ({}, ""),
    ],
)
def test_a_pod_says_what_keeps_it(status: dict[str, Any], cause: str) -> None:
    assert find_cause([pod(**status)], NOW) == cause


def test_the_newest_pod_that_says_most_is_told_and_one_that_goes_is_not() -> None:
    slow = pod("slow", "2026-01-01T00:01:00Z", containerStatuses=[container({"running": {}})])
    old = pod("old", containerStatuses=[PULL])
    new = pod("new", "2026-01-01T00:00:30Z", containerStatuses=[CRASH])
    going = pod("going", "2026-01-01T00:01:30Z", containerStatuses=[PULL])
    going["metadata"]["deletionTimestamp"] = SINCE

    assert find_cause([old, slow, new, going], NOW).startswith("container main of Pod new: CrashLoopBackOff")


def test_a_long_message_is_cut() -> None:
    cause = find_cause([pod(containerStatuses=[container(waiting("ErrImagePull", "x" * 10_000))])], NOW)

    assert cause.endswith("...")
    assert len(cause) < LONGEST + 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, JSON, JSON)
def test_a_pod_of_any_form_is_no_error(conditions: Any, statuses: Any, state: Any) -> None:
    odd = [{"name": state, "state": state, "lastState": state}, statuses]
    found = find_cause([pod(conditions=conditions, containerStatuses=odd, initContainerStatuses=statuses)], NOW)

    assert isinstance(found, str)


@pytest.mark.parametrize(
    ("kind", "selector", "found"),
    [
        ("Deployment", {"matchLabels": {"tier": "a", "app": "web"}}, "app=web,tier=a"),
        ("StatefulSet", {"matchLabels": {"app": "db"}}, "app=db"),
        ("Deployment", {"matchExpressions": [{}]}, ""),
        ("Widget", {"matchLabels": {"app": "x"}}, ""),
        ("Deployment", None, ""),
    ],
)
def test_a_workloads_pods_are_found_by_its_labels(kind: str, selector: Any, found: str) -> None:
    assert find_selector({"apiVersion": "apps/v1", "kind": kind, "spec": {"selector": selector}}) == found
