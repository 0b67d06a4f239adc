"""UpdateGuard: what is Healthy is proven, what fails is taken back, and the next good tag goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from gitops_core.api import Kustomization
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import GitRef
from gitops_core.schema import make_crd
from image_updater.api import ImagePolicy, ImageRepository, UpdateGuard
from tests.image_updater.world import IMAGE, URL, World, conditions, has_failed, image_line
from tests.simulation.loop import virtually

DEPLOYMENT = Kind("apps", "v1", "Deployment")
OWNER = {
    "kustomize.toolkit.fluxcd.io/name": "app",
    "kustomize.toolkit.fluxcd.io/namespace": "default",
}
Health = Callable[[str], dict[str, Any]]


def healthy(image: str) -> dict[str, Any]:
    ready = {"type": "Available", "status": "True", "reason": "x", "message": ""}
    progressing = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": ""}
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
    return {**counts, "conditions": [ready, progressing]}


def stuck(image: str) -> dict[str, Any]:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": ""}
    return {"replicas": 1, "updatedReplicas": 1, "conditions": [late]}


def by_tag(image: str) -> dict[str, Any]:
    return stuck(image) if image.endswith("-bad") else healthy(image)


async def deploying(world: World, health: Health) -> None:
    """What a Kustomization and the Deployment's controller do: the image that Git says runs, or fails to."""
    id_ = {"id": "default_web_apps_Deployment", "v": "v1"}
    while True:
        head = (await world.repository.log())[0]
        line = (await world.head())["app/web.yaml"]
        image = line.split()[1]
        container = {"name": "web", "image": image}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
        manifest = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default", "labels": OWNER},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        }
        live = await world.cluster.apply(manifest, field_manager="kustomize-controller")
        status = {"observedGeneration": live["metadata"]["generation"], **health(image)}
        await patch_status(world, ObjectRef(DEPLOYMENT, ObjectKey("default", "web")), status)
        applied = {"lastAttemptedRevision": f"main@sha1:{head}", "inventory": {"entries": [id_]}}
        await patch_status(world, ObjectRef(Kustomization.KIND, ObjectKey("default", "app")), applied)
        await world.clock.sleep(1)


async def patch_status(world: World, ref: ObjectRef, status: dict[str, Any]) -> None:
    await world.cluster.patch(ref, {"status": status}, field_manager="test", subresource="status")


async def guarded(world: World, health: Health = by_tag, **guard: Any) -> asyncio.Task[None]:
    """Tag 1.0.0 committed, deployed and watched by a guard."""
    await world.cluster.apply(make_crd(Kustomization), field_manager="test")
    await world.repository.commit({"app/web.yaml": image_line("1.0.0").encode()})
    source = {"kind": "GitRepository", "name": "fleet"}
    await world.put(Kustomization, "app", sourceRef=source, path="./app", interval="10m", prune=True)
    await world.scanned("1.0.0")
    await world.policy(range_=">=1.0.0-0")
    await world.source()
    await world.automation(update={"path": "./app"})
    await world.put(UpdateGuard, "app", **{"rollback": {"within": "1h"}, **guard})
    return asyncio.create_task(deploying(world, health))


def played(scenario: Callable[[World], Coroutine[Any, Any, Any]], health: Health = by_tag, **guard: Any) -> Any:
    async def play() -> Any:
        world = World()
        async with world.running():
            task = await guarded(world, health, **guard)
            try:
                return await scenario(world)
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    return virtually(play())


def proven(tag: str) -> Callable[[Any], bool]:
    def holds(manifest: Any) -> bool:
        entries = (manifest.get("status") or {}).get("proven", ())
        return any(entry["tag"] == tag and not entry.get("until") for entry in entries)

    return holds


async def until_deployed(world: World, tag: str) -> None:
    async with asyncio.timeout(600):
        while f":{tag} " not in (await world.head())["app/web.yaml"]:
            await world.clock.sleep(0.2)


def test_a_tag_that_fails_is_taken_back_and_the_next_one_goes_out() -> None:
    async def scenario(world: World) -> tuple[Any, list[str], list[str], str]:
        await world.until(UpdateGuard, "app", proven("1.0.0"))
        world.fakes.push(IMAGE, "1.1.0-bad")
        world.fakes.push(IMAGE, "1.0.5")  # never ran: it must not go out by itself
        await world.request_scan("app")
        await until_deployed(world, "1.1.0-bad")
        await until_deployed(world, "1.0.0")
        remote = world.git.get_remote(URL)
        message = (await remote.describe(await remote.resolve(GitRef(branch="main")))).message
        await world.until(UpdateGuard, "app", proven("1.0.0"))
        policy = await world.get(ImagePolicy, "app")
        world.fakes.push(IMAGE, "1.1.1")
        await world.until(ImageRepository, "app", lambda o: o["status"]["lastScanResult"]["tagCount"] == 4)
        await until_deployed(world, "1.1.1")
        guard = await world.until(UpdateGuard, "app", proven("1.1.1"))
        subjects = [line for line in await world.events("UpdateGuard") if "quarantined" in line]
        return guard, subjects, [policy["status"]["latestRef"]["tag"], conditions(policy)[0]["message"]], message

    guard, told, (tag, message), said = played(scenario)

    (entry,) = guard["status"]["quarantine"]
    assert (entry["tag"], entry["previousTag"]) == ("1.1.0-bad", "1.0.0")
    assert entry["reason"] == "Deployment/default/web: Progress deadline exceeded"
    assert tag == "1.0.0"
    assert said.splitlines()[2:] == ["Takes back 1.1.0-bad of app: Deployment/default/web: Progress deadline exceeded"]
    assert "quarantined" in message
    assert len([text for text in told if "1.0.0 is committed again" in text]) == 1


def test_without_anything_healthy_before_it_a_failing_tag_stays() -> None:
    async def scenario(world: World) -> Any:
        return await world.until(UpdateGuard, "app", lambda o: "fails" in str(o.get("status")))

    guard = played(scenario, health=stuck)

    assert guard["status"].get("quarantine", []) == []
    assert "nothing that ran before it was healthy until then" in conditions(guard)[0]["message"]


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"windows": [{"schedule": "never", "duration": "1h"}]}, "spec.windows[0]"),
        ({"windows": [{"schedule": "0 9 * * *", "duration": "1h", "timeZone": "Mars/Base"}]}, "Mars/Base"),
        ({"skips": [{"pattern": "("}]}, "spec.skips[0]"),
    ],
)
def test_a_guard_that_cannot_be_read_is_stalled(spec: dict[str, Any], cause: str) -> None:
    async def scenario(world: World) -> Any:
        return await world.until(UpdateGuard, "app", has_failed)

    guard = played(scenario, **spec)

    ready, stalled = conditions(guard)
    assert (ready["status"], ready["reason"], stalled["type"]) == ("False", "InvalidGuard", "Stalled")
    assert cause in ready["message"]
