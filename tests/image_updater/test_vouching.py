"""What somebody in another namespace says, or an object without any right, changes nothing."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import timedelta
from typing import Any

import pytest

from gitops_core.api import GitRepository, Kustomization
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation, UpdateGuard
from image_updater.domain.tags.checkpoint import encode
from image_updater.domain.tags.history import SeenTag
from tests.image_updater.test_automation_branches import BUMPS, bumped
from tests.image_updater.test_automations import begun
from tests.image_updater.test_guards import (
    DEPLOYMENT,
    OWNER,
    guarded,
    patch_status,
    played,
    proven,
    stuck,
    until_deployed,
)
from tests.image_updater.world import IMAGE, URL, World, conditions, has_failed, image_line, is_ready
from tests.simulation.loop import in_virtual_time

CONFIG_MAP = Kind("", "v1", "ConfigMap")


async def config_map(world: World, namespace: str, **content: Any) -> None:
    metadata = {"name": "sealoop-tags-app", "namespace": namespace}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **content}
    await world.cluster.create(manifest, field_manager="somebody")


def forged(world: World, *tags: str) -> dict[str, str]:
    """A record that says that the tags are a month old."""
    since = world.clock.now() - timedelta(days=30)
    return {"tags": b64encode(encode([SeenTag(tag, since) for tag in tags])).decode()}


# labels


async def imitate(world: World, image: str, namespace: str) -> None:
    """Somebody's Deployment, with the labels of what our Kustomization applied, that never gets ready."""
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "x", "image": image}]},
    }
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "imitation", "namespace": namespace, "labels": OWNER},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": template},
    }
    live = await world.cluster.apply(manifest, field_manager="somebody")
    status = {"observedGeneration": live["metadata"]["generation"], **stuck(image)}
    await patch_status(world, ObjectRef(DEPLOYMENT, ObjectKey(namespace, "imitation")), status)


def test_a_failing_workload_with_copied_labels_takes_nothing_back() -> None:
    async def scenario(world: World) -> Any:
        await world.until(UpdateGuard, "app", proven("1.0.0"))
        for namespace in ("thief", "default"):
            await world.namespace(namespace, {})
            await imitate(world, f"{IMAGE}:1.1.0", namespace)
        world.fakes.push(IMAGE, "1.1.0")
        await world.request_scan("app")
        await until_deployed(world, "1.1.0")
        guard = await world.until(UpdateGuard, "app", proven("1.1.0"))
        await world.clock.sleep(300)
        return guard, await world.get(UpdateGuard, "app"), await world.head()

    before, after, head = played(scenario)

    assert "quarantine" not in before["status"]
    assert "quarantine" not in after["status"]
    assert head["app/web.yaml"] == image_line("1.1.0")


HELM = "helm.toolkit.fluxcd.io"
RELEASE = Kind(HELM, "v2", "HelmRelease")


async def install_releases(world: World) -> None:
    """Serve HelmReleases, of any content."""
    names = {"plural": "helmreleases", "singular": "helmrelease", "kind": RELEASE.kind, "listKind": "HelmReleaseList"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": RELEASE.version, "served": True, "storage": True, "schema": schema}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"helmreleases.{HELM}"},
        "spec": {"group": HELM, "scope": "Namespaced", "names": names, "versions": [version]},
    }
    await world.cluster.apply(definition, field_manager="test")


async def install(world: World, namespace: str, labels: dict[str, str], image: str) -> None:
    """A HelmRelease, and the Deployment that it installed, which never gets ready."""
    metadata = {"name": "shop", "namespace": namespace, "labels": labels}
    release = {"apiVersion": RELEASE.api_version, "kind": RELEASE.kind, "metadata": metadata, "spec": {}}
    await world.cluster.apply(release, field_manager="helm")
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "image": image}]}}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata, "labels": {f"{HELM}/name": "shop", f"{HELM}/namespace": namespace}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": template},
    }
    live = await world.cluster.apply(manifest, field_manager="helm")
    status = {"observedGeneration": live["metadata"]["generation"], **stuck(image)}
    await patch_status(world, ObjectRef(DEPLOYMENT, ObjectKey(namespace, "shop")), status)


