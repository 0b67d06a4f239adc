"""Webhooks from end to end: a POST on a socket, the embedded cluster, the image controllers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp
import pytest

from gitops_core.api import GitRepository, Receiver
from gitops_core.domain.sources.hooks import make_webhook_path
from gitops_core.meta import ObjectKey, ObjectRef, Sensitive
from gitops_core.runtime.clock import SystemClock
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.routes import Receive, Route
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.schema import make_crd
from image_updater.api import ImagePolicy, ImageRepository
from sealoop.serving.hooks import receiving
from sealoop.wiring import make_routes
from tests.image_updater.world import IMAGE, URL, World, is_ready

TOKEN = "a secret that nobody guesses"
REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
DIGEST = f"sha256:{'c' * 64}"


class Caller:
    """Somebody who sends webhooks to the Receivers of a world."""

    def __init__(self, world: World, port: int, session: aiohttp.ClientSession) -> None:
        self.world, self._find_url, self._session = world, f"http://127.0.0.1:{port}", session

    async def receiver(self, type_: str, *, name: str = "hook", namespace: str = "default", **spec: Any) -> str:
        """The path of a Receiver that is ready."""
        await self.secret(TOKEN, namespace)
        resources = spec.pop("resources", [{"kind": "ImageRepository", "name": "app"}])
        wanted = {"type": type_, "secretRef": {"name": "token"}, "resources": resources, **spec}
        await self.world.put(Receiver, name, namespace=namespace, **wanted)
        path = make_webhook_path(Sensitive(TOKEN), ObjectKey(namespace, name))
        ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "initialized"}
        ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        patch = {"status": {"webhookPath": path, "conditions": [ready]}}
        ref = ObjectRef(Receiver.KIND, ObjectKey(namespace, name))
        await self.world.cluster.patch(ref, patch, field_manager="test", subresource="status")
        return path

    async def secret(self, token: str, namespace: str = "default") -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "token", "namespace": namespace},
            "data": {"token": b64encode(token.encode()).decode()},
        }
        await self.world.cluster.apply(secret, field_manager="test", force=True)

    async def post(self, path: str, body: bytes | object, headers: Mapping[str, str] = {}) -> int:
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with self._session.post(f"{self._find_url}{path}", data=data, headers=headers) as answer:
            assert await answer.read() in (b"", f"{answer.status}: {answer.reason}".encode())
            return answer.status


@asynccontextmanager
async def called(world: World, policy: Policy = DEFAULT_POLICY) -> AsyncIterator[Caller]:
    await world.cluster.apply(make_crd(Receiver), field_manager="test")
    async with (
        world.running(),
        receiving(
            "127.0.0.1:0", make_routes(world.cluster, world.clock, IN_PLACE, policy), world.clock, policy
        ) as port,
        aiohttp.ClientSession() as session,
    ):
        yield Caller(world, port, session)


def signature(body: bytes, token: str = TOKEN) -> str:
    return f"sha256={hmac.new(token.encode(), body, hashlib.sha256).hexdigest()}"


def acr(tag: str, digest: str = DIGEST) -> object:
    host, _, repository = IMAGE.partition("/")
    return {
        "action": "push",
        "target": {"repository": repository, "tag": tag, "digest": digest},
        "request": {"host": host},
    }


async def told(world: World, kind: type[Any] = ImageRepository, name: str = "app") -> Mapping[str, str]:
    found = await world.get(kind, name)
    return found["metadata"].get("annotations") or {}


async def test_a_pushed_tag_is_chosen_at_once_and_the_registry_is_asked_once() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.scanned("1.0.0", interval="1h")  # the next listing is far away
        await world.policy()
        await world.until(ImagePolicy, "app", is_ready)
        path = await caller.receiver("acr")
        world.fakes.push(IMAGE, "1.1.0")
        asked = world.fakes.requests

        assert await caller.post(path, acr("1.1.0")) == 200
        policy = await world.until(ImagePolicy, "app", lambda o: o["status"]["latestRef"]["tag"] == "1.1.0")

        assert world.fakes.requests == asked + 1
        scan = (await world.get(ImageRepository, "app"))["status"]["lastScanResult"]
        assert (scan["tagCount"], scan["latestTags"]) == (2, ["1.1.0", "1.0.0"])
        assert policy["status"]["observedPreviousRef"]["tag"] == "1.0.0"


async def test_pushes_at_once_are_all_seen_and_a_replay_changes_nothing() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.scanned("1.0.0")
        await world.until(ImageRepository, "app", is_ready)
        path = await caller.receiver("acr")

        tags = [f"1.1.{n}" for n in range(8)]
        for tag in tags:
            world.fakes.push(IMAGE, tag)
        assert set(await asyncio.gather(*(caller.post(path, acr(tag)) for tag in tags))) <= {200, 500}
        for tag in tags:
            assert await caller.post(path, acr(tag)) == 200
        await world.until(ImageRepository, "app", lambda o: o["status"]["lastScanResult"]["tagCount"] == 9)
        for tag in tags:
            assert await caller.post(path, acr(tag)) == 200
        await asyncio.sleep(0.3)

        assert (await world.get(ImageRepository, "app"))["status"]["lastScanResult"]["tagCount"] == 9


async def test_a_tag_that_a_forger_pushed_is_never_there() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.scanned("1.0.0")
        await world.policy()
        await world.until(ImagePolicy, "app", is_ready)
        path, asked = await caller.receiver("acr"), world.fakes.requests

        assert await caller.post(path, acr("99.0.0")) == 200
        await world.until(ImageRepository, "app", lambda o: world.fakes.requests > asked)
        await asyncio.sleep(0.5)

        found = await world.get(ImageRepository, "app")
        assert is_ready(found)
        assert found["status"]["lastScanResult"]["tagCount"] == 1
        assert (await world.get(ImagePolicy, "app"))["status"]["latestRef"]["tag"] == "1.0.0"


async def test_another_image_and_another_namespace_are_told_nothing() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.namespace("other", {})
        await world.put(ImageRepository, "app", image=f"{IMAGE}-2", interval="1h")
        await world.put(ImageRepository, "theirs", namespace="other", image=IMAGE, interval="1h")
        named = [{"kind": "ImageRepository", "name": "app"}]
        named += [{"kind": "ImageRepository", "name": "theirs", "namespace": "other"}]
        path = await caller.receiver("acr", resources=named)

        assert await caller.post(path, acr("1.1.0")) == 200

        assert not await told(world)
        theirs = await world.get(ImageRepository, "theirs", "other")
        assert set(theirs["metadata"]["annotations"]) == {REQUESTED_AT}


async def test_a_webhook_without_a_tag_asks_for_a_new_listing() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.put(GitRepository, "fleet", url=URL, interval="10m")
        await world.put(GitRepository, "other", url=URL, interval="10m")
        await world.cluster.patch(
            ObjectRef(GitRepository.KIND, ObjectKey("default", "other")),
            {"metadata": {"labels": {"team": "web"}}},
            field_manager="test",
        )
        await world.put(ImageRepository, "app", image=IMAGE, interval="1h")
        labelled = {"kind": "GitRepository", "name": "*", "matchLabels": {"team": "web"}}
        path = await caller.receiver("generic", resources=[{"kind": "ImageRepository", "name": "app"}, labelled])

        assert await caller.post(path, b"anything") == 200

        assert REQUESTED_AT in await told(world)
        assert REQUESTED_AT in await told(world, GitRepository, "other")
        assert REQUESTED_AT not in await told(world, GitRepository, "fleet")


async def test_a_sender_that_proves_nothing_is_sent_away() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.put(ImageRepository, "app", image=IMAGE, interval="1h")
        body = json.dumps({"image": f"{IMAGE}:1.1.0"}).encode()
        signed = await caller.receiver("generic-hmac", name="signed")
        harbor = await caller.receiver("harbor", name="harbor")
        github = await caller.receiver("github", name="github", events=["package"])
        ping = {"X-GitHub-Event": "ping", "X-Hub-Signature-256": signature(body)}

        assert await caller.post(signed, body) == 400
        assert await caller.post(signed, body, {"X-Signature": signature(body, "guess")}) == 400
        assert await caller.post(signed, body, {"X-Signature": signature(b"other")}) == 400
        assert await caller.post(signed, body, {"X-Signature": "sha3_256=é"}) == 400
        assert await caller.post(harbor, body, {"Authorization": "guess"}) == 400
        assert await caller.post(github, body, ping) == 400
        assert not await told(world)
        assert await caller.post(signed, body, {"X-Signature": signature(body)}) == 200
        assert list(await told(world)) == ["sealoop.dev/pushed"]


async def test_hostile_requests() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.put(ImageRepository, "app", image=IMAGE, interval="1h")
        path = await caller.receiver("quay")

        assert await caller.post(path, b"<html>") == 400
        assert await caller.post(path, b"[" * 500_000) == 400
        assert await caller.post(path, b"x" * (DEFAULT_POLICY.webhook_size + 1)) == 413
        assert await caller.post(path, b"x" * (10 << 20)) == 413
        assert await caller.post(f"{path}0", b"{}") == 404
        assert await caller.post(f"/hook/{'0' * 64}", b"{}") == 404
        assert await caller.post("/hook/..%2f", b"{}") == 404
        assert await caller.post("/metrics", b"{}") == 404
        assert not await told(world)


async def test_a_receiver_that_is_not_ready_or_has_another_token_acts_on_nothing() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.put(ImageRepository, "app", image=IMAGE, interval="1h")
        suspended = await caller.receiver("generic", name="suspended", suspend=True)
        renewed = await caller.receiver("generic", name="renewed")
        await caller.secret("another token")

        assert await caller.post(suspended, b"") == 503
        assert await caller.post(renewed, b"") == 404
        assert not await told(world)


async def test_a_path_that_others_claim_in_a_forged_status_stays_its_receivers() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.put(ImageRepository, "app", image=IMAGE, interval="1h")
        path = await caller.receiver("acr", name="mine")
        for name in ("a", "z"):
            await caller.receiver("generic", name=name, resources=[])
            ref = ObjectRef(Receiver.KIND, ObjectKey("default", name))
            forged = {"status": {"webhookPath": path}}
            await world.cluster.patch(ref, forged, field_manager="test", subresource="status")

        assert await caller.post(path, acr("1.1.0")) == 200

        assert "1.1.0" in (await told(world))["sealoop.dev/pushed"]


async def test_a_flood_is_slowed_down_and_keeps_nobody_out_who_knows_a_path() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.scanned("1.0.0")
        path = await caller.receiver("acr")
        assert await caller.post(path, acr("1.1.0")) == 200

        answers = await asyncio.gather(
            *(caller.post(f"/hook/{n:064x}", b"") for n in range(2 * DEFAULT_POLICY.webhook_burst))
        )

        assert 429 in answers
        assert set(answers) == {404, 429}
        assert await caller.post(path, acr("1.2.0")) == 200


class Echo:
    """Implements Handler: knows one path, and answers by the header that it is sent."""

    paths = ("/echo/known",)

    async def admit(self, path: str) -> Receive | HTTPStatus:
        if path == "/echo/closed":
            return HTTPStatus.SERVICE_UNAVAILABLE

        async def receive(headers: Mapping[str, str], body: bytes) -> HTTPStatus:
            return HTTPStatus(int(headers["x-status"])) if body == b"hello" else HTTPStatus.BAD_REQUEST

        return receive


async def test_a_route_of_any_package_is_served_within_the_same_bounds() -> None:
    world, policy = World(SystemClock()), Policy(webhook_size=5, webhook_rate=1, webhook_burst=20)
    route = Route("/echo/{name}", Echo())
    async with (
        receiving("127.0.0.1:0", (route,), world.clock, policy) as port,
        aiohttp.ClientSession() as session,
    ):
        caller = Caller(world, port, session)

        assert await caller.post("/echo/known", b"hello", {"X-Status": "202"}) == 202
        assert await caller.post("/echo/known", b"hello!", {"X-Status": "202"}) == 413
        assert await caller.post("/echo/closed", b"hello") == 503
        assert await caller.post("/hook/known", b"hello") == 404
        strangers = await asyncio.gather(*(caller.post(f"/echo/{n}", b"") for n in range(100)))
        assert set(strangers) == {400, 429}
        assert await caller.post("/echo/known", b"hello", {"X-Status": "202"}) == 202


async def test_webhooks_keep_to_the_operators_policy() -> None:
    world = World(SystemClock())
    async with called(world, Policy(webhook_size=10, webhook_rate=1, webhook_burst=20)) as caller:
        path = await caller.receiver("generic", resources=[])

        assert await caller.post(path, b"x" * 10) == 200
        assert await caller.post(path, b"x" * 11) == 413
        assert 429 in await asyncio.gather(*(caller.post(path, b"") for _ in range(100)))


async def test_a_flood_of_calls_to_a_receiver_keeps_nobody_out_of_another() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.put(ImageRepository, "app", image=IMAGE, interval="1h")
        noisy, quiet = await caller.receiver("generic", name="noisy", resources=[]), await caller.receiver("acr")
        assert await caller.post(noisy, b"") == 200

        flood = (caller.post(noisy, b"") for _ in range(2 * DEFAULT_POLICY.webhook_burst))
        *answers, other = await asyncio.gather(*flood, caller.post(quiet, acr("1.1.0")))

        assert set(answers) == {200, 429}
        assert other == 200


async def test_a_path_is_served_as_soon_as_its_receiver_is_ready() -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        for number in range(3):
            assert await caller.post(f"/hook/{number:064x}", b"") == 404  # the paths were read just now
            path = await caller.receiver("generic", name=f"hook-{number}", resources=[])

            assert await caller.post(path, b"") == 200


async def test_a_webhook_wakes_nothing_in_another_namespace_where_the_operator_says_so() -> None:
    world = World(SystemClock())
    async with called(world, Policy(cross_namespace_references=False)) as caller:
        await world.namespace("other", {})
        await world.put(ImageRepository, "app", namespace="other", image=IMAGE, interval="1h")
        path = await caller.receiver(
            "generic", resources=[{"kind": "ImageRepository", "name": "app", "namespace": "other"}]
        )

        assert await caller.post(path, {}) == 500
        found = await world.cluster.get(ObjectRef(ImageRepository.KIND, ObjectKey("other", "app")))

    assert found is not None
    assert "annotations" not in found["metadata"]


@pytest.mark.parametrize("forged", ["/hook/ü", "é", "/hook/" + "0" * 63 + "ß", "x" * 100_000])
async def test_a_status_that_holds_no_path_keeps_nobody_from_being_called(forged: str) -> None:
    world = World(SystemClock())
    async with called(world) as caller:
        await world.put(ImageRepository, "app", image=IMAGE, interval="1h")
        await world.namespace("thief", {})
        await caller.receiver("generic", name="theirs", namespace="thief", resources=[])
        ref = ObjectRef(Receiver.KIND, ObjectKey("thief", "theirs"))
        await world.cluster.patch(ref, {"status": {"webhookPath": forged}}, field_manager="test", subresource="status")
        path = await caller.receiver("acr")

        assert await caller.post(path, acr("1.1.0")) == 200

        assert "1.1.0" in (await told(world))["sealoop.dev/pushed"]
