"""What keeps a workload from becoming healthy, as its Pods tell it: one sentence about the Pod that says most.

    Pod web-7d9f cannot be scheduled: 0/3 nodes are available: insufficient memory
    container main of Pod web-7d9f: ImagePullBackOff for 40s: Back-off pulling image "web:2"
    container main of Pod web-7d9f: CrashLoopBackOff for 2m0s: OOMKilled (exit code 137) before
    container main of Pod web-7d9f is not ready for 40s

What a container printed before it ended is left out: it may hold anything.

Source: Kubernetes API, core/v1 PodStatus; the kubelet's words for waiting containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from gitops_core.meta import Kind, Manifest

LONGEST = 200
"""Characters of a message of the kubelet or the scheduler."""
_WORKLOADS = frozenset(
    {("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet"), ("apps", "ReplicaSet"), ("batch", "Job")}
)
_STARTING = frozenset({"ContainerCreating", "PodInitializing"})


class _Trouble(NamedTuple):
    """What is wrong with a Pod; what says more has a higher rank."""

    rank: int
    text: str


def find_selector(workload: Manifest) -> str:
    """Find the label selector of a workload's Pods; "" for what has none."""
    kind = Kind.of_manifest(workload)
    if (kind.group, kind.kind) not in _WORKLOADS:
        return ""
    labels = _get(_get(workload.get("spec")).get("selector")).get("matchLabels")
    return ",".join(f"{name}={value}" for name, value in sorted(_get(labels).items()))


def find_cause(pods: Iterable[Manifest], now: datetime) -> str:
    """Find what the newest Pods say; "" when none of them is in trouble."""
    newest = sorted(pods, key=lambda pod: str(_get(pod.get("metadata")).get("creationTimestamp", "")), reverse=True)
    troubles = [trouble for pod in newest for trouble in _list_troubles(pod, now)]
    return max(troubles, key=lambda trouble: trouble.rank).text if troubles else ""


def _list_troubles(pod: Manifest, now: datetime) -> Iterator[_Trouble]:
    metadata, status = _get(pod.get("metadata")), _get(pod.get("status"))
    name = f"Pod {metadata.get('name', '')}"
    if metadata.get("deletionTimestamp"):
        return
    conditions = {str(one.get("type")): one for one in _list(status.get("conditions"))}
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        yield _Trouble(3, f"{name} cannot be scheduled: {_shorten(scheduled.get('message'))}")
    ready = conditions.get("ContainersReady") or conditions.get("Ready") or {}
    since = _tell_since(ready.get("lastTransitionTime") or metadata.get("creationTimestamp"), now)
    for container in [*_list(status.get("initContainerStatuses")), *_list(status.get("containerStatuses"))]:
        yield from _list_container_troubles(container, f"container {container.get('name', '')} of {name}", since)


def _list_container_troubles(container: Mapping[str, Any], name: str, since: str) -> Iterator[_Trouble]:
    state, last = _get(container.get("state")), _get(_get(container.get("lastState")).get("terminated"))
    waiting, ended = _get(state.get("waiting")), _get(state.get("terminated"))
    reason = str(waiting.get("reason") or "")
    if reason and reason not in _STARTING:
        before = f"{_tell_end(last)} before" if last else _shorten(waiting.get("message"))
        yield _Trouble(4, f"{name}: {reason}{since}" + (f": {before}" if before else ""))
    elif ended and ended.get("exitCode"):
        yield _Trouble(4, f"{name}: {_tell_end(ended)}")
    elif "running" in state and container.get("ready") is False:
        yield _Trouble(1, f"{name} is not ready{since}")


def _tell_end(ended: Mapping[str, Any]) -> str:
    return f"{ended.get('reason') or 'Error'} (exit code {ended.get('exitCode')})"


def _tell_since(moment: Any, now: datetime) -> str:
    """Tell for how long, as ` for 40s`; nothing for a moment that is none."""
    try:
        seconds = int((now - datetime.fromisoformat(str(moment))).total_seconds())
    except (ValueError, TypeError):
        return ""
    minutes, rest = divmod(max(seconds, 0), 60)
    return f" for {minutes}m{rest}s" if minutes else f" for {rest}s"


def _shorten(message: Any) -> str:
    text = " ".join(str(message or "").split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _get(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
