"""The same random history on the embedded cluster and on a real API server ends in the same objects.

After every write the answers are compared: the object with its managedFields, or the refusal with its conflicts and
fields. In the end the watches are.
"""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Kind
from gitops_core.ports import Cluster, Query, Unreadable
from tests.contracts.conftest import install_things, named, new_namespace, watching
from tests.contracts.histories import CONFIG_MAP, Author, carry_out, comparable
from tests.contracts.things import PLAIN, THING, THING_V2

KINDS = (CONFIG_MAP, THING, PLAIN, THING_V2)
STEPS = 120


@pytest.mark.parametrize("seed", range(6))
async def test_a_random_history_is_the_same_on_both(
    seed: int, local_cluster: LocalCluster, real_cluster: KubernetesCluster
) -> None:
    clusters: tuple[Cluster, Cluster] = (local_cluster, real_cluster)
    for cluster in clusters:
        await install_things(cluster)
    namespace = await new_namespace(*clusters)
    begun = [[(await c.list(Query(kind, namespace), dict)).resource_version for kind in KINDS] for c in clusters]

    author = Author(seed, namespace, KINDS)
    for number in range(STEPS):
        step = author.step()
        ours, theirs = [await carry_out(cluster, step) for cluster in clusters]
        assert ours == theirs, f"seed {seed}, step {number}: {step}"

    for number, kind in enumerate(KINDS):
        ours_seen, theirs_seen = [
            await _watched(cluster, kind, namespace, version[number])
            for cluster, version in zip(clusters, begun, strict=True)
        ]
        assert ours_seen == theirs_seen, f"seed {seed}: watch of {kind}"


async def _watched(cluster: Cluster, kind: Kind, namespace: str, version: str) -> list[tuple[str, Any]]:
    """Every event of a kind since `version`, up to an object that is made as a mark."""
    if await cluster.get(named(kind, namespace, "mark")) is None:
        metadata = {"name": "mark", "namespace": namespace}
        mark = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        await cluster.create(mark, field_manager="tests")
    seen: list[tuple[str, Any]] = []
    async with watching(cluster, Query(kind, namespace), version) as events:
        async for event in events:
            if event.object is None:
                continue
            assert not isinstance(event.object, Unreadable)
            name = event.object["metadata"]["name"]
            if name == "mark":
                break
            if name == "kube-root-ca.crt":
                continue  # a controller's, where controllers run
            seen.append((event.type, comparable(event.object)))
    return seen
