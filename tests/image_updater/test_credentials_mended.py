"""Credentials that somebody mends are tried at once: nobody waits for a retry."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from image_updater.api import ImageRepository
from tests.image_updater.world import HOST, World, has_failed, is_ready
from tests.simulation.loop import in_virtual_time


def make_pull_secret(password: str, namespace: str = "default") -> dict[str, Any]:
    config = json.dumps({"auths": {HOST: {"username": "puller", "password": password}}}).encode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pull", "namespace": namespace},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(config).decode()},
    }


def _account(*secrets: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "puller", "namespace": "default"},
        "imagePullSecrets": [{"name": name} for name in secrets],
    }


@pytest.mark.parametrize("spec", [{"secretRef": {"name": "pull"}}, {"serviceAccountName": "puller"}])
@pytest.mark.parametrize("trouble", ["wrong", "missing"])
@in_virtual_time
async def test_mended_credentials_are_tried_at_once(spec: dict[str, Any], trouble: str) -> None:
    world = World()
    world.fakes.account = ("puller", "s3cret")
    async with world.running():
        await world.cluster.create(_account("pull"), field_manager="test")
        if trouble == "wrong":
            await world.cluster.create(make_pull_secret("guess"), field_manager="test")
        await world.scanned("1.0.0", **spec)
        await world.until(ImageRepository, "app", has_failed)
        await world.clock.sleep(300)  # by now it is tried again every few minutes

        mended = world.clock.monotonic()
        await world.cluster.apply(make_pull_secret("s3cret"), field_manager="test", force=True)
        await world.until(ImageRepository, "app", is_ready)
        result = world.clock.monotonic() - mended
    assert result < 2


@in_virtual_time
async def test_an_account_that_is_given_a_pull_secret_opens_the_registry() -> None:
    world = World()
    world.fakes.account = ("puller", "s3cret")
    async with world.running():
        await world.cluster.create(make_pull_secret("s3cret"), field_manager="test")
        await world.cluster.create(_account(), field_manager="test")
        await world.scanned("1.0.0", serviceAccountName="puller")
        await world.until(ImageRepository, "app", has_failed)
        await world.clock.sleep(300)

        mended = world.clock.monotonic()
        await world.cluster.apply(_account("pull"), field_manager="test", force=True)
        await world.until(ImageRepository, "app", is_ready)
        result = world.clock.monotonic() - mended
    assert result < 2
