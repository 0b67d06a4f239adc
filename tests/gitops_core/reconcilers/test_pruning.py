"""What a sync deletes, and what it does not: a mistake in Git costs nothing that a person did not confirm."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from gitops_core.api import GitRepository, Kustomization
from gitops_core.errors import Forbidden
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from tests.gitops_core.reconcilers.world import CONFIG_MAP, URL, World, condition, config_map, inventory, syncing
from tests.simulation.loop import in_virtual_time

APP = {"apps/one.yaml": config_map("one"), "apps/two.yaml": config_map("two")}
LOCAL = config_map("local", annotations={"config.kubernetes.io/local-config": "true"})
EMPTIED: dict[str, Mapping[str, str | None]] = {
    "comments": {"apps/one.yaml": "# moved\n", "apps/two.yaml": None},
    "an emptied file": {"apps/one.yaml": "", "apps/two.yaml": None},
    "an empty document": {"apps/one.yaml": "---\n---\n", "apps/two.yaml": None},
    "a List without items": {"apps/one.yaml": "apiVersion: v1\nkind: List\nitems: []\n", "apps/two.yaml": None},
    "no resources": {"apps/kustomization.yaml": "resources: []\n"},
    "an empty mapping": {"apps/one.yaml": "{}\n", "apps/two.yaml": None},
    "all for tools": {"apps/one.yaml": LOCAL, "apps/two.yaml": None},
}


async def annotate(world: World, name: str, **annotations: str | None) -> None:
    patch = {"metadata": {"annotations": {f"sealoop.dev/{key.replace('_', '-')}": v for key, v in annotations.items()}}}
    await world.local.patch(ObjectRef(Kustomization.KIND, ObjectKey("default", name)), patch, field_manager="test")


async def names(world: World, *candidates: str) -> set[str]:
    return {name for name in candidates if await world.live(CONFIG_MAP, name) is not None}


@pytest.mark.parametrize("how", EMPTIED)
@in_virtual_time
async def test_a_build_without_objects_deletes_nothing_and_says_so(how: str) -> None:
    async with syncing(APP) as world:
        await world.commit_and_sync(EMPTIED[how])

        assert await names(world, "one", "two") == {"one", "two"}
        live = await world.kustomization("apps")
        status, reason, message = condition(live, "Ready")
        assert (status, reason) == ("False", "PruneGuarded")
        assert condition(live, "Stalled")[:2] == ("True", "PruneGuarded")
        assert "ConfigMap/default/one, ConfigMap/default/two" in message
        assert inventory(live) == ["default_one__ConfigMap", "default_two__ConfigMap"]


@in_virtual_time
async def test_an_empty_build_is_confirmed_for_one_revision_and_not_for_the_next() -> None:
    async with syncing(APP, interval="1h") as world:
        commit = await world.commit_and_sync(EMPTIED["comments"])
        assert await names(world, "one", "two") == {"one", "two"}

        await annotate(world, "apps", confirm_prune=f"main@sha1:{commit}")
        await asyncio.sleep(5)  # the annotation itself wakes

        live = await world.kustomization("apps")
        assert condition(live, "Ready")[:2] == ("True", "ReconciliationSucceeded")
        assert condition(live, "Stalled") == ("", "", "")
        assert await names(world, "one", "two") == set()
        await world.commit_and_sync(APP)
        assert await names(world, "one", "two") == {"one", "two"}
        await world.commit_and_sync(EMPTIED["comments"])
        assert await names(world, "one", "two") == {"one", "two"}


@pytest.mark.parametrize("written", ["main@sha1:{}", " {} ", "sha1:{}"])
@in_virtual_time
async def test_a_confirmation_by_the_commit_is_one_too(written: str) -> None:
    async with syncing(APP, interval="1h") as world:
        commit = await world.commit_and_sync(EMPTIED["comments"])
        for wrong in ("", "true", "main", commit[:12], f"other@sha1:{commit}"):
            await annotate(world, "apps", confirm_prune=wrong)
            await asyncio.sleep(5)
        assert await names(world, "one", "two") == {"one", "two"}

        await annotate(world, "apps", confirm_prune=written.format(commit))
        await asyncio.sleep(5)

        assert await names(world, "one", "two") == set()


@in_virtual_time
async def test_a_confirmed_deletion_is_no_leave_for_a_later_mistake_in_the_spec() -> None:
    """At the same revision: a path that was mistyped after the clearance."""

    async with syncing(APP, interval="1h") as world:
        commit = await world.commit_and_sync(
            {**EMPTIED["comments"], "more/three.yaml": config_map("three"), "x/y.yaml": "#"}
        )
        await annotate(world, "apps", confirm_prune=f"main@sha1:{commit}")
        await world.sync("apps", "./more", interval="1h")
        await asyncio.sleep(5)
        assert await names(world, "one", "two", "three") == {"three"}

        await world.sync("apps", "./x", interval="1h")
        await asyncio.sleep(5)

        assert await names(world, "three") == {"three"}
        live = await world.kustomization("apps")
        wanted = f"sealoop.dev/confirm-prune: main@sha1:{commit}#{live['metadata']['generation']}"
        assert condition(live, "Ready")[2].endswith(wanted)

        await annotate(world, "apps", confirm_prune=wanted.partition(": ")[2])
        await asyncio.sleep(5)

        assert await names(world, "three") == set()


@in_virtual_time
async def test_a_confirmation_is_no_leave_when_its_revision_comes_back() -> None:
    """By a ref that is set back, or a push by force."""

    async with syncing(APP, interval="1h") as world:
        commit = await world.commit_and_sync(EMPTIED["comments"])
        await annotate(world, "apps", confirm_prune=f"main@sha1:{commit}")
        await asyncio.sleep(5)
        await world.commit_and_sync(APP)
        assert await names(world, "one", "two") == {"one", "two"}

        await world.put(GitRepository, "r", interval="1m", url=URL, ref={"branch": "main", "commit": commit})
        await asyncio.sleep(90)

        assert await names(world, "one", "two") == {"one", "two"}
        live = await world.kustomization("apps")
        assert condition(live, "Ready")[1] == "PruneGuarded"
        again = f"main@sha1:{commit}#{live['metadata']['generation']}"
        assert condition(live, "Ready")[2].endswith(f"sealoop.dev/confirm-prune: {again}")
        await annotate(world, "apps", confirm_prune=again)
        await asyncio.sleep(5)
        assert await names(world, "one", "two") == set()


@in_virtual_time
async def test_a_confirmation_is_used_up_although_nothing_becomes_healthy() -> None:
    """A path that is mistyped while the health checks of the clearance still fail."""

    check = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none", "namespace": "default"}
    spec = {"interval": "1h", "timeout": "30s", "healthChecks": [check]}
    async with syncing(APP, interval="1h") as world:
        commit = await world.commit({**EMPTIED["comments"], "more/three.yaml": config_map("three"), "x/y.yaml": "#"})
        await annotate(world, "apps", confirm_prune=commit)
        await world.sync("apps", "./more", **spec)
        await asyncio.sleep(300)
        assert await names(world, "one", "two", "three") == {"three"}
        assert condition(await world.kustomization("apps"), "Ready")[1] == "HealthCheckFailed"

        await world.sync("apps", "./x", **spec)
        await asyncio.sleep(5)

        assert await names(world, "three") == {"three"}
        assert condition(await world.kustomization("apps"), "Ready")[1] == "PruneGuarded"


@in_virtual_time
async def test_a_role_with_two_underscores_in_its_name_is_pruned() -> None:
    kind = Kind("rbac.authorization.k8s.io", "v1", "ClusterRole")

    def role(name: str) -> str:
        head = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n"
        return f"{head}metadata: {{name: '{name}'}}\nrules: []\n"

    async with syncing({**APP, "apps/a.yaml": role("a__b"), "apps/b.yaml": role("a:c")}) as world:
        assert await world.live(kind, "a__b", "") is not None

        await world.commit_and_sync({"apps/a.yaml": None, "apps/b.yaml": None})

        assert await world.live(kind, "a__b", "") is None
        assert await world.live(kind, "a:c", "") is None


@in_virtual_time
async def test_a_commit_that_brings_the_objects_back_heals_a_refused_one() -> None:
    async with syncing(APP, interval="1h") as world:
        await world.commit_and_sync(EMPTIED["comments"])

        await world.commit_and_sync(APP)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"


@in_virtual_time
async def test_most_of_many_objects_are_deleted_only_within_the_limit_that_was_set() -> None:
    files = {f"apps/c{number}.yaml": config_map(f"c{number}") for number in range(12)}
    most: dict[str, str | None] = {path: None for path in files if path != "apps/c0.yaml"}

    async with syncing(files, interval="1h") as world:
        await world.commit_and_sync(most)

        live = await world.kustomization("apps")
        assert condition(live, "Ready")[1] == "PruneGuarded"
        assert (
            "11 of 12 applied objects would be deleted, more than 10 and more than 50%" in (condition(live, "Ready")[2])
        )
        assert len(inventory(live)) == 12
        await annotate(world, "apps", prune_limit="11")
        await asyncio.sleep(5)
        live = await world.kustomization("apps")
        assert condition(live, "Ready")[0] == "True"
        assert inventory(live) == ["default_c0__ConfigMap"]


@in_virtual_time
async def test_without_prune_an_empty_build_is_applied() -> None:
    async with syncing(APP, prune=False) as world:
        await world.commit_and_sync(EMPTIED["comments"])

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert await names(world, "one", "two") == {"one", "two"}


@in_virtual_time
async def test_a_limit_that_cannot_be_read_is_told() -> None:
    world = World()
    await world.begin(APP)
    await world.sync("apps", "./apps")
    await annotate(world, "apps", prune_limit="a few")
    async with world.running():
        await asyncio.sleep(5)

        status, reason, message = condition(await world.kustomization("apps"), "Ready")
        assert (status, reason) == ("False", "InvalidPruneLimit")
        assert message.startswith("annotation sealoop.dev/prune-limit is 'a few': write ")


# namespaces

NAMESPACE = Kind("", "v1", "Namespace")
TEAM = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n"
IN_TEAM = {"apps/ns.yaml": TEAM, "apps/one.yaml": config_map("one", namespace="team"), "apps/x.yaml": config_map("x")}
OWNER = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "default"}


async def namespace_of(world: World, name: str = "team") -> Any:
    return await world.live(NAMESPACE, name, "")


async def foreign_team(world: World, **metadata: Any) -> None:
    """A Namespace that somebody else made, and what he keeps in it."""
    await world.local.create({**yaml.safe_load(TEAM), "metadata": {"name": "team", **metadata}}, field_manager="other")
    about = {"name": "theirs", "namespace": "team"}
    await world.local.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about}, field_manager="other")


@in_virtual_time
async def test_a_namespace_that_we_made_is_pruned() -> None:
    world = World()
    await world.begin(IN_TEAM)
    await world.sync("apps", "./apps", targetNamespace=None)
    await world.commit({"apps/x.yaml": config_map("x", namespace="default")})
    async with world.running():
        await asyncio.sleep(5)
        assert (await namespace_of(world))["metadata"]["annotations"] == {"sealoop.dev/created-by": "default/apps"}
        assert not [e for e in await world.events("apps") if e[0] == "Warning"]

        await world.commit_and_sync({"apps/ns.yaml": None, "apps/one.yaml": None})

        assert await namespace_of(world) is None


@pytest.mark.parametrize(
    "metadata",
    [{}, {"labels": OWNER}, {"annotations": {"sealoop.dev/created-by": "default/apps"}}],
    ids=["plain", "with our labels", "with our annotation"],
)
@in_virtual_time
async def test_a_namespace_that_somebody_else_made_is_never_deleted(metadata: dict[str, Any]) -> None:
    """targetNamespace renames a Namespace in the folder to itself, which may be anybody's."""

    world = World()
    await world.begin({"apps/ns.yaml": TEAM.replace("team", "dev"), "apps/one.yaml": config_map("one")})
    await foreign_team(world, **metadata)
    await world.sync("apps", "./apps", targetNamespace="team")
    async with world.running():
        await asyncio.sleep(5)
        adopted = "Namespace/team was there before: it is applied from now on, and never deleted with this "
        events = [e for e in await world.events("apps") if e[1] == "NamespaceAdopted"]
        assert events == ([] if "labels" in metadata else [("Warning", "NamespaceAdopted", adopted + "Kustomization")])

        await world.commit_and_sync({"apps/ns.yaml": None})

        assert await world.live(CONFIG_MAP, "theirs", "team") is not None
        assert await world.live(CONFIG_MAP, "one", "team") is not None
        live = await world.kustomization("apps")
        assert condition(live, "Ready")[0] == "True"
        assert inventory(live) == ["team_one__ConfigMap"]
        assert [e[:2] for e in await world.events("apps") if e[1] == "NamespaceKept"] == [("Warning", "NamespaceKept")]


