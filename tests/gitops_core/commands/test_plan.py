"""A plan says what a sync then does, and writes nothing."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from typing import Any

import pytest

from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.sops import Sops
from gitops_core.api import Kustomization
from gitops_core.commands.plan import Planned, plan
from gitops_core.errors import GitOpsError
from gitops_core.meta import FixedTree, Kind
from gitops_core.ports import Cluster
from gitops_core.reconcilers.building import Builder
from gitops_core.reconcilers.decrypting import Decrypter
from gitops_core.schema import read_manifest
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, config_map
from tests.simulation.loop import in_virtual_time

JOB = Kind("batch", "v1", "Job")
FILLER = "-" * 110
"""Almost as long as a value may be that is told whole."""
BEGINNING = {
    "apps/a.yaml": config_map("a", "1"),
    "apps/b.yaml": config_map("b", "1"),
    "apps/c.yaml": config_map("c", "1"),
}


def job(image: str) -> str:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}
    about = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}}
    return json.dumps({**about, "spec": {"template": {"spec": pod}}})


def make_builder(cluster: Cluster) -> Builder:
    renderer = Kustomize()
    return Builder(renderer, Decrypter(cluster, renderer, Sops()))


async def plan_in(world: World, files: dict[str, str | None]) -> tuple[Planned, ...]:
    whole = {path: text.encode() for path, text in files.items() if text is not None}
    wanted = read_manifest(Kustomization, await world.kustomization("apps"))
    before = len(world.cluster.requests)
    found = await plan(wanted, FixedTree("x", whole), world.cluster, make_builder(world.cluster), world.clock)
    written = [one for one in world.cluster.since(before, "apply", "create", "patch", "delete") if not one[2]]
    assert written == []
    return found


def tell(planned: tuple[Planned, ...]) -> dict[str, str]:
    return {str(one.ref): one.change for one in planned}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, {}),
        ({"apps/a.yaml": config_map("a", "2")}, {"a": "configured"}),
        ({"apps/b.yaml": None}, {"b": "deleted"}),
        ({"apps/d.yaml": config_map("d", "1")}, {"d": "created"}),
        ({"apps/a.yaml": config_map("z", "1")}, {"a": "deleted", "z": "created"}),
        ({"README.md": "words", "apps/pic.png": "x"}, {}),
    ],
)
@in_virtual_time
async def test_what_a_plan_says_is_what_the_sync_does(changed: dict[str, str | None], told: dict[str, str]) -> None:
    world = World()
    await world.begin(BEGINNING)
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        planned = await plan_in(world, {**BEGINNING, **changed})
        before = {name: await world.live(CONFIG_MAP, name) for name in "abcdz"}
        await world.commit_and_sync(changed)
        after = {name: await world.live(CONFIG_MAP, name) for name in "abcdz"}

    def describe(name: str) -> str:
        old, new = before[name], after[name]
        if old is None or new is None:
            return "unchanged" if old is new else "created" if old is None else "deleted"
        return "unchanged" if old["metadata"]["resourceVersion"] == new["metadata"]["resourceVersion"] else "configured"

    done = {f"ConfigMap/default/{name}": describe(name) for name in "abcdz" if before[name] or after[name]}
    assert tell(planned) == done
    changes = {str(one.ref): one.change for one in planned if one.is_change}
    assert changes == {f"ConfigMap/default/{name}": change for name, change in told.items()}


@in_virtual_time
async def test_a_plan_tells_the_fields_and_an_edit_by_hand_that_would_be_set_back() -> None:
    world = World()
    await world.begin(BEGINNING)
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        ref = (await plan_in(world, {**BEGINNING}))[0].ref
        await world.local.patch(ref, {"data": {"a": "9"}}, field_manager="somebody")
        changed = (await plan_in(world, {**BEGINNING}))[0]

    assert [str(one) for one in changed.differences] == ["data.a: 9 -> 1 (set by somebody)"]


@in_virtual_time
async def test_what_would_be_made_anew_or_refused_is_told_as_the_service_would() -> None:
    world = World()
    await world.begin({"apps/a.yaml": job("job:1")})
    await world.sync("apps", "./apps", force=True)
    async with world.running():
        await asyncio.sleep(5)
        forced = await plan_in(world, {"apps/a.yaml": job("job:2")})
        with pytest.raises(GitOpsError, match="the build holds no objects, and would delete all 1"):
            await plan_in(world, {"apps/a.yaml": "kind: List\napiVersion: v1\nitems: []\n"})
        with pytest.raises(GitOpsError, match=r"apps/a.yaml: line 2"):
            await plan_in(world, {"apps/a.yaml": "a: [\n"})

    assert tell(forced) == {"Job/default/job": "replaced"}


@in_virtual_time
async def test_values_of_secrets_are_told_nowhere() -> None:
    def secret(value: str) -> str:
        data = {"password": b64encode(value.encode()).decode()}
        return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data})

    world = World()
    variable: dict[str, Any] = {
        "metadata": {"name": "v", "namespace": "default"},
        "stringData": {"key": "hunter2hunter2"},
    }
    await world.local.create({"apiVersion": "v1", "kind": "Secret", **variable}, field_manager="test")
    files = {"apps/s.yaml": secret("first-secret"), "apps/a.yaml": config_map("a", f"x {FILLER}${{key}}")}
    await world.begin(files)
    await world.sync("apps", "./apps", postBuild={"substituteFrom": [{"kind": "Secret", "name": "v"}]})
    async with world.running():
        await asyncio.sleep(5)
        changed: dict[str, str | None] = {
            "apps/s.yaml": secret("other-secret"),
            "apps/a.yaml": config_map("a", f"y {FILLER}${{key}}"),
        }
        planned = await plan_in(world, changed)
        with pytest.raises(GitOpsError, match=r"^\*\*\*/default/a dry-run failed: .*\*\*\*") as refused:
            await plan_in(world, {"apps/a.yaml": "{apiVersion: example.org/v1, kind: '${key}', metadata: {name: a}}"})

    assert "hunter2" not in str(refused.value)
    told = {str(one.ref): [str(difference) for difference in one.differences] for one in planned}
    assert told == {
        "Secret/default/s": ["data.password: *** -> ***"],
        "ConfigMap/default/a": [f"data.a: x {FILLER}*** -> y {FILLER}***"],
    }


@in_virtual_time
async def test_a_kustomization_of_another_cluster_is_refused() -> None:
    world = World()
    await world.begin(BEGINNING)
    await world.sync("apps", "./apps", kubeConfig={"secretRef": {"name": "there"}})

    with pytest.raises(GitOpsError, match="is for another cluster"):
        await plan_in(world, {**BEGINNING})
