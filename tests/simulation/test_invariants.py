"""Each invariant notices the world it forbids: a check that cannot fail would make every history hold."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable

import pytest

from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.ports import Commit, GitRef, Signature
from tests.simulation.fakes.git import SOMEBODY
from tests.simulation.invariants import BOT, Broken, Invariants
from tests.simulation.loop import VirtualClock, virtually
from tests.simulation.world import CONFIG_MAP, IMAGE_POLICY, SECRET, URL, World, deployment


def in_a_world(work: Callable[[World, Invariants], Awaitable[None]]) -> None:
    async def played() -> None:
        world = World(1, VirtualClock())
        await world.begin()
        await work(world, Invariants(world))
        world.cluster.close()

    virtually(played())


async def bump(world: World, body: bytes, path: str = "app/web.yaml") -> None:
    remote = world.git.remote(URL)
    tip = await remote.resolve(GitRef(branch="main"))
    bot = Signature("bot", BOT, SOMEBODY.when)
    await remote.push(Commit(tip.commit, {path: body}, "Bump", bot, bot), "main")


async def choose(world: World, tag: str) -> None:
    status = {"status": {"latestRef": {"name": "web", "tag": tag}}}
    ref = ObjectRef(IMAGE_POLICY, ObjectKey("default", "web"))
    await world.cluster.patch(ref, status, field_manager="test", subresource="status")


def test_an_object_missing_from_the_inventory_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        labels = {"kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": "default"}
        metadata = {"name": "one", "namespace": "default", "labels": labels}
        manifest = {"apiVersion": CONFIG_MAP.api_version, "kind": "ConfigMap", "metadata": metadata}
        await world.cluster.create(manifest, field_manager="test")
        with pytest.raises(Broken, match="default_one__ConfigMap was made and is not in the inventory"):
            await invariants.after_write("create")

    in_a_world(work)


def test_a_half_written_secret_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        data = {"user": base64.b64encode(b"user-1").decode(), "password": base64.b64encode(b"password-2").decode()}
        metadata = {"name": "app", "namespace": "default"}
        manifest = {"apiVersion": SECRET.api_version, "kind": "Secret", "metadata": metadata, "data": data}
        await world.cluster.create(manifest, field_manager="test")
        with pytest.raises(Broken, match="half written"):
            await invariants.after_write("create")

    in_a_world(work)


def test_a_bump_to_a_tag_nobody_chose_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await bump(world, deployment("1.9.9"))
        with pytest.raises(Broken, match="never chose"):
            await invariants.in_commits()

    in_a_world(work)


def test_a_bump_that_changes_more_or_nothing_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await choose(world, "1.1.0")
        await invariants.after_write("patch")
        await bump(world, deployment("1.1.0"))
        assert await invariants.in_commits() == 1
        await bump(world, deployment("1.1.0") + b"# and more\n")
        with pytest.raises(Broken, match="committed twice"):
            await invariants.in_commits()

    in_a_world(work)


def test_a_bump_of_another_file_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await bump(world, b"mine", "app/one.yaml")
        with pytest.raises(Broken, match=r"changed \['app/one.yaml'\]"):
            await invariants.in_commits()

    in_a_world(work)


def test_a_world_that_has_not_come_to_rest_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await choose(world, "1.1.0")
        with pytest.raises(Broken, match=r"Git says 1\.0\.0, the policy 1\.1\.0"):
            await invariants.at_rest()

    in_a_world(work)
