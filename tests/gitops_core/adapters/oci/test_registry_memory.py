"""What is remembered of registries' servers is bounded, whatever they say."""

from __future__ import annotations

from aiohttp import web

from gitops_core.adapters.oci import OciRegistry
from gitops_core.adapters.oci.transport import MOST_REMEMBERED
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import Credentials, RegistryAccess
from gitops_core.oci.references import Repository

REALM = "r" * 4000


async def test_challenges_are_remembered_by_their_size_the_last_used_ones_first() -> None:
    """One server by many addresses: it is asked twice by whoever does not know what it wants."""
    refused: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if "Authorization" in request.headers:
            return web.json_response({"tags": ["1.0.0"]})
        refused.append(request.host)
        return web.Response(status=401, headers={"WWW-Authenticate": f'Basic realm="{REALM}"'})

    application = web.Application()
    application.router.add_route("*", "/v2/{rest:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 0).start()
    port = runner.addresses[0][1]
    hosts = [f"127.0.{n // 200}.{n % 200 + 1}:{port}" for n in range(MOST_REMEMBERED // len(REALM) + 1)]
    robot = RegistryAccess(Credentials("robot", Sensitive("pw")))
    try:
        async with OciRegistry() as registry:
            for host in (*hosts, hosts[-1], hosts[0]):
                assert await registry.list_tags(Repository(host, "app", insecure=True), robot) == ("1.0.0",)
    finally:
        await runner.cleanup()

    assert refused == [*hosts, hosts[0]]
