"""What cannot be changed is deleted and made anew where that is asked for, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gitops_core.api import Kustomization
from gitops_core.domain.sync.replacing import HINT
from gitops_core.errors import BadRequest, ClusterError, ClusterUnavailable, FieldFault, Forbidden, Invalid
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, condition, config_map
from tests.simulation.loop import in_virtual_time

JOB = Kind("batch", "v1", "Job")
MIGRATE = ObjectRef(JOB, ObjectKey("default", "migrate"))
FORCE = {"kustomize.toolkit.fluxcd.io/force": "Enabled"}


def job(image: str, name: str = "migrate", **metadata: Any) -> str:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}
    about = {"name": name, **metadata}
    return json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": {"template": {"spec": pod}}})


async def begin(files: dict[str, str], **spec: Any) -> World:
    world = World()
    await world.begin(files)
    await world.sync("apps", "./apps", timeout="5m", retryInterval="1m", **spec)
    return world


async def image_of(world: World, name: str = "migrate") -> str | None:
    live = await world.live(JOB, name)
    return None if live is None else str(live["spec"]["template"]["spec"]["containers"][0]["image"])


async def ready(world: World) -> tuple[str, str, str]:
    return condition(await world.kustomization("apps"), "Ready")


@in_virtual_time
async def test_a_field_that_cannot_change_says_how_to_have_the_object_made_anew() -> None:
    world = await begin({"apps/a.yaml": job("migrate:1")})
    async with world.running():
        await asyncio.sleep(5)
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2")})

        status, reason, message = await ready(world)

        assert (status, reason) == ("False", "ReconciliationFailed")
        assert message.endswith(HINT)
        assert await image_of(world) == "migrate:1"


@in_virtual_time
async def test_an_object_is_made_anew_once_and_then_left_alone() -> None:
    world = await begin({"apps/a.yaml": job("migrate:1", annotations=FORCE), "apps/b.yaml": job("other:1", "other")})
    async with world.running():
        await asyncio.sleep(5)
        old = (await world.live(JOB, "migrate"))["metadata"]["uid"]
        other = (await world.live(JOB, "other"))["metadata"]["uid"]
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2", annotations=FORCE)})
        new = (await world.live(JOB, "migrate"))["metadata"]["uid"]
        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(5)

        assert (await ready(world))[0] == "True"
        assert await image_of(world) == "migrate:2"
        assert old != new == (await world.live(JOB, "migrate"))["metadata"]["uid"]
        assert (await world.live(JOB, "other"))["metadata"]["uid"] == other


@in_virtual_time
async def test_a_manifest_that_is_also_wrong_costs_no_object() -> None:
    world = await begin({"apps/a.yaml": job("migrate:1")}, force=True)
    async with world.running():
        await asyncio.sleep(5)
        old = (await world.live(JOB, "migrate"))["metadata"]["uid"]
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2", labels={"app": "no value of a label!"})})

        assert (await ready(world))[:2] == ("False", "ReconciliationFailed")
        assert (await world.live(JOB, "migrate"))["metadata"]["uid"] == old
        assert ("delete", "Job/migrate", False) not in world.cluster.requests


@pytest.mark.parametrize(
    "refusal",
    [
        Forbidden('jobs.batch "migrate" is forbidden: exceeded quota: small'),
        Invalid(MIGRATE, "no", [FieldFault("spec", "FieldValueInvalid", "a hook does not like it")]),
        BadRequest("what is that?"),
    ],
)
@in_virtual_time
async def test_an_object_that_could_not_be_made_anew_is_left_as_it_is(refusal: ClusterError) -> None:
    world = await begin({"apps/a.yaml": job("migrate:1")}, force=True)
    async with world.running():
        await asyncio.sleep(5)
        world.cluster.trials["create", "Job/migrate"] = refusal
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2")})

        status, _, message = await ready(world)

        assert status == "False"
        assert message.endswith(f"it is left as it is, for it could not be made anew: {refusal}")
        assert await image_of(world) == "migrate:1"
        assert ("delete", "Job/migrate", False) not in world.cluster.requests


@in_virtual_time
async def test_an_address_that_the_object_itself_holds_is_in_nobodys_way() -> None:
    world = await begin({"apps/a.yaml": job("migrate:1")}, force=True)
    taken = FieldFault("spec.clusterIPs", "FieldValueInvalid", "Invalid value: []: provided IP is already allocated")
    async with world.running():
        await asyncio.sleep(5)
        world.cluster.trials["create", "Job/migrate"] = Invalid(MIGRATE, "no", [taken])
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2")})

        assert await image_of(world) == "migrate:2"


@in_virtual_time
async def test_an_object_is_left_as_it_is_while_another_of_the_commit_is_refused() -> None:
    files = {"apps/a.yaml": job("migrate:1", annotations=FORCE), "apps/b.yaml": job("other:1", "other")}
    world = await begin(files)
    async with world.running():
        await asyncio.sleep(5)
        both = {"apps/a.yaml": job("migrate:2", annotations=FORCE), "apps/b.yaml": job("other:2", "other")}
        await world.commit_and_sync(both)

        assert (await ready(world))[0] == "False"
        assert (await image_of(world), await image_of(world, "other")) == ("migrate:1", "other:1")


@in_virtual_time
async def test_an_object_that_is_held_back_is_waited_for_without_a_worker_and_made_when_it_is_gone() -> None:
    world = await begin({"apps/a.yaml": job("migrate:1"), "apps/b.yaml": config_map("b", "1")}, force=True)
    async with world.running():
        await asyncio.sleep(5)
        await world.local.patch(MIGRATE, {"metadata": {"finalizers": ["example.org/hold"]}}, field_manager="other")
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2"), "apps/b.yaml": config_map("b", "2")})
        waiting, before = await ready(world), len(world.cluster.requests)
        await asyncio.sleep(60)
        asked = world.cluster.since(before)
        await world.local.patch(MIGRATE, {"metadata": {"finalizers": None}}, field_manager="other")
        await asyncio.sleep(5)

        assert waiting[0] == "Unknown"
        assert asked == []  # its end wakes us
        assert (await ready(world))[0] == "True"
        assert await image_of(world) == "migrate:2"


@in_virtual_time
async def test_an_object_that_never_goes_is_named_with_what_holds_it_and_nothing_else_is_applied() -> None:
    world = await begin({"apps/a.yaml": job("migrate:1"), "apps/b.yaml": config_map("b", "1")}, force=True)
    async with world.running():
        await asyncio.sleep(5)
        await world.local.patch(MIGRATE, {"metadata": {"finalizers": ["example.org/hold"]}}, field_manager="other")
        await world.commit({"apps/a.yaml": job("migrate:2"), "apps/b.yaml": config_map("b", "2")})
        await asyncio.sleep(380)
        status, _, message = await ready(world)
        b = await world.live(CONFIG_MAP, "b")
        await world.local.patch(MIGRATE, {"metadata": {"finalizers": None}}, field_manager="other")
        await asyncio.sleep(120)

        assert status == "False"
        assert message.startswith("Job/default/migrate is there still, to be made anew, after 5m")
        assert message.endswith("held by the finalizers example.org/hold")
        assert b["data"] == {"a": "1"}
        assert (await ready(world))[0] == "True"
        assert await image_of(world) == "migrate:2"


@in_virtual_time
async def test_an_object_that_was_deleted_and_could_not_be_made_is_made_by_the_next_attempt() -> None:
    world = await begin({"apps/a.yaml": job("migrate:1")}, force=True)
    async with world.running():
        await asyncio.sleep(5)
        world.cluster.meanwhile["apply", "Job/migrate"] = lambda: fail(world)
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2")})
        await asyncio.sleep(60)

        assert world.cluster.requests.count(("delete", "Job/migrate", False)) == 1
        assert (await ready(world))[0] == "True"
        assert await image_of(world) == "migrate:2"


async def fail(world: World) -> None:
    raise ClusterUnavailable("the API server is gone for a moment")


@in_virtual_time
async def test_a_definition_that_others_objects_go_with_is_never_made_anew() -> None:
    names = {"plural": "boxes", "singular": "box", "kind": "Box", "listKind": "BoxList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}

    def definition(scope: str) -> dict[str, Any]:
        spec = {"group": "example.org", "scope": scope, "names": names, "versions": [version]}
        about = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
        return {**about, "metadata": {"name": "boxes.example.org"}, "spec": spec}

    world = World()
    await world.begin({"apps/a.yaml": json.dumps(definition("Cluster"))})
    await world.local.create(definition("Namespaced"), field_manager="somebody")
    await world.sync("apps", "./apps", force=True, targetNamespace=None)
    async with world.running():
        await asyncio.sleep(5)

        assert (await ready(world))[0] == "False"
        live = await world.live(Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition"), "boxes.example.org", "")
        assert live["spec"]["scope"] == "Namespaced"
