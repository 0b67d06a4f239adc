"""Several processes that each reconcile a part of the objects, by their labels or their namespace."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.ports import Query
from gitops_core.runtime.reconciling import Outcome, Platform, Watch, make_refs
from sealoop.serving.shards import Shard
from tests.gitops_core.runtime.kinds import Gadget, Widget
from tests.gitops_core.runtime.world import World, controller, lease, manifest, outcome, ref
from tests.simulation.loop import in_virtual_time

KEY = "sharding.fluxcd.io/key"
ONE, REST = Shard.parse("", f"{KEY}=one"), Shard.parse("", f"!{KEY}")


class Looks(list[str]):
    """A script that records whom it looked at."""

    async def __call__(self, wanted: Any, platform: Platform) -> Outcome:
        self.append(wanted.key.name)
        return outcome(wanted)


def of(shard: Shard) -> dict[str, Any]:
    """The settings of a process that reconciles `shard`."""
    mine = replace(lease(f"of {shard.labels}"), name=shard.lease)
    return {"lease": mine, "namespace": shard.namespace, "labels": shard.labels}


async def label(world: World, name: str, value: str | None) -> None:
    await world.local.patch(ref(Widget, name), {"metadata": {"labels": {KEY: value}}}, field_manager="test")


@in_virtual_time
async def test_two_shards_lead_at_once_and_each_object_is_one_shards() -> None:
    world, ones, rests = World(), Looks(), Looks()
    await world.install()
    for name in ("a", "b", "c"):
        await world.put(Widget, name, size=1)
    await label(world, "a", "one")
    first, second = world.process(controller(ones), **of(ONE)), world.process(controller(rests), **of(REST))
    async with first as one, second as rest:
        await asyncio.sleep(5)
        leading = (one.health.leading, rest.health.leading)
        looked = (sorted(ones), sorted(rests))
        await label(world, "b", "one")
        await label(world, "a", None)
        await asyncio.sleep(5)
        for name in ("a", "b", "c"):
            await world.put(Widget, name, size=2)
        await asyncio.sleep(5)
        sizes = {name: (await world.get(Widget, name))["status"]["size"] for name in ("a", "b", "c")}

    assert leading == (True, True)
    assert looked == (["a"], ["b", "c"])
    assert sorted(ones[1:]) == ["b", "b"]  # when it comes, and when it is edited
    assert sorted(rests[2:]) == ["a", "a", "c"]
    assert sizes == {"a": 2, "b": 2, "c": 2}


@in_virtual_time
async def test_an_object_of_no_shard_wakes_those_that_name_it() -> None:
    world, looks = World(), Looks()
    await world.install()
    await world.put(Widget, "a", size=1, gadget="g")
    await label(world, "a", "one")
    options: dict[str, Any] = {
        "references": lambda wanted: make_refs("shop", Gadget, wanted.spec.gadget),
        "watches": (Watch(Query(Gadget.KIND), Gadget),),
    }
    async with world.process(controller(looks, **options), **of(ONE)):
        await asyncio.sleep(5)
        await world.put(Gadget, "g", size=1)
        await asyncio.sleep(5)

    assert list(looks) == ["a", "a"]


@in_virtual_time
async def test_an_object_of_another_namespace_wakes_who_waits_for_it() -> None:
    looks: list[str] = []
    world = World()
    await world.install()
    await world.local.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}}, field_manager="test"
    )
    part = ObjectRef(Gadget.KIND, ObjectKey("elsewhere", "part"))

    async def waiting(wanted: Widget, platform: Platform) -> Outcome:
        looks.append(str(wanted.key))
        return outcome(wanted, None, ready="Unknown", watch=frozenset({part}))

    await world.put(Widget, "a", size=1)
    others = {**manifest(Widget, "x", size=1), "metadata": {"name": "x", "namespace": "elsewhere"}}
    await world.local.create(others, field_manager="test")
    async with world.process(controller(waiting), **of(Shard.parse("shop", ""))):
        await asyncio.sleep(5)
        made = {**manifest(Gadget, "part", size=1), "metadata": {"name": "part", "namespace": "elsewhere"}}
        await world.local.create(made, field_manager="test")
        await asyncio.sleep(5)

    assert looks == ["shop/a", "shop/a"]
