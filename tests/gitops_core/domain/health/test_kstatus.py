"""kstatus, kind by kind: an object as the API server shows it, and whether it is done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitops_core.domain.health.kstatus import expires, judge_health
from gitops_core.meta import Manifest, write_timestamp

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def condition(type_: str, status: str = "True", reason: str = "R", message: str = "M") -> dict[str, str]:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def thing(api_version: str, kind: str, spec: Any = None, status: Any = None, **metadata: Any) -> Manifest:
    made: dict[str, Any] = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", **metadata}}
    return made | {name: value for name, value in (("spec", spec), ("status", status)) if value is not None}


ROLLOUT = ("argoproj.io/v1alpha1", "Rollout")


def rollout_of_a_workload(*, seen: str, wanted: str) -> Manifest:
    annotations = {"rollout.argoproj.io/workload-generation": wanted}
    status = {"observedGeneration": "1", "workloadObservedGeneration": seen, "phase": "Healthy"}
    return thing(*ROLLOUT, {"workloadRef": {"name": "web"}}, status, generation=1, annotations=annotations)


def deployment(*conditions: Any, wanted: int = 1, replicas: int = 1, updated: int = 1, ready: int = 1) -> Manifest:
    counts = {"replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready}
    spec = {"replicas": wanted, "progressDeadlineSeconds": 600}
    return thing("apps/v1", "Deployment", spec, {**counts, "conditions": list(conditions)})


AVAILABLE = condition("Available")
ROLLED_OUT = condition("Progressing", reason="NewReplicaSetAvailable")
UNSCHEDULABLE = condition("PodScheduled", "False", "Unschedulable")


def pod(phase: str, *conditions: Any, age: float = 60, **status: Any) -> Manifest:
    created = write_timestamp(NOW - timedelta(seconds=age))
    return thing(
        "v1", "Pod", None, {"phase": phase, "conditions": list(conditions), **status}, creationTimestamp=created
    )


CRASHING = [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
SET = {"replicas": 2, "readyReplicas": 2, "currentReplicas": 2, "updatedReplicas": 2}
DAEMONS = {
    "observedGeneration": 1,
    "desiredNumberScheduled": 2,
    "currentNumberScheduled": 2,
    "updatedNumberScheduled": 2,
    "numberAvailable": 2,
    "numberReady": 2,
}
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
STS = ("apps/v1", "StatefulSet")


@pytest.mark.parametrize(
    ("live", "status"),
    [
        (thing("v1", "ConfigMap"), "Current"),
        (thing("v1", "ConfigMap", deletionTimestamp="2026-01-01T00:00:00Z"), "Terminating"),
        (thing("batch/v1", "CronJob"), "Current"),
        (deployment(AVAILABLE, ROLLED_OUT), "Current"),
        (deployment(AVAILABLE, ROLLED_OUT, wanted=0, replicas=0, updated=0, ready=0), "Current"),
        (deployment(AVAILABLE, ROLLED_OUT, replicas=0), "InProgress"),
        (deployment(AVAILABLE, ROLLED_OUT, updated=0), "InProgress"),
        (deployment(AVAILABLE, ROLLED_OUT, replicas=2), "InProgress"),
        (deployment(AVAILABLE, ROLLED_OUT, ready=0), "InProgress"),
        (deployment(AVAILABLE), "InProgress"),
        (deployment(ROLLED_OUT), "InProgress"),
        (deployment(condition("Progressing", "False", "ProgressDeadlineExceeded")), "Failed"),
        (thing("apps/v1", "Deployment", {}, {}), "InProgress"),
        (thing(*STS, {"updateStrategy": {"type": "OnDelete"}}, {}), "Current"),
        (thing(*STS, {"replicas": 2}, SET), "Current"),
        (thing(*STS, {"replicas": 2}, {**SET, "readyReplicas": 1}), "InProgress"),
        (thing(*STS, {"replicas": 2}, {**SET, "updateRevision": "b"}), "InProgress"),
        (thing(*STS, {"replicas": 1}, SET), "InProgress"),
        (thing(*STS, {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}}, SET), "Current"),
        (thing("apps/v1", "DaemonSet", {}, DAEMONS, generation=1), "Current"),
        (thing("apps/v1", "DaemonSet", {}, {**DAEMONS, "numberReady": 1}, generation=1), "InProgress"),
        (thing("apps/v1", "DaemonSet", {}, {}, generation=1), "InProgress"),
        (thing("apps/v1", "ReplicaSet", {"replicas": 1}, {"conditions": [condition("ReplicaFailure")]}), "InProgress"),
        (pod("Running", condition("Ready")), "Current"),
        (pod("Running"), "InProgress"),
        (pod("Running", containerStatuses=CRASHING), "Failed"),
        (pod("Succeeded"), "Current"),
        (pod("Failed"), "Current"),
        (pod("Pending", UNSCHEDULABLE), "Failed"),
        (pod("Pending", UNSCHEDULABLE, age=5), "InProgress"),
        (pod(""), "InProgress"),
        (thing("v1", "PersistentVolumeClaim", {}, {"phase": "Pending"}), "InProgress"),
        (thing("v1", "PersistentVolumeClaim", {}, {"phase": "Bound"}), "Current"),
        (thing("batch/v1", "Job", {}, {}), "InProgress"),
        (thing("batch/v1", "Job", {}, {"startTime": "2026-01-01T00:00:00Z", "active": 1}), "InProgress"),
        (thing("batch/v1", "Job", {}, {"conditions": [condition("Complete")]}), "Current"),
        (thing("batch/v1", "Job", {}, {"conditions": [condition("Failed")]}), "Failed"),
        (thing("batch/v1", "Job", {}, {"conditions": [condition("Suspended")]}), "Current"),
        (thing("batch/v1", "Job", {"suspend": True}, {}), "Current"),
        (thing("batch/v1", "Job", {"suspend": True}, {"conditions": [condition("Suspended")]}), "Current"),
        (thing("batch/v1", "Job", {"suspend": True}, {"conditions": [condition("Failed")]}), "Failed"),
        (thing("batch/v1", "Job", {"suspend": False}, {"conditions": [condition("Suspended")]}), "InProgress"),
        (thing("batch/v1", "Job", {"suspend": False}, {"conditions": [condition("Suspended", "False")]}), "InProgress"),
        (thing(*ROLLOUT, {}, {"observedGeneration": "2", "phase": "Healthy"}, generation=2), "Current"),
        (thing(*ROLLOUT, {}, {"observedGeneration": "1", "phase": "Healthy"}, generation=2), "InProgress"),
        (thing(*ROLLOUT, {}, {"observedGeneration": "2", "phase": "Degraded"}, generation=2), "Failed"),
        (thing(*ROLLOUT, {}, {"observedGeneration": "2", "phase": "Progressing"}, generation=2), "InProgress"),
        (thing(*ROLLOUT, {}, {"observedGeneration": "2", "phase": "Paused"}, generation=2), "InProgress"),
        (thing(*ROLLOUT, {}, {"observedGeneration": "7d9c6f", "phase": "Healthy"}, generation=2), "Current"),
        (thing(*ROLLOUT, {}, {}, generation=1), "InProgress"),
        (rollout_of_a_workload(seen="4", wanted="5"), "InProgress"),
        (rollout_of_a_workload(seen="5", wanted="5"), "Current"),
        (thing("example.org/v1", "Widget", {}, {"observedGeneration": "3"}, generation=3), "Current"),
        (thing("example.org/v1", "Widget", {}, {"observedGeneration": "2"}, generation=3), "InProgress"),
        (thing("v1", "Service", {"type": "LoadBalancer"}), "InProgress"),
        (thing("v1", "Service", {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), "Current"),
        (thing(*CRD, {}, {"conditions": [condition("Established")]}), "Current"),
        (thing(*CRD, {}, {"conditions": [condition("Established", "False", "Installing")]}), "InProgress"),
        (thing(*CRD, {}, {"conditions": [condition("NamesAccepted", "False", "Conflict")]}), "Failed"),
        (thing(*CRD, {}, {}), "InProgress"),
        (thing("policy/v1", "PodDisruptionBudget", {}, {"observedGeneration": 1}, generation=2), "InProgress"),
        (thing("example.org/v1", "Widget", {}), "Current"),
        (thing("example.org/v1", "Widget", {}, {"conditions": [condition("Ready", "False")]}), "InProgress"),
        (thing("example.org/v1", "Widget", {}, {"conditions": [condition("Ready", "Unknown")]}), "InProgress"),
        (thing("example.org/v1", "Widget", {}, {"conditions": [condition("Ready")]}), "Current"),
        (thing("example.org/v1", "Widget", {}, {"conditions": [condition("Reconciling")]}), "InProgress"),
        (thing("example.org/v1", "Widget", {}, {"conditions": [condition("Stalled")]}), "Failed"),
        (thing("example.org/v1", "Widget", {}, {"observedGeneration": -1}, generation=1), "InProgress"),
        (None, "NotFound"),
    ],
)
def test_health(live: Manifest | None, status: str) -> None:
    assert judge_health(live, NOW).status == status


KINDS = st.sampled_from([("apps/v1", k) for k in ("Deployment", "StatefulSet", "DaemonSet")] + [("v1", "Pod"), CRD])
conditions = st.lists(st.builds(condition, st.sampled_from(["Ready", "Available", "Established"])), max_size=3)


@given(KINDS, conditions, st.dictionaries(st.sampled_from(["replicas", "readyReplicas", "phase"]), st.integers(0, 3)))
def test_an_object_being_deleted_is_terminating_whatever_else_it_says(
    kind: tuple[str, str], found: list[Any], status: dict[str, Any]
) -> None:
    live = thing(*kind, {}, {**status, "conditions": found}, deletionTimestamp="2026-01-01T00:00:00Z")

    assert judge_health(live, NOW).status == "Terminating"


NUMBERS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "numberAvailable", "currentReplicas")
WORDS = (
    "desiredNumberScheduled observedGeneration conditions containerStatuses phase message type status reason state "
    "updateStrategy rollingUpdate partition workloadRef suspend"
)
NAMES = st.sampled_from([*NUMBERS, *WORDS.split()])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "1", "True", "Ready", "Running", "Degraded"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
RULED = st.sampled_from([("apps/v1", k) for k in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")]) | (
    st.sampled_from([("v1", "Pod"), ("v1", "Service"), ("batch/v1", "Job"), ROLLOUT, CRD, ("example.org/v1", "Widget")])
)
CONTENT = st.dictionaries(NAMES, ANYTHING, max_size=4) | ANYTHING


@given(RULED, CONTENT, CONTENT, st.dictionaries(st.sampled_from(["generation", "annotations"]), ANYTHING))
@example(("apps/v1", "Deployment"), {"replicas": None}, {"readyReplicas": None}, {})
@example(("apps/v1", "StatefulSet"), {"updateStrategy": "OnDelete"}, {}, {})
@example(("v1", "Service"), "LoadBalancer", {}, {})
@example(ROLLOUT, {}, {"phase": "Degraded", "message": ["x"]}, {"annotations": []})
@example(("example.org/v1", "Widget"), {}, {"conditions": [{"type": "Ready", "message": None}]}, {})
def test_whatever_an_object_says_it_has_a_health(
    kind: tuple[str, str], spec: Any, status: Any, metadata: dict[str, Any]
) -> None:
    live = {**thing(*kind, **metadata), "spec": spec, "status": status}

    found = judge_health(live, NOW)

    assert isinstance(found.message, str)
    assert not expires(live) or kind[1] == "Job"


@pytest.mark.parametrize("nothing", [None, "2", {}, [3]])
def test_a_count_that_is_no_number_counts_as_its_default(nothing: Any) -> None:
    live = deployment(AVAILABLE, ROLLED_OUT)

    live["spec"]["replicas"] = nothing
    assert judge_health(live, NOW).status == "Current"

    live["status"]["readyReplicas"] = nothing
    assert judge_health(live, NOW).message == "Ready: 0/1"


def test_only_a_job_with_a_time_to_live_goes_away_by_itself() -> None:
    assert expires(thing("batch/v1", "Job", {"ttlSecondsAfterFinished": 0}))
    assert not expires(thing("batch/v1", "Job", {}))
    assert not expires(thing("batch/v1", "Job"))
    assert not expires(thing("batch/v1", "CronJob", {"ttlSecondsAfterFinished": 0}))
    assert not expires(thing("example.org/v1", "Job", {"ttlSecondsAfterFinished": 0}))


def stateful_set(*, partition: int | None, updated: int, replicas: int = 3, **more: Any) -> Manifest:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {} if partition is None else {"partition": partition}}
    counts = {"replicas": replicas, "readyReplicas": replicas, "currentReplicas": replicas - updated}
    status = {**counts, "updatedReplicas": updated, "currentRevision": "a", "updateRevision": "b", **more}
    return thing("apps/v1", "StatefulSet", {"replicas": 3, "updateStrategy": strategy}, status)


@pytest.mark.parametrize(
    ("partition", "updated", "expected"),
    [
        (2, 0, ("InProgress", "updated: 0/1")),
        (2, 1, ("Current", "Partition rollout complete. updated: 1")),
        (2, 2, ("Current", "Partition rollout complete. updated: 2")),
        (0, 2, ("InProgress", "updated: 2/3")),
        (0, 3, ("Current", "Partition rollout complete. updated: 3")),
        (3, 0, ("Current", "Partition rollout complete. updated: 0")),
        (4, 0, ("Current", "Partition rollout complete. updated: 0")),
        (None, 3, ("InProgress", "current: 0/3")),
    ],
)
def test_a_stateful_set_is_done_when_all_above_its_partition_are(
    partition: int | None, updated: int, expected: tuple[str, str]
) -> None:
    """The replicas below the partition stay as they are. Source: kstatus, stsConditions."""
    found = judge_health(stateful_set(partition=partition, updated=updated), NOW)

    assert (found.status, found.message) == expected


def test_a_partitioned_stateful_set_waits_for_its_pods_first() -> None:
    found = judge_health(stateful_set(partition=2, updated=1, readyReplicas=2), NOW)

    assert (found.status, found.message) == ("InProgress", "Ready: 2/3")


CERTIFICATE, SEALED = ("cert-manager.io/v1", "Certificate"), ("bitnami.com/v1alpha1", "SealedSecret")
SERVED, CANARY = ("apiregistration.k8s.io/v1", "APIService"), ("flagger.app/v1beta1", "Canary")


@pytest.mark.parametrize(
    ("kind", "status", "health", "message"),
    [
        (CANARY, {"phase": "Succeeded"}, "Current", "Canary phase: Succeeded"),
        (CANARY, {"phase": "Initialized"}, "Current", "Canary phase: Initialized"),
        (CANARY, {"phase": "WaitingPromotion"}, "InProgress", "Canary phase: WaitingPromotion"),
        (CANARY, {"phase": "Failed"}, "Failed", "Canary failed, and was rolled back"),
        (CANARY, None, "InProgress", "Canary phase: unknown"),
        (CERTIFICATE, None, "InProgress", "Waiting for the certificate"),
        (CERTIFICATE, {"conditions": [condition("Ready")]}, "Current", "Certificate is Ready"),
        (CERTIFICATE, {"conditions": [condition("Ready"), condition("Issuing")]}, "InProgress", "M"),
        (CERTIFICATE, {"conditions": [condition("Ready", "False", message="no")]}, "InProgress", "no"),
        (CERTIFICATE, {"conditions": [condition("Issuing", "False", "Failed", "denied")]}, "Failed", "denied"),
        (SEALED, None, "InProgress", "Waiting for the SealedSecret to be opened"),
        (SEALED, {"conditions": [condition("Synced")]}, "Current", "SealedSecret is synced"),
        (SEALED, {"conditions": [condition("Synced", "False", message="no key")]}, "Failed", "no key"),
        (SERVED, {"conditions": [condition("Available")]}, "Current", "APIService is available"),
        (SERVED, {"conditions": [condition("Available", "False", message="no Pods")]}, "InProgress", "no Pods"),
        (SERVED, None, "InProgress", "Waiting for the APIService"),
    ],
)
def test_kinds_of_others_are_judged_by_their_own_words(
    kind: tuple[str, str], status: Any, health: str, message: str
) -> None:
    assert judge_health(thing(*kind, status=status), NOW) == (health, message)


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("external-secrets.io/v1", "ExternalSecret"),
        ("external-secrets.io/v1beta1", "ClusterSecretStore"),
        ("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
        ("cert-manager.io/v1", "ClusterIssuer"),
    ],
)
def test_a_kind_that_always_says_ready_is_not_current_before_it_does(api_version: str, kind: str) -> None:
    new = thing(api_version, kind)
    told = [
        thing(api_version, kind, status={"conditions": [condition("Ready", status)]}) for status in ("True", "False")
    ]

    assert judge_health(new, NOW) == ("InProgress", f"Waiting for the {kind} to be looked at")
    assert [judge_health(one, NOW).status for one in told] == ["Current", "InProgress"]
