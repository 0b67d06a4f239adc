"""Whether an object has become what its spec says: kstatus, with Flux's rule for Jobs.

    Terminating   being deleted
    InProgress    its controller has not seen this generation yet, or is at work
    Failed        its controller gave up
    Current       done
    NotFound      there is no such object
    Unknown       nobody can say (expressions.py)

The generic rules come first (generation, conditions Reconciling and Stalled), then the rule of the kind; a kind without
one is Current when its Ready condition is, or when it has none.

Source: kubernetes-sigs/cli-utils, kstatus; fluxcd/pkg, runtime/statusreaders (Jobs); argo-cd, resource_customizations
(Rollouts, Canaries, Certificates and others; what it calls Degraded is waited for where it may heal).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from gitops_core.meta import Kind, Manifest

HealthStatus = Literal["Current", "InProgress", "Failed", "Terminating", "NotFound", "Unknown"]
SCHEDULE_WINDOW = timedelta(seconds=15)
NO_DEADLINE = 2**31 - 1


class Health(NamedTuple):
    status: HealthStatus
    message: str


MISSING = Health("NotFound", "Resource not found")


def judge_health(live: Manifest | None, now: datetime) -> Health:
    """Judge the health of an object by how the API server shows it; None is an object that is not there."""
    if live is None:
        return MISSING
    if generic := _judge_generic(live):
        return generic
    kind = Kind.of_manifest(live)
    rule = _RULES.get(f"{kind.group}/{kind.kind}")
    if rule is not None:
        return rule(live, now)
    return _judge_by_condition(live)


def judge_generation(live: Manifest) -> Health | None:
    """Judge an object that is being deleted, or whose controller has not seen its generation yet; None for others."""
    metadata = _get_mapping(live.get("metadata"))
    if metadata.get("deletionTimestamp"):
        return Health("Terminating", "Resource scheduled for deletion")
    generation, observed = metadata.get("generation"), _read_number(_get_status(live).get("observedGeneration"))
    if generation is not None and observed is not None and generation != observed:
        text = f"{live['kind']} generation is {generation}, but latest observed generation is {observed}"
        return Health("InProgress", text)
    return None


def _judge_generic(live: Manifest) -> Health | None:
    if (early := judge_generation(live)) is not None:
        return early
    for condition in _list_conditions(live):
        if condition.get("status") == "True" and condition.get("type") == "Reconciling":
            return Health("InProgress", _read_text(condition, "message"))
        if condition.get("status") == "True" and condition.get("type") == "Stalled":
            return Health("Failed", _read_text(condition, "message"))
    return None


def _judge_by_condition(live: Manifest) -> Health:
    for condition in _list_conditions(live):
        if condition.get("type") != "Ready":
            continue
        if condition.get("status") == "True":
            return Health("Current", "Resource is Ready")
        return Health("InProgress", _read_text(condition, "message"))
    return Health("Current", "Resource is current")


def _judge_current(live: Manifest, now: datetime) -> Health:
    return Health("Current", "Resource is always ready")


def _judge_deployment(live: Manifest, now: datetime) -> Health:
    spec, status = _get_spec(live), _get_status(live)
    progressing = spec.get("progressDeadlineSeconds", NO_DEADLINE) == NO_DEADLINE
    available = False
    for condition in _list_conditions(live):
        holds = condition.get("status") == "True"
        if condition.get("type") == "Progressing":
            if condition.get("reason") == "ProgressDeadlineExceeded":
                return Health("Failed", "Progress deadline exceeded")
            progressing |= holds and condition.get("reason") == "NewReplicaSetAvailable"
        if condition.get("type") == "Available":
            available |= holds
    wanted = _read_count(spec, "replicas", 1)
    replicas, updated, ready = (_read_count(status, key) for key in ("replicas", "updatedReplicas", "readyReplicas"))
    running = _read_count(status, "availableReplicas")
    behind = _find_first_behind(
        (wanted > replicas, f"Replicas: {replicas}/{wanted}"),
        (wanted > updated, f"Updated: {updated}/{wanted}"),
        (replicas > wanted, f"Pending termination: {replicas - wanted}"),
        (updated > running, f"Available: {running}/{updated}"),
        (wanted > ready, f"Ready: {ready}/{wanted}"),
        (not progressing, "ReplicaSet not Available"),
        (not available, "Deployment not Available"),
    )
    return behind or Health("Current", f"Deployment is available. Replicas: {replicas}")


def _judge_stateful_set(live: Manifest, now: datetime) -> Health:
    spec, status = _get_spec(live), _get_status(live)
    strategy = _get_mapping(spec.get("updateStrategy"))
    if strategy.get("type") == "OnDelete":
        return Health("Current", "StatefulSet is using the ondelete update strategy")
    wanted = _read_count(spec, "replicas", 1)
    replicas, ready, current, updated = (
        _read_count(status, key) for key in ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas")
    )
    behind = _find_first_behind(
        (wanted > replicas, f"Replicas: {replicas}/{wanted}"),
        (wanted > ready, f"Ready: {ready}/{wanted}"),
        (replicas > wanted, f"Pending termination: {replicas - wanted}"),
    )
    if behind:
        return behind
    partition = _read_number(_get_mapping(strategy.get("rollingUpdate")).get("partition"))
    if partition is not None:
        if updated < wanted - partition:
            return Health("InProgress", f"updated: {updated}/{wanted - partition}")
        return Health("Current", f"Partition rollout complete. updated: {updated}")
    behind = _find_first_behind(
        (wanted > current, f"current: {current}/{wanted}"),
        (
            status.get("currentRevision", "") != status.get("updateRevision", ""),
            "Waiting for updated revision to match current",
        ),
    )
    return behind or Health("Current", f"All replicas scheduled as expected. Replicas: {replicas}")


def _judge_daemon_set(live: Manifest, now: datetime) -> Health:
    status = _get_status(live)
    if _get_mapping(live.get("metadata")).get("generation") is None:
        return Health("InProgress", "DaemonSet metadata.generation not found")
    if status.get("observedGeneration") is None:
        return Health("InProgress", "DaemonSet status.observedGeneration not found")
    wanted = _read_number(status.get("desiredNumberScheduled"))
    if wanted is None:
        return Health("InProgress", "Missing .status.desiredNumberScheduled")
    current, updated = _read_count(status, "currentNumberScheduled"), _read_count(status, "updatedNumberScheduled")
    available, ready = _read_count(status, "numberAvailable"), _read_count(status, "numberReady")
    behind = _find_first_behind(
        (wanted > current, f"Current: {current}/{wanted}"),
        (wanted > updated, f"Updated: {updated}/{wanted}"),
        (wanted > available, f"Available: {available}/{wanted}"),
        (wanted > ready, f"Ready: {ready}/{wanted}"),
    )
    return behind or Health("Current", f"All replicas scheduled as expected. Replicas: {wanted}")


def _judge_replica_set(live: Manifest, now: datetime) -> Health:
    status = _get_status(live)
    wanted = _read_count(_get_spec(live), "replicas", 1)
    replicas, labelled = _read_count(status, "replicas"), _read_count(status, "fullyLabeledReplicas")
    available, ready = _read_count(status, "availableReplicas"), _read_count(status, "readyReplicas")
    behind = _find_first_behind(
        (_holds(live, "ReplicaFailure"), "Replica Failure condition. Check Pods"),
        (wanted > labelled, f"Labelled: {labelled}/{wanted}"),
        (wanted > available, f"Available: {available}/{wanted}"),
        (wanted > ready, f"Ready: {ready}/{wanted}"),
        (replicas > wanted, f"Pending termination: {replicas - wanted}"),
    )
    return behind or Health("Current", f"ReplicaSet is available. Replicas: {replicas}")


def _judge_pod(live: Manifest, now: datetime) -> Health:
    match _get_status(live).get("phase", ""):
        case "Succeeded":
            return Health("Current", "Pod has completed successfully")
        case "Failed":
            return Health("Current", "Pod has completed, but not successfully")
        case "Running":
            return _judge_running_pod(live)
        case "Pending":
            return _judge_pending_pod(live, now)
        case _:
            return Health("InProgress", "Pod phase not available")


def _judge_running_pod(live: Manifest) -> Health:
    if _holds(live, "Ready"):
        return Health("Current", "Pod is Ready")
    looping = [
        _read_text(container, "name")
        for container in _list_mappings(_get_status(live).get("containerStatuses"))
        if _get_mapping(_get_mapping(container.get("state")).get("waiting")).get("reason") == "CrashLoopBackOff"
    ]
    if looping:
        return Health("Failed", f"Containers in CrashLoop state: {','.join(looping)}")
    return Health("InProgress", "Pod is running but is not Ready")


def _judge_pending_pod(live: Manifest, now: datetime) -> Health:
    unschedulable = any(
        c.get("type") == "PodScheduled" and c.get("status") == "False" and c.get("reason") == "Unschedulable"
        for c in _list_conditions(live)
    )
    if not unschedulable:
        return Health("InProgress", "Pod is in the Pending phase")
    created = _read_text(_get_mapping(live.get("metadata")), "creationTimestamp")
    if created and now - datetime.fromisoformat(created) < SCHEDULE_WINDOW:
        return Health("InProgress", "Pod has not been scheduled")
    return Health("Failed", "Pod could not be scheduled")


def _judge_volume_claim(live: Manifest, now: datetime) -> Health:
    phase = _get_status(live).get("phase", "unknown")
    if phase != "Bound":
        return Health("InProgress", f"PVC is not Bound. phase: {phase}")
    return Health("Current", "PVC is Bound")


def _judge_job(live: Manifest, now: datetime) -> Health:
    """Return a Job's health: Current when it has completed (kstatus: started), or is suspended, with nothing to do.

    The condition Suspended lags behind spec.suspend: a Job that was resumed keeps it until its controller looks.
    """
    spec, status = _get_spec(live), _get_status(live)
    completions = spec.get("completions", spec.get("parallelism", 1))
    succeeded, active, failed = (_read_count(status, key) for key in ("succeeded", "active", "failed"))
    if _holds(live, "Complete"):
        return Health("Current", f"Job Completed. succeeded: {succeeded}/{completions}")
    if _holds(live, "Failed"):
        return Health("Failed", f"Job Failed. failed: {failed}/{completions}")
    if spec.get("suspend", _holds(live, "Suspended")):
        return Health("Current", "Job is suspended")
    if not status.get("startTime"):
        return Health("InProgress", "Job not started")
    return Health("InProgress", f"Job in progress. success:{succeeded}, active: {active}, failed: {failed}")


def _judge_rollout(live: Manifest, now: datetime) -> Health:
    """Return an Argo Rollout's phase, which counts once its workload, if that is another object, was seen as it is."""
    metadata, status = _get_mapping(live.get("metadata")), _get_status(live)
    wanted = _get_mapping(metadata.get("annotations")).get("rollout.argoproj.io/workload-generation")
    if _get_spec(live).get("workloadRef") and _read_number(wanted) != _read_number(
        status.get("workloadObservedGeneration")
    ):
        return Health("InProgress", "Rollout has not seen its workload's latest generation")
    phase, message = _read_text(status, "phase"), _read_text(status, "message")
    match phase:
        case "Healthy":
            return Health("Current", "Rollout is healthy")
        case "Degraded":
            return Health("Failed", message or "Rollout is degraded")
        case _:
            return Health("InProgress", message or f"Rollout phase: {phase or 'unknown'}")


