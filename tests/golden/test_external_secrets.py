"""Situations recorded from External Secrets 2.9, told again to the real runtime: same Secret, status and events.

Left out, with the reason in docs/compatibility.md: refreshTime null, the detail behind a failure's sentence, and what
we tell of a takeover.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.errors import KindUnknown, NotFound
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Query
from gitops_core.runtime.clock import SystemClock
from gitops_core.schema import make_crd
from secrets_sync.adapters import FakeFactory
from secrets_sync.api import ExternalSecret, SecretStore
from secrets_sync.component import make_controllers
from secrets_sync.domain.secret.live import SECRET
from tests.gitops_core.runtime.world import EVENT, World
from tests.servers.controlplane import ControlPlane, start_control_plane
from tests.simulation.loop import virtually

DATA = Path(__file__).parent / "data" / "external-secrets"
NAMESPACE = "r1-lab"
PAYLOADS = {"k1": "v1", "k2": "v2", "json": '{"a":"1","b":"2"}'}
BEFORE: dict[str, dict[str, Any]] = {
    "create-merge": {"labels": {"mine": "yes"}, "data": {"own": "kept"}},
    "owner-preexisting-secret": {"labels": {}, "data": {"own": "gone"}},
}
"""The Secrets that existed before."""


def recorded(case: str) -> dict[str, Any]:
    row: dict[str, Any] = yaml.safe_load((DATA / f"{case}.yaml").read_text())
    return row


Told = tuple[Manifest, Manifest | None, list[Manifest]]


def retold(row: dict[str, Any]) -> Told:
    """The ExternalSecret, its Secret and its events after a while, on the embedded cluster."""

    async def main() -> Told:
        world = World()
        await world.install(SecretStore, ExternalSecret)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await world.local.create(namespace, field_manager="test")
        return await tell(row, world, lambda name: asyncio.sleep(5))

    return virtually(main())


async def tell(row: dict[str, Any], world: World, decided: Callable[[str], Awaitable[None]]) -> Told:
    """The same, in a world where `decided` returns when the ExternalSecret of that name has come to its verdict."""
    payloads = dict(PAYLOADS)
    if row["secret"] not in (None, "ABSENT") and row["case"] == "labels-copied-no-template":
        payloads["k1"] = "v1-changed"  # the lab had changed it meanwhile
    data = [{"key": key, "value": value} for key, value in payloads.items()]
    await create(
        world, SecretStore.KIND.api_version, "SecretStore", "fake", spec={"provider": {"fake": {"data": data}}}
    )
    wanted = row["externalSecret"]
    name, target = wanted["metadata"]["name"], wanted["spec"]["target"].get("name", wanted["metadata"]["name"])
    if (before := BEFORE.get(row["case"])) is not None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in before["data"].items()}
        await create(world, "v1", "Secret", target, labels=before["labels"], data=encoded, type="Opaque")
    factories = {"fake": FakeFactory()}
    async with world.process(lambda p: make_controllers(p, factories)[0], lambda p: make_controllers(p, factories)[1]):
        if row["case"] == "two-externalsecrets-one-target":
            first = recorded("create-owner")["externalSecret"]
            await create(world, first["apiVersion"], first["kind"], target, spec=first["spec"])
            await decided(target)
        metadata = {key: wanted["metadata"].get(key) for key in ("labels", "annotations") if key in wanted["metadata"]}
        await create(world, wanted["apiVersion"], wanted["kind"], name, spec=wanted["spec"], **metadata)
        await decided(name)
    live = await world.local.get(ObjectRef(ExternalSecret.KIND, ObjectKey(NAMESPACE, name)))
    assert live is not None
    events = (await world.local.list(Query(EVENT, NAMESPACE), dict)).items
    about: list[Manifest] = [dict(e) for e in events if isinstance(e, dict) and e["involvedObject"]["name"] == name]
    return live, await world.local.get(ObjectRef(SECRET, ObjectKey(NAMESPACE, target))), about


async def create(world: World, api_version: str, kind: str, name: str, **parts: Any) -> None:
    metadata = {"name": name, "namespace": NAMESPACE}
    metadata |= {key: parts.pop(key) for key in ("labels", "annotations") if key in parts}
    manifest = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts}
    await world.local.create(manifest, field_manager="python-urllib3")


def shown(secret: Any) -> Any:
    """What of a Secret must be the same: everything but names of moments and of this one cluster."""
    if secret in (None, "ABSENT"):
        return None
    metadata = secret["metadata"]
    owners = [{k: v for k, v in o.items() if k != "uid"} for o in metadata.get("ownerReferences", [])]
    fields = [entry["fieldsV1"] for entry in metadata["managedFields"] if entry["manager"].startswith("externalsecr")]
    for entry in fields:
        entry["f:metadata"].pop("f:ownerReferences", None)  # holds the owner's uid
    managers = sorted((entry["manager"], entry["operation"]) for entry in metadata["managedFields"])
    return {
        "data": secret["data"],
        "type": secret["type"],
        "labels": metadata["labels"],
        "annotations": metadata["annotations"],
        "owners": owners,
        "fields": fields,
        "managers": managers,
    }


CASES = [
    "create-owner",
    "create-orphan",
    "create-merge",
    "create-merge-notarget",
    "create-none",
    "owner-preexisting-secret",
    "labels-copied-no-template",
    "missing-key-at-create",
    "missing-property-at-create",
    "store-missing",
    "two-externalsecrets-one-target",
]


@pytest.mark.parametrize("case", CASES)
def test_the_secret_is_the_same(case: str) -> None:
    row = recorded(case)

    _, secret, _ = retold(row)

    assert shown(secret) == shown(row["secret"])


@pytest.mark.parametrize("case", CASES)
def test_the_status_is_the_same(case: str) -> None:
    row = recorded(case)

    live, _, _ = retold(row)

    theirs, ours = row["externalSecret"]["status"], live["status"]
    assert ours["binding"] == theirs["binding"]
    assert ours.get("syncedResourceVersion") == theirs.get("syncedResourceVersion")
    assert ("refreshTime" in ours) == (theirs["refreshTime"] is not None)
    (their_ready,), (our_ready, *more) = theirs["conditions"], ours["conditions"]
    assert [c["type"] for c in more] == (["TookOver"] if case == "owner-preexisting-secret" else [])
    assert [our_ready[k] for k in ("type", "status", "reason")] == [
        their_ready[k] for k in ("type", "status", "reason")
    ]
    assert our_ready["message"].startswith(their_ready["message"])
    assert live["metadata"]["finalizers"] == row["externalSecret"]["metadata"]["finalizers"]


@pytest.mark.parametrize("case", CASES)
def test_the_events_are_the_same(case: str) -> None:
    row = recorded(case)

    _, _, events = retold(row)

    if case == "owner-preexisting-secret":
        events = [event for event in events if event["reason"] != "KeysReplaced"]
    ours = [(e["type"], e["reason"], e["source"]["component"]) for e in events]
    assert sorted(set(ours)) == sorted({(e["type"], e["reason"], e["source"]["component"]) for e in row["events"]})
    normal = [e["message"] for e in events if e["type"] == "Normal"]
    assert normal == [e["message"] for e in row["events"] if e["type"] == "Normal"]
    for theirs in (e["message"] for e in row["events"] if e["type"] == "Warning"):
        entry = theirs.split("err: ")[0]  # a store that is missing is not one entry's fault
        assert all(e["message"].startswith(entry) or e["message"] in theirs for e in events if e["type"] == "Warning")


class RealWorld(World):
    """The same on a real API server, in real time."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        self.clock = SystemClock()  # type: ignore[assignment]  # not virtual here
        self.local = self.cluster = cluster  # type: ignore[assignment]  # not embedded here


