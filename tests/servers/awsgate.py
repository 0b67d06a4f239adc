"""AWS by its own names, over TLS: moto behind a gate that takes a web identity for what the cluster says it is.

    *.amazonaws.com ── a proxy that leads there ── gate ── moto, which checks signatures, session tokens and policies

moto believes any token. The gate asks the cluster that issued it, as AWS asks an issuer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

from tests.servers.aws import S3Server
from tests.servers.certificates import Authority
from tests.servers.clouds import LeadingProxy

REFUSAL = "<ErrorResponse><Error><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>"


@dataclass
class AwsGate:
    """Attributes:
    proxy: a URL; all hosts are led to the gate.
    authority: whom to trust.
    assumed: the forms with which roles were asked for, tokens included.
    hosts, proofs: of every request, in order: whom it was for, and its Authorization.
    cluster: where EKS's cluster is, for moto runs none, and whom to trust there (base64 of PEM).
    refusal: told to who asks for a role, in the place of keys.
    review: tells whether the token of a web identity is good.
    """

    moto: S3Server
    authority: Path
    review: Callable[[str], bool]
    proxy: str = ""
    refusal: str = ""
    cluster: tuple[str, str] = ("", "")
    assumed: list[dict[str, str]] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.hosts.append(request.headers["Host"])
        self.proofs.append(request.headers.get("Authorization", ""))
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            if form.get("Action") == "AssumeRoleWithWebIdentity":
                self.assumed.append(form)
                if self.refusal:
                    return web.Response(status=403, text=self.refusal)
                if not await asyncio.to_thread(self.review, form["WebIdentityToken"]):
                    told = REFUSAL.format("InvalidIdentityToken", "Incorrect token audience")
                    return web.Response(status=400, text=told)
                async with session.post(f"http://{self.moto.host}/moto-api/reset-auth", data="1") as allowed:
                    allowed.raise_for_status()
            url = f"http://{self.moto.host}{request.raw_path}"
            async with session.request(request.method, url, data=body, headers=request.headers) as answer:
                if answer.ok and request.headers["Host"].startswith("eks.") and request.method == "GET":
                    endpoint, authority = self.cluster
                    said = {"endpoint": endpoint, "certificateAuthority": {"data": authority}}
                    return web.json_response({"cluster": said})
                kept = {name: value for name, value in answer.headers.items() if name in ("ETag", "Content-Type")}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)


@asynccontextmanager
async def aws_gate(folder: Path, moto: S3Server, review: Callable[[str], bool], *names: str) -> AsyncIterator[AwsGate]:
    """Serve AWS's hosts of those names."""
    authority = Authority.make(folder / "aws-authority")
    pair = authority.server(*names)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    gate = AwsGate(moto, authority.certificate, review)
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", gate.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    with LeadingProxy(port) as proxy:
        gate.proxy = f"http://127.0.0.1:{proxy.port}"
        yield gate
    await runner.cleanup()
