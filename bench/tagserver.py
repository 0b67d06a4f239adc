"""A registry of many tags for benchmarks, in a process of its own: every page is ready before it is asked for.

    GET  /v2/<path>/tags/list?n=1000[&last=<tag>]     a page of at most 1,000 tags and the Link to the next one
    POST /tags/<path>?count=50000                     make that many tags: 1.0.0, 1.0.1, ...
    POST /tag/<path>?tag=<tag>                        one more
    GET  /count                                       requests for pages so far

It sends no ETag, as most registries do not.
"""

from __future__ import annotations

import asyncio
import json
import sys
from urllib.parse import urlencode

from aiohttp import web

PAGE = 1000


class Tags:
    """The pages of every repository, by the tag they come after."""

    def __init__(self) -> None:
        self.tags: dict[str, list[str]] = {}
        self.pages: dict[str, dict[str, tuple[bytes, str]]] = {}
        self.asked = 0

    def fill(self, path: str, tags: list[str]) -> None:
        ordered = sorted(tags)
        self.tags[path] = ordered
        pages: dict[str, tuple[bytes, str]] = {}
        for start in range(0, max(len(ordered), 1), PAGE):
            page = ordered[start : start + PAGE]
            more = start + PAGE < len(ordered)
            query = urlencode({"last": page[-1], "n": PAGE}) if more else ""
            link = f'</v2/{path}/tags/list?{query}>; rel="next"' if more else ""
            pages[ordered[start - 1] if start else ""] = (json.dumps({"name": path, "tags": page}).encode(), link)
        self.pages[path] = pages

    async def list(self, request: web.Request) -> web.Response:
        self.asked += 1
        body, link = self.pages[request.match_info["path"]][request.query.get("last", "")]
        return web.Response(body=body, content_type="application/json", headers={"Link": link} if link else {})

    async def many(self, request: web.Request) -> web.Response:
        count = int(request.query["count"])
        self.fill(request.match_info["path"], [f"1.{n // 1000}.{n % 1000}" for n in range(count)])
        return web.Response()

    async def one(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.fill(path, [*self.tags.get(path, []), request.query["tag"]])
        return web.Response()

    async def count(self, request: web.Request) -> web.Response:
        return web.json_response(self.asked)


async def main(port: int) -> None:
    tags = Tags()
    application = web.Application()
    application.router.add_get("/v2/{path:.+}/tags/list", tags.list)
    application.router.add_post("/tags/{path:.+}", tags.many)
    application.router.add_post("/tag/{path:.+}", tags.one)
    application.router.add_get("/count", tags.count)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
