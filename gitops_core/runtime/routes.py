"""HTTP requests that a package answers: its component's `make_routes` makes them, sealoop/serving/hooks.py bounds them.

Any replica is asked, so what answers is made of ports that do not ask who leads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

Receive = Callable[[Mapping[str, str], bytes], Awaitable[HTTPStatus]]
"""(headers by their names in lower case, body) -> the answer. Nothing of a request raises."""


class Handler(Protocol):
    """What answers the requests of a route. Nothing of a request makes it raise."""

    @property
    def paths(self) -> Collection[str]:
        """The paths that are somebody's, as far as it knows now: each may cost as much as all others together."""
        ...

    async def admit(self, path: str) -> Receive | HTTPStatus:
        """Return what takes a request to `path`, or the answer to one whose body need not be read."""
        ...


@dataclass(frozen=True)
class Route:
    """POST requests to paths of one form, such as `/hook/{digest}`."""

    path: str
    handler: Handler
