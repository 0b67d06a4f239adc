"""What people write on objects in the cluster by hand holds, whatever the manifest says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gitops_core.api import Kustomization
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from tests.gitops_core.reconcilers.test_kustomization import WEB
from tests.gitops_core.reconcilers.world import CONFIG_MAP, DEPLOYMENT, World, condition, config_map, inventory
from tests.simulation.loop import in_virtual_time

ONE = ObjectRef(CONFIG_MAP, ObjectKey("default", "one"))
APP = {"apps/one.yaml": config_map("one"), "apps/two.yaml": config_map("two")}


async def mark(world: World, marks: Mapping[str, str | None], place: str = "annotations", ref: ObjectRef = ONE) -> None:
    """As `kubectl annotate` (or label) does it."""
    names = {f"kustomize.toolkit.fluxcd.io/{name}": value for name, value in marks.items()}
    await world.local.patch(ref, {"metadata": {place: names}}, field_manager="kubectl-annotate")


async def data(world: World, name: str = "one") -> Any:
    return (await world.live(CONFIG_MAP, name))["data"]


@pytest.mark.parametrize("place", ["annotations", "labels"])
@pytest.mark.parametrize("how", [{"reconcile": "disabled"}, {"ssa": "Ignore"}, {"ssa": "IfNotPresent"}])
@in_virtual_time
async def test_an_object_marked_by_hand_is_left_alone_until_the_mark_goes(how: dict[str, str], place: str) -> None:
    world = World()
    await world.begin(APP)
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        await mark(world, how, place)
        await world.local.patch(ONE, {"data": {"a": "by hand"}}, field_manager="kubectl-edit")

        await world.request(Kustomization, "apps", "again")  # what was applied before
        await asyncio.sleep(5)
        assert await data(world) == {"a": "by hand"}
        await world.commit({"apps/one.yaml": config_map("one", "2"), "apps/two.yaml": config_map("two", "2")})
        await asyncio.sleep(90)  # and what is new
        assert await data(world) == {"a": "by hand"}
        assert await data(world, "two") == {"a": "2"}
        live = await world.kustomization("apps")
        assert condition(live, "Ready")[0] == "True"
        assert inventory(live) == ["default_one__ConfigMap", "default_two__ConfigMap"]

        await mark(world, dict.fromkeys(how), place)
        await world.request(Kustomization, "apps", "once more")
        await asyncio.sleep(5)
        assert await data(world) == {"a": "2"}


@pytest.mark.parametrize("how", [{"reconcile": "disabled"}, {"ssa": "Ignore"}])
@in_virtual_time
async def test_an_object_that_was_marked_before_the_first_sync_is_left_alone(how: dict[str, str]) -> None:
    world = World()
    await world.begin(APP)
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "default"}}
    await world.local.create({**theirs, "data": {"a": "theirs"}}, field_manager="kubectl-create")
    await mark(world, how)
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)

        assert await data(world) == {"a": "theirs"}
        assert await data(world, "two") == {"a": "1"}


@in_virtual_time
async def test_an_object_left_alone_is_neither_refused_nor_waited_for() -> None:
    """Its manifest may be one that the API server would not take any more."""
    sealed = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, labels: {x: 'not a label!'}}\n"

    world = World()
    await world.begin(APP)
    await world.sync("apps", "./apps", wait=True)
    async with world.running():
        await asyncio.sleep(5)
        await mark(world, {"reconcile": "disabled"})

        await world.commit({"apps/one.yaml": sealed, "apps/two.yaml": config_map("two", "2")})
        await asyncio.sleep(90)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert await data(world, "two") == {"a": "2"}


@in_virtual_time
async def test_merge_set_by_hand_keeps_what_kubectl_owns() -> None:
    world = World()
    await world.begin(APP)
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        await mark(world, {"ssa": "Merge"})
        await world.local.patch(ONE, {"data": {"a": "by hand", "b": "by hand"}}, field_manager="kubectl-edit")

        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(5)

        assert await data(world) == {"a": "1", "b": "by hand"}


@in_virtual_time
async def test_prune_disabled_set_by_hand_survives_later_syncs_and_keeps_the_object() -> None:
    world = World()
    await world.begin(APP)
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        await mark(world, {"prune": "disabled"})
        await world.local.patch(ONE, {"data": {"b": "by hand"}}, field_manager="kubectl-edit")
        await world.commit({"apps/one.yaml": config_map("one", "2")})
        await asyncio.sleep(90)
        assert await data(world) == {"a": "2"}  # the rest of what kubectl owned is taken over

        await world.commit({"apps/one.yaml": None})
        await asyncio.sleep(90)

        assert await data(world) == {"a": "2"}


@in_virtual_time
async def test_a_mark_that_git_set_ends_with_the_manifest_that_names_it() -> None:
    world = World()
    once = config_map("one", "1", annotations={"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"})
    await world.begin(APP | {"apps/one.yaml": once})
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        await world.commit({"apps/one.yaml": once.replace("'1'", "'2'")})
        await asyncio.sleep(90)
        assert await data(world) == {"a": "1"}

        await world.commit({"apps/one.yaml": config_map("one", "3")})
        await asyncio.sleep(90)

        assert await data(world) == {"a": "3"}
        assert "annotations" not in (await world.live(CONFIG_MAP, "one"))["metadata"]


@in_virtual_time
async def test_a_definition_that_is_there_already_does_not_hide_a_marked_object() -> None:
    """Its objects cannot be tried beside it; they are read before they are applied."""
    definition = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
    kind = Kind("example.org", "v1", "Widget")

    def widget(size: int) -> str:
        return f"apiVersion: example.org/v1\nkind: Widget\nmetadata: {{name: w}}\nspec: {{size: {size}}}\n"

    world = World()
    await world.begin({"apps/crd.yaml": definition, "apps/w.yaml": widget(1)})
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        await mark(world, {"reconcile": "disabled"}, ref=ObjectRef(kind, ObjectKey("default", "w")))

        await world.commit({"apps/w.yaml": widget(2)})
        await asyncio.sleep(90)

        assert (await world.live(kind, "w"))["spec"] == {"size": 1}


@pytest.mark.parametrize("place", ["annotations", "labels"])
@pytest.mark.parametrize(("said", "by_hand"), [("reconcile: enabled", "disabled"), ("ssa: Override", "Ignore")])
@in_virtual_time
async def test_a_mark_by_hand_holds_although_the_manifest_says_something_else_there(
    said: str, by_hand: str, place: str
) -> None:
    world = World()
    name, _, value = said.partition(": ")
    manifest = config_map("one", "1", **{place: {f"kustomize.toolkit.fluxcd.io/{name}": value}})
    await world.begin({"apps/one.yaml": manifest})
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        await mark(world, {name: by_hand}, place)
        await world.local.patch(ONE, {"data": {"a": "by hand"}}, field_manager="kubectl-edit")

        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(5)
        assert await data(world) == {"a": "by hand"}
        await world.commit({"apps/one.yaml": manifest.replace("'1'", "'2'")})
        await asyncio.sleep(90)

        assert await data(world) == {"a": "by hand"}


@in_virtual_time
async def test_an_object_excluded_by_hand_while_it_is_waited_for_is_waited_for_by_no_later_sync() -> None:
    world = World()
    await world.begin({"apps/web.yaml": WEB})
    await world.sync("apps", "./apps", wait=True, interval="1h")
    async with world.running():
        await asyncio.sleep(5)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "Unknown"
        await mark(world, {"reconcile": "disabled"}, ref=ObjectRef(DEPLOYMENT, ObjectKey("default", "web")))

        for token in ("first", "second"):
            await world.request(Kustomization, "apps", token)
            await asyncio.sleep(5)

            live = await world.kustomization("apps")
            assert live["status"]["lastHandledReconcileAt"] == token
            assert condition(live, "Ready")[0] == "True"
