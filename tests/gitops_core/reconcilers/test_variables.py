"""spec.postBuild on the embedded cluster: what wakes, what is told, and what no message holds."""

from __future__ import annotations

import asyncio
from typing import Any

from gitops_core.meta import Kind
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, condition
from tests.simulation.loop import in_virtual_time

SECRET = Kind("", "v1", "Secret")
WATCHED = {"reconcile.fluxcd.io/watch": "Enabled"}
MARKED = "hunter2-4711"


def _text(name: str, value: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  a: {value}\n"


async def _put(world: World, kind: str, name: str, labels: dict[str, str] | None = None, **data: str) -> None:
    field = "data" if kind == "ConfigMap" else "stringData"
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "labels": labels or {}}
    manifest = {"apiVersion": "v1", "kind": kind, "metadata": metadata, field: data}
    await world.local.apply(manifest, field_manager="test", force=True)


@in_virtual_time
async def test_a_changed_variable_is_applied_at_once_where_its_map_is_watched_and_else_at_the_next_look() -> None:
    world = World()
    await world.begin({"apps/a.yaml": _text("one", "${watched} ${other}")})
    await _put(world, "ConfigMap", "vars", WATCHED, watched="w1")
    await _put(world, "Secret", "more", other="o1")
    sources = [{"kind": "ConfigMap", "name": "vars"}, {"kind": "Secret", "name": "more"}]
    await world.sync("apps", "./apps", interval="10m", postBuild={"substituteFrom": sources})
    async with world.running():
        await asyncio.sleep(5)
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "w1 o1"}

        await _put(world, "Secret", "more", other="o2")
        await asyncio.sleep(60)
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "w1 o1"}
        await _put(world, "ConfigMap", "vars", WATCHED, watched="w2")
        await asyncio.sleep(5)
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "w2 o2"}


@in_virtual_time
async def test_nothing_is_written_while_the_variables_are_as_they_were() -> None:
    world = World()
    await world.begin({"apps/a.yaml": _text("one", "${a}")})
    await world.sync("apps", "./apps", interval="1m", postBuild={"substitute": {"a": "x"}})
    async with world.running():
        await asyncio.sleep(30)
        moment = len(world.cluster.requests)
        await asyncio.sleep(300)

        written = world.cluster.since(moment, "apply", "patch", "create", "replace")
        assert {about for _, about, _ in written} <= {"Kustomization/apps"}  # its history


@in_virtual_time
async def test_a_text_that_became_a_number_is_told_with_the_variable_and_the_cure() -> None:
    world = World()
    await world.begin({"apps/a.yaml": _text("one", '"${port}"')})
    await world.sync("apps", "./apps", postBuild={"substitute": {"port": "8080"}})
    async with world.running():
        await asyncio.sleep(5)
        status, reason, message = condition(await world.kustomization("apps"), "Ready")

    assert (status, reason) == ("False", "ReconciliationFailed")
    assert message.splitlines()[-1] == (
        "ConfigMap/default/one: .data.a became a number by ${port}: to have a text,"
        " put quotes into the value of the variable, as in '\"...\"'"
    )


@in_virtual_time
async def test_no_condition_event_or_digest_holds_a_variable_of_a_secret() -> None:
    world = World()
    await world.begin(
        {"apps/a.yaml": _text("one", "b").replace("  name: one", "  name: one\n  labels:\n    bad: x ${token}")}
    )
    await _put(world, "Secret", "more", token=MARKED)
    await world.sync("apps", "./apps", postBuild={"substituteFrom": [{"kind": "Secret", "name": "more"}]})
    async with world.running():
        await asyncio.sleep(5)
        live, events = await world.kustomization("apps"), await world.events("apps")

    assert condition(live, "Ready")[:2] == ("False", "ReconciliationFailed")
    assert "***" in condition(live, "Ready")[2]
    assert MARKED not in repr(live) + repr(events)


@in_virtual_time
async def test_a_variable_that_is_missing_or_misnamed_is_a_sentence_with_its_place() -> None:
    world = World()
    await world.begin({"apps/a.yaml": _text("one", "${a}")})
    missing = {"substituteFrom": [{"kind": "ConfigMap", "name": "none"}]}
    spec, here = "spec.postBuild.substitute", "post build failed for ConfigMap/default/one: .data.a: "
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "missing": (missing, f"{spec}From: ConfigMap/default/none is not there, and not optional"),
        "unset": ({"substitute": {"b": "x"}}, f'{here}variable not set (strict mode): "a"'),
        "named": ({"substitute": {"a-b": "x"}}, f"{spec}: 'a-b' is no name of a variable"),
        "no-yaml": ({"substitute": {"a": "k: v"}}, f"{here}with its variables this is no YAML"),
    }
    for name, (variables, _) in cases.items():
        await world.sync(name, "./apps", postBuild=variables)
    async with world.running():
        await asyncio.sleep(5)
        for name, (_, message) in cases.items():
            found = condition(await world.kustomization(name), "Ready")
            assert found[:2] == ("False", "BuildFailed")
            assert message in found[2]
