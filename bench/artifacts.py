"""From a push of an artifact to the applied object: a Receiver is told, as a registry's notification would tell it."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from pathlib import Path

from bench.crowd import APP, Round, Spent, find_image, make_row
from bench.stage import KUSTOMIZATIONS, Stage, create, ready, stage, wait_until
from bench.table import Row
from tests.servers.artifacts import describe, push

SOURCES = "/apis/source.toolkit.fluxcd.io/v1/namespaces/default/ocirepositories"
RECEIVERS = "/apis/notification.toolkit.fluxcd.io/v1/namespaces/default/receivers"
SECRETS = "/api/v1/namespaces/default/secrets"


async def measure_pushes(folder: Path, rounds: int) -> list[Row]:
    async with stage(folder) as at:
        hook = await asyncio.to_thread(set_up, at)
        spent = [await asyncio.to_thread(deliver, at, hook, number) for number in range(1, rounds + 1)]
    return [make_row("OCIRepository: push until applied, with a Receiver", spent, 1)]


def push_app(at: Stage, version: str) -> None:
    push(at.registry.host, "app", describe({"app/app.yaml": APP.replace("app:1.0.0", f"app:{version}")}), "main")


def set_up(at: Stage) -> str:
    """Set up the source, what is applied from it, and the Receiver; its address is returned."""
    push_app(at, "1.0.0")
    url = f"oci://{at.registry.host}/app"
    create(
        at.plane,
        SOURCES,
        "OCIRepository",
        "app",
        {"url": url, "insecure": True, "interval": "1h", "ref": {"tag": "main"}},
    )
    source = {"kind": "OCIRepository", "name": "app"}
    spec = {"interval": "1h", "prune": True, "path": "./app", "sourceRef": source}
    create(at.plane, KUSTOMIZATIONS, "Kustomization", "app", spec)
    at.plane.expect("POST", SECRETS, {"metadata": {"name": "token"}, "stringData": {"token": "correct horse"}})
    receiver = {"type": "generic", "secretRef": {"name": "token"}, "resources": [source]}
    create(at.plane, RECEIVERS, "Receiver", "app", receiver)
    wait_until(lambda: ready(at.plane.expect("GET", f"{RECEIVERS}/app")))
    wait_until(lambda: ready(at.plane.expect("GET", f"{KUSTOMIZATIONS}/app")))
    return at.hooks + str(at.plane.expect("GET", f"{RECEIVERS}/app")["status"]["webhookPath"])


def deliver(at: Stage, hook: str, number: int) -> Spent:
    this = Round(at)
    push_app(at, f"1.{number}.0")
    urllib.request.urlopen(urllib.request.Request(hook, b"{}", method="POST")).close()
    wait_until(lambda: find_image(at, "app").endswith(f":1.{number}.0"))
    spent = this.end()
    time.sleep(1)
    return spent
