"""`sealoop events`: what happened to our objects, and to what they applied."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click
import pytest
from click.testing import CliRunner

from gitops_core.errors import ClusterError, Forbidden
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Query
from gitops_core.runtime.authority.forwarding import Forwarding, Request
from sealoop.main import main
from sealoop.objects.events import Asking, show_events
from sealoop.objects.tracing import show_trees
from tests.gitops_core.reconcilers.world import EVENT, World, config_map
from tests.sealoop.objects.test_tracing import WEB
from tests.simulation.loop import in_virtual_time

INNER = """
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: inner, namespace: default}
spec: {interval: 1h, prune: true, path: ./inner, targetNamespace: shop, sourceRef: {kind: GitRepository, name: r}}
"""
SHOP = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
FILES = {
    "apps/inner.yaml": INNER,
    "apps/shop.yaml": SHOP,
    "inner/web.yaml": WEB,
    "others/a.yaml": config_map("a"),
}


async def begin() -> World:
    world = World()
    await world.begin(FILES)
    await world.sync("apps", "./apps", targetNamespace=None)
    await world.sync("others", "./others")
    return world


async def make_owned(world: World, kind: str, name: str, owner: Manifest) -> Manifest:
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], **_pick(owner["metadata"], "name", "uid")}
    metadata = {"name": name, "namespace": "shop", "ownerReferences": [reference]}
    if kind == "Pod":
        about = {"apiVersion": "v1", "spec": {"containers": [{"name": "main", "image": "web:1"}]}}
    else:
        about = {"apiVersion": "apps/v1", "spec": {"selector": {"matchLabels": {"app": "web"}}}}
    return await world.local.create({**about, "kind": kind, "metadata": metadata}, field_manager="test")


def _pick(mapping: Manifest, *names: str) -> dict[str, Any]:
    return {name: mapping[name] for name in names}


async def tell(world: World, about: Manifest, reason: str, time: str, **more: Any) -> Manifest:
    """Have somebody record an Event about an object."""
    namespace = about["metadata"].get("namespace", "")
    concerned = {"apiVersion": about["apiVersion"], "kind": about["kind"], "name": about["metadata"]["name"]}
    event: Manifest = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "e-", "namespace": namespace or "default"},
        "involvedObject": {**concerned, "namespace": namespace},
        "reason": reason,
        "type": "Normal",
        "message": f"it is {reason}",
        "firstTimestamp": time,
        "lastTimestamp": time,
        **more,
    }
    return await world.local.create(event, field_manager="test")


async def make_rollout(world: World) -> None:
    """Have the Deployment in `shop` make a Pod, and another Pod be there beside it; both tell of themselves."""
    deployment = await world.live(Kind("apps", "v1", "Deployment"), "web", "shop")
    replicas = await make_owned(world, "ReplicaSet", "web-1", deployment)
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "namespace": "shop"}}
    stranger = await make_owned(world, "ReplicaSet", "other-1", await world.local.create(other, field_manager="test"))
    await tell(world, await make_owned(world, "Pod", "web-1-x", replicas), "BackOff", "2031-01-01T00:00:02Z")
    await tell(world, await make_owned(world, "Pod", "other-1-x", stranger), "Strange", "2031-01-01T00:00:01Z")
    await tell(world, replicas, "SuccessfulCreate", "2031-01-01T00:00:01Z")


def read(told: str) -> list[tuple[str, str, str]]:
    """(object, reason, message) of the Events of a JSON document, in order."""
    return [
        (f"{e['involvedObject']['kind']}/{e['involvedObject']['name']}", e["reason"], e["message"])
        for e in json.loads(told)["items"]
    ]


@in_virtual_time
async def test_events_of_our_kinds_alone_are_shown_unless_others_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(30)
        await make_rollout(world)
        await show_events(world.local, [], [], Asking("default", all_namespaces=True, output="json"))
        ours = read(capsys.readouterr().out)
        await show_events(world.local, ["ks/others"], [], Asking("default", output="json"))
        named = read(capsys.readouterr().out)
        await show_events(world.local, ["pods"], [], Asking("shop", output="json"))
        of_kind = read(capsys.readouterr().out)

    assert {name for name, _, _ in ours} == {
        "GitRepository/r",
        "Kustomization/apps",
        "Kustomization/inner",
        "Kustomization/others",
    }
    assert {name for name, _, _ in named} == {"Kustomization/others"}
    assert [reason for _, reason, _ in of_kind] == ["Strange", "BackOff"]


@in_virtual_time
async def test_for_an_object_all_that_belongs_to_it_is_shown_in_the_order_of_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(30)
        await make_rollout(world)
        assert await show_events(world.local, [], ["ks/apps"], Asking("default", output="json")) == 0
        found = read(capsys.readouterr().out)
        await show_events(world.local, [], ["ks/apps"], Asking("default", types=frozenset({"Warning"})))
        warned = capsys.readouterr()
        await show_events(world.local, [], ["ks/apps"], Asking("default"))
        lines = capsys.readouterr().out.splitlines()

    assert {name for name, _, _ in found} == {
        "GitRepository/r",
        "Kustomization/apps",
        "Kustomization/inner",
        "ReplicaSet/web-1",
        "Pod/web-1-x",
    }
    assert found[-2:] == [
        ("ReplicaSet/web-1", "SuccessfulCreate", "it is SuccessfulCreate"),
        ("Pod/web-1-x", "BackOff", "it is BackOff"),
    ]
    assert (warned.out, warned.err) == ("", "No events found in default, shop namespace.\n")
    assert lines[0].split() == ["NAMESPACE", "LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert lines[-1].split()[0] == "shop"


@in_virtual_time
async def test_owners_are_looked_up_by_kind_and_not_for_each_object() -> None:
    class Counted(Forwarding):
        def __init__(self, world: World) -> None:
            super().__init__(world.local)
            self.asked: list[str] = []

        async def carry(self, request: Request, send: Any) -> Any:
            about = request.about
            self.asked.append(about.kind.kind if isinstance(about, Query | ObjectRef) else "")
            return await send()

    world = await begin()
    async with world.running():
        await asyncio.sleep(30)
        await make_rollout(world)
        few, many = Counted(world), Counted(world)
        await show_events(few, [], ["ks/apps"], Asking("default"))
        replicas = await world.live(Kind("apps", "v1", "ReplicaSet"), "web-1", "shop")
        for number in range(30):
            pod = await make_owned(world, "Pod", f"web-1-{number}", replicas)
            await tell(world, pod, "Pulled", "2031-01-01T00:00:03Z")
            gone = {**pod, "metadata": {"name": f"gone-{number}", "namespace": "shop"}}
            await tell(world, gone, "Killing", "2031-01-01T00:00:03Z")
        await show_events(many, [], ["ks/apps"], Asking("default"))

    assert many.asked == few.asked
    assert few.asked.count("Pod") == few.asked.count("ReplicaSet") == 1


@in_virtual_time
async def test_what_has_gone_is_told_from_what_never_was(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    gone = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "gone"}}
    gone["metadata"] = {"name": "gone", "namespace": "default"}
    await tell(world, gone, "Pruned", "2031-01-01T00:00:00Z", count=5, firstTimestamp="2030-12-31T23:50:00Z")

    assert await show_events(world.local, ["ks/gone"], ["ks/none"], Asking("default")) == 1

    told = capsys.readouterr()
    assert "(x5 over " in told.out
    assert "kustomization/gone" in told.out
    assert told.err == "Error: Kustomization/default/none not found\n"


@in_virtual_time
async def test_what_is_applied_to_another_cluster_has_no_events_here(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(30)
        await make_rollout(world)
        await world.sync("apps", "./apps", targetNamespace=None, kubeConfig={"secretRef": {"name": "there"}})
        await asyncio.sleep(30)
        await show_events(world.local, [], ["ks/apps"], Asking("default", output="json"))
        told = capsys.readouterr()
        await show_trees(world.local, ["ks/apps"], "default", as_json=False)

    assert {name for name, _, _ in read(told.out)} == {"GitRepository/r", "Kustomization/apps"}
    assert "Kustomization/default/apps: what it applied is in another cluster (spec.kubeConfig)" in told.err
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("its objects are in another cluster (spec.kubeConfig)")


@in_virtual_time
async def test_owners_that_may_not_be_looked_at_keep_nothing_else_from_being_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Guarded(Forwarding):
        def check(self, request: Request) -> None:
            if isinstance(request.about, Query) and request.about.kind.kind == "Pod":
                raise Forbidden("pods is forbidden")

    world = await begin()
    async with world.running():
        await asyncio.sleep(30)
        await make_rollout(world)
        with pytest.raises(ClusterError):
            await Guarded(world.local).list(Query(Kind("", "v1", "Pod")), dict)
        await show_events(Guarded(world.local), [], ["ks/apps"], Asking("default", output="json"))

    assert read(capsys.readouterr().out)[-1][0] == "ReplicaSet/web-1"


async def until_shown(capsys: pytest.CaptureFixture[str], *expected: str) -> str:
    shown = ""
    async with asyncio.timeout(60):
        while not all(text in shown for text in expected):
            await asyncio.sleep(0.05)
            shown += capsys.readouterr().out
    return shown


@in_virtual_time
async def test_a_watch_shows_what_comes_and_not_what_is_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(30)
        await make_rollout(world)
        how = Asking("default", watch=True)
        watching = asyncio.create_task(show_events(world.local, [], ["ks/apps"], how))
        shown = await until_shown(capsys, "BackOff")
        replicas = await world.live(Kind("apps", "v1", "ReplicaSet"), "web-1", "shop")
        old = next(e for e in await _list_events(world) if e["reason"] == "BackOff")
        await world.local.delete(ObjectRef(EVENT, ObjectKey("shop", old["metadata"]["name"])))
        late = await make_owned(world, "Pod", "web-1-late", replicas)
        other = await world.live(Kind("apps", "v1", "ReplicaSet"), "other-1", "shop")
        stranger = await make_owned(world, "Pod", "stranger", other)
        await tell(world, stranger, "Strange", "2031-01-01T00:00:03Z")
        await tell(world, late, "Scheduled", "2031-01-01T00:00:04Z")
        labels = {"kustomize.toolkit.fluxcd.io/name": "inner", "kustomize.toolkit.fluxcd.io/namespace": "default"}
        new = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "new", "namespace": "shop", "labels": labels},
        }
        await tell(world, await world.local.create(new, field_manager="test"), "Applied", "2031-01-01T00:00:05Z")
        later = await until_shown(capsys, "web-1-late", "configmap/new")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    assert shown.splitlines()[0].split()[0] == "NAMESPACE"
    assert [line.split()[3] for line in later.splitlines()] == ["Scheduled", "Applied"]


async def _list_events(world: World) -> list[Manifest]:
    page = await world.local.list(Query(EVENT), dict[str, Any])
    return [item for item in page.items if isinstance(item, dict)]


@in_virtual_time
async def test_a_watch_that_is_refused_ends_with_the_reason() -> None:
    class Guarded(Forwarding):
        def check(self, request: Request) -> None:
            if request.method == "watch":
                raise Forbidden("events is forbidden: cannot watch")

    world = await begin()

    with pytest.raises(Forbidden, match="cannot watch"):
        await show_events(Guarded(world.local), [], [], Asking("default", watch=True))


@in_virtual_time
async def test_names_and_all_namespaces_do_not_go_together() -> None:
    world = await begin()

    with pytest.raises(click.UsageError, match="cannot be named across all namespaces"):
        await show_events(world.local, ["ks/apps"], [], Asking("default", all_namespaces=True))


@pytest.mark.parametrize(
    ("words", "why"),
    [(["--for", "ks"], "--for takes one object, as ks/NAME"), (["--types", "Warning,bad"], "'bad' is none")],
)
def test_words_that_make_no_sense_are_refused(words: list[str], why: str) -> None:
    done = CliRunner().invoke(main, ["events", *words])

    assert (done.exit_code, why in done.output) == (2, True)
