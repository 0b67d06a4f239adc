"""Two doubles: what GitHub and GitLab document of their pull requests, as small HTTP servers on loopback.

Neither can be run here, so these are written from docs.github.com/en/rest/pulls/pulls (version 2022-11-28) and
docs.gitlab.com/api/merge_requests: the paths, parameters, fields, status codes and error bodies that are used, no more.
They know nothing of the code under test. Gitea is a real one (tests/servers/gitea.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

TOKEN = "tok-0123456789abcdef"


@dataclass
class Pull:
    """One pull request as the doubles keep it. `source` is the repository of its head: 1 is the repository itself."""

    number: int
    head: str
    base: str
    title: str
    body: str
    state: str = "open"
    merged: bool = False
    labels: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    source: int = 1


@dataclass
class DoubleForge:
    """What a double holds, and what people do to it.

    Attributes:
        url: its root; `path`: the one repository that it has.
        seen: method and path with query of each request, in order.
    """

    url: str
    path: str
    branches: set[str] = field(default_factory=lambda: {"main"})
    pulls: list[Pull] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def add(self, head: str, base: str, title: str, body: str, *, source: int = 1) -> Pull:
        pull = Pull(len(self.pulls) + 1, head, base, title, body, source=source)
        self.pulls.append(pull)
        return pull

    def one(self, number: str) -> Pull:
        """Return the pull request of that number. Raises HTTPNotFound."""
        if not number.isdecimal() or not 1 <= int(number) <= len(self.pulls):
            raise web.HTTPNotFound(text='{"message": "Not Found"}', content_type="application/json")
        return self.pulls[int(number) - 1]

    def newest(self, head: str, base: str | None) -> list[Pull]:
        found = [p for p in self.pulls if p.head == head and base in (None, p.base)]
        return found[::-1]


# GitHub


def _github_shape(forge: DoubleForge, pull: Pull) -> dict[str, Any]:
    owner, _, name = forge.path.partition("/")
    head_owner = owner if pull.source == 1 else "stranger"
    return {
        "id": 1000 + pull.number,
        "number": pull.number,
        "state": "closed" if pull.merged else pull.state,
        "html_url": f"{forge.url}/{forge.path}/pull/{pull.number}",
        "title": pull.title,
        "body": pull.body or None,
        "merged_at": "2026-01-26T19:01:12Z" if pull.merged else None,
        "labels": [{"id": 1, "name": label} for label in pull.labels],
        "head": {"label": f"{head_owner}:{pull.head}", "ref": pull.head, "repo": {"id": pull.source, "name": name}},
        "base": {"label": f"{owner}:{pull.base}", "ref": pull.base, "repo": {"id": 1, "name": name}},
        "draft": False,
    }


def _github_invalid(**error: str) -> web.Response:
    body = {
        "message": "Validation Failed",
        "errors": [{"resource": "PullRequest", **error}],
        "documentation_url": "https://docs.github.com/rest/pulls/pulls#create-a-pull-request",
        "status": "422",
    }
    return web.json_response(body, status=422)


async def _github(forge: DoubleForge, request: web.Request) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return web.json_response({"message": "Bad credentials", "status": "401"}, status=401)
    if not request.headers.get("User-Agent"):
        return web.json_response({"message": "Request forbidden by administrative rules."}, status=403)
    parts = request.path.removeprefix("/api/v3").strip("/").split("/")
    if parts[:3] != ["repos", *forge.path.split("/")]:
        return web.json_response({"message": "Not Found", "status": "404"}, status=404)
    match (request.method, parts[3:]):
        case ("GET", ["pulls"]):
            owner, _, head = request.query["head"].partition(":")
            assert request.query["state"] == "all"
            found = [_github_shape(forge, p) for p in forge.newest(head, request.query.get("base"))]
            shown = [each for each in found if each["head"]["label"] == f"{owner}:{head}"]
            return web.json_response(shown[: int(request.query.get("per_page", "30"))])
        case ("POST", ["pulls"]):
            return _github_create(forge, await request.json())
        case ("PATCH", ["pulls", number]):
            pull, changes = forge.one(number), await request.json()
            pull.title, pull.body = changes.get("title", pull.title), changes.get("body", pull.body)
            pull.state = changes.get("state", pull.state)
            return web.json_response(_github_shape(forge, pull))
        case ("POST", ["issues", number, "labels"]):
            forge.one(number).labels += (await request.json())["labels"]
            return web.json_response([{"id": 1, "name": label} for label in forge.one(number).labels])
        case ("POST", ["issues", number, "comments"]):
            forge.one(number).comments.append((await request.json())["body"])
            return web.json_response({"id": 1, "body": forge.one(number).comments[-1]}, status=201)
    return web.json_response({"message": "Not Found", "status": "404"}, status=404)


def _github_create(forge: DoubleForge, wanted: dict[str, Any]) -> web.Response:
    head, base = wanted["head"], wanted["base"]
    for field_, branch in (("head", head), ("base", base)):
        if branch not in forge.branches:
            return _github_invalid(field=field_, code="invalid")
    if any(p.state == "open" and p.source == 1 and not p.merged for p in forge.newest(head, base)):
        owner = forge.path.partition("/")[0]
        return _github_invalid(code="custom", message=f"A pull request already exists for {owner}:{head}.")
    return web.json_response(_github_shape(forge, forge.add(head, base, wanted["title"], wanted["body"])), status=201)


# GitLab


def _gitlab_shape(forge: DoubleForge, pull: Pull) -> dict[str, Any]:
    state = "merged" if pull.merged else {"open": "opened", "closed": "closed"}[pull.state]
    return {
        "id": 1000 + pull.number,
        "iid": pull.number,
        "project_id": 1,
        "title": pull.title,
        "description": pull.body,
        "state": state,
        "target_branch": pull.base,
        "source_branch": pull.head,
        "source_project_id": pull.source,
        "target_project_id": 1,
        "labels": pull.labels,
        "draft": False,
        "web_url": f"{forge.url}/{forge.path}/-/merge_requests/{pull.number}",
    }


async def _gitlab(forge: DoubleForge, request: web.Request) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return web.json_response({"message": "401 Unauthorized"}, status=401)
    parts = request.rel_url.raw_path.removeprefix("/api/v4").strip("/").split("/")
    if parts[:1] != ["projects"] or unquote(parts[1]) != forge.path or parts[2] != "merge_requests":
        return web.json_response({"message": "404 Project Not Found"}, status=404)
    match (request.method, parts[3:]):
        case ("GET", []):
            assert request.query["state"] == "all"
            found = forge.newest(request.query["source_branch"], request.query.get("target_branch"))
            shown = [_gitlab_shape(forge, p) for p in found]
            return web.json_response(shown[: int(request.query.get("per_page", "20"))])
        case ("POST", []):
            return _gitlab_create(forge, await request.json())
        case ("PUT", [number]):
            pull, changes = forge.one(number), await request.json()
            pull.title, pull.body = changes.get("title", pull.title), changes.get("description", pull.body)
            pull.state = {"close": "closed", "reopen": "open"}.get(changes.get("state_event", ""), pull.state)
            return web.json_response(_gitlab_shape(forge, pull))
        case ("POST", [number, "notes"]):
            forge.one(number).comments.append((await request.json())["body"])
            return web.json_response({"id": 1, "body": forge.one(number).comments[-1]}, status=201)
    return web.json_response({"error": "404 Not Found"}, status=404)


def _gitlab_create(forge: DoubleForge, wanted: dict[str, Any]) -> web.Response:
    head, base = wanted["source_branch"], wanted["target_branch"]
    if head not in forge.branches:
        return web.json_response({"message": {"source_branch": [f'"{head}" does not exist']}}, status=400)
    for live in forge.newest(head, base):
        if live.state == "open" and live.source == 1 and not live.merged:
            said = f"Another open merge request already exists for this source branch: !{live.number}"
            return web.json_response({"message": [said]}, status=409)
    pull = forge.add(head, base, wanted["title"], wanted["description"])
    pull.labels = [label for label in wanted.get("labels", "").split(",") if label]
    return web.json_response(_gitlab_shape(forge, pull), status=201)


_ANSWERS = {"github": _github, "gitlab": _gitlab}
PATHS = {"github": "octo/app", "gitlab": "group/sub/app"}


@asynccontextmanager
async def double(kind: str) -> AsyncIterator[DoubleForge]:
    """Serve a forge that answers as `kind` (github, as an Enterprise Server, or gitlab) documents."""
    forge = DoubleForge("", PATHS[kind])

    async def answer(request: web.Request) -> web.StreamResponse:
        forge.seen.append(f"{request.method} {request.rel_url.raw_path_qs}")
        return await _ANSWERS[kind](forge, request)

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    forge.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield forge
    finally:
        await runner.cleanup()
