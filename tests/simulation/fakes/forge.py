"""A forge in memory, for simulations. It passes tests/contracts/test_forge.py like the real ones.

People act on `FakeForge.pulls` by `close_by_hand`, `merge` and `reopen`; `comments` holds what was said.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from gitops_core.ports import GitAccess
from image_updater.domain.forges.pullrequests import PullRequest
from image_updater.errors import ForgeDenied
from image_updater.ports import ForgeAddress

Fault = Callable[[str, str], Awaitable[None]]
"""(deed, "before" or "after") -> may sleep or raise. What fails "after" was done: its answer got lost."""


async def no_fault(deed: str, moment: str) -> None:
    """Do nothing: everything works, at once."""


@dataclass
class FakeForge:
    """Implements Forge: the pull requests of one repository.

    Attributes:
        branches: those that exist.
        known: the labels that the repository has.
        deeds: how often each method was called.
    """

    url: str
    fault: Fault = no_fault
    branches: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    access: GitAccess | None = None
    pulls: dict[int, PullRequest] = field(default_factory=dict)
    comments: dict[int, list[str]] = field(default_factory=dict)
    labelled: dict[int, frozenset[str]] = field(default_factory=dict)

    async def find(self, head: str, base: str) -> tuple[PullRequest, ...]:
        await self.fault("find", "before")
        newest = sorted(self.pulls.values(), reverse=True)
        await self.fault("find", "after")
        return tuple(each for each in newest if each.head == head and base in ("", each.base))[:100]

    async def open(self, head: str, base: str, title: str, body: str, labels: Iterable[str] = ()) -> PullRequest:
        await self.fault("open", "before")
        if not {head, base} <= self.branches:
            raise ForgeDenied(f"{self.url} has no branch {head!r} or no branch {base!r}")
        live = [each for each in await self.find(head, base) if each.state == "open"]
        if not live:
            number = len(self.pulls) + 1
            live = [PullRequest(number, f"{self.url}/pulls/{number}", head, base, title, body, "open")]
            self.pulls[number] = live[0]
            self.labelled[number] = frozenset(labels) & self.known
        await self.fault("open", "after")
        return live[0]

    async def update(self, number: int, title: str, body: str) -> None:
        await self.fault("update", "before")
        self.pulls[number] = self._read_one(number)._replace(title=title, body=body)
        await self.fault("update", "after")

    async def close(self, number: int, comment: str) -> None:
        await self.fault("close", "before")
        self.comments.setdefault(number, []).append(comment)
        self.pulls[number] = self._read_one(number)._replace(state="closed")
        await self.fault("close", "after")

    # what people do

    def close_by_hand(self, number: int) -> None:
        self.pulls[number] = self._read_one(number)._replace(state="closed")

    def reopen(self, number: int) -> None:
        self.pulls[number] = self._read_one(number)._replace(state="open")

    def merge(self, number: int) -> None:
        """Say of a pull request that it is merged, no more; somebody else moves the branch."""
        self.pulls[number] = self._read_one(number)._replace(state="merged")

    def _read_one(self, number: int) -> PullRequest:
        if number not in self.pulls:
            raise ForgeDenied(f"{self.url} has no pull request {number}")
        return self.pulls[number]


class FakeForges:
    """Implements Forges: by clone URL, made when it is asked for."""

    def __init__(self, fault: Fault = no_fault) -> None:
        self.fault = fault
        self.forges: dict[str, FakeForge] = {}

    def make_forge(self, address: ForgeAddress) -> FakeForge:
        live = self.forges.setdefault(address.url, FakeForge(address.url.removesuffix(".git"), self.fault))
        live.access = address.access
        return live