REAL = ["create-owner", "create-orphan", "create-merge", "owner-preexisting-secret", "labels-copied-no-template"]


@pytest.fixture
def own_control_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """An API server that has no such namespace and objects from another test yet: the recordings give their names."""
    plane = start_control_plane(tmp_path)
    yield plane
    plane.stop()


async def test_a_real_api_server_stores_the_same(own_control_plane: ControlPlane) -> None:
    """Among it managedFields, by which the original knows what it wrote."""
    token, ca = Sensitive(own_control_plane.token), own_control_plane.ca.read_bytes()
    cluster = KubernetesCluster.connect(own_control_plane.url, ca=ca, token=token)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(cluster.close)
        for kind in (SecretStore, ExternalSecret):
            await cluster.apply(make_crd(kind), field_manager="test", force=True)
            await served(cluster, kind.KIND)
        for case in REAL:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            await cluster.apply(namespace, field_manager="test")
            row = recorded(case)

            live, secret, _ = await tell(row, RealWorld(cluster), partial(decided, cluster))

            assert shown(secret) == shown(row["secret"]), case
            assert live["status"]["binding"] == row["externalSecret"]["status"]["binding"]
            await removed(cluster, row["externalSecret"]["metadata"]["name"])


async def served(cluster: KubernetesCluster, kind: Kind) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(KindUnknown):
                await cluster.list(Query(kind), dict)
                return
            await asyncio.sleep(0.2)


async def decided(cluster: KubernetesCluster, name: str) -> None:
    """Wait until an ExternalSecret is synced."""
    ref = ObjectRef(ExternalSecret.KIND, ObjectKey(NAMESPACE, name))
    async with asyncio.timeout(60):
        while not is_synced(await cluster.get(ref)):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


def is_synced(live: Manifest | None) -> bool:
    return any(c["status"] == "True" for c in ((live or {}).get("status") or {}).get("conditions", ()))


async def removed(cluster: KubernetesCluster, name: str) -> None:
    """Clears the way for the next case."""
    await cluster.delete(ObjectRef(SecretStore.KIND, ObjectKey(NAMESPACE, "fake")))
    wanted = ObjectRef(ExternalSecret.KIND, ObjectKey(NAMESPACE, name))
    await cluster.patch(wanted, {"metadata": {"finalizers": None}}, field_manager="test")
    await cluster.delete(wanted)
    with suppress(NotFound):  # where controllers run, an owned Secret goes with its owner
        await cluster.delete(ObjectRef(SECRET, ObjectKey(NAMESPACE, name)))