@in_virtual_time
async def test_a_namespace_that_another_kustomization_made_is_never_deleted() -> None:
    """One who takes it into his folder, and out again, would take along what others keep in it."""

    world = World()
    annotated = TEAM.replace("{name: team}", "{name: team, annotations: {sealoop.dev/created-by: default/other}}")
    keeps = {"apps/x.yaml": config_map("x", namespace="default"), "other/y.yaml": config_map("y", namespace="team")}
    await world.begin({**IN_TEAM, **keeps})
    await world.sync("apps", "./apps", targetNamespace=None)
    await world.sync("other", "./other", targetNamespace=None)
    async with world.running():
        await asyncio.sleep(60)
        await world.commit_and_sync({"other/ns.yaml": TEAM})
        assert [e[1] for e in await world.events("other") if e[0] == "Warning"].count("NamespaceAdopted") == 1

        await world.commit_and_sync({"other/ns.yaml": annotated})
        await world.commit_and_sync({"other/ns.yaml": None})

        assert await namespace_of(world) is not None
        assert await world.live(CONFIG_MAP, "one", "team") is not None
        assert "NamespaceKept" in [e[1] for e in await world.events("other") if e[0] == "Warning"]


@in_virtual_time
async def test_adopting_a_namespace_is_told_once() -> None:
    world = World()
    await world.begin({"apps/ns.yaml": TEAM})
    await foreign_team(world)
    await world.sync("apps", "./apps", targetNamespace=None, interval="1m")
    async with world.running():
        await asyncio.sleep(5)
        await world.commit({"apps/one.yaml": config_map("one", namespace="team")})
        await asyncio.sleep(300)

        assert len([e for e in await world.events("apps") if e[1] == "NamespaceAdopted"]) == 1


