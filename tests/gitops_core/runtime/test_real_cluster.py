"""What the runtime writes is what a real API server takes: statuses, finalizers, events, leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from gitops_core.adapters.kubernetes import KubernetesCluster, KubernetesClusters
from gitops_core.errors import KindUnknown, TransientError
from gitops_core.meta import Kind, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Query
from gitops_core.runtime.authority.leading import LEASE, LeaseSettings
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.process import Health, Settings, run
from gitops_core.runtime.reconciling import Notice, Outcome, Platform
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.schema import make_crd
from tests.gitops_core.runtime.kinds import Widget
from tests.gitops_core.runtime.world import EVENT, NoGit, condition, controller, outcome
from tests.servers.controlplane import ControlPlane

Script = Callable[[Widget, Platform], Awaitable[Outcome]]


@dataclass
class Place:
    """One namespace of the real control plane."""

    cluster: KubernetesCluster
    namespace: str

    def ref(self, name: str, kind: Kind = Widget.KIND) -> ObjectRef:
        return ObjectRef(kind, ObjectKey(self.namespace, name))

    async def put(self, name: str, **spec: Any) -> None:
        kind = {"apiVersion": Widget.KIND.api_version, "kind": Widget.KIND.kind}
        metadata = {"name": name, "namespace": self.namespace}
        await self.cluster.apply(kind | {"metadata": metadata, "spec": spec}, field_manager="test", force=True)

    async def events(self) -> list[dict[str, Any]]:
        page = await self.cluster.list(Query(EVENT, namespace=self.namespace), dict)
        return [cast(dict[str, Any], item) for item in page.items]

    def start(self, script: Script, stop: asyncio.Event, identity: str = "one") -> asyncio.Task[None]:
        lease = LeaseSettings(self.namespace, "sealoop", identity, duration=8.0, renew_deadline=6.0, retry=0.5)
        return asyncio.create_task(
            run(
                cluster=self.cluster,
                clusters=KubernetesClusters(self.cluster, IN_PLACE),
                git=NoGit(),
                clock=SystemClock(),
                chance=SystemChance(),
                assemble=lambda platform: [controller(script)(platform)],
                settings=Settings(lease=lease, namespace=self.namespace, grace=1.0),
                stop=stop,
                metrics=Metrics(CollectorRegistry()),
                health=Health(),
            )
        )


@pytest.fixture
async def place(control_plane: ControlPlane) -> AsyncIterator[Place]:
    token = Sensitive(control_plane.token)
    cluster = KubernetesCluster.connect(control_plane.url, ca=control_plane.ca.read_bytes(), token=token)
    await cluster.apply(make_crd(Widget), field_manager="test", force=True)
    yield Place(cluster, control_plane.namespace("runtime"))
    await cluster.close()


async def _eventually(question: Callable[[], Awaitable[Any]], seconds: float = 60.0) -> Any:
    """The first answer that is true."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                if answer := await question():
                    return answer
            except KindUnknown:  # the CRD is not served yet
                pass
            await asyncio.sleep(0.05)


async def test_an_objects_whole_life(place: Place) -> None:
    async def script(wanted: Widget, platform: Platform) -> Outcome:
        if wanted.spec.size == 0:
            raise TransientError("no size yet", reason="Sizeless", retry_after=1000.0)
        notice = Notice("Normal", "Sized", f"size {wanted.spec.size}", {"example.dev/revision": "main"})
        return outcome(wanted, notices=(notice,))

    stop = asyncio.Event()
    running = place.start(script, stop)

    async def is_ready(status: str) -> Any:
        live = await place.cluster.get(place.ref("a"))
        return live if condition(live or {}, "Ready").get("status") == status else None

    await _eventually(lambda: _put(place, "a", size=0))
    failed = await _eventually(lambda: is_ready("False"))
    await place.put("a", size=5, color="red")
    ready = await _eventually(lambda: is_ready("True"))
    events = await _eventually(lambda: _at_least(place.events, 3))
    await place.cluster.delete(place.ref("a"))
    await _eventually(lambda: _is_gone(place, "a"))
    stop.set()
    await running

    assert failed["metadata"]["finalizers"] == [Widget.FINALIZER]
    assert [c["type"] for c in failed["status"]["conditions"]] == ["Reconciling", "Ready"]
    assert ready["status"]["observedGeneration"] == ready["metadata"]["generation"] == 2
    assert [c["type"] for c in ready["status"]["conditions"]] == ["Ready", "Unsupported"]
    assert ready["status"]["size"] == 5
    assert sorted((e["type"], e["reason"]) for e in events) == [
        ("Normal", "Sized"),
        ("Warning", "FieldsNotSupported"),
        ("Warning", "Sizeless"),
    ]
    assert all(e["involvedObject"]["uid"] == ready["metadata"]["uid"] for e in events)


