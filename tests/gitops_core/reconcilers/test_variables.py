"""spec.postBuild on the embedded cluster: what wakes, what is told, and what no message holds."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any, cast

import pytest

from gitops_core.api import Kustomization
from gitops_core.domain.render.variables import substitute_all
from gitops_core.errors import ManifestInvalid, StalledError, TransientError
from gitops_core.meta import Condition, Kind, Sensitive
from gitops_core.ports import Events
from gitops_core.reconcilers.applying import Applier
from gitops_core.reconcilers.attempts import Attempt
from gitops_core.reconcilers.variables import MAX_BYTES, Variables
from gitops_core.schema import read_manifest
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, condition
from tests.simulation.loop import VirtualClock, in_virtual_time

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
async def test_a_secret_that_is_no_text_and_one_that_is_too_large_are_sentences() -> None:
    world = World()
    await world.begin({"apps/a.yaml": _text("one", "${a}")})
    for name, value in (("binary", b"\xff\xfe"), *((f"large-{n}", b"x" * 900_000) for n in range(5))):
        data = {"a": b64encode(value).decode()}
        metadata = {"name": name, "namespace": "default"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        await world.local.create(secret, field_manager="test")
    large = [{"kind": "Secret", "name": f"large-{n}"} for n in range(5)]
    await world.sync("binary", "./apps", postBuild={"substituteFrom": [{"kind": "Secret", "name": "binary"}]})
    await world.sync("large", "./apps", postBuild={"substituteFrom": large})
    await world.sync("again", "./apps", postBuild={"substituteFrom": large[:1] * 5})
    async with world.running():
        await asyncio.sleep(5)
        found = {name: condition(await world.kustomization(name), "Ready") for name in ("binary", "large", "again")}

    spec = "spec.postBuild.substituteFrom"
    assert found["binary"] == ("False", "BuildFailed", f"{spec}: 'a' of Secret/default/binary is no text")
    assert found["large"] == ("False", "BuildFailed", f"{spec}: all that it names holds more than {MAX_BYTES} bytes")
    assert found["again"][0] == "True"


def test_objects_that_are_small_each_become_no_more_than_all_may() -> None:
    box = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "${a}"}}
    objects = [{**box, "metadata": {"name": f"n{n}"}} for n in range(200)]

    with pytest.raises(ManifestInvalid, match="become more than"):
        substitute_all(objects, {"a": Sensitive("a" * 500_000)})


@in_virtual_time
async def test_a_message_and_a_condition_quote_no_variable_of_a_secret_in_any_form() -> None:
    spec = {"interval": "1m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "r"}}
    kind = {"apiVersion": Kustomization.KIND.api_version, "kind": Kustomization.KIND.kind}
    wanted = read_manifest(Kustomization, {**kind, "metadata": {"name": "a", "namespace": "default"}, "spec": spec})
    variables = Variables({}, "", (Sensitive(f"{MARKED}\nmore"),))
    attempt = Attempt(wanted, "r", cast(Applier, None), VirtualClock(), cast(Events, None), variables=variables)
    healthy = Condition(type="Healthy", status="False", reason="HealthCheckFailed", message=f"image {MARKED}more")
    encoded = b64encode(f"{MARKED}\nmore".encode()).decode()

    with pytest.raises(TransientError) as raised:
        attempt.fail("ReconciliationFailed", f"{encoded} and {MARKED}", healthy)

    with pytest.raises(StalledError, match=r"^\*\*\* of an entry$"):
        attempt.stall(StalledError(f"{MARKED} of an entry"))
    told = repr([*raised.value.conditions, str(raised.value)])
    assert told.count("***") == 3
    assert MARKED not in told
    assert encoded not in told


@in_virtual_time
async def test_a_variable_that_is_missing_or_misnamed_is_a_sentence_with_its_place() -> None:
    world = World()
    await world.begin({"apps/a.yaml": _text("one", "${a}")})
    missing = {"substituteFrom": [{"kind": "ConfigMap", "name": "none"}]}
    spec, here = "spec.postBuild.substitute", "post build failed for ConfigMap/default/one: .data.a: "
    maybe = {"kind": "ConfigMap", "name": "none", "optional": True}
    twice = {"substituteFrom": [*missing["substituteFrom"], maybe]}
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "twice": (twice, f"{spec}From: ConfigMap/default/none is not there, and not optional"),
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
