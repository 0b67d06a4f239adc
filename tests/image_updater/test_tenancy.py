"""What an operator keeps ImagePolicies and ImageUpdateAutomations from (--no-cross-namespace-refs)."""

from __future__ import annotations

from gitops_core.api import GitRepository
from gitops_core.runtime.policy import Policy
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation
from tests.image_updater.world import IMAGE, URL, World, conditions, has_failed, is_ready
from tests.simulation.loop import in_virtual_time

STRICT = Policy(cross_namespace_references=False)
WHY = "--no-cross-namespace-refs keeps objects from naming those of other namespaces"


@in_virtual_time
async def test_a_policy_of_another_namespaces_repository_is_refused_though_that_lets_everybody_in() -> None:
    world = World()
    async with world.running(operator=STRICT):
        await world.namespace("other", {})
        world.fakes.push(IMAGE, "1.0.0")
        open_to_all: dict[str, list[object]] = {"namespaceSelectors": [{"matchLabels": {}}]}
        await world.put(ImageRepository, "app", image=IMAGE, interval="1m", accessFrom=open_to_all)
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
