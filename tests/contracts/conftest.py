"""`cluster`: every test that asks for it runs on the embedded cluster and on a real API server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.errors import KindUnknown
from gitops_core.meta import Kind, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Cluster, Query, WatchEvent
from tests.contracts.things import CRDS, PLAIN, THING, THING_V2, WIDE
from tests.servers.controlplane import ControlPlane

_numbers = itertools.count(1)


async def install_things(cluster: Cluster) -> None:
    """The CRDs of the contract tests, served when this returns."""
    for crd in CRDS:
        await cluster.apply(crd, field_manager="tests", force=True)
    for kind in (THING, THING_V2, PLAIN, WIDE):
        await until_served(cluster, kind)


async def until_served(cluster: Cluster, kind: Kind) -> None:
    """Wait until the kind of a CRD that was just applied can be listed."""
    while True:
        try:
            await cluster.list(Query(kind), dict)
        except KindUnknown:
            await asyncio.sleep(0.2)
        else:
            return


@pytest.fixture
async def real_cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesCluster]:
    token = Sensitive(control_plane.token)
    cluster = KubernetesCluster.connect(control_plane.url, ca=control_plane.ca.read_bytes(), token=token)
    yield cluster
    await cluster.close()
    await asyncio.sleep(0.1)  # TLS connections of ended watches take a few turns of the loop to close


@pytest.fixture(params=["local", "real"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    return cast(Cluster, request.getfixturevalue(f"{request.param}_cluster"))


@pytest.fixture
async def things(cluster: Cluster) -> Cluster:
    """The cluster, with the CRDs of things.py."""
    await install_things(cluster)
    return cluster


@pytest.fixture
async def namespace(cluster: Cluster) -> str:
    """A namespace that no other test uses."""
    return await new_namespace(cluster)


async def new_namespace(*clusters: Cluster) -> str:
    """A fresh namespace, of the same name in all of them."""
    name = f"contract-{next(_numbers)}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    for cluster in clusters:
        await cluster.create(manifest, field_manager="tests")
    return name


@asynccontextmanager
async def watching(cluster: Cluster, query: Query, version: str) -> AsyncIterator[AsyncIterator[WatchEvent[Any]]]:
    """A watch that is ended when the block is, and that gives up after a minute."""
    events = cluster.watch(query, dict, version)
    try:
        async with asyncio.timeout(60):
            yield events
    finally:
        await cast(AsyncGenerator[Any], events).aclose()


def named(kind: Kind, namespace: str, name: str) -> ObjectRef:
    return ObjectRef(kind, ObjectKey(namespace, name))