def _judge_canary(live: Manifest, now: datetime) -> Health:
    """Return a Flagger Canary's phase. One that waits (for a person, for its turn) is in progress, and not unknown."""
    phase = _read_text(_get_status(live), "phase")
    match phase:
        case "Succeeded" | "Initialized":
            return Health("Current", f"Canary phase: {phase}")
        case "Failed":
            return Health("Failed", "Canary failed, and was rolled back")
        case _:
            return Health("InProgress", f"Canary phase: {phase or 'unknown'}")


def _judge_certificate(live: Manifest, now: datetime) -> Health:
    """Return a Certificate's health: while it is issued anew, the old one being Ready says nothing."""
    issuing, ready = _find_condition(live, "Issuing"), _find_condition(live, "Ready")
    if issuing.get("status") == "True":
        return Health("InProgress", _read_text(issuing, "message"))
    if ready.get("status") == "True":
        return Health("Current", "Certificate is Ready")
    if issuing.get("reason") == "Failed":
        return Health("Failed", _read_text(issuing, "message"))
    return Health("InProgress", _read_text(ready, "message") or "Waiting for the certificate")


def _judge_sealed_secret(live: Manifest, now: datetime) -> Health:
    synced = _find_condition(live, "Synced")
    if synced.get("status") == "False":  # no key opens it: that changes when somebody edits one or the other
        return Health("Failed", _read_text(synced, "message"))
    if synced.get("status") == "True":
        return Health("Current", "SealedSecret is synced")
    return Health("InProgress", "Waiting for the SealedSecret to be opened")


