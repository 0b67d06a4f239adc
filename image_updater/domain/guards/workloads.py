"""Which images a workload runs, and whether it fails: what the closed loop looks at.

    Deployment, StatefulSet, DaemonSet   as the kernel's health rules say; Failed is failed
    Rollout (Argo)                       phase Degraded: aborted, past its deadline, or not a spec it can run
    Canary (Flagger)                     phase Failed; it speaks for the workload that it targets
    Rollout with a workloadRef           likewise
    Pods of any of them                  an image that cannot be pulled, a container that crashes again and again

A Rollout that is paused or a Canary that waits for somebody is neither: nothing is said until it goes on. A workload
of whose template no Pod is there (scaled to 0, on no node, OnDelete and nobody deleted one) runs nothing, however well
that is for the kernel's health rules: it is idle, and proves nothing.

Source: argoproj/argo-rollouts, utils/rollout; fluxcd/flagger, apis/flagger/v1beta1; kubernetes.io, Deployments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from gitops_core.errors import ImageInvalid
from gitops_core.meta import Kind, Manifest, ObjectRef
from gitops_core.oci.references import parse_image

State = Literal["Healthy", "Progressing", "Failed", "Idle"]

DEPLOYMENT = Kind("apps", "v1", "Deployment")
STATEFUL_SET = Kind("apps", "v1", "StatefulSet")
DAEMON_SET = Kind("apps", "v1", "DaemonSet")
ROLLOUT = Kind("argoproj.io", "v1alpha1", "Rollout")
CANARY = Kind("flagger.app", "v1beta1", "Canary")
KINDS = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET, ROLLOUT, CANARY)

CANNOT_PULL = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})
CRASHES = frozenset({"CrashLoopBackOff", "CreateContainerError", "RunContainerError"})


class RunningImage(NamedTuple):
    """An image that a workload's Pods are to run: the repository's canonical name, and tag or digest or both."""

    repository: str
    tag: str
    digest: str = ""


class Workload(NamedTuple):
    """One workload as it is now; `message` says why it is not Healthy."""

    ref: ObjectRef
    images: tuple[RunningImage, ...]
    state: State
    message: str = ""


def read_images(manifest: Manifest) -> tuple[RunningImage, ...]:
    """Return the images of a workload's Pod template, each once; one that cannot be read is left out."""
    found: dict[RunningImage, None] = {}
    for text in _list_images(_get_mapping(manifest, "spec", "template", "spec")):
        base, _, digest = text.partition("@")
        try:
            image = parse_image(base)
        except ImageInvalid:
            continue
        found.setdefault(RunningImage(str(image.repository), image.reference, digest))
    return tuple(found)


def read_rollout_state(manifest: Manifest) -> tuple[State, str]:
    """Return the state that an Argo Rollout reports, as soon as it has seen its present spec."""
    status, metadata = _get_mapping(manifest, "status"), _get_mapping(manifest, "metadata")
    if str(status.get("observedGeneration", "")) != str(metadata.get("generation", "")):
        return "Progressing", "its controller has not seen this spec yet"
    message = str(status.get("message", ""))
    match status.get("phase"):
        case "Healthy":
            return "Healthy", ""
        case "Degraded":
            return "Failed", message or "the Rollout is degraded"
        case phase:
            return "Progressing", message or f"phase {phase or 'unknown'}"


def read_canary_state(manifest: Manifest) -> tuple[State, str]:
    """Return the state that a Flagger Canary reports of the workload that it targets."""
    status = _get_mapping(manifest, "status")
    phase = str(status.get("phase", ""))
    message = next(
        (str(c.get("message", "")) for c in _get_sequence(status, "conditions") if c.get("type") == "Promoted"), ""
    )
    if phase == "Failed":
        return "Failed", message or "the Canary failed"
    if phase in ("Succeeded", "Initialized"):
        return "Healthy", ""
    return "Progressing", message or f"phase {phase or 'unknown'}"


