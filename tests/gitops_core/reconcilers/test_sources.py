"""Kustomizations of a kind of source that is not Git's: nothing but the table knows the difference."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
import pytest

from gitops_core import component
from gitops_core.adapters.git import GitMirrors
from gitops_core.api import Bucket, GitRepository, Kustomization, OCIRepository
from gitops_core.api.kustomization import KustomizationSpec, SourceReference
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.ports import Git
from gitops_core.reconcilers.sources import SourceKinds
from gitops_core.runtime.reconciling import Platform
from gitops_core.schema import list_unsupported
from tests.gitops_core.reconcilers.boxes import Box, Boxes
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, condition, config_map, inventory
from tests.simulation.loop import in_virtual_time

V1, V2 = "v1@sha256:" + "1" * 64, "v2@sha256:" + "2" * 64
ONE, BOTH = {"app/one.yaml": config_map("one")}, {"app/one.yaml": config_map("one"), "app/two.yaml": config_map("two")}
BOX, REPOSITORY = {"kind": "ExternalArtifact", "name": "r"}, {"kind": "GitRepository", "name": "r"}


async def begin(files: Mapping[str, str], *, revision: str = V1, git: Git | None = None) -> tuple[World, Boxes]:
    """A repository and a box, both named `r`, and the files in the box."""
    world = World()
    boxes = Boxes(world, git or cast(Git, world.git))
    await world.begin({"app/git.yaml": config_map("git")})
    await boxes.begin()
    await boxes.make("r")
    await boxes.fill("r", revision, files)
    return world, boxes


async def names(world: World, *candidates: str) -> set[str]:
    return {name for name in candidates if await world.live(CONFIG_MAP, name) is not None}


def ready(manifest: Any) -> tuple[str, str, str]:
    return condition(manifest, "Ready")


@in_virtual_time
async def test_a_box_is_applied_and_a_new_artifact_wakes_at_once(tmp_path: Path) -> None:
    mirrors = GitMirrors(tmp_path / "state")
    world, boxes = await begin(BOTH, git=mirrors)
    await world.sync("apps", "./app", sourceRef=BOX, interval="24h")
    async with world.running():
        await asyncio.sleep(5)
        live = await world.kustomization("apps")
        assert ready(live) == ("True", "ReconciliationSucceeded", f"Applied revision: {V1}")
        assert live["status"]["lastAppliedRevision"] == live["status"]["lastAttemptedRevision"] == V1
        assert condition(live, "Unsupported") == ("", "", "")
        assert inventory(live) == ["default_one__ConfigMap", "default_two__ConfigMap"]

        await boxes.fill("r", V2, {"app/one.yaml": config_map("one", "changed"), "readme.md": "not for us"})
        await asyncio.sleep(5)

        live = await world.kustomization("apps")
        assert ready(live) == ("True", "ReconciliationSucceeded", f"Applied revision: {V2}")
        assert live["status"]["lastAppliedRevision"] == V2
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "changed"}
        assert await names(world, "one", "two") == {"one"}
        history = [entry["metadata"]["revision"] for entry in live["status"]["history"]]
        assert history == [V2, V1]
    await mirrors.close()


@in_virtual_time
async def test_an_artifact_of_the_same_revision_with_other_files_is_applied() -> None:
    world, boxes = await begin(ONE, revision="6.5.3")
    await world.sync("apps", "./app", sourceRef=BOX, interval="24h")
    async with world.running():
        await asyncio.sleep(5)
        assert (await world.kustomization("apps"))["status"]["lastAppliedRevision"] == "6.5.3"

        await boxes.fill("r", "6.5.3", {"app/one.yaml": config_map("one", "republished")})
        await asyncio.sleep(5)

        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "republished"}


@in_virtual_time
async def test_a_revision_with_the_same_manifests_writes_no_object_again() -> None:
    world, boxes = await begin(ONE)
    await world.sync("apps", "./app", sourceRef=BOX, interval="24h")
    async with world.running():
        await asyncio.sleep(5)
        before = len(world.cluster.requests)

        await boxes.fill("r", V2, {**ONE, "elsewhere/x.yaml": config_map("x")})
        await asyncio.sleep(5)

        assert (await world.kustomization("apps"))["status"]["lastAppliedRevision"] == V2
        writes = [(name, about) for name, about, _ in world.cluster.since(before, "apply", "create", "patch", "delete")]
        assert [about for _, about in writes if not about.startswith("Event/")] == ["Kustomization/apps"]


@in_virtual_time
async def test_two_sources_of_one_name_and_two_kinds_keep_apart() -> None:
    world, boxes = await begin(ONE)
    await world.sync("of-git", "./app", sourceRef=REPOSITORY, interval="24h")
    await world.sync("of-box", "./app", sourceRef=BOX, interval="24h")
    async with world.running():
        await asyncio.sleep(5)
        assert inventory(await world.kustomization("of-git")) == ["default_git__ConfigMap"]
        assert inventory(await world.kustomization("of-box")) == ["default_one__ConfigMap"]
        before = len(world.cluster.requests)

        await boxes.fill("r", V2, BOTH)
        await asyncio.sleep(30)

        assert inventory(await world.kustomization("of-box")) == ["default_one__ConfigMap", "default_two__ConfigMap"]
        touched = {about for _, about, _ in world.cluster.since(before)}
        assert touched & {"ConfigMap/git", "Kustomization/of-git"} == set()
        before = len(world.cluster.requests)

        await world.commit({"app/git.yaml": config_map("git", "2")})
        await asyncio.sleep(90)

        assert (await world.live(CONFIG_MAP, "git"))["data"] == {"a": "2"}
        touched = {about for _, about, _ in world.cluster.since(before)}
        assert touched & {"ConfigMap/one", "Kustomization/of-box"} == set()


@in_virtual_time
async def test_a_dependency_on_another_kind_of_source_need_not_have_this_revision() -> None:
    world, _ = await begin(ONE)
    await world.sync("base", "./app", sourceRef=BOX)
    await world.sync("apps", "./app", sourceRef=REPOSITORY, dependsOn=[{"name": "base"}])
    async with world.running():
        await asyncio.sleep(60)

        assert ready(await world.kustomization("apps"))[0] == "True"
        assert await names(world, "one", "git") == {"one", "git"}


@in_virtual_time
async def test_a_dependency_on_the_same_box_has_to_have_applied_this_revision() -> None:
    world, boxes = await begin({"base/b.yaml": config_map("b"), "app/one.yaml": config_map("one")})
    await world.sync("base", "./base", sourceRef=BOX, interval="24h", retryInterval="24h")
    await world.sync("apps", "./app", sourceRef=BOX, interval="24h", dependsOn=[{"name": "base"}])
    async with world.running():
        await asyncio.sleep(60)
        assert ready(await world.kustomization("apps"))[0] == "True"

        await boxes.fill("r", V2, {"base/b.yaml": "kind: [", "app/one.yaml": config_map("one", "2")})
        await asyncio.sleep(60)
        why = "dependency 'default/base' is not ready"
        assert ready(await world.kustomization("apps")) == ("False", "DependencyNotReady", why)
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "1"}

        v3 = "v3@sha256:" + "3" * 64
        await boxes.fill("r", v3, {"base/b.yaml": config_map("b", "2"), "app/one.yaml": config_map("one", "2")})
        await asyncio.sleep(60)
        assert (await world.kustomization("apps"))["status"]["lastAppliedRevision"] == v3
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "2"}


@in_virtual_time
async def test_an_object_of_two_kinds_of_sources_is_contested() -> None:
    world, _ = await begin({"app/one.yaml": config_map("git")})
    await world.sync("of-git", "./app", sourceRef=REPOSITORY, interval="1m")
    await world.sync("of-box", "./app", sourceRef=BOX, interval="1m")
    async with world.running():
        await asyncio.sleep(200)

        for name, other in (("of-git", "of-box"), ("of-box", "of-git")):
            told = f"ConfigMap/default/git is applied by Kustomization/default/{other} too: take it out of all but one"
            live = await world.kustomization(name)
            assert condition(live, "Contested") == ("True", "AppliedByOthers", told)


@in_virtual_time
async def test_a_kustomization_of_an_unknown_kind_of_source_contests_nothing() -> None:
    """As Flux left it: it has an inventory, and nothing of ours acts on its source."""
    world, boxes = await begin(ONE)
    world.sources = lambda own: {name: each for name, each in boxes.table(own).items() if name != "Bucket"}
    await world.sync("bucket", "./app", sourceRef={"kind": "Bucket", "name": "r"})
    status = {
        "observedGeneration": 1,
        "lastAppliedRevision": V1,
        "inventory": {"entries": [{"id": "default_one__ConfigMap", "v": "v1"}]},
    }
    ref = ObjectRef(Kustomization.KIND, ObjectKey("default", "bucket"))
    await world.local.patch(ref, {"status": status}, field_manager="kustomize-controller", subresource="status")
    await world.sync("apps", "./app", sourceRef=BOX)
    async with world.running():
        await asyncio.sleep(30)

        live = await world.kustomization("apps")
        assert ready(live)[0] == "True"
        assert condition(live, "Contested") == ("", "", "")


@in_virtual_time
async def test_a_kustomization_that_moves_to_another_kind_of_source_prunes_what_the_first_held() -> None:
    world, _ = await begin(ONE)
    await world.sync("apps", "./app", sourceRef=REPOSITORY)
    async with world.running():
        await asyncio.sleep(5)
        assert await names(world, "one", "git") == {"git"}

        await world.sync("apps", "./app", sourceRef=BOX)
        await asyncio.sleep(5)

        live = await world.kustomization("apps")
        assert live["status"]["lastAppliedRevision"] == V1
        assert await names(world, "one", "git") == {"one"}


@in_virtual_time
async def test_a_box_that_is_missing_or_empty_is_waited_for() -> None:
    world, boxes = await begin(ONE)
    await world.sync("apps", "./app", sourceRef={"kind": "ExternalArtifact", "name": "later"}, interval="24h")
    async with world.running():
        await asyncio.sleep(5)
        missing = 'externalartifacts.source.toolkit.fluxcd.io "later" not found in default'
        assert ready(await world.kustomization("apps")) == ("False", "ArtifactFailed", missing)

        await boxes.make("later")
        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(5)
        empty = "source artifact not found: ExternalArtifact/default/later has fetched nothing yet"
        assert ready(await world.kustomization("apps")) == ("False", "ArtifactFailed", empty)

        await boxes.fill("later", V1, ONE)
        await asyncio.sleep(5)
        assert ready(await world.kustomization("apps"))[0] == "True"


@in_virtual_time
async def test_messages_about_a_git_repository_are_those_of_flux() -> None:
    world, _ = await begin(ONE)
    await world.sync("apps", "./app", sourceRef={"kind": "GitRepository", "name": "later"})
    await world.put(GitRepository, "empty", interval="1h", url="http://git.example.com/nothing.git")
    await world.sync("others", "./app", sourceRef={"kind": "GitRepository", "name": "empty"})
    async with world.running():
        await asyncio.sleep(5)

        missing = 'gitrepositories.source.toolkit.fluxcd.io "later" not found in default'
        assert ready(await world.kustomization("apps")) == ("False", "ArtifactFailed", missing)
        empty = "source artifact not found: GitRepository/default/empty has fetched nothing yet"
        assert ready(await world.kustomization("others")) == ("False", "ArtifactFailed", empty)


@in_virtual_time
async def test_files_that_are_lost_are_told_and_what_was_applied_stays() -> None:
    world, boxes = await begin(ONE)
    await world.sync("apps", "./app", sourceRef=BOX, interval="24h", retryInterval="24h")
    async with world.running():
        await asyncio.sleep(5)
    world.git.kept.clear()
    async with world.running():
        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(5)
        status, reason, message = ready(await world.kustomization("apps"))
        assert (status, reason) == ("False", "ArtifactFailed")
        assert "are not kept any more" in message
        assert await names(world, "one") == {"one"}

        await boxes.fill("r", V2, BOTH)
        await asyncio.sleep(5)
        assert ready(await world.kustomization("apps"))[0] == "True"
        assert await names(world, "one", "two") == {"one", "two"}


@in_virtual_time
async def test_a_path_that_the_box_does_not_have_is_named() -> None:
    world, _ = await begin(ONE)
    await world.sync("apps", "./ap", sourceRef=BOX)
    async with world.running():
        await asyncio.sleep(5)

        told = f"kustomization path not found: ap is not a folder of {V1}"
        assert ready(await world.kustomization("apps")) == ("False", "ArtifactFailed", told)


@in_virtual_time
async def test_files_beside_the_folder_and_ignored_ones_are_as_in_git() -> None:
    shared = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -seen\n"
    world, boxes = await begin({})
    await boxes.make("s", ignore="app/not.yaml\n")
    files = {**ONE, "app/not.yaml": config_map("not"), "shared/kustomization.yaml": shared}
    await boxes.fill("s", V1, files)
    await world.sync("apps", "./app", sourceRef={**BOX, "name": "s"}, components=["../shared"])
    async with world.running():
        await asyncio.sleep(5)

        assert inventory(await world.kustomization("apps")) == ["default_one-seen__ConfigMap"]


@pytest.mark.parametrize("revision", ["6.5.3", V2])
@in_virtual_time
async def test_a_prune_is_confirmed_by_the_revision_as_it_is_told(revision: str) -> None:
    world, boxes = await begin(BOTH)
    await world.sync("apps", "./app", sourceRef=BOX, interval="24h")
    async with world.running():
        await asyncio.sleep(5)
        await boxes.fill("r", revision, {"app/one.yaml": "# nothing\n"})
        await asyncio.sleep(5)
        assert ready(await world.kustomization("apps"))[1] == "PruneGuarded"
        assert ready(await world.kustomization("apps"))[2].endswith(f"sealoop.dev/confirm-prune: {revision}")
        assert await names(world, "one", "two") == {"one", "two"}

        patch = {"metadata": {"annotations": {"sealoop.dev/confirm-prune": revision}}}
        ref = ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))
        await world.local.patch(ref, patch, field_manager="test")
        await asyncio.sleep(5)

        assert await names(world, "one", "two") == set()
        assert (await world.kustomization("apps"))["status"]["lastAppliedRevision"] == revision


@in_virtual_time
async def test_a_kind_that_is_not_in_the_table_is_refused() -> None:
    world = World()
    await world.begin({"app/git.yaml": config_map("git")})
    await world.sync("apps", "./app", sourceRef=BOX)
    async with world.running():
        await asyncio.sleep(5)

        live = await world.kustomization("apps")
        refused = "Kustomization/default/apps sets what is not supported yet, nothing was done"
        told = f"{refused}: set spec.sourceRef.kind to GitRepository, OCIRepository or Bucket"
        assert condition(live, "Stalled") == ("True", "FieldsNotSupported", told)
        assert condition(live, "Unsupported")[0] == "True"
        assert inventory(live) == []


@in_virtual_time
async def test_a_kind_that_is_not_installed_keeps_nobody_from_git() -> None:
    world = World()
    boxes = Boxes(world, cast(Git, world.git))
    await world.begin({"app/git.yaml": config_map("git")})
    world.sources = boxes.table
    await world.sync("of-git", "./app", sourceRef=REPOSITORY)
    await world.sync("of-box", "./app", sourceRef=BOX, retryInterval="1m")
    async with world.running():
        await asyncio.sleep(120)
        assert ready(await world.kustomization("of-git"))[0] == "True"
        assert ready(await world.kustomization("of-box"))[0] == "False"

        await boxes.begin()
        await boxes.make("r")
        await boxes.fill("r", V1, ONE)
        await asyncio.sleep(120)
        assert ready(await world.kustomization("of-box"))[0] == "True"


@pytest.mark.parametrize("name", get_args(get_args(msgspec.structs.fields(SourceReference)[0].type)[0]))
def test_the_marker_of_source_ref_and_the_table_name_the_same_kinds(name: Any) -> None:
    kinds = component.make_sources(cast(Platform, _Nothing())).get_kinds()
    spec = KustomizationSpec(interval="1m", prune=True, source_ref=SourceReference(kind=name, name="r"))

    assert (name in kinds) == (list_unsupported(spec) == ())
    assert all(kind.type_.KIND.kind == known for known, kind in kinds.items())
    assert Box.KIND.kind not in kinds


@in_virtual_time
async def test_who_fetches_and_who_reads_share_what_bounds_them() -> None:
    world = World()
    chosen: list[component.Sources] = []

    def choose(own: component.Sources) -> SourceKinds:
        chosen.append(own)
        return own.get_kinds()

    world.sources = choose
    await world.begin({"a.yaml": config_map("a")})
    async with world.running():
        await asyncio.sleep(1)
        (own,) = chosen
        found: dict[Any, Any] = {controller.kind: controller.reconciler for controller in world.controllers}

    assert found[GitRepository].git is own.git
    assert found[OCIRepository].source is own.oci
    assert found[Bucket].source is own.buckets


class _Nothing:
    """A platform that is only asked for its ports."""

    cluster = git = objects = compute = policy = None