def _judge_api_service(live: Manifest, now: datetime) -> Health:
    available = _find_condition(live, "Available")
    if available.get("status") == "True":
        return Health("Current", "APIService is available")
    return Health("InProgress", _read_text(available, "message") or "Waiting for the APIService")


def _judge_when_told(live: Manifest, now: datetime) -> Health:
    """Judge by Ready a kind whose controller always says so: without it, nobody has looked yet."""
    if not _find_condition(live, "Ready"):
        return Health("InProgress", f"Waiting for the {live['kind']} to be looked at")
    return _judge_by_condition(live)


def _find_condition(live: Manifest, type_: str) -> Mapping[str, Any]:
    return next((one for one in _list_conditions(live) if one.get("type") == type_), {})


def _judge_service(live: Manifest, now: datetime) -> Health:
    spec = _get_spec(live)
    if spec.get("type", "ClusterIP") == "LoadBalancer" and not spec.get("clusterIP"):
        return Health("InProgress", "ClusterIP not set. Service type: LoadBalancer")
    return Health("Current", "Service is ready")


def _judge_disruption_budget(live: Manifest, now: datetime) -> Health:
    return Health("Current", "AllowedDisruptions has been computed.")


def _judge_definition(live: Manifest, now: datetime) -> Health:
    for condition in _list_conditions(live):
        refused = condition.get("status") == "False"
        if condition.get("type") == "NamesAccepted" and refused:
            return Health("Failed", _read_text(condition, "message"))
        if condition.get("type") != "Established":
            continue
        if refused and condition.get("reason") != "Installing":
            return Health("Failed", _read_text(condition, "message"))
        if condition.get("status") == "True":
            return Health("Current", "CRD is established")
    return Health("InProgress", "Install in progress")


