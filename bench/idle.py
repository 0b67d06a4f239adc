"""10,000 idle objects: what it costs to know them, to look at each once, and to wait.

    this process: an API server on loopback that serves canned pages     a child: the runtime, with the real adapter

The objects are Kustomizations as Flux leaves them (managedFields and inventory included, 3 KiB each), looked at every
ten minutes by a reconciler that finds nothing to do, so that what is measured is the runtime.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web

from bench.table import Row
from gitops_core.api import Kustomization

OBJECTS = (1_000, 10_000)
_VERSION = "1000000"
_PATH = "/apis/kustomize.toolkit.fluxcd.io/v1/kustomizations"
_TIME = "2026-11-23T01:25:53Z"
_SHA = "main@sha1:" + "c" * 40


def rows() -> Iterator[Row]:
    yield "objects", [f"{count:,}" for count in OBJECTS]
    measured = [asyncio.run(_measure(count)) for count in OBJECTS]
    for label in measured[0]:
        yield label, [one[label] for one in measured]


async def _measure(count: int) -> dict[str, str]:
    """Serve `count` objects to a child and return what it says of itself."""
    runner = web.AppRunner(_server(count), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    command = (sys.executable, "-m", "bench.idle_child", f"http://{host}:{port}", str(count))
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    await runner.cleanup()
    if child.returncode:
        raise SystemExit(f"bench: the child that watches {count} objects ended with {child.returncode}")
    answer: dict[str, str] = json.loads(output)
    return answer


def _server(count: int) -> web.Application:
    pages = _pages(count)
    app = web.Application()

    async def discover(_: web.Request) -> web.Response:
        resource = {"resource": "kustomizations", "scope": "Namespaced", "responseKind": {"kind": "Kustomization"}}
        version = {"version": "v1", "resources": [resource], "freshness": "Current"}
        group = {"metadata": {"name": "kustomize.toolkit.fluxcd.io"}, "versions": [version]}
        body = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [group]}
        aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return web.Response(body=json.dumps(body).encode(), headers={"Content-Type": aggregated})

    async def list_or_watch(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await _watch(request)
        page = pages[int(request.query.get("continue", "0"))]
        return web.Response(body=page, content_type="application/json")

    app.router.add_get("/api", discover)
    app.router.add_get("/apis", discover)
    app.router.add_get(_PATH, list_or_watch)
    return app


async def _watch(request: web.Request) -> web.StreamResponse:
    """A bookmark a minute, as a quiet API server sends them."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    kind = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization"}
    bookmark = {"type": "BOOKMARK", "object": kind | {"metadata": {"resourceVersion": _VERSION}}}
    with contextlib.suppress(ConnectionResetError):
        while True:
            await asyncio.sleep(60)
            await response.write(json.dumps(bookmark).encode() + b"\n")
    return response


def _pages(count: int, size: int = 500) -> list[bytes]:
    head = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "KustomizationList"}
    pages = []
    for start in range(0, count, size):
        metadata = {"resourceVersion": _VERSION}
        if start + size < count:
            metadata["continue"] = str(start // size + 1)
        items = [_object(number) for number in range(start, min(count, start + size))]
        pages.append(msgspec.json.encode(head | {"metadata": metadata, "items": items}))
    return pages


def _object(number: int) -> dict[str, Any]:
    name = f"app-{number:05}"
    owned: dict[str, Any] = {f"f:field{i}": {".": {}, "f:inner": {}} for i in range(20)}
    manager = {"manager": "kustomize-controller", "operation": "Update", "time": _TIME, "fieldsV1": owned}
    entries = [{"id": f"shop_{name}-{i}_apps_Deployment", "v": "v1"} for i in range(4)]
    ready = {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "observedGeneration": 1}
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"00000000-0000-0000-0000-{number:012}",
            "resourceVersion": str(number + 1),
            "generation": 1,
            "creationTimestamp": _TIME,
            "finalizers": [Kustomization.FINALIZER],
            "labels": {"app.kubernetes.io/part-of": "bench"},
            "managedFields": [manager] * 3,
        },
        "spec": {
            "interval": "10m",
            "path": f"./apps/{name}",
            "prune": True,
            "sourceRef": {"kind": "GitRepository", "name": "apps"},
            "targetNamespace": "shop",
        },
        "status": {
            "conditions": [ready | {"message": f"Applied revision: {_SHA}", "lastTransitionTime": _TIME}],
            "inventory": {"entries": entries},
            "lastAppliedRevision": _SHA,
            "lastAttemptedRevision": _SHA,
            "observedGeneration": 1,
        },
    }