def read_running_state(manifest: Manifest) -> tuple[State, str]:
    """Return the state of a workload that is Healthy by the rules, as its Pods report it."""
    spec, status, kind = _get_mapping(manifest, "spec"), _get_mapping(manifest, "status"), manifest.get("kind")
    if kind == DAEMON_SET.kind:
        return ("Healthy", "") if status.get("updatedNumberScheduled") else ("Idle", "it runs on no node")
    wanted = spec.get("replicas", 1)
    if wanted == 0:
        return "Idle", "it is scaled to 0"
    if kind != STATEFUL_SET.kind:
        return "Healthy", ""
    ready = status.get("readyReplicas", 0)
    if not status.get("updatedReplicas"):
        return "Idle", "no Pod is of its present template"
    return ("Healthy", "") if ready == wanted else ("Progressing", f"Ready: {ready}/{wanted}")


def find_spoken_for(manifest: Manifest) -> tuple[str, str] | None:
    """Return kind and name of the workload that a Canary or a Rollout speaks for, in its own namespace."""
    field = {CANARY.kind: "targetRef", ROLLOUT.kind: "workloadRef"}.get(str(manifest.get("kind")), "")
    target = _get_mapping(manifest, "spec", field)
    return (str(target.get("kind", "")), str(target.get("name", ""))) if target else None


def write_pod_selector(manifest: Manifest) -> str:
    """Return the label selector of a workload's Pods, "" when it has none that can be sent."""
    labels = _get_mapping(manifest, "spec", "selector", "matchLabels")
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def explain_pod_trouble(
    pods: Iterable[Manifest], images: Iterable[RunningImage], now: datetime, patience: float
) -> str:
    """Say why Pods that are to run `images` cannot, once one has tried for `patience` seconds; "" when they can."""
    wanted = frozenset(images)
    for pod in pods:
        started = _get_started(pod)
        if started is None or (now - started).total_seconds() < patience:
            continue
        if trouble := _explain_trouble(pod, wanted):
            return trouble
    return ""


def _explain_trouble(pod: Manifest, wanted: frozenset[RunningImage]) -> str:
    spec = _get_mapping(pod, "spec")
    texts = {str(c.get("name")): str(c.get("image", "")) for c in _list_containers(spec)}
    status = _get_mapping(pod, "status")
    for entry in (*_get_sequence(status, "initContainerStatuses"), *_get_sequence(status, "containerStatuses")):
        waiting = _get_mapping(entry, "state", "waiting")
        reason, text = str(waiting.get("reason", "")), texts.get(str(entry.get("name")), "")
        if reason in CANNOT_PULL | CRASHES and wanted.intersection(_parse(text)):
            return f"Pod {_get_mapping(pod, 'metadata').get('name')}: {reason}"
    return ""


def _parse(text: str) -> tuple[RunningImage, ...]:
    return read_images({"spec": {"template": {"spec": {"containers": [{"image": text}]}}}})


def _get_started(pod: Manifest) -> datetime | None:
    text = _get_mapping(pod, "metadata").get("creationTimestamp")
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _list_images(pod_spec: Mapping[str, Any]) -> Iterator[str]:
    for container in _list_containers(pod_spec):
        if isinstance(text := container.get("image"), str):
            yield text
    for volume in _get_sequence(pod_spec, "volumes"):
        if isinstance(text := _get_mapping(volume, "image").get("reference"), str):
            yield text


def _list_containers(pod_spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for field in ("initContainers", "containers"):
        yield from _get_sequence(pod_spec, field)


def _get_mapping(value: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return the mapping at `path`, {} when there is none: these objects are other people's."""
    for key in path:
        found = value.get(key)
        if not isinstance(found, Mapping):
            return {}
        value = found
    return value


def _get_sequence(value: Mapping[str, Any], key: str) -> tuple[Mapping[str, Any], ...]:
    found = value.get(key)
    return tuple(item for item in found if isinstance(item, Mapping)) if isinstance(found, list | tuple) else ()
