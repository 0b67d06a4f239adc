from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

from gitops_core.api import Receiver
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.ports import Query
from gitops_core.schema import make_crd
from tests.gitops_core.reconcilers.world import EVENT, World, condition
from tests.simulation.loop import in_virtual_time

SPEC = {"type": "github", "secretRef": {"name": "token"}, "resources": [{"kind": "GitRepository", "name": "r"}]}


async def secret(world: World, token: str) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token", "namespace": "default", "labels": {"reconcile.fluxcd.io/watch": "Enabled"}},
        "data": {"token": b64encode(token.encode()).decode()},
    }
    await world.local.apply(manifest, field_manager="test", force=True)


async def put(world: World, **spec: Any) -> None:
    manifest = {
        "apiVersion": Receiver.KIND.api_version,
        "kind": "Receiver",
        "metadata": {"name": "hook", "namespace": "default"},
        "spec": {**SPEC, **spec},
    }
    await world.local.create(make_crd(Receiver), field_manager="test")
    await world.local.apply(manifest, field_manager="test")


async def until(world: World, status: str) -> Any:
    for _ in range(600):
        found = await world.local.get(ObjectRef(Receiver.KIND, ObjectKey("default", "hook")))
        if condition(found, "Ready")[0] == status:
            return found
        await world.clock.sleep(0.1)
    raise AssertionError(f"the receiver does not become {status}: {found}")


def path(token: str) -> str:
    return f"/hook/{hashlib.sha256(f'{token}hookdefault'.encode()).hexdigest()}"


@in_virtual_time
async def test_the_path_is_made_of_the_token_and_follows_it() -> None:
    world = World()
    await put(world)
    async with world.running():
        missing = await until(world, "False")
        await secret(world, "first")
        made = await until(world, "True")
        await secret(world, "second")
        await world.clock.sleep(5)
        renewed = await until(world, "True")

    assert condition(missing, "Ready")[1:] == (
        "TokenNotFound",
        "unable to read token from secret 'default/token' error: Secret \"token\" not found",
    )
    assert made["status"]["webhookPath"] == path("first")
    assert condition(made, "Ready")[1:] == ("Succeeded", f"Receiver initialized for path: {path('first')}")
    assert renewed["status"]["webhookPath"] == path("second")


@in_virtual_time
async def test_a_new_path_is_told_once_in_flux_s_words() -> None:
    world = World()
    await put(world, interval="10m")
    await secret(world, "first")
    async with world.running():
        await until(world, "True")
        await world.clock.sleep(1900)
        told = await counted_events(world)
        await secret(world, "second")
        await world.clock.sleep(5)
        told_again = await counted_events(world)

    finished = ("Normal", "Succeeded", "Reconciliation finished, next run in 10m0s")
    assert told == {finished: 1}
    assert told_again == {finished: 2}


async def counted_events(world: World) -> dict[tuple[str, str, str], int]:
    page = await world.local.list(Query(EVENT), dict)
    ours = [item for item in page.items if isinstance(item, dict) and item["involvedObject"]["name"] == "hook"]
    return {(item["type"], item["reason"], item["message"]): item["count"] for item in ours}


@in_virtual_time
async def test_a_type_that_nothing_acts_on_is_said_to_be_so() -> None:
    world = World()
    await put(world, type="nexus")
    await secret(world, "first")
    async with world.running():
        found = await until(world, "False")

    assert condition(found, "Stalled")[:2] == ("True", "FieldsNotSupported")
    assert condition(found, "Ready")[2].endswith(
        "nothing was done: set spec.type to generic, generic-hmac, github, harbor, dockerhub, quay or acr"
    )
    assert "webhookPath" not in found["status"]
