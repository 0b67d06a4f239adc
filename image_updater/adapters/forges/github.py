"""GitHub's pull requests, also those of GitHub Enterprise.

    GET   /repos/OWNER/NAME/pulls?state=all&head=OWNER:BRANCH&base=BRANCH    newest first
    POST  /repos/OWNER/NAME/pulls              422: there is one, or there is nothing between the branches
    PATCH /repos/OWNER/NAME/pulls/N            title and body, or state
    POST  /repos/OWNER/NAME/issues/N/labels    labels that do not exist are made
    POST  /repos/OWNER/NAME/issues/N/comments

A token needs to read and write pull requests (classic: the scope repo).

Source: docs.github.com/en/rest/pulls/pulls, version 2022-11-28.
"""

from __future__ import annotations

import contextlib
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


class _Branch(msgspec.Struct):
    ref: str = ""


class _Pull(msgspec.Struct):
    number: int
    html_url: str
    title: str
    state: Literal["open", "closed"]
    head: _Branch
    base: _Branch
    body: str | None = None
    merged_at: str | None = None


@dataclass(frozen=True)
class GitHub:
    """Implements Forge."""

    talk: Talk
    path: str

    async def find(self, head: str, base: str) -> tuple[PullRequest, ...]:
        query = {"state": "all", "head": f"{self._owner}:{head}", "sort": "created", "direction": "desc"}
        if base:
            query["base"] = base
        found = await self._ask("GET", "/pulls", list[_Pull], query={**query, "per_page": str(MOST)})
        pulls = map(_read, found)
        return tuple(each for each in pulls if each.head == head and base in ("", each.base))

    async def open(self, head: str, base: str, title: str, body: str, labels: Iterable[str] = ()) -> PullRequest:
        wanted = {"title": title, "body": body, "head": head, "base": base, "maintainer_can_modify": True}
        try:
            made = _read(await self.talk.ask("POST", f"{self._repository}/pulls", _Pull, body=wanted))
        except AlreadyThere as error:
            return await find_refused(self, head, base, error)
        if names := sorted(labels):
            with contextlib.suppress(ForgeDenied):  # the pull request is there: a label is no reason to fail
                await self._ask("POST", f"/issues/{made.number}/labels", list[Any], body={"labels": names})
        return made

    async def update(self, number: int, title: str, body: str) -> None:
        await self._ask("PATCH", f"/pulls/{number}", _Pull, body={"title": title, "body": body})

    async def close(self, number: int, comment: str) -> None:
        await self._ask("POST", f"/issues/{number}/comments", dict[str, Any], body={"body": comment})
        await self._ask("PATCH", f"/pulls/{number}", _Pull, body={"state": "closed"})

    @property
    def _owner(self) -> str:
        return self.path.partition("/")[0]

    @property
    def _repository(self) -> str:
        return f"/repos/{quote(self.path)}"

    async def _ask(self, method: str, path: str, type_: Any, **more: Any) -> Any:
        try:
            return await self.talk.ask(method, f"{self._repository}{path}", type_, **more)
        except AlreadyThere as error:
            raise ForgeDenied(str(error)) from None


def make_headers(access: GitAccess) -> dict[str, Sensitive]:
    proof = access.bearer_token or access.password
    return {
        "Accept": Sensitive("application/vnd.github+json"),
        "X-GitHub-Api-Version": Sensitive("2022-11-28"),
        **({"Authorization": Sensitive(b"Bearer " + proof.reveal())} if proof else {}),
    }


def _read(pull: _Pull) -> PullRequest:
    state: Literal["open", "merged", "closed"] = "merged" if pull.merged_at else pull.state
    return PullRequest(pull.number, pull.html_url, pull.head.ref, pull.base.ref, pull.title, pull.body or "", state)
