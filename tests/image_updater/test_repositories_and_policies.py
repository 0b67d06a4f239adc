"""ImageRepository and ImagePolicy say and write what the originals were seen to."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_core.adapters.oci import OciRegistry
from gitops_core.errors import RegistryUnavailable
from gitops_core.ports import Query
from gitops_core.runtime.clock import SystemClock
from image_updater.adapters.catalog import SqliteCatalog
from image_updater.api import ImagePolicy, ImageRepository
from sealoop.embedded.registry import RegistryServer
from tests.image_updater.world import IMAGE, World, conditions, has_failed, is_ready
from tests.servers.registry import hostile_registry
from tests.simulation.fakes.registry import no_fault
from tests.simulation.loop import in_virtual_time

GOLDEN = Path(__file__).parents[1] / "golden/data/flux"
SEEN: dict[str, Any] = yaml.safe_load((GOLDEN / "f-image.yaml").read_text())
RECORDED_HOST = "127.0.0.1:54367"


def seen(kind: str, name: str) -> list[dict[str, str]]:
    return sorted(SEEN[kind][name]["conditions"], key=lambda condition: condition["type"])


def status_of(file: str) -> dict[str, Any]:
    return dict(yaml.safe_load((GOLDEN / file).read_text())["status"])


def without_times(status: dict[str, Any]) -> dict[str, Any]:
    left = {**status, "conditions": [{**c, "lastTransitionTime": ""} for c in status["conditions"]]}
    if "lastScanResult" in left:
        left["lastScanResult"] = {**left["lastScanResult"], "scanTime": ""}
    return left


async def test_a_repository_says_what_the_original_said() -> None:
    world = World(SystemClock())
    async with OciRegistry() as registry, RegistryServer() as server, hostile_registry() as hostile:
        for tag in ("1.0.0", "1.1.0"):
            server.add("apps/app", tag)
        server.add("apps/empty", "gone")
        server.remove("apps/empty", "gone")
        images = {
            "app": f"{server.host}/apps/app",
            "empty": f"{server.host}/apps/empty",
            "missing": f"{server.host}/apps/none",
            "badname": f"{server.host}/Apps/UP",
            "refused": "127.0.0.1:1/x",
            "unauth": f"{hostile}/unauthorized/app",
        }
        async with world.running(registry):
            for name, image in images.items():
                await world.put(ImageRepository, name, image=image, interval="10m", insecure=True)
            found = {
                name: await world.until(ImageRepository, name, lambda o: is_ready(o) or has_failed(o))
                for name in images
            }

    for name, manifest in found.items():
        said = yaml.safe_dump(conditions(manifest)).replace(server.host, RECORDED_HOST)
        said = said.replace(f"{hostile}/v2/unauthorized", f"{RECORDED_HOST}/v2/deny")
        assert yaml.safe_load(said) == seen("ImageRepository", name), name
    status = yaml.safe_load(yaml.safe_dump(found["app"]["status"]).replace(server.host, RECORDED_HOST))
    assert without_times(status) == without_times(status_of("f-imagerepository-app.yaml"))
    assert found["app"]["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]


@in_virtual_time
async def test_a_policy_says_what_the_original_said() -> None:
    policies: dict[str, dict[str, Any]] = {
        "app": {},
        "nomatch": {"policy": {"semver": {"range": ">=5.0"}}},
        "badrange": {"policy": {"semver": {"range": "not a range"}}},
        "nofilter": {"filterTags": {"pattern": "^nothing$"}},
        "norepo": {"imageRepositoryRef": {"name": "nothere"}},
        "onmissing": {"imageRepositoryRef": {"name": "missing"}},
        "badregex": {"filterTags": {"pattern": "("}},
        "onempty": {"imageRepositoryRef": {"name": "empty"}},
        "twopart": {"imageRepositoryRef": {"name": "twopart"}},
    }

    world = World()
    async with world.running():
        await world.scanned("1.0.0", "1.1.0")
        await world.scanned("1.0", "1.10", name="twopart", image="registry.example.com/apps/twopart")
        await world.scanned("x", name="empty", image="registry.example.com/apps/empty")
        world.fakes.remove("registry.example.com/apps/empty", "x")
        await world.put(ImageRepository, "missing", image="registry.example.com/apps/none", interval="1m")
        await world.until(ImageRepository, "twopart", is_ready)
        for name, spec in policies.items():
            await world.policy(name, **{"imageRepositoryRef": {"name": "app"}, **spec})
        await world.clock.sleep(1)
        found = {name: await world.get(ImagePolicy, name) for name in policies}

    for name, manifest in found.items():
        said = yaml.safe_dump(conditions(manifest)).replace("registry.example.com", RECORDED_HOST)
        assert yaml.safe_load(said) == seen("ImagePolicy", name), name
        assert (manifest["status"].get("latestRef") is None) == (name != "app")
    status = yaml.safe_load(yaml.safe_dump(found["app"]["status"]).replace("registry.example.com", RECORDED_HOST))
    assert without_times(status) == without_times(status_of("f-imagepolicy-app.yaml"))


@in_virtual_time
async def test_a_new_tag_reaches_the_policy_by_the_next_scan() -> None:
    world = World()
    async with world.running():
        await world.scanned("1.0.0")
        await world.policy()
        await world.until(ImagePolicy, "app", is_ready)

        world.fakes.push(IMAGE, "1.1.0")
        result = await world.until(ImagePolicy, "app", lambda o: o["status"]["latestRef"]["tag"] == "1.1.0")
    status = result["status"]

    assert status["observedPreviousRef"] == {"name": IMAGE, "tag": "1.0.0"}
    ready = status["conditions"][0]["message"]
    assert ready == f"Latest image tag for {IMAGE} resolved to 1.1.0 (previously {IMAGE}:1.0.0)"


@in_virtual_time
async def test_a_lost_catalog_is_filled_again_and_no_policy_flaps() -> None:
    """A restart on an empty disk: the repository's status is as it was, so its listing wakes nobody."""

    world = World()
    seen: list[Any] = []
    async with world.running(last=False):
        await world.scanned("1.0.0", interval="1h")
        await world.until(ImageRepository, "app", is_ready)
        await world.policy()
        await world.policy("none", range_=">=5", imageRepositoryRef={"name": "app"})
        await world.until(ImagePolicy, "app", is_ready)
        await world.until(ImagePolicy, "none", has_failed)
        before = [await world.get(ImagePolicy, name) for name in ("app", "none")]
        told = set(await world.events("ImagePolicy"))
    await world.clock.sleep(10)
    requests = world.fakes.requests
    watching = asyncio.create_task(_watched(world, seen))
    async with world.running():
        await world.clock.sleep(10)
        assert world.fakes.requests == requests + 1
        after = [await world.get(ImagePolicy, name) for name in ("app", "none")]
        assert set(await world.events("ImagePolicy")) == told
        world.fakes.push(IMAGE, "1.1.0")
        await world.request_scan("app")
        await world.until(ImagePolicy, "app", lambda o: o["status"]["latestRef"]["tag"] == "1.1.0")
        watching.cancel()

    assert [conditions(policy) for policy in after] == [conditions(policy) for policy in before]
    assert [policy["status"].get("latestRef") for policy in after] == [{"name": IMAGE, "tag": "1.0.0"}, None]
    assert {(name, ready) for name, ready, _ in seen} <= {("app", "True"), ("none", "False")}
    assert ("app", "True", "1.1.0") in seen


