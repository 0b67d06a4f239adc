"""Between its stages a sync waits without a worker, says so, and goes on from where it was."""

from __future__ import annotations

import asyncio
from typing import Any

import yaml

from gitops_core.api import Kustomization
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, condition, config_map, inventory
from tests.simulation.loop import in_virtual_time

TEAM = ObjectRef(Kind("", "v1", "Namespace"), ObjectKey("", "team"))
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n"
APP = {"apps/ns.yaml": NAMESPACE, "apps/one.yaml": config_map("one", namespace="team")}


async def end_slowly(world: World) -> None:
    """Delete the Namespace, which something in it holds back."""
    about = {"name": "slow", "namespace": "team", "finalizers": ["example.org/slow"]}
    await world.local.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about}, field_manager="other")
    await world.local.delete(TEAM)


async def let_go(world: World) -> None:
    slow = ObjectRef(CONFIG_MAP, ObjectKey("team", "slow"))
    await world.local.patch(slow, {"metadata": {"finalizers": None}}, field_manager="other")


async def new_world() -> World:
    world = World()
    await world.begin(APP | {"other/two.yaml": config_map("two")})
    await world.sync("apps", "./apps", targetNamespace=None, interval="1h", timeout="5m")
    return world


@in_virtual_time
async def test_a_namespace_that_ends_is_waited_for_and_made_anew() -> None:
    world = await new_world()
    async with world.running():
        await asyncio.sleep(5)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        await end_slowly(world)

        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(5)

        live = await world.kustomization("apps")
        assert condition(live, "Ready") == ("Unknown", "Progressing", "Reconciliation in progress")
        assert condition(live, "Reconciling")[:2] == ("True", "Progressing")
        assert inventory(live) == ["_team__Namespace", "team_one__ConfigMap"]
        before = len(world.cluster.requests)
        await asyncio.sleep(100)
        assert world.cluster.since(before) == []  # nobody looks again and again
        await let_go(world)
        await asyncio.sleep(5)
        live = await world.kustomization("apps")
        assert condition(live, "Ready")[:2] == ("True", "ReconciliationSucceeded")
        assert condition(live, "Reconciling") == ("", "", "")
        assert await world.live(CONFIG_MAP, "one", "team") is not None


@in_virtual_time
async def test_a_first_sync_into_a_namespace_that_ends_waits_too() -> None:
    world = await new_world()
    await world.local.create(yaml.safe_load(NAMESPACE), field_manager="other")
    await end_slowly(world)
    async with world.running():
        await asyncio.sleep(20)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "Unknown"

        await let_go(world)
        await asyncio.sleep(10)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert await world.live(CONFIG_MAP, "one", "team") is not None


@in_virtual_time
async def test_objects_deleted_or_edited_by_hand_while_a_namespace_is_waited_for_are_healed_after_it() -> None:
    world = await new_world()
    await world.commit(
        {
            "apps/three.yaml": config_map("three", namespace="default"),
            "apps/four.yaml": config_map("four", namespace="default"),
        }
    )
    await world.sync("apps", "./apps", interval="1h", timeout="5m", targetNamespace=None)
    async with world.running():
        await asyncio.sleep(5)
        await end_slowly(world)
        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(5)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "Unknown"

        three, four = (ObjectRef(CONFIG_MAP, ObjectKey("default", name)) for name in ("three", "four"))
        await world.local.delete(three)
        await world.local.patch(four, {"data": {"a": "by hand"}}, field_manager="somebody")
        await let_go(world)
        await asyncio.sleep(5)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert await world.live(CONFIG_MAP, "three") is not None
        assert (await world.live(CONFIG_MAP, "four"))["data"] == {"a": "1"}


@in_virtual_time
async def test_many_that_wait_keep_nobody_from_his_work() -> None:
    world = await new_world()
    for number in range(70):  # more than there are workers
        await world.sync(f"apps-{number}", "./apps", targetNamespace=None, interval="1h", timeout="5m")
    await world.local.create(yaml.safe_load(NAMESPACE), field_manager="other")
    await end_slowly(world)
    async with world.running():
        await asyncio.sleep(20)

        await world.sync("other", "./other")
        await asyncio.sleep(5)

        assert condition(await world.kustomization("other"), "Ready")[0] == "True"
        states = {condition(await world.kustomization(f"apps-{n}"), "Ready")[0] for n in range(70)}
        assert states == {"Unknown"}


