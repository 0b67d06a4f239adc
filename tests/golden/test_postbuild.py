"""spec.postBuild does what Flux's does: recorded answers of its controller, on the embedded cluster.

Cases: tests/golden/data/postbuild.jsonl, of kustomize-controller 1.9.4. What panics there is an error here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gitops_core.api import KINDS, GitRepository, Kustomization
from gitops_core.errors import Invalid
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.runtime.policy import Policy
from gitops_core.schema import make_crd
from tests.gitops_core.reconcilers.world import URL, World, condition
from tests.simulation.loop import in_virtual_time

CASES = [json.loads(line) for line in (Path(__file__).parent / "data" / "postbuild.jsonl").read_text().splitlines()]
LAX = "StrictPostBuildSubstitutions=false"


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
@in_virtual_time
async def test_variables_are_substituted_as_flux_does_it(case: Mapping[str, Any]) -> None:
    world = World(Policy(strict_substitutions=LAX not in " ".join(case.get("flags", ()))))
    namespace = case["name"]
    await _prepare(world, case)
    if "refused" in case:
        with pytest.raises(Invalid):
            await _put(world, Kustomization, namespace, "app", case["kustomization"])
        return
    await _put(world, Kustomization, namespace, "app", case["kustomization"])

    async with world.running():
        await asyncio.sleep(20)
        await _check(world, namespace, case["result"])
        for step, result in zip(case.get("then", ()), case.get("then_results", ()), strict=True):
            (deed,) = step["do"]
            ref = ObjectRef(Kustomization.KIND, ObjectKey(namespace, "app"))
            await world.local.patch(ref, {"spec": deed["kustomization"]}, field_manager="test")
            await asyncio.sleep(20)
            await _check(world, namespace, result)


async def _prepare(world: World, case: Mapping[str, Any]) -> None:
    for kind in KINDS:
        await world.local.create(make_crd(kind), field_manager="test")
    metadata = {"name": case["name"]}
    await world.local.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, field_manager="test")
    for manifest in case.get("objects", ()):
        placed = {**manifest, "metadata": {"namespace": case["name"], **manifest["metadata"]}}
        await world.local.create(placed, field_manager="setup")
    await world.commit(case["files"])
    await _put(world, GitRepository, case["name"], "src", {"interval": "1m", "url": URL, "ref": {"branch": "main"}})


async def _put(world: World, kind: type[Any], namespace: str, name: str, spec: Mapping[str, Any]) -> None:
    metadata = {"name": name, "namespace": namespace}
    manifest = {"apiVersion": kind.KIND.api_version, "kind": kind.KIND.kind, "metadata": metadata, "spec": spec}
    await world.local.apply(manifest, field_manager="test", force=True)


async def _check(world: World, namespace: str, result: Mapping[str, Any]) -> None:
    live = await world.live(Kustomization.KIND, "app", namespace)
    (wanted,) = [c for c in result["conditions"] if c["type"] == "Ready"]
    status, reason, message = condition(live, "Ready")
    if wanted["status"] == "Unknown":  # the original panicked
        assert (status, reason) == ("False", "BuildFailed"), message
        return
    assert (status, reason) == (wanted["status"], wanted["reason"]), message
    stored = (live["status"].get("inventory") or {}).get("entries")
    assert stored == result["inventory"], message
    for recorded in result["objects"]:
        key = ObjectKey(recorded["metadata"].get("namespace", ""), recorded["metadata"]["name"])
        found = await world.local.get(ObjectRef(Kind.of_manifest(recorded), key))
        assert found is not None, key
        for name in ("data", "rules"):
            assert found.get(name) == recorded.get(name)
        if "spec" in recorded:
            assert found["spec"]["replicas"] == recorded["spec"]["replicas"]
            images = [c["image"] for c in found["spec"]["template"]["spec"]["containers"]]
            assert images == [c["image"] for c in recorded["spec"]["template"]["spec"]["containers"]]
