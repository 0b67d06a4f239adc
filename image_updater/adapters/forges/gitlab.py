"""GitLab's merge requests.

    GET  /projects/GROUP%2FSUB%2FNAME/merge_requests?state=all&source_branch=B&target_branch=B    newest first
    POST /projects/.../merge_requests            409: there is an open one
    PUT  /projects/.../merge_requests/IID        title and description, or state_event
    POST /projects/.../merge_requests/IID/notes

A token (of a person, a project or a group) needs the scope api and, of a project or group, the role Developer.

Source: docs.gitlab.com/api/merge_requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from gitops_core.meta import Sensitive
from gitops_core.ports import GitAccess
from image_updater.adapters.forges.talking import AlreadyThere, Talk, find_refused
from image_updater.domain.forges.pullrequests import PullRequest
from image_updater.errors import ForgeDenied

MOST = 100


class _Merge(msgspec.Struct):
    iid: int
    web_url: str
    title: str
    state: Literal["opened", "closed", "locked", "merged"]
    source_branch: str
    target_branch: str
    description: str | None = None
    source_project_id: int | None = None
    target_project_id: int | None = None


@dataclass(frozen=True)
class GitLab:
    """Implements Forge."""

    talk: Talk
    path: str

    async def find(self, head: str, base: str) -> tuple[PullRequest, ...]:
        query = {"state": "all", "source_branch": head, "order_by": "created_at", "sort": "desc"}
        if base:
            query["target_branch"] = base
        found = await self._ask("GET", "", list[_Merge], query={**query, "per_page": str(MOST)})
        # a fork may have a branch of the same name
        own = (each for each in found if each.source_project_id == each.target_project_id)
        return tuple(_read(each) for each in own if each.source_branch == head and base in ("", each.target_branch))

    async def open(self, head: str, base: str, title: str, body: str, labels: Iterable[str] = ()) -> PullRequest:
        wanted = {"source_branch": head, "target_branch": base, "title": title, "description": body}
        if names := sorted(labels):
            wanted["labels"] = ",".join(names)
        try:
            return _read(await self.talk.ask("POST", self._merges, _Merge, body=wanted))
        except AlreadyThere as error:
            return await find_refused(self, head, base, error)

    async def update(self, number: int, title: str, body: str) -> None:
        await self._ask("PUT", f"/{number}", _Merge, body={"title": title, "description": body})

    async def close(self, number: int, comment: str) -> None:
        await self._ask("POST", f"/{number}/notes", dict[str, Any], body={"body": comment})
        await self._ask("PUT", f"/{number}", _Merge, body={"state_event": "close"})

    @property
    def _merges(self) -> str:
        return f"/projects/{quote(self.path, safe='')}/merge_requests"

    async def _ask(self, method: str, path: str, type_: Any, **more: Any) -> Any:
        try:
            return await self.talk.ask(method, f"{self._merges}{path}", type_, **more)
        except AlreadyThere as error:
            raise ForgeDenied(str(error)) from None


def make_headers(access: GitAccess) -> dict[str, Sensitive]:
    proof = access.bearer_token or access.password
    return {"Authorization": Sensitive(b"Bearer " + proof.reveal())} if proof else {}


def _read(merge: _Merge) -> PullRequest:
    state: Literal["open", "merged", "closed"] = (
        merge.state if merge.state in ("merged", "closed") else "open"  # locked: it is being merged
    )
    return PullRequest(
        merge.iid,
        merge.web_url,
        merge.source_branch,
        merge.target_branch,
        merge.title,
        merge.description or "",
        state,
    )