@pytest.mark.parametrize(("labels", "is_seen"), [({}, False), (OWNER, True)], ids=["another's", "its own"])
@in_virtual_time
async def test_a_forged_inventory_shows_nothing_of_another_namespaces_release(
    labels: dict[str, str], is_seen: bool
) -> None:
    world = World()
    async with world.running():
        (await guarded(world)).cancel()  # nobody applies anything
        await install_releases(world)
        await world.namespace("victim", {})
        await install(world, "victim", labels, f"{IMAGE}:1.0.0")
        entries = [{"id": f"victim_shop_{HELM}_HelmRelease", "v": "v2"}]
        status = {"lastAttemptedRevision": f"main@sha1:{40 * 'a'}", "inventory": {"entries": entries}}
        await patch_status(world, ObjectRef(Kustomization.KIND, ObjectKey("default", "app")), status)
        await world.until(ImagePolicy, "app", is_ready)
        await world.clock.sleep(60)
        guard = await world.get(UpdateGuard, "app")

    assert ("Deployment/victim/shop" in str(guard["status"])) == is_seen


# checkpoints


@in_virtual_time
async def test_a_record_of_another_namespace_makes_no_tag_older() -> None:
    world = World()
    async with world.running():
        await world.namespace("thief", {})
        await config_map(world, "thief", binaryData=forged(world, "1.0.0"))
        ref = ObjectRef(CONFIG_MAP, ObjectKey("thief", "sealoop-tags-app"))
        world.fakes.push(IMAGE, "1.0.0")
        await world.put(ImageRepository, "app", namespace="thief", image=IMAGE, interval="1m")
        theirs = await world.until(ImageRepository, "app", is_ready, "thief")
        owner = {"apiVersion": theirs["apiVersion"], "kind": "ImageRepository", "name": "app"}
        owner["uid"] = theirs["metadata"]["uid"]
        marks = {
            "labels": {"app.kubernetes.io/managed-by": "sealoop"},
            "annotations": {"sealoop.dev/image": IMAGE},
            "ownerReferences": [owner],
        }
        await world.cluster.patch(ref, {"metadata": marks}, field_manager="somebody")
        await world.put(UpdateGuard, "careful", minAge="24h")
        await world.scanned()
        await world.policy()
        failed = await world.until(ImagePolicy, "app", has_failed)
        await world.clock.sleep(600)
        later = await world.get(ImagePolicy, "app")

    for manifest in (failed, later):
        assert "1.0.0 is too young until" in conditions(manifest)[0]["message"]
        assert "latestRef" not in manifest["status"]


@in_virtual_time
async def test_a_users_config_map_of_that_name_is_left_alone_and_told() -> None:
    world = World()
    async with world.running():
        await config_map(world, "default", data={"tags": "mine"}, binaryData={"tags2": "AAAA"})
        await world.scanned("1.0.0")
        await world.until(ImageRepository, "app", is_ready)
        await world.clock.sleep(200)
        ref = ObjectRef(CONFIG_MAP, ObjectKey("default", "sealoop-tags-app"))
        kept, told = await world.cluster.get(ref), await world.get(ImageRepository, "app")
        await world.cluster.delete(ref)
        await world.clock.sleep(200)
        written, well = await world.cluster.get(ref), await world.get(ImageRepository, "app")

    assert kept is not None
    assert written is not None
    assert (kept["data"], kept["binaryData"]) == ({"tags": "mine"}, {"tags2": "AAAA"})
    assert "ownerReferences" not in kept["metadata"]
    (found,) = [c for c in conditions(told) if c["type"] == "AgesKept"]
    assert (found["status"], found["reason"]) == ("False", "NotOurs")
    assert "configmap 'default/sealoop-tags-app'" in found["message"]
    assert is_ready(told)
    assert b64decode(written["binaryData"]["tags"])
    assert [c["type"] for c in conditions(well)] == ["Ready"]


@in_virtual_time
async def test_a_forged_record_in_a_config_map_without_our_marks_is_not_read() -> None:
    world = World()
    async with world.running():
        await config_map(world, "default", binaryData=forged(world, "1.0.0"))
        await world.put(UpdateGuard, "careful", minAge="24h")
        await world.scanned("1.0.0")
        await world.policy()
        result = await world.until(ImagePolicy, "app", has_failed)
    assert "1.0.0 is too young until" in conditions(result)[0]["message"]