@in_virtual_time
async def test_deleting_the_kustomization_spares_a_namespace_that_somebody_else_made() -> None:
    world = World()
    await world.begin(IN_TEAM)
    await foreign_team(world)
    await world.sync("apps", "./apps", targetNamespace="team", deletionPolicy="WaitForTermination")
    async with world.running():
        await asyncio.sleep(5)
        await world.delete(Kustomization.KIND, "apps")
        await asyncio.sleep(10)

        assert await world.kustomization("apps") is None
        assert await world.live(CONFIG_MAP, "theirs", "team") is not None
        assert await world.live(CONFIG_MAP, "one", "team") is None


@in_virtual_time
async def test_a_namespace_that_somebody_makes_in_the_same_moment_is_not_ours() -> None:
    world = World()
    await world.begin({"apps/ns.yaml": TEAM, "apps/x.yaml": config_map("x", namespace="default")})
    world.cluster.meanwhile["create", "Namespace/team"] = lambda: foreign_team(world)
    await world.sync("apps", "./apps", targetNamespace=None)
    async with world.running():
        await asyncio.sleep(5)
        assert [e for e in await world.events("apps") if e[1] == "NamespaceAdopted"]

        await world.commit_and_sync({"apps/ns.yaml": None})

        assert await namespace_of(world) is not None


