"""What Flux's kustomize-controller wrote for two ConfigMaps and a ClusterRole, and what we write for the same input.

Where we differ on purpose, docs/compatibility.md says so: the digest of the history is that of our rendering.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gitops_core.meta import Kind, ObjectKey, ObjectRef
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, config_map
from tests.simulation.loop import virtually

DATA = Path(__file__).parent / "data" / "flux"
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io", "v1", "ClusterRole")
ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "lab:reader"}
rules: []
"""
OF_THE_RUN = {"uid", "resourceVersion", "creationTimestamp", "lastTransitionTime", "time"} | {
    "firstReconciled",
    "lastReconciled",
    "lastReconciledDuration",
    "digest",
}


def recorded(name: str) -> Any:
    return yaml.safe_load((DATA / name).read_text())


def timeless(value: Any, commit: str) -> Any:
    """`value` without what differs from run to run."""
    if isinstance(value, Mapping):
        return {key: timeless(item, commit) for key, item in value.items() if key not in OF_THE_RUN}
    if isinstance(value, list):
        return [timeless(item, commit) for item in value]
    return value.replace(commit, "COMMIT") if isinstance(value, str) else value


def ours() -> tuple[Any, Any, Any, str]:
    async def main() -> tuple[Any, Any, Any, str]:
        world = World()
        files = {"cm/one.yaml": config_map("one"), "cm/two.yaml": config_map("two"), "cm/role.yaml": ROLE}
        commit = await world.begin(files)
        await world.sync("good", "./cm", force=False)
        async with world.running():
            await asyncio.sleep(5)
            role = await world.local.get(ObjectRef(CLUSTER_ROLE, ObjectKey("", "lab:reader")))
            return await world.kustomization("good"), await world.live(CONFIG_MAP, "one"), role, commit

    return virtually(main())


def test_the_objects_are_those_that_flux_would_have_written() -> None:
    kustomization, one, role, commit = ours()

    assert timeless(one, commit) == timeless(recorded("a-configmap.yaml"), "none here")
    theirs = timeless(recorded("a-clusterrole.yaml"), "none here")
    assert timeless(role["metadata"], commit) == theirs["metadata"]
    expected = recorded("a-kustomization-good.yaml")
    (their_commit,) = {entry["metadata"]["revision"].rpartition(":")[2] for entry in expected["status"]["history"]}
    assert timeless(kustomization["status"], commit) == timeless(expected["status"], their_commit)
    assert timeless(kustomization["spec"], commit) == timeless(expected["spec"], their_commit)
    assert kustomization["metadata"]["finalizers"] == expected["metadata"]["finalizers"]