@in_virtual_time
async def test_the_ages_of_another_image_are_not_taken_for_this_ones() -> None:
    world = World()
    async with world.running():
        await world.scanned("1.0.0")
        await world.policy()
        await world.clock.sleep(4000)
        await world.until(ImagePolicy, "app", is_ready)
        await world.put(UpdateGuard, "careful", minAge="1h")
        await world.scanned("1.0.0", image=f"{IMAGE}2")


# the catalog


@in_virtual_time
async def test_a_listing_over_plain_http_or_elsewhere_is_none_of_others() -> None:
    world = World()
    async with world.running():
        await world.namespace("thief", {})
        await world.scanned("1.0.0", interval="24h")
        await world.policy()
        await world.until(ImagePolicy, "app", is_ready)
        world.fakes.push(IMAGE, "9.9.9")  # what the thief is told on his way
        await world.put(ImageRepository, "app", namespace="thief", image=IMAGE, interval="1m", insecure=True)
        await world.put(ImageRepository, "own", namespace="thief", image=IMAGE, interval="1m")
        for name in ("app", "own"):
            await world.until(ImageRepository, name, is_ready, "thief")
        await world.policy("app", range_=">=1.0.0")  # decides anew
        await world.clock.sleep(60)
        result = await world.get(ImagePolicy, "app")
    assert result["status"]["latestRef"]["tag"] == "1.0.0"


@in_virtual_time
async def test_an_image_is_listed_once_a_cycle_by_all_namespaces_with_one_credential() -> None:
    world = World()
    async with world.running():
        await world.scanned("1.0.0")
        await world.until(ImageRepository, "app", is_ready)
        for number in range(8):
            await world.namespace(f"team-{number}", {})
            await world.put(ImageRepository, "app", namespace=f"team-{number}", image=IMAGE, interval="1m")
        for number in range(8):
            await world.until(ImageRepository, "app", is_ready, f"team-{number}")
        begun = world.fakes.requests
        await world.clock.sleep(600)
        assert begun == 1
        result = world.fakes.requests - begun
    assert 9 <= result <= 13


# branches


async def claim(world: World, namespace: str, name: str, **spec: Any) -> None:
    """An automation without any credential that names the same repository and branch."""
    await world.put(GitRepository, "fleet", namespace=namespace, url=URL, interval="10m", **spec)
    await world.put(
        ImageUpdateAutomation,
        name,
        namespace=namespace,
        sourceRef={"kind": "GitRepository", "name": "fleet"},
        interval="5m",
        git={"commit": {"author": {"email": "bot@example.com"}}, "push": {"branch": "bumps"}},
    )


@in_virtual_time
async def test_an_automation_that_never_pushed_holds_no_branch_against_its_owner() -> None:
    world = World()
    async with world.running():
        for namespace in ("aaa", "aab"):
            await world.namespace(namespace, {})
            await claim(world, namespace, "a", ref={"branch": "main"}, secretRef={"name": "missing"})
        await world.put(GitRepository, "other", url=URL, interval="10m", secretRef={"name": "missing"})
        await world.automation("aaa", sourceRef={"kind": "GitRepository", "name": "other"}, git=BUMPS)
        await begun(world, git=BUMPS)
        await bumped(world, "1.2.0")
        result = await world.head("bumps")
    assert result["app/web.yaml"] == image_line("1.2.0")


@in_virtual_time
async def test_a_claim_with_a_forged_status_holds_no_branch() -> None:
    world = World()
    async with world.running():
        await world.namespace("aaa", {})
        await begun(world, git=BUMPS)
        await claim(world, "aaa", "a", ref={"branch": "main"}, secretRef={"name": "missing"})
        tip = (await world.repository.log("bumps"))[0]
        ref = ObjectRef(ImageUpdateAutomation.KIND, ObjectKey("aaa", "a"))
        await world.cluster.patch(ref, {"status": {"lastPushCommit": tip}}, field_manager="thief", subresource="status")
        await bumped(world, "1.2.0")
        result = await world.head("bumps")
    assert result["app/web.yaml"] == image_line("1.2.0")
