"""`sealoop tree` and `trace` on what the running service made."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import click
import pytest

from gitops_core.api import GitRepository, Kustomization
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from sealoop.objects.tracing import show_traces, show_trees
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, config_map
from tests.simulation.loop import in_virtual_time

POD = Kind("", "v1", "Pod")
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "web:1"}]}
"""
INNER = """
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: inner}
spec: {interval: 1h, prune: true, path: ./inner, targetNamespace: default, sourceRef: {kind: GitRepository, name: r}}
"""


async def begin(**files: str) -> World:
    world = World()
    await world.begin({"apps/web.yaml": WEB, "apps/inner.yaml": INNER, "inner/a.yaml": config_map("a"), **files})
    await world.sync("apps", "./apps")
    return world


async def make_pod(world: World, name: str, reason: str) -> None:
    metadata = {"name": name, "namespace": "default", "labels": {"app": "web"}}
    spec = {"containers": [{"name": "main", "image": "web:1"}]}
    await world.local.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, field_manager="x")
    state = {"waiting": {"reason": reason, "message": "no such image"}}
    status = {"phase": "Pending", "containerStatuses": [{"name": "main", "ready": False, "state": state}]}
    ref = ObjectRef(POD, ObjectKey("default", name))
    await world.local.patch(ref, {"status": status}, field_manager="x", subresource="status")


@in_virtual_time
async def test_a_tree_shows_kustomizations_within_and_pods_and_how_each_is(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(10)
        await make_pod(world, "web-1", "ErrImagePull")
        assert await show_trees(world.local, ["ks/apps"], "default", as_json=False) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Kustomization/default/apps  Current"
    assert lines[1] == "├── Deployment/default/web  InProgress: Replicas: 0/1"
    assert lines[2].startswith("│   └── Pod/web-1  InProgress: container main: ErrImagePull")
    assert lines[3:] == ["└── Kustomization/default/inner  Current", "    └── ConfigMap/default/a  Current"]


@in_virtual_time
async def test_all_trees_of_a_namespace_are_shown_for_machines_too(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(10)
        await world.delete(CONFIG_MAP, "a")
        assert await show_trees(world.local, ["ks"], "default", as_json=True) == 0

    apps, inner = json.loads(capsys.readouterr().out)
    assert (apps["object"], inner["object"]) == ("Kustomization/default/apps", "Kustomization/default/inner")
    assert inner["children"] == [{"object": "ConfigMap/default/a", "health": "NotFound", "message": "", "children": []}]


@in_virtual_time
async def test_a_kustomization_that_holds_itself_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    loop = [{"id": f"default_{name}_kustomize.toolkit.fluxcd.io_Kustomization", "v": "v1"} for name in ("apps", "gone")]
    odd = [{"id": "odd", "v": "v1"}, {"id": "default_x_example.org_Nothing", "v": "v1"}]
    status = {"status": {"inventory": {"entries": [*loop, *odd]}}}
    ref = ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))
    await world.local.patch(ref, status, field_manager="x", subresource="status")

    await show_trees(world.local, ["ks/apps"], "default", as_json=False)

    assert capsys.readouterr().out.splitlines()[1:] == [
        "├── Kustomization/default/apps  : shown above",
        "├── Kustomization/default/gone  NotFound",
        "└── Nothing/default/x  NotFound: the cluster does not serve its kind",
    ]


@in_virtual_time
async def test_a_tree_of_what_is_not_there_or_no_kustomization_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()

    assert await show_trees(world.local, ["ks/none"], "default", as_json=False) == 1
    with pytest.raises(click.UsageError, match="a tree begins at a Kustomization, and not at a ConfigMap"):
        await show_trees(world.local, ["cm/a"], "default", as_json=False)

    assert capsys.readouterr().err == "Error: Kustomization/default/none not found\n"


@in_virtual_time
async def test_an_object_is_traced_to_its_commit(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(10)
        failures = await show_traces(world.local, ["deployment/web"], "default", as_json=True)

    (trace,) = json.loads(capsys.readouterr().out)
    revision = trace["Applied"]
    assert failures == 0
    assert revision.startswith("main@sha1:")
    assert trace == {
        "Object": "Deployment/default/web",
        "Health": "InProgress: Replicas: 0/1",
        "Applied by": "Kustomization/default/apps",
        "Ready": f"True: Applied revision: {revision}",
        "Path": "./apps",
        "Applied": revision,
        "Source": "GitRepository/default/r",
        "URL": "http://git.example.com/team/fleet.git",
        "Source ready": f"True: stored artifact for revision '{revision}'",
        "Fetched": revision,
        "Commit": "first",
    }


@in_virtual_time
async def test_what_cannot_be_traced_says_why_and_the_rest_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(10)
        labels = (await world.live(CONFIG_MAP, "a"))["metadata"]["labels"]
        for name, mark in (("mine", {}), ("forged", labels)):
            await world.local.create(_make(name, mark), field_manager="somebody")
        words = ["cm/a", "cm/mine", "cm/forged", "cm/none"]
        failures = await show_traces(world.local, words, "default", as_json=False)

    told = capsys.readouterr()
    assert failures == 2
    assert re.search(r"(?m)^Object: +ConfigMap/default/a$", told.out)
    assert re.search(r"(?m)^Health: +Current$", told.out)
    assert "Kustomization/default/inner, which does not know it: the labels may be anybody's" in told.out
    assert "ConfigMap/default/mine was not applied by a Kustomization: it has not the labels of one" in told.err
    assert "ConfigMap/default/none not found" in told.err


def _make(name: str, labels: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


@in_virtual_time
async def test_a_source_or_owner_that_has_gone_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(10)
    await world.local.patch(
        ObjectRef(GitRepository.KIND, ObjectKey("default", "r")), {"metadata": {"finalizers": None}}, field_manager="x"
    )
    await world.delete(GitRepository.KIND, "r")
    orphan = _make("orphan", {"kustomize.toolkit.fluxcd.io/name": "x", "kustomize.toolkit.fluxcd.io/namespace": "y"})
    await world.local.create(orphan, field_manager="x")

    assert await show_traces(world.local, ["cm/a", "cm/orphan"], "default", as_json=False) == 1

    told = capsys.readouterr()
    assert re.search(r"(?m)^Source: +GitRepository/default/r, which is not there$", told.out)
    assert "was applied by Kustomization/y/x, which is not there any more" in told.err
