"""What cannot be changed is deleted and made anew where that is asked for, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gitops_core.api import Kustomization
from gitops_core.domain.sync.replacing import HINT, is_welcome
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
        await asyncio.sleep(10)  # retryInterval is a minute

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


@in_virtual_time
async def test_an_object_of_another_owner_is_not_deleted_for_this_one() -> None:
    theirs = {"kustomize.toolkit.fluxcd.io/name": "theirs", "kustomize.toolkit.fluxcd.io/namespace": "default"}
    world = World()
    await world.begin({"apps/a.yaml": job("migrate:2")})
    await world.local.create(
        json.loads(job("migrate:1", namespace="default", labels=theirs)), field_manager="kustomize-controller"
    )
    await world.sync("apps", "./apps", force=True)
    async with world.running():
        await asyncio.sleep(5)

        status, _, message = await ready(world)

        assert status == "False"
        assert "belongs to another owner" in message
        assert await image_of(world) == "migrate:1"


@pytest.mark.parametrize("place", ["in Git", "in the cluster"])
@in_virtual_time
async def test_an_object_that_is_never_pruned_is_made_anew_only_if_it_asks_for_it_itself(place: str) -> None:
    kept = {"kustomize.toolkit.fluxcd.io/prune": "disabled"}
    before = kept if place == "in Git" else {}
    world = await begin({"apps/a.yaml": job("migrate:1", annotations=before)}, force=True)
    async with world.running():
        await asyncio.sleep(5)
        if not before:
            await world.local.patch(MIGRATE, {"metadata": {"annotations": kept}}, field_manager="somebody")
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2", annotations=before)})
        refused, image = await ready(world), await image_of(world)
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2", annotations={**before, **FORCE})})

        assert refused[0] == "False"
        assert "marked never to be pruned" in refused[2]
        assert image == "migrate:1"
        assert await image_of(world) == "migrate:2"


@in_virtual_time
async def test_the_annotation_ends_with_the_manifest_that_had_it() -> None:
    world = await begin({"apps/a.yaml": job("migrate:1", annotations=FORCE)})
    async with world.running():
        await asyncio.sleep(5)
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2")})

        assert (await ready(world))[2].endswith(HINT)
        assert await image_of(world) == "migrate:1"


@in_virtual_time
async def test_an_object_that_was_changed_since_it_was_judged_is_judged_again() -> None:
    world = await begin({"apps/a.yaml": job("migrate:1")}, force=True)
    async with world.running():
        await asyncio.sleep(5)
        excluded = {"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}}

        async def exclude() -> None:
            await world.local.patch(MIGRATE, excluded, field_manager="somebody")

        world.cluster.meanwhile["delete", "Job/migrate"] = exclude
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2")})

        assert (await ready(world))[0] == "True"
        assert await image_of(world) == "migrate:1"


@in_virtual_time
async def test_nothing_is_deleted_when_one_of_two_could_not_be() -> None:
    files = {"apps/a.yaml": job("migrate:1"), "apps/b.yaml": job("other:1", "other")}
    world = await begin(files, force=True)
    async with world.running():
        await asyncio.sleep(5)
        world.cluster.trials["delete", "Job/other"] = Forbidden("you may not")
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2"), "apps/b.yaml": job("other:2", "other")})

        status, _, message = await ready(world)

        assert status == "False"
        assert message.endswith("it could not be deleted to be made anew: you may not")
        assert (await image_of(world), await image_of(world, "other")) == ("migrate:1", "other:1")


@in_virtual_time
async def test_what_was_deleted_is_made_though_another_deletion_is_refused_against_its_trial() -> None:
    files = {"apps/a.yaml": job("migrate:1"), "apps/b.yaml": job("other:1", "other")}
    world = await begin(files, force=True)
    async with world.running():
        await asyncio.sleep(5)
        world.cluster.refusals["Job/other"] = Forbidden("a hook that lies")
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2"), "apps/b.yaml": job("other:2", "other")})

        assert (await ready(world))[0] == "False"
        assert (await image_of(world), await image_of(world, "other")) == ("migrate:2", "other:1")


@in_virtual_time
async def test_what_has_gone_is_made_at_once_though_another_is_held_back() -> None:
    files = {f"apps/{name}.yaml": job(f"{name}:1", name) for name in ("migrate", "other", "third")}
    world = await begin(files, force=True)
    async with world.running():
        await asyncio.sleep(5)
        held = [MIGRATE, MIGRATE._replace(key=ObjectKey("default", "third"))]
        for ref in held:
            await world.local.patch(ref, {"metadata": {"finalizers": ["example.org/hold"]}}, field_manager="other")
        await world.commit_and_sync({name: text.replace(":1", ":2") for name, text in files.items()})
        first = [await image_of(world, name) for name in ("migrate", "other", "third")]
        await world.local.patch(held[1], {"metadata": {"finalizers": None}}, field_manager="other")
        await asyncio.sleep(1)
        second = [await image_of(world, name) for name in ("migrate", "other", "third")]
        await world.local.patch(held[0], {"metadata": {"finalizers": None}}, field_manager="other")
        await asyncio.sleep(1)

        assert first == ["migrate:1", "other:2", "third:1"]
        assert second == ["migrate:1", "other:2", "third:2"]
        assert (await ready(world))[0] == "True"
        assert await image_of(world) == "migrate:2"
        assert world.cluster.requests.count(("delete", "Job/other", False)) == 1


def test_an_address_that_another_object_holds_is_in_the_way() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}}
    ref = ObjectRef(Kind("", "v1", "Service"), ObjectKey("default", "web"))
    taken = FieldFault("spec.ports[0].nodePort", "FieldValueInvalid", "30080: provided port is already allocated")
    answer = Invalid(ref, "no", [taken])

    def on(port: int) -> dict[str, Any]:
        return {**service, "spec": {"ports": [{"port": 80, "nodePort": port}]}}

    assert is_welcome(answer, on(30080), on(30080))
    assert not is_welcome(answer, on(30080), on(30090))


@in_virtual_time
async def test_what_is_refused_against_its_trial_is_put_back() -> None:
    world = World()
    await world.begin({"apps/a.yaml": SECRET_OF_TYPE % "a"})
    await world.sync("apps", "./apps", timeout="5m", retryInterval="1m", force=True)
    async with world.running():
        await asyncio.sleep(5)

        async def lie() -> None:
            raise Forbidden("a hook that lies")

        world.cluster.meanwhile["apply", "Secret/key"] = lie
        await world.commit_and_sync({"apps/a.yaml": SECRET_OF_TYPE % "b"})
        live = await world.live(Kind("", "v1", "Secret"), "key")

        status, _, message = await ready(world)
        assert status == "False"
        assert "the object is back as it was" in message
        assert live["type"] == "example.org/a"
        await asyncio.sleep(61)
        assert (await ready(world))[0] == "True"
        assert (await world.live(Kind("", "v1", "Secret"), "key"))["type"] == "example.org/b"


SECRET_OF_TYPE = '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "type": "example.org/%s"}'


@in_virtual_time
async def test_an_object_that_goes_before_its_end_is_watched_is_made_anew_in_a_moment() -> None:
    world = await begin({"apps/a.yaml": job("migrate:1")}, force=True)
    async with world.running():
        await asyncio.sleep(5)
        await world.local.patch(MIGRATE, {"metadata": {"finalizers": ["example.org/hold"]}}, field_manager="other")
        let_go = world.cluster.meanwhile

        async def release() -> None:
            await world.local.patch(MIGRATE, {"metadata": {"finalizers": None}}, field_manager="other")

        async def release_later() -> None:  # right before the status that says what is waited for
            let_go["patch", "Kustomization/apps"] = release

        world.cluster.meanwhile["delete", "Job/migrate"] = release_later
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2")})
        await asyncio.sleep(5)

        assert (await ready(world))[0] == "True"
        assert await image_of(world) == "migrate:2"


@in_virtual_time
async def test_what_would_run_once_more_is_not_put_back() -> None:
    world = await begin({"apps/a.yaml": job("migrate:1")}, force=True)
    async with world.running():
        await asyncio.sleep(5)

        async def lie() -> None:
            raise Forbidden("a hook that lies")

        world.cluster.meanwhile["apply", "Job/migrate"] = lie
        await world.commit_and_sync({"apps/a.yaml": job("migrate:2")})
        missing = await image_of(world)
        await asyncio.sleep(61)

        assert missing is None
        assert ("create", "Job/migrate", False) not in world.cluster.requests
        assert await image_of(world) == "migrate:2"