@in_virtual_time
async def test_the_timeout_bounds_the_wait_between_stages() -> None:
    world = await new_world()
    await world.local.create(yaml.safe_load(NAMESPACE), field_manager="other")
    await end_slowly(world)
    await world.sync("apps", "./apps", targetNamespace=None, interval="1h", timeout="1m")
    async with world.running():
        await asyncio.sleep(50)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "Unknown"

        await asyncio.sleep(20)

        status, reason, message = condition(await world.kustomization("apps"), "Ready")
        assert (status, reason) == ("False", "ReconciliationFailed")
        assert message.startswith("Namespace/team is not ready after 1m")
        assert "Resource scheduled for deletion" in message


@in_virtual_time
async def test_a_new_revision_ends_the_wait() -> None:
    world = await new_world()
    await world.local.create(yaml.safe_load(NAMESPACE), field_manager="other")
    await end_slowly(world)
    async with world.running():
        await asyncio.sleep(10)

        commit = await world.commit({"apps/ns.yaml": None, "apps/one.yaml": config_map("one", namespace="default")})
        await asyncio.sleep(90)

        live = await world.kustomization("apps")
        assert condition(live, "Ready") == (
            "True",
            "ReconciliationSucceeded",
            f"Applied revision: main@sha1:{commit}",
        )


@in_virtual_time
async def test_the_timeout_bounds_what_hangs() -> None:
    """An API server that takes a request and never answers it."""

    world = await new_world()

    async def never() -> Any:
        await asyncio.sleep(10_000)

    await world.sync("apps", "./apps", targetNamespace=None, interval="1h", timeout="1m", retryInterval="10s")
    async with world.running():
        await asyncio.sleep(70)
        world.cluster.meanwhile["apply", "ConfigMap/one"] = never
        await world.local.delete(ObjectRef(CONFIG_MAP, ObjectKey("team", "one")))

        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(62)

        status, reason, message = condition(await world.kustomization("apps"), "Ready")
        assert (status, reason) == ("False", "ReconciliationFailed")
        assert message.startswith("timed out: Detecting drift for revision main@sha1:")
        await asyncio.sleep(20)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert await world.live(CONFIG_MAP, "one", "team") is not None


@in_virtual_time
async def test_health_and_stages_share_one_timeout() -> None:
    web = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: team}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.example.com/web:1"}]}
"""

    world = await new_world()
    await world.local.create(yaml.safe_load(NAMESPACE), field_manager="other")
    await end_slowly(world)
    await world.commit({"apps/web.yaml": web})
    await world.sync("apps", "./apps", targetNamespace=None, interval="1h", timeout="1m", wait=True)
    async with world.running():
        await asyncio.sleep(40)
        await let_go(world)
        await asyncio.sleep(10)
        assert condition(await world.kustomization("apps"), "Healthy")[0] == "Unknown"

        await asyncio.sleep(20)

        assert condition(await world.kustomization("apps"), "Ready")[1] == "HealthCheckFailed"


DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""
WIDGETS = ObjectRef(
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition"), ObjectKey("", "widgets.example.org")
)


@in_virtual_time
async def test_an_earlier_stages_objects_are_judged_as_they_are_now_not_as_applied() -> None:
    """An API server answers before a definition is established."""

    world = World()

    def not_established(stored: Manifest) -> Manifest:
        return {**stored, "status": {}}

    world.cluster.answers["apply", "CustomResourceDefinition/widgets.example.org"] = not_established
    await world.begin({"apps/crd.yaml": DEFINITION, "apps/one.yaml": config_map("one")})
    await world.sync("apps", "./apps", interval="1h", timeout="5m", wait=True)
    async with world.running():
        await asyncio.sleep(10)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"


@in_virtual_time
async def test_a_definition_that_ends_is_not_asked_for_again_and_again() -> None:
    about = {"name": "w", "namespace": "default", "finalizers": ["example.org/slow"]}
    widget = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": about}

    world = World()
    await world.begin({"apps/crd.yaml": DEFINITION, "apps/one.yaml": config_map("one")})
    await world.sync("apps", "./apps", interval="1h", timeout="5m")
    async with world.running():
        await asyncio.sleep(5)
        await world.local.create(widget, field_manager="other")
        await world.local.delete(WIDGETS)
        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(5)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "Unknown"
        before = len(world.cluster.requests)

        await asyncio.sleep(100)

        assert world.cluster.since(before) == []
        await world.local.patch(ObjectRef.of(widget), {"metadata": {"finalizers": None}}, field_manager="other")
        await asyncio.sleep(10)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert await world.local.get(WIDGETS) is not None