async def _watched(world: World, seen: list[Any]) -> None:
    """Every state that a policy was in: name, Ready's status, chosen tag."""
    query = Query(ImagePolicy.KIND)
    page = await world.cluster.list(query, dict[str, Any])
    async for event in world.cluster.watch(query, dict[str, Any], page.resource_version):
        live: Any = event.object
        ready = next(c["status"] for c in conditions(live) if c["type"] == "Ready")
        seen.append((live["metadata"]["name"], ready, (live["status"].get("latestRef") or {}).get("tag")))


@pytest.mark.parametrize("is_away", [False, True])
@in_virtual_time
async def test_a_leader_chooses_nothing_from_before_another_led(is_away: bool) -> None:
    world, chosen, counted = World(), set(), set()

    async def away(deed: str) -> None:
        raise RegistryUnavailable("GET failed: away")

    async def watch(seconds: int) -> None:
        for _ in range(seconds):
            chosen.add((await world.get(ImagePolicy, "app"))["status"]["latestRef"]["tag"])
            counted.add((await world.get(ImageRepository, "app"))["status"]["lastScanResult"]["tagCount"])
            await world.clock.sleep(1)

    with closing(SqliteCatalog.open(None)) as ours:
        async with world.running(catalog=ours, last=False):
            await world.scanned("1.0.0", interval="1h")
            await world.policy()
            await world.until(ImagePolicy, "app", is_ready)
        async with world.running(last=False):
            await world.until(ImageRepository, "app", is_ready)
            await world.clock.sleep(60)
            world.fakes.push(IMAGE, "1.1.0")
            await world.request_scan("app")
            await world.until(ImagePolicy, "app", lambda o: o["status"]["latestRef"]["tag"] == "1.1.0")
        async with world.running(catalog=ours):
            world.fakes.fault = away if is_away else no_fault
            await watch(60)
            world.fakes.fault = no_fault
            await watch(120)
            tags = await ours.list_tags(f"{IMAGE} for default")

    assert chosen == {"1.1.0"}
    assert counted == {2}
    assert tags == ("1.1.0", "1.0.0")