# what else is not lost, and what is not left

WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: false, schema: {openAPIV3Schema: {type: object}}}
  - {name: v2, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""
WIDGET = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\n"
WITH_WIDGET = {"apps/crd.yaml": WIDGETS, "apps/w.yaml": WIDGET, "apps/one.yaml": config_map("one")}


DEFINITION = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")


async def definition_of(world: World) -> Any:
    return await world.local.get(ObjectRef(DEFINITION, ObjectKey("", "widgets.example.org")))


@in_virtual_time
async def test_a_definition_that_we_made_is_pruned_and_is_what_git_says_it_is() -> None:
    async with syncing(WITH_WIDGET) as world:
        live = await definition_of(world)
        assert live["metadata"]["annotations"] == {"sealoop.dev/created-by": "default/apps"}
        assert live["spec"]["versions"] == yaml.safe_load(WIDGETS)["spec"]["versions"]
        assert not [e for e in await world.events("apps") if e[0] == "Warning"]

        fewer = yaml.safe_load(WIDGETS)
        del fewer["spec"]["versions"][0]
        await world.commit_and_sync({"apps/crd.yaml": yaml.safe_dump(fewer), "apps/w.yaml": None})
        assert [version["name"] for version in (await definition_of(world))["spec"]["versions"]] == ["v2"]

        await world.commit_and_sync({"apps/crd.yaml": None})

        assert await definition_of(world) is None


@pytest.mark.parametrize(
    "metadata",
    [{}, {"labels": OWNER}, {"annotations": {"sealoop.dev/created-by": "default/apps"}}],
    ids=["plain", "with our labels", "with our annotation"],
)
@pytest.mark.parametrize("is_deleted", [False, True], ids=["leaves Git", "goes with the Kustomization"])
@in_virtual_time
async def test_a_definition_that_somebody_else_made_is_never_deleted(
    metadata: dict[str, Any], is_deleted: bool
) -> None:
    """Everybody's objects of the kind would go with it."""

    world = World()
    await world.begin({"apps/crd.yaml": WIDGETS, "apps/one.yaml": config_map("one")})
    theirs = yaml.safe_load(WIDGETS)
    theirs["metadata"] |= metadata
    await world.local.create(theirs, field_manager="other")
    widget = yaml.safe_load(WIDGET)
    widget["metadata"]["namespace"] = "default"
    await world.local.create(widget, field_manager="other")
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        name = "CustomResourceDefinition/widgets.example.org"
        adopted = f"{name} was there before: it is applied from now on, and never deleted with this Kustomization"
        told = [("Warning", "CustomResourceDefinitionAdopted", adopted)]
        assert [e for e in await world.events("apps") if e[0] == "Warning"] == ([] if "labels" in metadata else told)

        if is_deleted:
            await world.delete(Kustomization.KIND, "apps")
        else:
            await world.commit({"apps/crd.yaml": None})
        await asyncio.sleep(90)

        assert await definition_of(world) is not None
        assert await world.live(Kind("example.org", "v1", "Widget"), "w") is not None
        assert [e[1] for e in await world.events("apps") if "is not deleted" in e[2]] == [
            "CustomResourceDefinitionKept"
        ]


@in_virtual_time
async def test_an_object_is_deleted_though_its_version_is_served_no_more() -> None:
    kind = Kind("example.org", "v2", "Widget")

    world = World()
    await world.begin({"apps/w.yaml": WIDGET, "apps/one.yaml": config_map("one")})
    await world.local.create(yaml.safe_load(WIDGETS), field_manager="other")
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        assert await world.live(kind, "w") is not None

        definition = yaml.safe_load(WIDGETS)
        del definition["spec"]["versions"][0]
        await world.local.apply(definition, field_manager="other", force=True)
        await world.commit_and_sync({"apps/w.yaml": None})

        assert await world.live(kind, "w") is None
        assert inventory(await world.kustomization("apps")) == ["default_one__ConfigMap"]


@in_virtual_time
async def test_an_object_that_took_the_name_meanwhile_is_not_deleted() -> None:
    two = ObjectRef(CONFIG_MAP, ObjectKey("default", "two"))

    world = World()
    await world.begin(APP)
    await world.sync("apps", "./apps")

    async def replaced() -> None:
        await world.local.delete(two)
        about = {"name": "two", "namespace": "default"}
        await world.local.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about}, field_manager="other")

    async with world.running():
        await asyncio.sleep(5)
        world.cluster.meanwhile["delete", "ConfigMap/two"] = replaced

        await world.commit_and_sync({"apps/two.yaml": None})

        assert await names(world, "two") == {"two"}
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"


