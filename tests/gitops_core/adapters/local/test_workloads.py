"""The embedded cluster's workloads: what users see of a rollout, and that the loop goes on wherever it was stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from gitops_core.adapters.local import LocalCluster, workloads
from gitops_core.domain.health.kstatus import judge_health
from gitops_core.domain.objects.controllermanager import DAEMON_SET, JOB, POD, STATEFUL_SET, VOLUME_CLAIM
from gitops_core.errors import TransientError
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Query, Unreadable
from gitops_core.runtime.clock import SystemClock

DEPLOYMENT = Kind("apps", "v1", "Deployment")


class Shelf:
    """Implements Images: the images that were put on it. While `is_broken`, nobody can tell."""

    def __init__(self, *images: str) -> None:
        self.images = set(images)
        self.is_broken = False

    async def exists(self, image: str) -> bool:
        if self.is_broken:
            raise TransientError("the registry does not answer")
        return image in self.images


def workload(kind: Kind, image: str, **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}}
    selector = {} if kind == JOB else {"selector": {"matchLabels": {"app": "web"}}}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {**selector, **spec, "template": template},
    }


@asynccontextmanager
async def running(cluster: LocalCluster, images: Shelf) -> AsyncIterator[None]:
    task = asyncio.create_task(workloads.run(cluster, images, SystemClock()))
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def eventually(cluster: LocalCluster, kind: Kind, holds: Callable[[Manifest], bool]) -> Manifest:
    """The object named `web` as soon as `holds` is true of it."""
    async with asyncio.timeout(60):
        while True:
            live = await cluster.get(ObjectRef(kind, ObjectKey("default", "web")))
            if live is not None and holds(live):
                return live
            await asyncio.sleep(0.02)


async def pods(cluster: LocalCluster) -> list[Manifest]:
    page = await cluster.list(Query(POD, "default"), dict)
    return [pod for pod in page.items if not isinstance(pod, Unreadable)]


def is_current(live: Manifest) -> bool:
    return judge_health(live, datetime.now(UTC)).status == "Current"


def condition(live: Manifest, type_: str) -> dict[str, Any]:
    found: dict[str, Any] = next((c for c in live.get("status", {}).get("conditions", ()) if c["type"] == type_), {})
    return found


async def test_a_deployment_whose_image_is_there_becomes_ready(local_cluster: LocalCluster) -> None:
    await local_cluster.apply(workload(DEPLOYMENT, "app:1", replicas=2), field_manager="tests")

    async with running(local_cluster, Shelf("app:1")):
        live = await eventually(local_cluster, DEPLOYMENT, is_current)

    assert live["status"]["readyReplicas"] == 2
    assert condition(live, "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert {pod["status"]["phase"] for pod in await pods(local_cluster)} == {"Running"}


async def test_a_new_image_rolls_out_and_the_old_pods_go(local_cluster: LocalCluster) -> None:
    shelf = Shelf("app:1", "app:2")
    await local_cluster.apply(workload(DEPLOYMENT, "app:1", replicas=3), field_manager="tests")

    async with running(local_cluster, shelf):
        await eventually(local_cluster, DEPLOYMENT, is_current)
        await local_cluster.apply(workload(DEPLOYMENT, "app:2", replicas=3), field_manager="tests")
        live = await eventually(
            local_cluster, DEPLOYMENT, lambda d: is_current(d) and d["status"]["observedGeneration"] == 2
        )

    assert live["status"]["replicas"] == 3
    assert {pod["spec"]["containers"][0]["image"] for pod in await pods(local_cluster)} == {"app:2"}


async def test_a_missing_image_stops_the_rollout_and_takes_nothing_down(local_cluster: LocalCluster) -> None:
    await local_cluster.apply(workload(DEPLOYMENT, "app:1", progressDeadlineSeconds=2), field_manager="tests")

    async with running(local_cluster, Shelf("app:1")):
        await eventually(local_cluster, DEPLOYMENT, is_current)
        await local_cluster.apply(workload(DEPLOYMENT, "app:9", progressDeadlineSeconds=2), field_manager="tests")
        live = await eventually(
            local_cluster, DEPLOYMENT, lambda d: condition(d, "Progressing").get("status") == "False"
        )

    assert condition(live, "Progressing")["reason"] == "ProgressDeadlineExceeded"
    assert live["status"]["availableReplicas"] == 1
    assert judge_health(live, datetime.now(UTC)).status == "Failed"
    waiting = [pod["status"]["containerStatuses"][0]["state"].get("waiting", {}) for pod in await pods(local_cluster)]
    assert {state.get("reason") for state in waiting} == {None, "ImagePullBackOff"}


async def test_an_image_that_comes_later_is_found(local_cluster: LocalCluster) -> None:
    shelf = Shelf()
    shelf.is_broken = True
    await local_cluster.apply(workload(DEPLOYMENT, "app:1"), field_manager="tests")

    async with running(local_cluster, shelf):
        await eventually(local_cluster, DEPLOYMENT, lambda d: d.get("status", {}).get("updatedReplicas") == 1)
        shelf.is_broken = False
        shelf.images.add("app:1")
        live = await eventually(local_cluster, DEPLOYMENT, is_current)

    assert live["status"]["readyReplicas"] == 1


async def test_a_stateful_set_replaces_its_pods_one_by_one(local_cluster: LocalCluster) -> None:
    shelf = Shelf("app:1", "app:2")
    await local_cluster.apply(workload(STATEFUL_SET, "app:1", replicas=2), field_manager="tests")

    async with running(local_cluster, shelf):
        await eventually(local_cluster, STATEFUL_SET, is_current)
        assert [pod["metadata"]["name"] for pod in await pods(local_cluster)] == ["web-0", "web-1"]
        await local_cluster.apply(workload(STATEFUL_SET, "app:2", replicas=2), field_manager="tests")
        live = await eventually(
            local_cluster, STATEFUL_SET, lambda s: is_current(s) and s["status"]["observedGeneration"] == 2
        )

    assert live["status"]["currentRevision"] == live["status"]["updateRevision"]
    assert {pod["spec"]["containers"][0]["image"] for pod in await pods(local_cluster)} == {"app:2"}


async def test_a_stateful_set_keeps_the_pods_below_its_partition(local_cluster: LocalCluster) -> None:
    shelf = Shelf("app:1", "app:2")
    await local_cluster.apply(workload(STATEFUL_SET, "app:1", replicas=2), field_manager="tests")

    async with running(local_cluster, shelf):
        await eventually(local_cluster, STATEFUL_SET, is_current)
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        for replicas in (2, 3):  # with the third, all are looked at once more after the second was replaced
            wanted = workload(STATEFUL_SET, "app:2", replicas=replicas, updateStrategy=strategy)
            await local_cluster.apply(wanted, field_manager="tests")
            await eventually(
                local_cluster,
                STATEFUL_SET,
                lambda s, ready=replicas: is_current(s) and s["status"]["readyReplicas"] == ready,  # type: ignore[misc]
            )

    images = {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in await pods(local_cluster)}
    assert images == {"web-0": "app:1", "web-1": "app:2", "web-2": "app:2"}


async def test_a_job_completes(local_cluster: LocalCluster) -> None:
    await local_cluster.apply(workload(JOB, "app:1", completions=2), field_manager="tests")

    async with running(local_cluster, Shelf("app:1")):
        live = await eventually(local_cluster, JOB, lambda j: condition(j, "Complete").get("status") == "True")

    assert live["status"]["succeeded"] == 2
    assert {pod["status"]["phase"] for pod in await pods(local_cluster)} == {"Succeeded"}


async def test_a_daemon_set_has_a_pod_on_the_one_node(local_cluster: LocalCluster) -> None:
    shelf = Shelf("app:1", "app:2")
    await local_cluster.apply(workload(DAEMON_SET, "app:1"), field_manager="tests")

    async with running(local_cluster, shelf):
        await eventually(local_cluster, DAEMON_SET, is_current)
        await local_cluster.apply(workload(DAEMON_SET, "app:2"), field_manager="tests")
        await eventually(local_cluster, DAEMON_SET, lambda d: is_current(d) and d["status"]["observedGeneration"] == 2)

    assert [pod["spec"]["containers"][0]["image"] for pod in await pods(local_cluster)] == ["app:2"]


async def test_a_volume_claim_is_bound(local_cluster: LocalCluster) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "web", "namespace": "default"}
    claim = {"apiVersion": "v1", "kind": VOLUME_CLAIM.kind, "metadata": metadata, "spec": spec}
    await local_cluster.apply(claim, field_manager="tests")

    async with running(local_cluster, Shelf()):
        await eventually(local_cluster, VOLUME_CLAIM, is_current)


async def test_deleting_a_deployment_takes_its_pods(local_cluster: LocalCluster) -> None:
    await local_cluster.apply(workload(DEPLOYMENT, "app:1"), field_manager="tests")
    async with running(local_cluster, Shelf("app:1")):
        await eventually(local_cluster, DEPLOYMENT, is_current)

        await local_cluster.delete(ObjectRef(DEPLOYMENT, ObjectKey("default", "web")))

        while await pods(local_cluster):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("stops", range(1, 12, 2))
async def test_stopped_anywhere_it_goes_on(local_cluster: LocalCluster, stops: int) -> None:
    await local_cluster.apply(workload(DEPLOYMENT, "app:1", replicas=2), field_manager="tests")
    shelf = Shelf("app:1")
    for number in range(stops):
        async with running(local_cluster, shelf):
            await asyncio.sleep(0.021 + number * 0.0005)

    async with running(local_cluster, shelf):
        live = await eventually(local_cluster, DEPLOYMENT, is_current)

    assert live["status"]["replicas"] == 2
    assert len(await pods(local_cluster)) == 2
