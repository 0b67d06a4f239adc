"""How many requests a sync makes while it waits, races and fails; counted, not timed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gitops_core.adapters.kustomize import Kustomize
from gitops_core.api import Kustomization
from gitops_core.errors import ClusterUnavailable, Conflict, Yielded
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.schema import read_manifest
from tests.gitops_core.reconcilers.test_kustomization import ROLLED_OUT, WEB
from tests.gitops_core.reconcilers.world import CONFIG_MAP, DEPLOYMENT, World, condition, config_map
from tests.simulation.loop import in_virtual_time

BUILD = "kustomization.yaml"
ONE = ObjectRef(CONFIG_MAP, ObjectKey("default", "one"))


def web(number: int) -> str:
    return WEB.replace("metadata: {name: web}", f"metadata: {{name: web-{number}}}")


async def say(world: World, name: str, status: dict[str, Any]) -> None:
    """As the controllers of a Deployment do."""
    ref = ObjectRef(DEPLOYMENT, ObjectKey("default", name))
    await world.local.patch(ref, {"status": status}, field_manager="kubelet", subresource="status")


@in_virtual_time
async def test_while_a_rollout_is_waited_for_only_what_is_not_ready_is_read() -> None:
    world = World()
    await world.begin({f"apps/web-{n}.yaml": web(n) for n in range(10)})
    await world.sync("apps", "./apps", wait=True)
    async with world.running():
        await asyncio.sleep(5)
        before = len(world.cluster.requests)

        for number in range(10):
            await say(world, f"web-{number}", ROLLED_OUT)
            await asyncio.sleep(2)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        reads = [name for _, name, _ in world.cluster.since(before, "get")]
        assert len(reads) <= 10 + 9 + 8 + 7 + 6 + 5 + 4 + 3 + 2 + 1
        assert reads.count("Deployment/web-0") == 1
        assert reads.count("Deployment/web-9") == 10


@in_virtual_time
async def test_after_a_failed_health_check_changes_of_the_objects_wake_nobody() -> None:
    world = World()
    await world.begin({"apps/web.yaml": WEB})
    await world.sync("apps", "./apps", wait=True, timeout="30s", retryInterval="1h", interval="1h")
    async with world.running():
        await asyncio.sleep(40)
        assert condition(await world.kustomization("apps"), "Ready")[1] == "HealthCheckFailed"
        before = len(world.cluster.requests)

        for number in range(60):
            await say(world, "web", {"replicas": number % 2})
            await asyncio.sleep(10)

        requests = [request for request in world.cluster.since(before) if not request[1].startswith(("Git", "Event"))]
        assert requests == []


@in_virtual_time
async def test_an_object_that_is_there_already_and_not_ours_is_looked_at_soon() -> None:
    """`ssa: IfNotPresent` gives it no label, so nobody watches it."""
    once = WEB.replace("{name: web}", "{name: web, annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}}", 1)

    world = World()
    await world.begin({"apps/web.yaml": once})
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "w"}]}}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    await world.local.create({**theirs, "spec": spec}, field_manager="other")
    await world.sync("apps", "./apps", wait=True)
    async with world.running():
        await asyncio.sleep(20)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "Unknown"

        await say(world, "web", ROLLED_OUT)
        await asyncio.sleep(7)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"


@in_virtual_time
async def test_an_api_server_that_says_when_to_come_back_is_asked_no_sooner() -> None:
    world = World()
    await world.begin({"apps/one.yaml": config_map("one")})
    world.cluster.refusals["ConfigMap/one"] = ClusterUnavailable("busy", retry_after=300)
    await world.sync("apps", "./apps", retryInterval="30s")
    async with world.running():
        await asyncio.sleep(10)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "False"
        before = len(world.cluster.requests)
        world.cluster.refusals.clear()

        await asyncio.sleep(280)

        assert [about for _, about, _ in world.cluster.since(before, "apply")] == []
        await asyncio.sleep(40)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"


@pytest.mark.parametrize("races", [1, 3])
@in_virtual_time
async def test_taking_over_from_kubectl_survives_a_race_with_a_controller(races: int) -> None:
    world = World()
    await world.begin({"apps/one.yaml": config_map("one")})
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "default"}}
    await world.local.apply({**theirs, "data": {"a": "0", "old": "x"}}, field_manager="kubectl")
    left = iter(range(races))

    async def interfere() -> None:
        if (number := next(left, None)) is not None:
            await world.local.patch(ONE, {"data": {"theirs": str(number)}}, field_manager="some-controller")
            world.cluster.meanwhile["patch", "ConfigMap/one"] = interfere

    world.cluster.meanwhile["patch", "ConfigMap/one"] = interfere
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "1", "theirs": str(races - 1)}


@in_virtual_time
async def test_a_finalizer_that_meets_a_conflict_is_tried_again_at_growing_distances() -> None:
    world = World()
    await world.begin({"apps/one.yaml": config_map("one")})
    async with world.running():
        await asyncio.sleep(5)
        before = len(world.cluster.requests)
        world.cluster.conflicts["Kustomization/apps"] = Conflict("somebody else writes it all the time")

        await world.sync("apps", "./apps")
        await asyncio.sleep(30)

        assert 2 <= len(world.cluster.since(before, "patch")) <= 10
        world.cluster.conflicts.clear()
        await asyncio.sleep(60)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"


@in_virtual_time
async def test_a_rollout_that_fails_is_not_applied_again_before_its_retry() -> None:
    world = World()
    await world.begin({"apps/web.yaml": WEB})
    await world.sync("apps", "./apps", wait=True, retryInterval="5m", interval="1h")
    async with world.running():
        await asyncio.sleep(10)
        stuck = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}
        await say(world, "web", stuck)
        await asyncio.sleep(10)
        assert condition(await world.kustomization("apps"), "Ready")[1] == "HealthCheckFailed"
        before = len(world.cluster.requests)

        for number in range(10):
            await say(world, "web", {**stuck, "replicas": number})
            await asyncio.sleep(10)

        assert world.cluster.since(before, "apply") == []
        await world.request(Kustomization, "apps", "now")
        await asyncio.sleep(5)
        assert world.cluster.since(before, "get")


MANY = 40


async def begin_with_many_folders(world: World, files: Callable[[str], Mapping[str, str]], **spec: Any) -> list[str]:
    """Make a Kustomization for each of many folders of one repository; their names."""
    names = [f"k{number:02}" for number in range(MANY)]
    await world.begin({f"{name}/{path}": text for name in names for path, text in files(name).items()})
    for name in names:
        await world.sync(name, f"./{name}", interval="1h", **spec)
    return names


@in_virtual_time
async def test_of_many_that_a_commit_wakes_the_one_whose_folder_changed_goes_first() -> None:
    world = World()
    names = await begin_with_many_folders(
        world, lambda name: {"one.yaml": config_map(f"{name}-one", namespace="default")}, targetNamespace=None
    )
    async with world.running():
        await asyncio.sleep(30)
        for name in (names[0], names[20], names[-1]):
            before = len(world.cluster.requests)

            await world.commit_and_sync({f"{name}/one.yaml": config_map(f"{name}-one", "2", namespace="default")})

            deeds = [request for request in world.cluster.since(before) if "ConfigMap" in request[1]]
            applied = deeds.index(("apply", f"ConfigMap/{name}-one", False))
            assert len([deed for deed in deeds[:applied] if deed[0] == "get"]) <= MANY / 4
            assert len([deed for deed in deeds if deed[0] == "get"]) == MANY - 1


@in_virtual_time
async def test_a_commit_to_one_of_many_folders_builds_that_one_and_costs_the_others_one_status_each() -> None:
    world, built = World(), list[None]()
    world.renderer = Kustomize(count=lambda: built.append(None))
    names = await begin_with_many_folders(
        world, lambda name: {"one.yaml": config_map("one"), BUILD: f"resources: [one.yaml]\nnamePrefix: {name}-\n"}
    )
    async with world.running():
        await asyncio.sleep(30)
        assert len(built) == MANY
        before = len(world.cluster.requests)

        await world.commit_and_sync({"k07/one.yaml": config_map("one", "2")})

        assert len(built) == MANY + 1
        writes = [about for _, about, _ in world.cluster.since(before, "patch", "apply", "create", "delete")]
        others = [about for about in writes if "k07" not in about and not about.startswith(("Git", "Event"))]
        assert sorted(others) == [f"Kustomization/{name}" for name in names if name != "k07"]


@in_virtual_time
async def test_who_yielded_to_others_at_one_commit_does_not_at_the_next_one() -> None:
    world = World()
    await world.begin({"apps/one.yaml": config_map("one")})
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        await world.sync("apps", "./apps", suspend=True)  # so that its turn does not come
        (reconciler,) = (one.reconciler for one in world.controllers if one.kind is Kustomization)

        async def look() -> Any:
            return await reconciler.reconcile(read_manifest(Kustomization, await world.kustomization("apps")))

        await look()
        await world.commit_and_sync({"README.md": "1"})
        with pytest.raises(Yielded):
            await look()
        commit = await world.commit_and_sync({"README.md": "2"})

        assert (await look()).message == f"Applied revision: main@sha1:{commit}"
