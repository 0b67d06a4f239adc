"""Lives of Kustomizations as Flux's controllers recorded them, on a real API server: see test_kustomizations.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.adapters.local import LocalCluster
from gitops_core.runtime.clock import SystemClock
from gitops_core.runtime.process import Settings
from tests.gitops_core.reconcilers.world import World
from tests.golden.kustomizations import CASES, REAL, Player, list_subjects, make_policy
from tests.servers.controlplane import ControlPlane

DIFFERENT: Mapping[str, set[str]] = {
    # a manifest that is merely wrong deletes nothing
    "k-force-spec-invalid-not-immutable": {"[1] Service/k-force-spec-invalid-not-immutable/web is there"},
    # nothing is built for a cluster that cannot be opened
    "k-kubeconfig-exec": {"[0] lastAttemptedRevision", "[0] history"},
    "k-kubeconfig-garbage": {"[0] lastAttemptedRevision"},
}


async def test_kustomizations_live_as_they_do_with_flux(control_plane: ControlPlane) -> None:
    """All side by side: most of their time they wait."""
    control_plane.install_crds()
    kubeconfig = json.dumps(make_kubeconfig(control_plane))[1:-1]
    cases = [json.loads(json.dumps(case).replace("@KUBECONFIG@", kubeconfig)) for case in CASES if case["name"] in REAL]
    cluster = await KubernetesCluster.from_environment(Path(control_plane.kubeconfig))
    try:
        found = await asyncio.gather(*(play(case, cluster) for case in cases))
    finally:
        await cluster.close()

    differences = {case["name"]: each for case, each in zip(cases, found, strict=True) if each}
    told = "\n".join(f"{name}: {each}" for name, several in differences.items() for each in several)
    assert {name: list_subjects(each) for name, each in differences.items()} == DIFFERENT, told


async def play(case: Mapping[str, Any], cluster: KubernetesCluster) -> list[str]:
    world = World(make_policy(case), Settings(namespace=case["name"]))
    world.local, world.cluster, world.clock = cast(LocalCluster, cluster), cast(Any, cluster), cast(Any, SystemClock())
    player = Player(case, world, cluster, is_real=True)
    await player.prepare()
    async with world.running():
        await player.begin()
        return await player.play()


def make_kubeconfig(plane: ControlPlane) -> str:
    """Make a kubeconfig of the control plane itself, as its administrator."""
    cluster = {"server": plane.url, "certificate-authority-data": plane.ca_data}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "there",
        "clusters": [{"name": "there", "cluster": cluster}],
        "users": [{"name": "them", "user": {"token": plane.token}}],
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "them"}}],
    }
    return json.dumps(config)
