"""What an operator keeps ImagePolicies and ImageUpdateAutomations from (--no-cross-namespace-refs)."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.api import GitRepository
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation, UpdateGuard
from tests.image_updater.test_credentials_mended import make_pull_secret
from tests.image_updater.test_guarded_policies import OPENED, run_on_stage, two_namespaces
from tests.image_updater.test_guards import guarded, patch_status
from tests.image_updater.test_pullrequests import Asking
from tests.image_updater.world import IMAGE, URL, World, conditions, has_failed, is_ready
from tests.simulation.loop import in_virtual_time

STRICT = Policy(cross_namespace_references=False)
TO_ALL: dict[str, Any] = {"namespaceSelectors": [{"matchLabels": {}}]}
WHY = "--no-cross-namespace-refs keeps objects from naming those of other namespaces"


@in_virtual_time
async def test_a_policy_of_another_namespaces_repository_is_refused_though_that_lets_everybody_in() -> None:
    world = World()
    async with world.running(operator=STRICT):
        await world.namespace("other", {})
        world.fakes.push(IMAGE, "1.0.0")
        await world.put(ImageRepository, "app", image=IMAGE, interval="1m", accessFrom=TO_ALL)
        await world.until(ImageRepository, "app", is_ready)
        for namespace in ("default", "other"):
            reference = {"name": "app", "namespace": "default"}
            policy = {"semver": {"range": "*"}}
            await world.put(ImagePolicy, "app", namespace=namespace, imageRepositoryRef=reference, policy=policy)
        theirs = await world.until(ImagePolicy, "app", has_failed, "other")
        await world.until(ImagePolicy, "app", is_ready)

    (ready,) = [c for c in conditions(theirs) if c["type"] == "Ready"]
    assert ready["reason"] == "AccessDenied"
    assert ready["message"] == f"ImagePolicy/other/app may not name ImageRepository/default/app: {WHY}"


@in_virtual_time
async def test_an_automation_does_not_push_with_the_secret_of_another_namespaces_source() -> None:
    world = World()
    async with world.running(operator=STRICT):
        await world.namespace("other", {})
        await world.put(GitRepository, "app", url=URL, interval="1m", ref={"branch": "main"})
        git = {"commit": {"author": {"name": "bot", "email": "bot@example.com"}}}
        source = {"kind": "GitRepository", "name": "app", "namespace": "default"}
        await world.put(ImageUpdateAutomation, "app", namespace="other", sourceRef=source, interval="1m", git=git)
        theirs = await world.until(ImageUpdateAutomation, "app", has_failed, "other")

    (ready,) = [c for c in conditions(theirs) if c["type"] == "Ready"]
    assert ready["reason"] == "AccessDenied"
    assert ready["message"] == f"ImageUpdateAutomation/other/app may not name GitRepository/default/app: {WHY}"


class Forging(Asking):
    """A world whose policy says itself that it is Ready and what it chose: nobody looks at one that is suspended."""

    chosen = "1.1.0"

    async def policy(self, name: str = "app", range_: str = ">=1.0", **spec: Any) -> None:
        reference = {"name": "app", "namespace": "victim"}
        await super().policy(name, range_, imageRepositoryRef=reference, suspend=True)
        ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": ""}
        conditions = [{**ready, "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}]
        status = {"observedGeneration": 1, "latestRef": {"name": IMAGE, "tag": self.chosen}, "conditions": conditions}
        await patch_status(self, ObjectRef(ImagePolicy.KIND, ObjectKey("default", name)), status)


@pytest.mark.parametrize(
    ("operator", "access", "is_told"),
    [
        (DEFAULT_POLICY, None, False),
        (DEFAULT_POLICY, TO_ALL, True),
        (STRICT, TO_ALL, False),
    ],
    ids=["let in nobody", "lets in everybody", "forbidden"],
)
@in_virtual_time
async def test_a_forged_status_reads_nothing_with_the_credentials_of_another_namespace(
    operator: Policy, access: dict[str, Any] | None, is_told: bool
) -> None:
    world = Forging()
    async with world.running(operator=operator):
        await world.namespace("default", {})
        await world.namespace("victim", {})
        world.fakes.account = ("puller", "s3cret")
        await world.cluster.create(make_pull_secret("s3cret", "victim"), field_manager="test")
        spec = {"image": IMAGE, "interval": "1m", "secretRef": {"name": "pull"}}
        await world.put(
            ImageRepository, "app", namespace="victim", **spec, **({"accessFrom": access} if access else {})
        )
        await world.begin()
        await world.opened()
        (pull,) = world.forge.pulls.values()

    assert ("https://github.com/org/app" in pull.body) == is_told


@pytest.mark.parametrize(("access", "is_told"), [(None, False), (TO_ALL, True)], ids=["let in nobody", "lets in all"])
@in_virtual_time
async def test_a_guard_tells_no_digest_of_a_repository_that_does_not_let_it_in(
    access: dict[str, Any] | None, is_told: bool
) -> None:
    world = Forging()
    world.chosen = "1.0.0"
    async with world.running():
        await world.namespace("default", {})
        await world.namespace("victim", {})
        digest = world.fakes.push(IMAGE, "1.0.0")
        shared = {"accessFrom": access} if access else {}
        await world.put(ImageRepository, "app", namespace="victim", image=IMAGE, interval="1m", **shared)
        policy = {"policy": {"semver": {"range": "*"}}, "digestReflectionPolicy": "IfNotPresent"}
        await world.put(ImagePolicy, "app", namespace="victim", imageRepositoryRef={"name": "app"}, **policy)
        await world.until(ImagePolicy, "app", is_ready, "victim")
        deployer = await guarded(world)
        await world.clock.sleep(60)
        guard = await world.get(UpdateGuard, "app")
        deployer.cancel()

    assert (digest in str(guard["status"])) == is_told


@in_virtual_time
async def test_nothing_is_promoted_from_another_namespace_though_a_guard_there_opens_itself() -> None:
    world = World()
    async with world.running(operator=STRICT):
        await two_namespaces(world)
        await world.put(UpdateGuard, "stage", namespace="stage", accessFrom=OPENED)
        await run_on_stage(world, "1.0.0")
        await world.clock.sleep(2 * 3600)
        waiting = await world.until(ImagePolicy, "app", has_failed)

    (ready,) = [c for c in conditions(waiting) if c["type"] == "Ready"]
    assert (
        f"1.0.0 is not promoted: ImagePolicy/default/app may not name ImagePolicy/stage/app: {WHY}" in ready["message"]
    )


@pytest.mark.parametrize(
    ("operator", "is_told"), [(DEFAULT_POLICY, True), (STRICT, False)], ids=["allowed", "forbidden"]
)
@in_virtual_time
async def test_a_guard_does_not_look_at_workloads_by_way_of_another_namespaces_source(
    operator: Policy, is_told: bool
) -> None:
    world = World()
    async with world.running(operator=operator):
        for namespace in ("default", "spy"):
            await world.namespace(namespace, {})
        deployer = await guarded(world)
        await world.put(ImageRepository, "app", namespace="spy", image=IMAGE, interval="1m")
        reference, policy = {"name": "app"}, {"semver": {"range": "*"}}
        await world.put(ImagePolicy, "app", namespace="spy", imageRepositoryRef=reference, policy=policy)
        git = {"commit": {"author": {"name": "bot", "email": "bot@example.com"}}}
        theirs = {"kind": "GitRepository", "name": "fleet", "namespace": "default"}
        spec = {"sourceRef": theirs, "interval": "5m", "git": git, "update": {"path": "./app"}}
        await world.put(ImageUpdateAutomation, "app", namespace="spy", **spec)
        await world.put(UpdateGuard, "app", namespace="spy", rollback={"within": "1h"})
        await world.clock.sleep(120)
        guard = await world.get(UpdateGuard, "app", "spy")
        deployer.cancel()

    assert bool(guard["status"].get("proven")) == is_told
