"""A leader on a slow API server: its lease waits for nothing, and what waits when it is deposed is never sent."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.adapters.kubernetes.kubeconfig import Endpoint, Login, PluginLogin, StaticLogin
from gitops_core.errors import NotLeader
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Cluster
from gitops_core.runtime.authority.fencing import FencedCluster
from gitops_core.runtime.authority.leading import Leadership, LeaseSettings
from gitops_core.runtime.clock import SystemChance, SystemClock
from tests.servers.certificates import Authority

LOGIN = StaticLogin(Sensitive("Bearer hunter2"))
CONFIG_MAP = Kind("", "v1", "ConfigMap")
CONFIG_MAPS = [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]
PLACES = 64  # that requests of one client share
LEASES = [{"name": "leases", "kind": "Lease", "namespaced": True}]


class Crowded:
    """An API server that takes its time for everything but leases.

    Attributes:
        seconds: that each other request takes.
        gate: while it is closed, nobody is answered.
        is_full: as many requests arrived as a client may have under way.
        arrived: method and name of the requests for objects, in the order of their arrival.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.gate, self.is_full = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.arrived: list[tuple[str, str]] = []
        self._lease: dict[str, Any] = {}

    @asynccontextmanager
    async def served(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[TestServer]:
        application = web.Application()
        application.router.add_get("/{root:api|apis}", _nothing)
        application.router.add_get("/api/v1", _kinds(CONFIG_MAPS))
        application.router.add_get("/apis/coordination.k8s.io/v1", _kinds(LEASES))
        application.router.add_route("*", "/apis/coordination.k8s.io/v1/{rest:.+}", self._answer_lease)
        application.router.add_route("*", "/api/v1/namespaces/shop/configmaps{slash:/?}{name:.*}", self._answer)
        server = TestServer(application)
        await server.start_server(ssl=tls)
        try:
            yield server
        finally:
            await server.close()

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.arrived.append((request.method, name))
        if len(self.arrived) == PLACES:
            self.is_full.set()
        await asyncio.sleep(self.seconds)
        await self.gate.wait()
        metadata = {"name": name, "namespace": "shop", "resourceVersion": "7"}
        return web.json_response({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})

    async def _answer_lease(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            missing = {"kind": "Status", "details": {"name": "sealoop", "kind": "leases"}}
            return web.json_response(self._lease or missing, status=200 if self._lease else 404)
        version = int(self._lease.get("metadata", {}).get("resourceVersion", 0))
        self._lease = await request.json()
        self._lease["metadata"]["resourceVersion"] = str(version + 1)
        return web.json_response(self._lease)


class Reign:
    """A fence that can be closed."""

    def __init__(self) -> None:
        self.lasts = True

    def check(self) -> None:
        if not self.lasts:
            raise NotLeader("deposed")


async def _nothing(request: web.Request) -> web.Response:
    return web.json_response({"kind": "APIVersions"})


def _kinds(resources: list[dict[str, object]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"kind": "APIResourceList", "resources": resources})

    return answer


@asynccontextmanager
async def facing(url: str, login: Login = LOGIN, **options: Any) -> AsyncIterator[KubernetesCluster]:
    cluster = KubernetesCluster(Endpoint(url, login, **options))
    try:
        yield cluster
    finally:
        await cluster.close()


def ref(name: str) -> ObjectRef:
    return ObjectRef(CONFIG_MAP, ObjectKey("shop", name))


def config_map(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}}


WRITES: dict[str, Callable[[Cluster, str], Awaitable[Any]]] = {
    "POST": lambda cluster, name: cluster.create(config_map(name), field_manager="m"),
    "PUT": lambda cluster, name: cluster.replace(config_map(name), field_manager="m"),
    "apply": lambda cluster, name: cluster.apply(config_map(name), field_manager="m"),
    "PATCH": lambda cluster, name: cluster.patch(ref(name), {"data": {}}, field_manager="m"),
    "DELETE": lambda cluster, name: cluster.delete(ref(name)),
}


async def outcomes(writes: list[asyncio.Task[Any]]) -> set[type]:
    return {type(result) for result in await asyncio.gather(*writes, return_exceptions=True)}


async def test_two_hundred_and_fifty_six_slow_applies_do_not_cost_the_lease() -> None:
    crowded = Crowded(seconds=2.5)
    settings = LeaseSettings("shop", "sealoop", "one", duration=7.0, renew_deadline=5.0, retry=0.3)
    async with crowded.served() as server, facing(str(server.make_url("")).rstrip("/")) as cluster:
        leadership = Leadership(settings, cluster.connect_apart(), SystemClock(), SystemChance())
        await leadership.acquire()
        keeping = asyncio.create_task(leadership.keep())

        applied = await asyncio.gather(
            *(cluster.apply(config_map(f"n{number}"), field_manager="m") for number in range(256))
        )

        assert len(applied) == 256
        assert not keeping.done()
        assert leadership.is_certain
        keeping.cancel()


@pytest.mark.parametrize("method", WRITES)
async def test_a_request_that_waits_when_the_leader_is_deposed_is_never_sent(method: str) -> None:
    crowded, reign = Crowded(), Reign()
    async with crowded.served() as server, facing(str(server.make_url("")).rstrip("/")) as cluster:
        fenced = FencedCluster(cluster, reign)
        await fenced.find_api_resource(CONFIG_MAP)
        crowded.gate.clear()
        reads = [asyncio.create_task(fenced.get(ref("read"))) for _ in range(PLACES)]
        await crowded.is_full.wait()
        writes = [asyncio.ensure_future(WRITES[method](fenced, f"n{number}")) for number in range(40)]
        await asyncio.sleep(0.1)

        reign.lasts = False
        crowded.gate.set()

        assert await outcomes(writes) == {NotLeader}
        assert {type(read) for read in await asyncio.gather(*reads)} == {dict}
        assert crowded.arrived == [("GET", "read")] * PLACES
        assert await fenced.get(ref("read")) is not None


async def test_a_write_that_waits_for_its_credentials_meanwhile_is_never_sent(tmp_path: Path) -> None:
    printed = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}'
    script = (
        f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.02)\nprint({printed!r})"
    )
    login = PluginLogin(
        sys.executable, ("-c", script), dict(os.environ), "client.authentication.k8s.io/v1", "", cluster=None
    )
    crowded, reign = Crowded(), Reign()
    async with crowded.served() as server, facing(str(server.make_url("")).rstrip("/"), login) as cluster:
        writing = asyncio.create_task(FencedCluster(cluster, reign).apply(config_map("a"), field_manager="m"))
        await asyncio.sleep(0.2)

        reign.lasts = False
        (tmp_path / "go").touch()

        assert await outcomes([writing]) == {NotLeader}
        assert crowded.arrived == []


async def test_a_write_that_waits_for_its_connection_meanwhile_is_never_sent(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair = authority.server("127.0.0.1")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.certificate, pair.key)
    crowded, reign, gate = Crowded(), Reign(), asyncio.Event()
    async with (
        crowded.served(tls) as server,
        gated(server.port or 0, gate) as port,
        facing(f"https://127.0.0.1:{port}", ca=authority.certificate.read_bytes()) as cluster,
    ):
        fenced = FencedCluster(cluster, reign)
        gate.set()
        await fenced.find_api_resource(CONFIG_MAP)
        await cluster.close()  # the next request needs a new connection
        gate.clear()
        writing = asyncio.create_task(fenced.apply(config_map("a"), field_manager="m"))
        await asyncio.sleep(0.2)

        reign.lasts = False
        gate.set()

        assert await outcomes([writing]) == {NotLeader}
        assert await fenced.get(ref("a")) is not None
        assert crowded.arrived == [("GET", "a")]


@asynccontextmanager
async def gated(target: int, gate: asyncio.Event) -> AsyncIterator[int]:
    """The port of a relay to `target` that says nothing to new connections until `gate` is open."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", target)
        try:
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        finally:
            there_writer.close()
            writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()
    writer.close()