async def test_a_killed_leader_is_replaced(place: Place) -> None:
    looks: list[str] = []

    def script(identity: str) -> Script:
        async def look(wanted: Widget, platform: Platform) -> Outcome:
            looks.append(identity)
            return outcome(wanted)

        return look

    stop = asyncio.Event()
    await _eventually(lambda: _put(place, "a", size=1))
    one = place.start(script("one"), stop, "one")
    await _eventually(lambda: _length(looks, 1))
    two = place.start(script("two"), stop, "two")
    await asyncio.sleep(1)
    before = list(looks)
    one.cancel()
    await asyncio.wait({one})
    await _eventually(lambda: _length(looks, len(before) + 1))
    lease = await place.cluster.get(place.ref("sealoop", LEASE))
    stop.set()
    await two
    left = await place.cluster.get(place.ref("sealoop", LEASE))

    assert set(before) == {"one"}
    assert looks[-1] == "two"
    assert lease is not None
    assert lease["spec"]["holderIdentity"].startswith("two_")
    assert lease["spec"]["leaseTransitions"] == 1
    assert left is not None
    assert left["spec"].get("holderIdentity", "") == ""


async def test_a_standby_asks_how_far_it_has_to_get_and_sees_what_the_last_leader_wrote(
    place: Place, control_plane: ControlPlane
) -> None:
    seen: list[tuple[str, int | None]] = []

    def script(identity: str) -> Script:
        async def look(wanted: Widget, platform: Platform) -> Outcome:
            seen.append((identity, wanted.status.size if wanted.status else None))
            return outcome(wanted)

        return look

    def lists() -> list[str]:
        requests = control_plane.requests(agent="standby")
        return [each.uri for each in requests if each.verb == "list" and each.resource == "widgets"]

    token = Sensitive(control_plane.token)
    cluster = KubernetesCluster.connect(
        control_plane.url, ca=control_plane.ca.read_bytes(), token=token, agent="standby"
    )
    stop_one, stop_two = asyncio.Event(), asyncio.Event()
    await _eventually(lambda: _put(place, "a", size=1))
    one = place.start(script("one"), stop_one, "one")
    await _eventually(lambda: _is_written(place, "a", 1))
    two = Place(cluster, place.namespace).start(script("two"), stop_two, "two")
    await _eventually(lambda: _length(lists(), 1))
    await place.put("a", size=2)
    await _eventually(lambda: _is_written(place, "a", 2))
    stop_one.set()
    await one
    await _eventually(lambda: _length([by for by, _ in seen if by == "two"], 1))
    stop_two.set()
    await two
    await cluster.close()

    whole, question, *_ = lists()  # on a machine that is too busy for a bookmark another list follows
    assert "limit=500" in whole
    assert "limit=1&" in question + "&"
    assert next(size for by, size in seen if by == "two") == 2


async def _is_written(place: Place, name: str, size: int) -> bool:
    live = await place.cluster.get(place.ref(name))
    return live is not None and live.get("status", {}).get("size") == size


async def _put(place: Place, name: str, **spec: Any) -> bool:
    await place.put(name, **spec)
    return True


async def _at_least(question: Callable[[], Awaitable[list[Any]]], count: int) -> Any:
    answer = await question()
    return answer if len(answer) >= count else None


async def _is_gone(place: Place, name: str) -> bool:
    return await place.cluster.get(place.ref(name)) is None


async def _length(values: list[str], count: int) -> bool:
    return len(values) >= count