@in_virtual_time
async def test_a_policy_that_appears_before_the_catalog_is_filled_waits() -> None:
    """Not for the repository's interval, and not for half a minute."""

    world = World()
    async with world.running(last=False):
        await world.scanned("1.0.0", interval="1h")
        await world.until(ImageRepository, "app", is_ready)

    async def slow(deed: str) -> None:
        await world.clock.sleep(2.5)

    world.fakes.fault = slow
    await world.policy()
    began = world.clock.monotonic()
    async with world.running():
        first = await world.until(ImagePolicy, "app", lambda o: conditions(o) != [])
        await world.until(ImagePolicy, "app", is_ready)
        first, took = [f"{c['type']}={c['status']}" for c in conditions(first)], world.clock.monotonic() - began

    assert first == ["Ready=Unknown", "Reconciling=True"]
    assert took < 6


@in_virtual_time
async def test_a_policy_that_fails_keeps_what_it_chose() -> None:
    world = World()
    async with world.running():
        await world.scanned("1.0.0", "1.1.0")
        await world.policy()
        await world.until(ImagePolicy, "app", is_ready)

        await world.policy(range_=">=5.0.0")
        manifest = await world.until(ImagePolicy, "app", has_failed)

    recorded = {**SEEN["ImagePolicy"]["web-after-range->=5.0.0"]}
    assert conditions(manifest) == sorted(recorded["conditions"], key=lambda condition: condition["type"])
    assert manifest["status"]["latestRef"] == {"name": IMAGE, "tag": "1.1.0"}


@in_virtual_time
async def test_a_repository_is_listed_when_there_is_a_reason() -> None:
    world = World()
    counted = []
    async with world.running():
        await world.scanned("1.0.0", "1.0.0.sig")
        first = await world.until(ImageRepository, "app", is_ready)
        assert first["status"]["lastScanResult"]["tagCount"] == 1
        counted.append(world.fakes.requests)

        await world.clock.sleep(30)
        counted.append(world.fakes.requests)

        await world.clock.sleep(40)
        counted.append(world.fakes.requests)

        await world.put(ImageRepository, "app", image=IMAGE, interval="1m", exclusionList=["^nothing$"])
        await world.until(ImageRepository, "app", lambda o: o["status"]["lastScanResult"]["tagCount"] == 2)
        counted.append(world.fakes.requests)

        await world.request_scan("app")
        await world.until(ImageRepository, "app", lambda o: o["status"].get("lastHandledReconcileAt") == "now")
        counted.append(world.fakes.requests)
    assert counted == [1, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("access", "message"),
    [
        (None, "access denied: 'default/app' can't be accessed due to missing ACL labels on 'accessFrom'"),
        (
            [{"matchLabels": {"team": "b"}}],
            "access denied: 'default/app' can't be accessed due to ACL labels mismatch on namespace 'other'",
        ),
        ([{"matchLabels": {"team": "b"}}, {"matchLabels": {"team": "a"}}], ""),
        ([{}], ""),
    ],
)
@in_virtual_time
async def test_another_namespace_is_let_in_by_its_labels(access: Any, message: str) -> None:
    world = World()
    async with world.running():
        await world.namespace("other", {"team": "a", "stage": "x"})
        extra: dict[str, Any] = {} if access is None else {"accessFrom": {"namespaceSelectors": access}}
        await world.scanned("1.0.0", **extra)
        await world.until(ImageRepository, "app", is_ready)
        await world.put(
            ImagePolicy,
            "app",
            namespace="other",
            imageRepositoryRef={"name": "app", "namespace": "default"},
            policy={"semver": {"range": "*"}},
        )
        manifest = await world.until(ImagePolicy, "app", lambda o: is_ready(o) or has_failed(o), "other")

    ready = next(c for c in conditions(manifest) if c["type"] == "Ready")
    if message:
        assert ready["reason"] == "AccessDenied"
        assert ready["message"] == f"failed to get the referred ImageRepository: {message}"
    else:
        assert ready["status"] == "True"