_RULES: Mapping[str, Callable[[Manifest, datetime], Health]] = {
    "/ConfigMap": _judge_current,
    "/PersistentVolumeClaim": _judge_volume_claim,
    "/Pod": _judge_pod,
    "/Secret": _judge_current,
    "/Service": _judge_service,
    "apiextensions.k8s.io/CustomResourceDefinition": _judge_definition,
    "apiregistration.k8s.io/APIService": _judge_api_service,
    "apps/DaemonSet": _judge_daemon_set,
    "apps/Deployment": _judge_deployment,
    "apps/ReplicaSet": _judge_replica_set,
    "apps/StatefulSet": _judge_stateful_set,
    "argoproj.io/Rollout": _judge_rollout,
    "batch/CronJob": _judge_current,
    "batch/Job": _judge_job,
    "bitnami.com/SealedSecret": _judge_sealed_secret,
    "cert-manager.io/Certificate": _judge_certificate,
    "cert-manager.io/ClusterIssuer": _judge_when_told,
    "cert-manager.io/Issuer": _judge_when_told,
    "external-secrets.io/ClusterSecretStore": _judge_when_told,
    "external-secrets.io/ExternalSecret": _judge_when_told,
    "external-secrets.io/PushSecret": _judge_when_told,
    "external-secrets.io/SecretStore": _judge_when_told,
    "flagger.app/Canary": _judge_canary,
    "helm.toolkit.fluxcd.io/HelmRelease": _judge_when_told,
    "policy/PodDisruptionBudget": _judge_disruption_budget,
}


def expires(manifest: Manifest) -> bool:
    """Tell whether the object goes away by itself when it is done: then its absence is success."""
    kind = Kind.of_manifest(manifest)
    is_job = (kind.group, kind.kind) == ("batch", "Job")
    return is_job and _read_number(_get_spec(manifest).get("ttlSecondsAfterFinished")) is not None


def _read_number(value: Any) -> int | None:
    """Return a whole number, also where it is written as a string; None for anything else."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdecimal() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _find_first_behind(*checks: tuple[bool, str]) -> Health | None:
    return next((Health("InProgress", text) for behind, text in checks if behind), None)


def _read_count(parent: Mapping[str, Any], name: str, default: int = 0) -> int:
    """Return a number; the default where it is not there, or is not a number: kstatus, GetIntField."""
    found = parent.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def _read_text(parent: Mapping[str, Any], name: str) -> str:
    found = parent.get(name)
    return found if isinstance(found, str) else ""


def _get_mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _list_mappings(found: Any) -> list[Mapping[str, Any]]:
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _get_spec(live: Manifest) -> Mapping[str, Any]:
    return _get_mapping(live.get("spec"))


def _get_status(live: Manifest) -> Mapping[str, Any]:
    return _get_mapping(live.get("status"))


def _list_conditions(live: Manifest) -> list[Mapping[str, Any]]:
    return _list_mappings(_get_status(live).get("conditions"))


def _holds(live: Manifest, type_: str) -> bool:
    return any(c.get("type") == type_ and c.get("status") == "True" for c in _list_conditions(live))
