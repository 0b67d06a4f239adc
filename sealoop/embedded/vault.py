"""A secret store in the process: what Vault's key-value engine, version 2, answers to who has its token.

    PUT from Python:  vault.put("shop/db", {"password": "..."})
    GET /v1/secret/data/shop/db?version=1          X-Vault-Token: ...
    POST, PUT /v1/secret/data/shop/db              {"data": {"password": "..."}}: a new version
    GET /v1/secret/metadata/shop?list=true         what is in a folder
    GET /v1/secret/metadata/shop/db                custom metadata
    GET /v1/sys/internal/ui/mounts/secret/...      which engine is there

For the demo and for trying things out; it forgets everything when it ends.

Source: developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from aiohttp import web

from gitops_core.meta import Sensitive, write_timestamp


class Version(NamedTuple):
    """One version of a key's data; None once it was deleted."""

    data: Mapping[str, Any] | None
    created: datetime
    deleted: datetime | None = None


class EmbeddedVault:
    """`async with EmbeddedVault() as vault: vault.url, vault.token`.

    Attributes:
        requests: how many requests were answered.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, token: str = "") -> None:
        self.token = Sensitive(token or secrets.token_urlsafe(24))
        self.url = ""
        self.requests = 0
        self._host, self._port = host, port
        self._keys: dict[str, list[Version]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._runner: web.AppRunner | None = None

    def put(self, key: str, data: Mapping[str, Any]) -> int:
        """Store `data` as the newest version of `key` and return its number."""
        versions = self._keys.setdefault(key.strip("/"), [])
        versions.append(Version(dict(data), datetime.now(UTC)))
        return len(versions)

    def delete(self, key: str) -> None:
        """Mark the newest version of `key` as deleted. Raises KeyError: there is none."""
        versions = self._keys[key.strip("/")]
        versions[-1] = versions[-1]._replace(data=None, deleted=datetime.now(UTC))

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace the custom metadata of `key`."""
        self._tags[key.strip("/")] = dict(tags)

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/v1/sys/health", self._get_health)
        application.router.add_get("/v1/auth/token/lookup-self", self._look_up)
        application.router.add_get("/v1/sys/internal/ui/mounts/secret/{key:.*}", self._describe_mount)
        application.router.add_get("/v1/secret/data/{key:.+}", self._read)
        application.router.add_get("/v1/secret/metadata{key:(/.*)?}", self._describe)
        application.router.add_route("LIST", "/v1/secret/metadata{key:(/.*)?}", self._describe)
        for method in ("POST", "PUT"):
            application.router.add_route(method, "/v1/secret/data/{key:.+}", self._write)
        application.router.add_get("/v1/secret/{any:.+}", self._refuse_misplaced)
        application.router.add_route("*", "/{any:.*}", self._refuse_unknown)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _get_health(self, request: web.Request) -> web.Response:
        return web.json_response({"initialized": True, "sealed": False, "standby": False})

    async def _look_up(self, request: web.Request) -> web.Response:
        return self._refuse(request) or web.json_response({"data": {"policies": ["root"], "ttl": 0}})

    async def _describe_mount(self, request: web.Request) -> web.Response:
        mount = {"path": "secret/", "type": "kv", "options": {"version": "2"}}
        return self._refuse(request) or web.json_response({"data": mount})

    async def _read(self, request: web.Request) -> web.Response:
        if (refusal := self._refuse(request)) is not None:
            return refusal
        versions = self._keys.get(request.match_info["key"], [])
        number = request.query.get("version", "0")
        wanted = int(number) if number.isascii() and number.isdigit() else -1
        if wanted < 0:
            return web.json_response({"errors": ["version is no number"]}, status=400)
        wanted = wanted or len(versions)
        if not 1 <= wanted <= len(versions):
            return web.json_response({"errors": []}, status=404)
        version = versions[wanted - 1]
        metadata = {
            "version": wanted,
            "created_time": write_timestamp(version.created),
            "deletion_time": write_timestamp(version.deleted) if version.deleted else "",
            "destroyed": False,
        }
        body = {"data": {"data": version.data, "metadata": metadata}}
        return web.json_response(body, status=404 if version.data is None else 200)

    async def _describe(self, request: web.Request) -> web.Response:
        if (refusal := self._refuse(request)) is not None:
            return refusal
        key = request.match_info["key"].strip("/")
        if request.method == "LIST" or request.query.get("list") == "true":
            below = [each.removeprefix(f"{key}/") for each in self._keys if not key or each.startswith(f"{key}/")]
            names = sorted({name + slash for name, slash, _ in (each.partition("/") for each in below)})
            return web.json_response(
                {"data": {"keys": names}} if names else {"errors": []}, status=200 if names else 404
            )
        if key not in self._keys:
            return web.json_response({"errors": []}, status=404)
        metadata = {"current_version": len(self._keys[key]), "custom_metadata": self._tags.get(key)}
        return web.json_response({"data": metadata})

    async def _write(self, request: web.Request) -> web.Response:
        if (refusal := self._refuse(request)) is not None:
            return refusal
        try:
            body = await request.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
            return web.json_response({"errors": ["no data provided"]}, status=400)
        version = self.put(request.match_info["key"], body["data"])
        return web.json_response({"data": {"version": version, "destroyed": False}})

    async def _refuse_misplaced(self, request: web.Request) -> web.Response:
        warning = "Invalid path for a versioned K/V secrets engine."
        return self._refuse(request) or web.json_response({"data": None, "warnings": [warning]}, status=404)

    async def _refuse_unknown(self, request: web.Request) -> web.Response:
        return self._refuse(request) or web.json_response({"errors": ["no handler for this path"]}, status=404)

    def _refuse(self, request: web.Request) -> web.Response | None:
        self.requests += 1
        given = request.headers.get("X-Vault-Token", "").encode()
        if hmac.compare_digest(given, self.token.reveal()):
            return None
        return web.json_response({"errors": ["permission denied"]}, status=403)
