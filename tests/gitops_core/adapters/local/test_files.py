"""An embedded cluster in a directory: it survives kill -9, and several processes share it."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gitops_core.adapters.local import LocalCluster
from gitops_core.adapters.local.store import REMEMBERED, Store
from gitops_core.errors import ClusterUnavailable, Expired
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import PartialObject, Query, Unreadable
from gitops_core.runtime.clock import SystemClock

CONFIG_MAP = Kind("", "v1", "ConfigMap")
ROOT = Path(__file__).parents[4]


def opened(directory: Path, *, shared: bool = False) -> LocalCluster:
    return LocalCluster.open(directory, SystemClock(), random.Random(1), shared=shared)


def writer(directory: Path, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.gitops_core.adapters.local.writer", str(directory), str(seed)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def config_map(name: str, **data: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def test_an_acknowledged_write_survives_kill_9_and_none_is_half(tmp_path: Path) -> None:
    chance = random.Random(7)
    for round_ in range(4):
        writers = [writer(tmp_path, seed) for seed in (2 * round_ + 1, 2 * round_ + 2)]
        begun = [process.stdout.readline() for process in writers if process.stdout is not None]
        time.sleep(chance.uniform(0.02, 0.4))  # noqa: ASYNC251 - nothing else runs here
        for process in writers:
            process.send_signal(signal.SIGKILL)
        said = [first + process.communicate()[0] for first, process in zip(begun, writers, strict=True)]

        cluster = opened(tmp_path)
        for lines in said:
            await assert_acknowledged(cluster, lines)
        await assert_log_and_objects_agree(cluster)
        cluster.close()


async def assert_acknowledged(cluster: LocalCluster, lines: str) -> None:
    """Every object is as its last line says, but for one that was written when the process was killed."""
    last = dict(line.split() for line in lines.splitlines(keepends=True) if line.endswith("\n"))
    surprises = 0
    for name, acknowledged in last.items():
        live = await cluster.get(ObjectRef(CONFIG_MAP, ObjectKey("default", name)))
        found = "gone" if live is None else live["data"]["first"]
        if live is not None:
            assert live["data"]["second"] == found
        surprises += found != acknowledged
    assert last
    assert surprises <= 1


async def assert_log_and_objects_agree(cluster: LocalCluster) -> None:
    """Replaying the whole log gives the objects that are listed."""
    page = await cluster.list(Query(CONFIG_MAP), PartialObject)
    listed = {}
    for item in page.items:
        assert isinstance(item, PartialObject)
        listed[item.metadata.name] = item.metadata.resource_version
    replayed: dict[str, str] = {}
    if page.resource_version == "0":
        return
    version = "0"
    async for event in cluster.watch(Query(CONFIG_MAP), PartialObject, version):
        assert isinstance(event.object, PartialObject)
        if event.type == "DELETED":
            del replayed[event.object.metadata.name]
        else:
            replayed[event.object.metadata.name] = event.resource_version
        if replayed == listed:
            break
    assert replayed == listed


async def test_other_processes_writes_are_seen_by_watches(tmp_path: Path) -> None:
    cluster = opened(tmp_path, shared=True)
    version = (await cluster.list(Query(CONFIG_MAP), dict)).resource_version
    process = writer(tmp_path, 1)
    try:
        async with asyncio.timeout(60):
            async for event in cluster.watch(Query(CONFIG_MAP), dict, version):
                assert event.object is not None
                assert not isinstance(event.object, Unreadable)
                assert event.object["metadata"]["name"].startswith("w1-")
                break
    finally:
        process.kill()
        process.communicate()
        cluster.close()


async def test_a_crd_that_another_process_applied_is_served(tmp_path: Path) -> None:
    kind = Kind("example.com", "v1", "Late")
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "lates.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Late", "plural": "lates"},
            "scope": "Cluster",
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    one, two = opened(tmp_path, shared=True), opened(tmp_path, shared=True)
    assert kind not in {resource.kind for resource in await one.list_api_resources()}

    await two.apply(crd, field_manager="ann")

    assert kind in {resource.kind for resource in await one.list_api_resources()}
    one.close()
    two.close()


async def test_a_cluster_is_as_it_was_left(tmp_path: Path) -> None:
    first = opened(tmp_path)
    created = await first.apply(config_map("app", a="1"), field_manager="ann")
    first.close()

    second = opened(tmp_path)

    assert await second.get(ObjectRef(CONFIG_MAP, ObjectKey("default", "app"))) == created
    assert await second.apply(config_map("app", a="1"), field_manager="ann") == created
    second.close()


async def test_a_version_that_is_forgotten_has_expired() -> None:
    store = Store(None)
    cluster = LocalCluster(store, SystemClock(), random.Random(1), shared=False)
    first = await cluster.create(config_map("a"), field_manager="ann")
    body = store.get("ConfigMap", ObjectKey("default", "a"))
    with store.transaction():
        for _ in range(REMEMBERED + REMEMBERED // 5):
            body = store.put("ConfigMap", dict(first), body)

    with pytest.raises(Expired):
        await anext(cluster.watch(Query(CONFIG_MAP), dict, "2"))
    page = await cluster.list(Query(CONFIG_MAP), dict)
    assert int(page.resource_version) > REMEMBERED
    cluster.close()


def test_a_directory_that_cannot_be_one_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ClusterUnavailable):
        opened(file)

    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "cluster.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(ClusterUnavailable):
        opened(damaged)
