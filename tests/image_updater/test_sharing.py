"""What many ImageRepositories of one image ask and see, and what is left of their tags' ages after the disk is lost."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from datetime import timedelta
from typing import Any

from gitops_core.meta import Kind, ObjectKey, ObjectRef
from image_updater.api import ImagePolicy, ImageRepository
from image_updater.domain.tags.checkpoint import decode, encode
from image_updater.domain.tags.history import SeenTag
from tests.image_updater.world import HOST, IMAGE, World, has_failed, is_ready
from tests.simulation.loop import in_virtual_time

CONFIG_MAP = Kind("", "v1", "ConfigMap")


async def pull_secret(world: World, name: str, password: str) -> None:
    config = json.dumps({"auths": {HOST: {"username": "robot", "password": password}}}).encode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": b64encode(config).decode()},
    }
    await world.cluster.apply(secret, field_manager="test", force=True)


async def checkpoint(world: World, name: str = "app") -> dict[str, SeenTag]:
    ref = ObjectRef(CONFIG_MAP, ObjectKey("default", f"sealoop-tags-{name}"))
    manifest: Any = await world.cluster.get(ref)
    return {} if manifest is None else dict(decode(b64decode(manifest["binaryData"]["tags"])).seen)


async def written(world: World, *tags: str) -> dict[str, SeenTag]:
    """The checkpoint as soon as it has these tags."""
    for _ in range(2400):
        found = await checkpoint(world)
        if found.keys() == set(tags):
            return found
        await world.clock.sleep(0.1)
    raise AssertionError(f"the checkpoint has {sorted(found)}")


@in_virtual_time
async def test_an_image_is_listed_once_a_cycle_however_many_ask() -> None:
    world = World()
    async with world.running():
        await world.scanned("1.0.0", name="app-0")
        await world.until(ImageRepository, "app-0", is_ready)
        for number in range(1, 20):
            await world.scanned(name=f"app-{number}")
        for number in range(20):
            await world.until(ImageRepository, f"app-{number}", is_ready)
        begun = world.fakes.requests
        world.fakes.push(IMAGE, "1.1.0")

        await world.clock.sleep(600)

        assert begun == 1
        assert 9 <= world.fakes.requests - begun <= 13
        for number in range(20):
            found = await world.get(ImageRepository, f"app-{number}")
            assert found["status"]["lastScanResult"]["tagCount"] == 2


@in_virtual_time
async def test_other_credentials_ask_for_themselves_and_who_is_denied_sees_nothing() -> None:
    world = World()
    world.fakes.account = ("robot", "right")
    async with world.running():
        await pull_secret(world, "right", "right")
        await pull_secret(world, "wrong", "wrong")
        await world.scanned("1.0.0", secretRef={"name": "right"})
        await world.until(ImageRepository, "app", is_ready)

        await world.scanned(name="spy", secretRef={"name": "wrong"})
        await world.policy("spy")
        spy = await world.until(ImageRepository, "spy", has_failed)
        policy = await world.until(ImagePolicy, "spy", has_failed)
        await world.clock.sleep(300)

        spy = await world.get(ImageRepository, "spy")
        assert "lastScanResult" not in spy["status"]
        assert "latestRef" not in policy["status"]
        assert "latestRef" not in (await world.get(ImagePolicy, "spy"))["status"]


@in_virtual_time
async def test_a_listing_through_ones_own_proxy_is_the_namespaces_alone() -> None:
    world = World()
    async with world.running():
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "proxy", "namespace": "thief"},
            "data": {"address": b64encode(b"http://proxy.thief.example:3128").decode()},
        }
        await world.namespace("thief", {})
        await world.cluster.create(secret, field_manager="test")
        await world.scanned("1.0.0", interval="24h")
        await world.until(ImageRepository, "app", is_ready)

        world.fakes.push(IMAGE, "9.9.9")
        proxied = {"image": IMAGE, "interval": "1m", "proxySecretRef": {"name": "proxy"}}
        await world.put(ImageRepository, "app", namespace="thief", **proxied)
        thiefs = await world.until(ImageRepository, "app", is_ready, "thief")
        await world.policy()
        policy = await world.until(ImagePolicy, "app", is_ready)

        assert thiefs["status"]["lastScanResult"]["tagCount"] == 2
        assert policy["status"]["latestRef"]["tag"] == "1.0.0"


@in_virtual_time
async def test_a_lost_disk_resets_no_age() -> None:
    world = World()
    async with world.running(last=False):
        await world.scanned("1.0.0", "1.1.0")
        before = await written(world, "1.0.0", "1.1.0")
    await world.clock.sleep(3600)
    world.fakes.push(IMAGE, "1.2.0")
    async with world.running():
        after = await written(world, "1.0.0", "1.1.0", "1.2.0")

    assert (after["1.0.0"], after["1.1.0"]) == (before["1.0.0"], before["1.1.0"])
    age = after["1.2.0"].first_seen
    assert (age - before["1.0.0"].first_seen).total_seconds() >= 3600


@in_virtual_time
async def test_a_record_that_another_process_wrote_is_taken_in_and_not_overwritten() -> None:
    world = World()
    async with world.running():
        await world.scanned("1.0.0", "1.1.0")
        before = await written(world, "1.0.0", "1.1.0")
        earlier = world.clock.now() - timedelta(hours=2)
        theirs = [SeenTag("1.0.0", earlier), SeenTag("1.1.0", before["1.1.0"].first_seen, "sha256:other")]
        ref = ObjectRef(CONFIG_MAP, ObjectKey("default", "sealoop-tags-app"))
        record = {"binaryData": {"tags": b64encode(encode(theirs)).decode()}}
        await world.cluster.patch(ref, record, field_manager="another leader")
        world.fakes.push(IMAGE, "1.2.0")
        await world.request_scan("app")
        after = await written(world, "1.0.0", "1.1.0", "1.2.0")

    assert after["1.0.0"].first_seen == earlier
    assert after["1.1.0"] == theirs[1]


@in_virtual_time
async def test_only_one_repository_of_an_image_keeps_the_checkpoint_and_a_damaged_one_fails_no_scan() -> None:
    world = World()
    async with world.running(last=False):
        await world.scanned("1.0.0")
        await world.until(ImageRepository, "app", is_ready)
        await world.scanned(name="zebra")
        await written(world, "1.0.0")
        await world.clock.sleep(90)
        assert await checkpoint(world, "zebra") == {}
    ref = ObjectRef(CONFIG_MAP, ObjectKey("default", "sealoop-tags-app"))
    await world.cluster.patch(ref, {"binaryData": {"tags": b64encode(b"junk").decode()}}, field_manager="test")
    world.fakes.push(IMAGE, "1.1.0")
    async with world.running():
        await world.until(ImageRepository, "app", lambda o: o["status"]["lastScanResult"]["tagCount"] == 2)
        assert set(await written_again(world)) == {"1.0.0", "1.1.0"}


@in_virtual_time
async def test_the_checkpoint_of_an_object_that_is_made_anew_is_written_again() -> None:
    """The first ImageRepository of an image keeps it, and its ConfigMap goes with it."""

    world = World()
    async with world.running():
        await world.scanned("1.0.0")
        await world.scanned(name="same")
        await world.until(ImageRepository, "same", is_ready)
        before = await written(world, "1.0.0")
        await world.cluster.delete(ObjectRef(ImageRepository.KIND, ObjectKey("default", "app")))
        await written(world)

        await world.scanned()
        after = await written(world, "1.0.0")

    assert after == before


async def written_again(world: World) -> dict[str, SeenTag]:
    ref = ObjectRef(CONFIG_MAP, ObjectKey("default", "sealoop-tags-app"))
    for _ in range(600):
        manifest: Any = await world.cluster.get(ref)
        if manifest["binaryData"]["tags"] != b64encode(b"junk").decode():
            break
        await world.clock.sleep(0.1)
    return await checkpoint(world)


@in_virtual_time
async def test_the_catalog_forgets_what_nobody_lists_any_more() -> None:
    world, seen = World(), []
    async with world.running():
        await world.scanned("1.0.0")
        await world.scanned(name="same")
        await world.scanned("1.0.0", name="other", image=f"{IMAGE}2")
        for name in ("app", "same", "other"):
            await world.until(ImageRepository, name, is_ready)
        seen.append(await world.catalog.list_repositories())
        await world.cluster.delete(ObjectRef(ImageRepository.KIND, ObjectKey("default", "app")))
        await world.scanned("1.0.0", name="other", image=f"{IMAGE}3")
        await world.clock.sleep(60)
        seen.append(await world.catalog.list_repositories())
        await world.cluster.delete(ObjectRef(ImageRepository.KIND, ObjectKey("default", "same")))
        await world.clock.sleep(60)
        seen.append(await world.catalog.list_repositories())
    assert seen == [
        (f"{IMAGE} for default", f"{IMAGE}2 for default"),
        (f"{IMAGE} for default", f"{IMAGE}3 for default"),
        (f"{IMAGE}3 for default",),
    ]


@in_virtual_time
async def test_a_repository_deleted_while_another_process_led_is_forgotten_at_the_start() -> None:
    world = World()
    async with world.running():
        await world.catalog.store(f"{IMAGE}9 for default", ["1.0.0"], world.clock.now())
        await world.scanned("1.0.0")
        await world.until(ImageRepository, "app", is_ready)
        result = await world.catalog.list_repositories()
    assert result == (f"{IMAGE} for default",)