@in_virtual_time
async def test_a_definition_stays_as_long_as_one_of_its_objects_cannot_be_deleted() -> None:
    async with syncing(WITH_WIDGET, retryInterval="30s") as world:
        world.cluster.refusals["Widget/w"] = Forbidden("w must stay")

        await world.commit_and_sync({"apps/crd.yaml": None, "apps/w.yaml": None})

        assert await world.live(Kind("example.org", "v1", "Widget"), "w") is not None
        live = await world.kustomization("apps")
        assert condition(live, "Ready")[1] == "PruneFailed"
        assert len(inventory(live)) == 3
        world.cluster.refusals.clear()
        before = len(world.cluster.requests)
        await asyncio.sleep(60)
        deleted = [name for _, name, _ in world.cluster.since(before, "delete")]
        assert deleted == ["Widget/w", "CustomResourceDefinition/widgets.example.org"]


@in_virtual_time
async def test_objects_that_nobody_deletes_are_not_waited_for() -> None:
    kept = config_map("two", annotations={"kustomize.toolkit.fluxcd.io/prune": "disabled"})

    async with syncing(APP | {"apps/two.yaml": kept}, deletionPolicy="WaitForTermination") as world:
        await world.delete(Kustomization.KIND, "apps")
        await asyncio.sleep(10)

        assert await world.kustomization("apps") is None
        assert await names(world, "one", "two") == {"two"}
