"""What the controllers and the kubelet of an embedded cluster do next, for all workloads at once.

    Deployment -> ReplicaSet per template -> Pods      StatefulSet, DaemonSet, Job -> Pods

A Pod runs as soon as all its images are there and says ImagePullBackOff until then; nothing is really started. The Pods
of a new template are made at once, those of the old one go as new ones become ready, so a broken image takes nothing
down. Jobs succeed when their Pods' images are there. There is one node: a DaemonSet has one Pod. Volume claims are
bound at once.

Level-based: each call looks at everything and says what is missing; when nothing is, nothing is said.

Source of names, reasons and messages: kubernetes, pkg/controller/{deployment,replicaset,statefulset,job}.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gitops_core.meta import Kind, Manifest, ObjectRef, write_timestamp

DEPLOYMENT = Kind("apps", "v1", "Deployment")
REPLICA_SET = Kind("apps", "v1", "ReplicaSet")
STATEFUL_SET = Kind("apps", "v1", "StatefulSet")
DAEMON_SET = Kind("apps", "v1", "DaemonSet")
JOB = Kind("batch", "v1", "Job")
POD = Kind("", "v1", "Pod")
VOLUME_CLAIM = Kind("", "v1", "PersistentVolumeClaim")
KINDS = (DEPLOYMENT, REPLICA_SET, STATEFUL_SET, DAEMON_SET, JOB, POD, VOLUME_CLAIM)

NODE = "local"
TEMPLATE_HASH = "pod-template-hash"
REVISION_HASH = "controller-revision-hash"
_SAFE = "bcdfghjklmnpqrstvwxz2456789"
_DEADLINE_SECONDS = 600

Images = Mapping[str, bool | None]
"""Whether an image can be pulled; None when nobody could tell. Only images that were asked for are in it."""


@dataclass(frozen=True)
class Create:
    manifest: Manifest


@dataclass(frozen=True)
class Delete:
    ref: ObjectRef
    uid: str


@dataclass(frozen=True)
class Patch:
    """A merge patch, of the status when `subresource` says so."""

    ref: ObjectRef
    patch: Mapping[str, Any]
    subresource: str = ""


Action = Create | Delete | Patch


@dataclass(frozen=True)
class World:
    """All workloads and Pods, as listed. Those that are being deleted are left alone."""

    objects: Sequence[Manifest]
    _owned: dict[str, list[Manifest]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for manifest in self.objects:
            for owner in manifest["metadata"].get("ownerReferences") or ():
                if owner.get("controller"):
                    self._owned.setdefault(owner["uid"], []).append(manifest)

    def list_owned(self, owner: Manifest) -> list[Manifest]:
        """List what an object owns, by age, then name; without what is being deleted."""
        found = [m for m in self._owned.get(owner["metadata"]["uid"], ()) if not m["metadata"].get("deletionTimestamp")]
        return sorted(found, key=lambda m: (m["metadata"].get("creationTimestamp", ""), m["metadata"]["name"]))

    def list_kind(self, kind: Kind) -> Iterator[Manifest]:
        for manifest in self.objects:
            if Kind.of_manifest(manifest) == kind and not manifest["metadata"].get("deletionTimestamp"):
                yield manifest


def list_wanted_images(world: World) -> frozenset[str]:
    """Return the images that Pods wait for."""
    return frozenset(image for pod in world.list_kind(POD) if _is_waiting(pod) for image in _list_images(pod))


def is_waiting(world: World) -> bool:
    """Tell whether something will change by time alone: an image may appear, a deadline may pass."""
    return any(_is_waiting(pod) for pod in world.list_kind(POD))


def plan_workloads(world: World, images: Images, now: datetime) -> tuple[Action, ...]:
    """Plan what to do next; () when everything is as it should be."""
    actions: list[Action] = []
    for deployment in world.list_kind(DEPLOYMENT):
        actions += _plan_deployment(deployment, world, now)
    for replica_set in world.list_kind(REPLICA_SET):
        actions += _plan_replica_set(replica_set, world)
    for stateful_set in world.list_kind(STATEFUL_SET):
        actions += _plan_stateful_set(stateful_set, world)
    for daemon_set in world.list_kind(DAEMON_SET):
        actions += _plan_daemon_set(daemon_set, world)
    for job in world.list_kind(JOB):
        actions += _plan_job(job, world, now)
    for pod in world.list_kind(POD):
        actions += _plan_pod(pod, images, now)
    for claim in world.list_kind(VOLUME_CLAIM):
        actions += _patch_status(claim, {"phase": "Bound", "accessModes": claim["spec"].get("accessModes") or []})
    return tuple(actions)


# Deployments


def _plan_deployment(deployment: Manifest, world: World, now: datetime) -> Iterator[Action]:
    spec = deployment["spec"]
    wanted = spec.get("replicas", 1)
    name = f"{deployment['metadata']['name']}-{hash_template(spec['template'])}"
    owned = world.list_owned(deployment)
    new = next((rs for rs in owned if rs["metadata"]["name"] == name), None)
    old = [rs for rs in owned if rs is not new]
    # a new template: a ReplicaSet for it, with Recreate once the old ones are empty
    if new is None and not spec.get("paused"):
        if (spec.get("strategy") or {}).get("type") == "Recreate" and any(_get_replicas(rs) for rs in old):
            yield from (_scale(rs, 0) for rs in old if _get_replicas(rs))
        else:
            yield Create(_make_replica_set(deployment, name, wanted))
    # it has its ReplicaSet: the old ones shrink as its Pods become ready, and go beyond the history
    elif new is not None:
        if _get_replicas(new) != wanted:
            yield _scale(new, wanted)
        yield from _scale_down(old, wanted - len(_list_ready(world.list_owned(new))))
        empty = [rs for rs in old if not _get_replicas(rs) and not world.list_owned(rs)]
        yield from (_delete(rs) for rs in empty[: max(len(empty) - spec.get("revisionHistoryLimit", 10), 0)])
    pods = {id(rs): world.list_owned(rs) for rs in owned}
    status = _make_deployment_status(deployment, name, pods[id(new)] if new is not None else [], [*pods.values()], now)
    yield from _patch_status(deployment, status)


def _scale_down(old: Iterable[Manifest], keep: int) -> Iterator[Action]:
    """Scale old ReplicaSets down to the number of Pods that are missing from the new one."""
    for replica_set in old:
        kept = min(_get_replicas(replica_set), max(keep, 0))
        keep -= kept
        if kept != _get_replicas(replica_set):
            yield _scale(replica_set, kept)


def _scale(replica_set: Manifest, replicas: int) -> Patch:
    return Patch(ObjectRef.of(replica_set), {"spec": {"replicas": replicas}})


def _get_replicas(manifest: Manifest) -> int:
    found = manifest["spec"].get("replicas", 1)
    return int(found)


def _make_replica_set(deployment: Manifest, name: str, replicas: int) -> Manifest:
    spec = deployment["spec"]
    hashed = {TEMPLATE_HASH: hash_template(spec["template"])}
    selector = spec.get("selector") or {}
    selector = {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **hashed}}
    template = _add_label(spec["template"], hashed)
    return {
        "apiVersion": REPLICA_SET.api_version,
        "kind": REPLICA_SET.kind,
        "metadata": {
            "name": name,
            "namespace": deployment["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
            "ownerReferences": [_make_owner(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }


def _make_deployment_status(
    deployment: Manifest, name: str, new: Sequence[Manifest], pods: Sequence[Sequence[Manifest]], now: datetime
) -> dict[str, Any]:
    wanted = deployment["spec"].get("replicas", 1)
    every = [pod for group in pods for pod in group]
    ready, updated = len(_list_ready(every)), len(new)
    before = deployment.get("status") or {}
    complete = updated == wanted and len(_list_ready(new)) == wanted and len(every) == wanted
    counts = {
        "replicas": len(every),
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(wanted - ready, 0),
    }
    moved = any(counts[key] != before.get(key, 0) for key in ("updatedReplicas", "readyReplicas"))
    status: dict[str, Any] = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    status |= {key: value for key, value in counts.items() if value}
    available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    if ready < _count_needed(deployment, wanted):
        available = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    status["conditions"] = [
        _make_condition(before, "Available", *available, now=now),
        _make_progressing(deployment, name, complete=complete, moved=moved, now=now),
    ]
    return status


def _count_needed(deployment: Manifest, wanted: int) -> int:
    """Return how many Pods must be ready for the Deployment to count as available: all but maxUnavailable."""
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    allowed = rolling.get("maxUnavailable", "25%")
    unavailable = wanted * int(allowed[:-1]) // 100 if isinstance(allowed, str) else int(allowed)
    return wanted - unavailable


def _make_progressing(deployment: Manifest, name: str, *, complete: bool, moved: bool, now: datetime) -> dict[str, Any]:
    before = deployment.get("status") or {}
    observed = before.get("observedGeneration") == deployment["metadata"].get("generation", 0)
    last = next((c for c in before.get("conditions") or () if c["type"] == "Progressing"), None)
    if complete:
        text = f'ReplicaSet "{name}" has successfully progressed.'
        return _make_condition(before, "Progressing", "True", "NewReplicaSetAvailable", text, now=now)
    if last is not None and observed and not moved:
        since = datetime.fromisoformat(last.get("lastUpdateTime", write_timestamp(now)))
        deadline = timedelta(seconds=deployment["spec"].get("progressDeadlineSeconds") or _DEADLINE_SECONDS)
        if last["status"] == "False" or (last["reason"] != "NewReplicaSetAvailable" and now - since >= deadline):
            text = f'ReplicaSet "{name}" has timed out progressing.'
            return _make_condition(before, "Progressing", "False", "ProgressDeadlineExceeded", text, now=now)
    text = f'ReplicaSet "{name}" is progressing.'
    said = _make_condition(before, "Progressing", "True", "ReplicaSetUpdated", text, now=now)
    return said if observed and not moved else {**said, "lastUpdateTime": write_timestamp(now)}


def _make_condition(
    before: Mapping[str, Any], type_: str, status: str, reason: str, message: str, *, now: datetime
) -> dict[str, Any]:
    """Return the condition, with the times of the one before where it says the same."""
    last: Mapping[str, Any] = next((c for c in before.get("conditions") or () if c["type"] == type_), {})
    said = {"message": message, "reason": reason, "status": status, "type": type_}
    if all(last.get(key) == value for key, value in said.items()):
        return dict(last)
    turned = last.get("lastTransitionTime") if last.get("status") == status else None
    return {**said, "lastTransitionTime": turned or write_timestamp(now), "lastUpdateTime": write_timestamp(now)}


# ReplicaSets, StatefulSets, DaemonSets, Jobs


def _plan_replica_set(replica_set: Manifest, world: World) -> Iterator[Action]:
    pods, wanted = world.list_owned(replica_set), _get_replicas(replica_set)
    for _ in range(wanted - len(pods)):
        yield Create(_make_pod(replica_set, {}, generate_name=f"{replica_set['metadata']['name']}-"))
    surplus = sorted(pods, key=lambda pod: pod in _list_ready(pods))[: max(len(pods) - wanted, 0)]
    yield from (_delete(pod) for pod in surplus)
    yield from _patch_status(replica_set, _count(replica_set, pods, "fullyLabeledReplicas"))


def _count(owner: Manifest, pods: Sequence[Manifest], *others: str) -> dict[str, Any]:
    ready = len(_list_ready(pods))
    counts = {"availableReplicas": ready, "readyReplicas": ready} if ready else {}
    counts |= {other: len(pods) for other in others if pods}
    return {"observedGeneration": owner["metadata"].get("generation", 0), "replicas": len(pods), **counts}


def _plan_stateful_set(stateful_set: Manifest, world: World) -> Iterator[Action]:
    spec, name = stateful_set["spec"], stateful_set["metadata"]["name"]
    wanted = spec.get("replicas", 1)
    revision = f"{name}-{hash_template(spec['template'])}"
    pods = {pod["metadata"]["name"]: pod for pod in world.list_owned(stateful_set)}
    names = [f"{name}-{number}" for number in range(wanted)]
    ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
    # Pods beyond the number of replicas go, the last one first
    yield from (_delete(pods[pod]) for pod in sorted(pods.keys() - set(names), reverse=True)[: 1 if ordered else None])
    # missing Pods come; in order, each when the one before is ready
    for pod in names:
        if pod not in pods:
            yield Create(_make_pod(stateful_set, {REVISION_HASH: revision}, name=pod))
        if ordered and not (pod in pods and _list_ready([pods[pod]])):
            break
    yield from _replace_next(stateful_set, [pods[pod] for pod in names if pod in pods], revision)
    updated = [pod for pod in pods.values() if _get_label(pod, REVISION_HASH) == revision]
    before = stateful_set.get("status") or {}
    done = len(updated) == len(pods) == wanted and len(_list_ready(updated)) == wanted
    current = revision if done else before.get("currentRevision", revision)
    status = _count(stateful_set, [*pods.values()])
    status |= {"currentRevision": current, "updateRevision": revision}
    status |= {"availableReplicas": status.get("availableReplicas", 0)}
    status |= {"updatedReplicas": len(updated)} if updated else {}
    kept = [pod for pod in pods.values() if _get_label(pod, REVISION_HASH) == current]
    status |= {"currentReplicas": len(kept)} if kept else {}
    yield from _patch_status(stateful_set, status)


def _replace_next(stateful_set: Manifest, pods: Sequence[Manifest], revision: str) -> Iterator[Action]:
    """Delete the outdated Pod of the highest number, as soon as the others are ready or it is broken itself."""
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return
    first = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    outdated = [pod for pod in pods[first:] if _get_label(pod, REVISION_HASH) != revision]
    broken = [pod for pod in outdated if not _list_ready([pod])]
    if broken:
        yield _delete(broken[-1])
    elif outdated and len(_list_ready(pods)) == stateful_set["spec"].get("replicas", 1):
        yield _delete(outdated[-1])


def _plan_daemon_set(daemon_set: Manifest, world: World) -> Iterator[Action]:
    pods = world.list_owned(daemon_set)
    hashed = hash_template(daemon_set["spec"]["template"])
    updated = [pod for pod in pods if _get_label(pod, REVISION_HASH) == hashed]
    yield from (_delete(pod) for pod in [*updated[1:], *(pod for pod in pods if pod not in updated)])
    if not pods:
        generate_name = f"{daemon_set['metadata']['name']}-"
        yield Create(_make_pod(daemon_set, {REVISION_HASH: hashed}, generate_name=generate_name))
    ready = len(_list_ready(pods))
    counts = {"currentNumberScheduled": min(len(pods), 1), "desiredNumberScheduled": 1, "numberMisscheduled": 0}
    counts |= {"numberReady": ready, "updatedNumberScheduled": min(len(updated), 1), "numberAvailable": ready}
    status = {"observedGeneration": daemon_set["metadata"].get("generation", 0), **counts}
    yield from _patch_status(daemon_set, status)


def _plan_job(job: Manifest, world: World, now: datetime) -> Iterator[Action]:
    spec, before = job["spec"], job.get("status") or {}
    if before.get("completionTime"):
        return
    if spec.get("suspend"):
        yield from (_delete(pod) for pod in world.list_owned(job))
        condition = _make_condition(before, "Suspended", "True", "JobSuspended", "Job suspended", now=now)
        yield from _patch_status(job, {"conditions": [condition]})
        return
    pods = world.list_owned(job)
    wanted = spec.get("completions", 1) or 1
    parallel = min(spec.get("parallelism", 1), wanted)
    done = sum((pod.get("status") or {}).get("phase") == "Succeeded" for pod in pods)
    active = len(pods) - done
    for _ in range(min(parallel - active, wanted - done - active)):
        yield Create(_make_pod(job, _make_job_labels(job), generate_name=f"{job['metadata']['name']}-"))
    status: dict[str, Any] = {"startTime": before.get("startTime") or write_timestamp(now), "ready": 0}
    status |= {"active": active} if active else {}
    status |= {"succeeded": done} if done else {}
    if done >= wanted:
        text = "Reached expected number of succeeded pods"
        types = ("SuccessCriteriaMet", "Complete")
        status["conditions"] = [_make_condition(before, t, "True", "CompletionsReached", text, now=now) for t in types]
        status["completionTime"] = write_timestamp(now)
    yield from _patch_status(job, status)


def _make_job_labels(job: Manifest) -> dict[str, str]:
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    return {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }


# Pods


def _make_pod(owner: Manifest, labels: Mapping[str, str], *, name: str = "", generate_name: str = "") -> Manifest:
    template = _add_label(owner["spec"]["template"], labels)
    metadata = {
        **{key: value for key, value in template["metadata"].items() if key in ("labels", "annotations")},
        **({"name": name} if name else {"generateName": generate_name}),
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [_make_owner(owner)],
    }
    spec = {**template["spec"], "nodeName": NODE}
    return {"apiVersion": POD.api_version, "kind": POD.kind, "metadata": metadata, "spec": spec}


def _make_owner(manifest: Manifest) -> dict[str, Any]:
    metadata = manifest["metadata"]
    named = {"name": metadata["name"], "uid": metadata["uid"]}
    kind = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"]}
    return {**kind, **named, "controller": True, "blockOwnerDeletion": True}


def _plan_pod(pod: Manifest, images: Images, now: datetime) -> Iterator[Action]:
    wanted = _list_images(pod)
    # it runs or has ended, or nobody has looked for its images yet
    if not _is_waiting(pod) or not all(image in images for image in wanted):
        return
    here = all(images[image] for image in wanted)
    before = pod.get("status") or {}
    finished = here and any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences") or ())
    started = before.get("startTime") or write_timestamp(now)
    phase = "Succeeded" if finished else "Running" if here else "Pending"
    names = ", ".join(container["name"] for container in pod["spec"].get("containers") or ())
    unready = ("False", "ContainersNotReady", f"containers with unready status: [{names}]")
    ready = ("False", "PodCompleted", "") if finished else ("True", "", "") if here else unready
    conditions = [
        _make_pod_condition(before, "PodScheduled", ("True", "", ""), now),
        _make_pod_condition(before, "Initialized", ("True", "", ""), now),
        _make_pod_condition(before, "ContainersReady", ready, now),
        _make_pod_condition(before, "Ready", ready, now),
    ]
    containers = [
        _make_container(c, images, now, finished=finished, here=here) for c in pod["spec"].get("containers") or ()
    ]
    status = {"phase": phase, "conditions": conditions, "containerStatuses": containers, "startTime": started}
    yield from _patch_status(pod, status)


def _make_pod_condition(
    before: Mapping[str, Any], type_: str, said: tuple[str, str, str], now: datetime
) -> dict[str, Any]:
    status, reason, message = said
    last: Mapping[str, Any] = next((c for c in before.get("conditions") or () if c["type"] == type_), {})
    turned = last.get("lastTransitionTime") if last.get("status") == status else None
    texts = {key: text for key, text in (("reason", reason), ("message", message)) if text}
    return {"type": type_, "status": status, "lastTransitionTime": turned or write_timestamp(now), **texts}


def _make_container(
    container: Mapping[str, Any], images: Images, now: datetime, *, finished: bool, here: bool
) -> dict[str, Any]:
    image = container.get("image", "")
    if finished:
        at = write_timestamp(now)
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at}
        state: dict[str, Any] = {"terminated": ended}
    elif here:
        state = {"running": {"startedAt": write_timestamp(now)}}
    elif images[image]:
        state = {"waiting": {"reason": "ContainerCreating"}}
    elif images[image] is None:
        state = {"waiting": {"reason": "ErrImagePull", "message": f'nobody could tell whether "{image}" is there'}}
    else:
        state = {"waiting": {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}}
    running = here and not finished
    return {
        "name": container["name"],
        "image": image,
        "imageID": "",
        "state": state,
        "ready": running,
        "started": running,
        "restartCount": 0,
    }


def _is_waiting(pod: Manifest) -> bool:
    return bool((pod.get("status") or {}).get("phase", "Pending") == "Pending")


def _list_images(pod: Manifest) -> tuple[str, ...]:
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return tuple(container.get("image", "") for container in containers)


def _list_ready(pods: Iterable[Manifest]) -> list[Manifest]:
    return [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]


def _get_label(manifest: Manifest, name: str) -> str:
    return str((manifest["metadata"].get("labels") or {}).get(name, ""))


def _add_label(template: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    metadata = template.get("metadata") or {}
    return {**template, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}}


def _delete(manifest: Manifest) -> Delete:
    return Delete(ObjectRef.of(manifest), manifest["metadata"]["uid"])


def _patch_status(manifest: Manifest, status: Mapping[str, Any]) -> Iterator[Action]:
    """Yield the patch that makes the status what it should be; none when it is."""
    before = manifest.get("status") or {}
    patch = {key: value for key, value in status.items() if before.get(key) != value}
    patch |= {key: None for key in before if key not in status}
    if patch:
        yield Patch(ObjectRef.of(manifest), {"status": patch}, "status")


def hash_template(template: Mapping[str, Any]) -> str:
    """Return ten letters and digits that name a Pod template, and differ for different ones.

    >>> hash_template({"spec": {"containers": []}}) == hash_template({"spec": {"containers": []}})
    True
    """
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_SAFE[byte % len(_SAFE)] for byte in digest[:10])
