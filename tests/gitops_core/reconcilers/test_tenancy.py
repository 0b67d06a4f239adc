"""What an operator keeps Kustomizations and Receivers from (--no-cross-namespace-refs)."""

from __future__ import annotations

import asyncio
from typing import Any

from gitops_core.api import Kustomization, Receiver
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.runtime.policy import Policy
from tests.gitops_core.reconcilers.world import World, condition, config_map
from tests.simulation.loop import in_virtual_time

WHY = "--no-cross-namespace-refs keeps objects from naming those of other namespaces"


async def _put(world: World, kind: type[Any], name: str, namespace: str, **spec: Any) -> None:
    metadata = {"name": name, "namespace": namespace}
    manifest = {"apiVersion": kind.KIND.api_version, "kind": kind.KIND.kind, "metadata": metadata, "spec": spec}
    await world.local.apply(manifest, field_manager="test", force=True)


@in_virtual_time
async def test_a_kustomization_of_another_namespace_than_its_source_is_refused_where_the_operator_says_so() -> None:
    world = World(Policy(cross_namespace_references=False))
    await world.begin({"apps/a.yaml": config_map("a")})
    await world.local.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}, field_manager="t"
    )
    source = {"kind": "GitRepository", "name": "r", "namespace": "default"}
    common = {"interval": "10m", "prune": True, "path": "./apps", "targetNamespace": "default", "sourceRef": source}
    await _put(world, Kustomization, "theirs", "other", **common)
    await _put(world, Kustomization, "ours", "default", **common)

    async with world.running():
        await asyncio.sleep(5)
        theirs, ours = await world.live(Kustomization.KIND, "theirs", "other"), await world.kustomization("ours")

    message = f"Kustomization/other/theirs may not name GitRepository/default/r: {WHY}"
    assert condition(theirs, "Ready") == ("False", "AccessDenied", message)
    assert condition(theirs, "Stalled")[0] == "True"
    assert condition(ours, "Ready")[0] == "True"


@in_virtual_time
async def test_a_receiver_that_would_wake_another_namespace_is_refused_where_the_operator_says_so() -> None:
    world = World(Policy(cross_namespace_references=False))
    await world.begin({"apps/a.yaml": config_map("a")})
    resources = [{"kind": "GitRepository", "name": "r", "namespace": "other"}]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "default"}}
    await world.local.create({**secret, "stringData": {"token": "t"}}, field_manager="test")
    spec = {"type": "generic", "secretRef": {"name": "token"}, "resources": resources}
    await _put(world, Receiver, "hook", "default", **spec)

    async with world.running():
        await asyncio.sleep(5)
        live = await world.local.get(ObjectRef(Receiver.KIND, ObjectKey("default", "hook")))

    message = f"Receiver/default/hook may not name GitRepository/other/r: {WHY}"
    assert condition(live, "Ready") == ("False", "AccessDenied", message)
    assert (live or {})["status"].get("webhookPath", "") == ""
