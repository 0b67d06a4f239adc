"""Gitea's pull requests, and Forgejo's, which kept the API.

    GET   /repos/OWNER/NAME/pulls?state=open&base_branch=B         newest first; there is no filter by head
    GET   /repos/OWNER/NAME/pulls?state=closed&sort=recentclose    so the closed ones are looked for page by page
    GET   /repos/OWNER/NAME/pulls/BASE/HEAD                        the open one
    POST  /repos/OWNER/NAME/pulls                                  409: there is an open one; labels by their ids
    PATCH /repos/OWNER/NAME/pulls/N                                title and body, or state
    POST  /repos/OWNER/NAME/issues/N/comments

A token needs write:repository and write:issue (comments).

Source: code.gitea.io/gitea v1.26, routers/api/v1/repo/pull.go and modules/structs/pull.go.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
import msgspec

from gitops_core.meta import Sensitive
from gitops_core.ports import GitAccess
from image_updater.adapters.forges.talking import AlreadyThere, NotThere, Talk, find_open, find_refused
from image_updater.domain.forges.pullrequests import PullRequest
from image_updater.errors import ForgeDenied

log = logging.getLogger(__name__)
PAGE, PAGES = 50, 10
MOST = 100


class _Branch(msgspec.Struct):
    """`label` is the branch also after it was deleted; then `ref` is `refs/pull/N/head`."""

    label: str = ""
    ref: str = ""
    repo_id: int = 0


class _Pull(msgspec.Struct):
    number: int
    html_url: str
    title: str
    state: Literal["open", "closed"]
    head: _Branch
    base: _Branch
    body: str = ""
    merged: bool = False


class _Label(msgspec.Struct):
    id: int
    name: str


@dataclass(frozen=True)
class Gitea:
    """Implements Forge. Of each state, the newest 500 are looked through."""

    talk: Talk
    path: str

    async def find(self, head: str, base: str) -> tuple[PullRequest, ...]:
        found: dict[int, PullRequest] = {}
        for query in ({"state": "open"}, {"state": "closed", "sort": "recentclose"}):
            if base:
                query["base_branch"] = base
            async for pull in self._list_pages(f"{self._repository}/pulls", list[_Pull], query):
                own = pull.head.repo_id == pull.base.repo_id  # a fork may have a branch of the same name
                read = _read(pull)
                if own and read.head == head and base in ("", read.base):
                    found[read.number] = read
        return tuple(found[number] for number in sorted(found, reverse=True)[:MOST])

    async def open(self, head: str, base: str, title: str, body: str, labels: Iterable[str] = ()) -> PullRequest:
        wanted: dict[str, Any] = {"title": title, "body": body, "head": head, "base": base}
        if names := frozenset(labels):
            wanted["labels"] = await self._find_label_ids(names)
        try:
            return _read(await self.talk.ask("POST", f"{self._repository}/pulls", _Pull, body=wanted))
        except NotThere as error:
            error.retry_after = 0.5  # the branch may be new: Gitea learns of a push a moment later
            raise
        except AlreadyThere as error:
            if not error.is_conflict:
                return await find_refused(self, head, base, error)
            if (live := await find_open(self, head, base)) is not None:
                return live
        return _read(await self._ask("GET", f"{self._repository}/pulls/{quote(base, safe='')}/{quote(head)}", _Pull))

    async def update(self, number: int, title: str, body: str) -> None:
        await self._ask("PATCH", f"{self._repository}/pulls/{number}", _Pull, body={"title": title, "body": body})

    async def close(self, number: int, comment: str) -> None:
        await self._ask("POST", f"{self._repository}/issues/{number}/comments", dict[str, Any], body={"body": comment})
        await self._ask("PATCH", f"{self._repository}/pulls/{number}", _Pull, body={"state": "closed"})

    async def _find_label_ids(self, names: frozenset[str]) -> list[int]:
        """Return the ids of labels that the repository, or the organization that owns it, has."""
        ids: dict[str, int] = {}
        owner = self.path.partition("/")[0]
        for path in (f"{self._repository}/labels", f"/orgs/{quote(owner)}/labels"):
            try:
                async for label in self._list_pages(path, list[_Label], {}):
                    ids.setdefault(label.name, label.id)
            except ForgeDenied:  # a person owns it, or the token may not read organizations
                continue
            if names <= ids.keys():
                break
        if missing := sorted(names - ids.keys()):
            log.warning("pull request without labels", extra={"repository": self.path, "missing": missing})
        return sorted(ids[name] for name in names & ids.keys())

    async def _list_pages(self, path: str, type_: Any, query: Mapping[str, str]) -> AsyncIterator[Any]:
        """Yield each item of up to PAGES pages; a server may have smaller pages than were asked for."""
        for number in range(1, PAGES + 1):
            page = await self._ask("GET", path, type_, query={**query, "page": str(number), "limit": str(PAGE)})
            for item in page:
                yield item
            if not page:
                return

    @property
    def _repository(self) -> str:
        return f"/repos/{quote(self.path)}"

    async def _ask(self, method: str, path: str, type_: Any, **more: Any) -> Any:
        try:
            return await self.talk.ask(method, path, type_, **more)
        except AlreadyThere as error:
            raise ForgeDenied(str(error)) from None


def make_headers(access: GitAccess) -> dict[str, Sensitive]:
    """Return the headers of a password, which may be a token or a person's: basic authentication takes both."""
    if access.bearer_token:
        return {"Authorization": Sensitive(b"token " + access.bearer_token.reveal())}
    if access.password is None:
        return {}
    if not access.username:
        return {"Authorization": Sensitive(b"token " + access.password.reveal())}
    return {"Authorization": Sensitive(aiohttp.encode_basic_auth(access.username, access.password.reveal_text()))}


def _read(pull: _Pull) -> PullRequest:
    state: Literal["open", "merged", "closed"] = "merged" if pull.merged else pull.state
    head, base = pull.head.label or pull.head.ref, pull.base.label or pull.base.ref
    return PullRequest(pull.number, pull.html_url, head, base, pull.title, pull.body, state)
