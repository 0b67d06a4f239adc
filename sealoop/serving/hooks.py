"""What packages answer over HTTP (their routes), at one port, each path within its bounds.

    too long 413, too slow 408, too many 429; the rest is the route's answer

Each path that is somebody's has a budget of its own, and all others have one together: nobody uses up another one's.
No answer has a body.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from aiohttp import web

from gitops_core.ports import Clock
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.routes import Handler, Route
from sealoop.serving.listening import PATIENCE, listening

AT_ONCE, STRANGERS_AT_ONCE = 16, 64


@dataclass
class _Budget:
    """What one caller may cost: `rate` requests a second, `burst` without waiting, `most` at the same time."""

    most: int
    rate: int
    burst: int
    tokens: float
    filled_at: float = 0.0
    under_way: int = 0

    @contextlib.contextmanager
    def place(self, now: float) -> Iterator[bool]:
        """Yield whether one more request may be looked at; it is while the block runs."""
        self.tokens = min(self.burst, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < 1 or self.under_way >= self.most:
            yield False
            return
        self.tokens -= 1
        self.under_way += 1
        try:
            yield True
        finally:
            self.under_way -= 1


class Hooks:
    """What the routes of a port may cost."""

    def __init__(self, routes: Sequence[Route], clock: Clock, policy: Policy) -> None:
        self._routes, self._clock, self._policy = routes, clock, policy
        self._budgets: dict[str, _Budget] = {}
        self._strangers = self._make_budget(STRANGERS_AT_ONCE)

    async def answer(self, handler: Handler, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        with self._place(handler, path) as admitted:
            status = await _answer(handler, path, request) if admitted else HTTPStatus.TOO_MANY_REQUESTS
        return web.Response(status=status)

    def _place(self, handler: Handler, path: str) -> contextlib.AbstractContextManager[bool]:
        """Return a context that says whether one more request may be looked at now."""
        budget = self._strangers
        # Compares with every path: how long it takes tells nothing of any.
        if path.isascii() and sum(hmac.compare_digest(known, path) for known in handler.paths):
            if path not in self._budgets:
                self._budgets = {known: kept for known, kept in self._budgets.items() if self._is_known(known)}
            budget = self._budgets.setdefault(path, self._make_budget(AT_ONCE))
        return budget.place(self._clock.monotonic())

    def _is_known(self, path: str) -> bool:
        return any(path in route.handler.paths for route in self._routes)

    def _make_budget(self, most: int) -> _Budget:
        return _Budget(most, self._policy.webhook_rate, self._policy.webhook_burst, self._policy.webhook_burst)


async def _answer(handler: Handler, path: str, request: web.Request) -> HTTPStatus:
    receive = await handler.admit(path)
    if isinstance(receive, HTTPStatus):
        return receive
    try:
        async with asyncio.timeout(PATIENCE):
            body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    except TimeoutError:
        return HTTPStatus.REQUEST_TIMEOUT
    return await receive({name.lower(): value for name, value in request.headers.items()}, body)


@contextlib.asynccontextmanager
async def receiving(
    listen: str, routes: Sequence[Route], clock: Clock, policy: Policy = DEFAULT_POLICY
) -> AsyncIterator[int]:
    """Answer requests while the block runs; gives the port.

    Raises:
        ClickException: the address cannot be had.
    """
    hooks = Hooks(routes, clock, policy)
    application = web.Application(client_max_size=policy.webhook_size)
    for route in routes:
        application.router.add_post(route.path, partial(hooks.answer, route.handler))
    async with listening(application, listen, "--hooks") as port:
        yield port