@in_virtual_time
async def test_two_repositories_of_one_image_exclude_what_each_wants() -> None:
    world = World()
    async with world.running():
        await world.scanned("1.0.0", "2.0.0", name="all", exclusionList=["^x"])
        await world.scanned(name="old", exclusionList=["^2"])
        for name in ("all", "old"):
            await world.until(ImageRepository, name, is_ready)
            await world.policy(name)
        found = [await world.until(ImagePolicy, name, is_ready) for name in ("all", "old")]
        result = [manifest["status"]["latestRef"]["tag"] for manifest in found]
    assert result == ["2.0.0", "1.0.0"]


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (None, "secret 'default/pull' not found"),
        ({"type": "Opaque"}, "secret 'default/pull' is not of type kubernetes.io/dockerconfigjson"),
        (
            {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}},
            "secret 'default/pull': not a docker configuration with 'auths'",
        ),
        (
            {
                "type": "kubernetes.io/dockerconfigjson",
                # {"auths": {"registry.example.com": {"username": "puller", "password": "s3cret"}}}
                "data": {
                    ".dockerconfigjson": "eyJhdXRocyI6IHsicmVnaXN0cnkuZXhhbXBsZS5jb20iOiB7InVzZXJuYW1lIjogInB1bGxlciI"
                    "sICJwYXNzd29yZCI6ICJzM2NyZXQifX19"
                },
            },
            "",
        ),
    ],
)
@in_virtual_time
async def test_credentials_come_from_the_named_secret(secret: Any, message: str) -> None:
    world = World()
    world.fakes.account = ("puller", "s3cret")
    async with world.running():
        if secret is not None:
            metadata = {"name": "pull", "namespace": "default"}
            manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **secret}
            await world.cluster.create(manifest, field_manager="test")
        await world.scanned("1.0.0", secretRef={"name": "pull"})
        manifest = await world.until(ImageRepository, "app", lambda o: is_ready(o) or has_failed(o))

    ready = next(c for c in conditions(manifest) if c["type"] == "Ready")
    if message:
        assert ready["reason"] == "AuthenticationFailed"
        assert ready["message"] == f"failed to configure authentication options: {message}"
    else:
        assert ready["message"].startswith("successful scan: found 1 tags")


@in_virtual_time
async def test_a_registry_that_hangs_is_given_up_after_the_timeout() -> None:
    world = World()

    async def hang(deed: str) -> None:
        await world.clock.sleep(10_000)

    world.fakes.fault = hang
    async with world.running():
        await world.scanned("1.0.0", timeout="5s")
        result = await world.until(ImageRepository, "app", has_failed)
    ready = next(c for c in conditions(result) if c["type"] == "Ready")

    assert ready["message"] == f"scan failed: {IMAGE} did not list its tags within 5s"


@in_virtual_time
async def test_events_tell_what_changed_and_nothing_else() -> None:
    world = World()
    async with world.running():
        await world.policy()
        await world.until(ImagePolicy, "app", has_failed)
        await world.scanned("1.0.0")
        await world.until(ImagePolicy, "app", is_ready)
        await world.clock.sleep(600)
        world.fakes.push(IMAGE, "1.1.0")
        await world.clock.sleep(600)
        repository, policy = await world.events("ImageRepository"), await world.events("ImagePolicy")

    assert sorted(repository) == [
        "successful scan: found 1 tags with checksum 160432618",
        "successful scan: found 2 tags with checksum 495453000",
    ]
    missing = 'ImageRepository.image.toolkit.fluxcd.io "app" not found'
    assert set(policy) - {"retrying in 30s error: no tags in database"} == {
        f"failed to get the referred ImageRepository: referenced ImageRepository does not exist: {missing}",
        f"Latest image tag for {IMAGE} resolved to 1.0.0",
        f"Latest image tag for {IMAGE} resolved to 1.1.0 (previously {IMAGE}:1.0.0)",
    }
    assert len(policy) == len(set(policy))
