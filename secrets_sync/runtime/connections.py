"""Connections to providers: one for each identity, however many stores lead to it.

    store a ──┐
    store b ──┴──> identity (server, credentials, ...) ──> connection, with its login
    store c, other credentials ──> another identity   ──> another connection

A store holds the connection that it was opened with last, and gives it up when it is opened with another identity, or
was not opened for a while because it is gone. A connection is closed when no store holds it and nobody uses it.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from gitops_core.meta import Sensitive

C = TypeVar("C")


class Digests:
    """Tells credentials apart by a hash of their values, which is worth nothing without this object's own key."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def make(self, value: Sensitive) -> Sensitive:
        """Make what stands for `value` in an identity. It is mute, too: no hash of a secret is shown."""
        return Sensitive(hashlib.blake2b(value.reveal(), key=self._key).digest())


class Use(NamedTuple, Generic[C]):
    """A connection that stays open until `release` is called, which is to happen once."""

    connection: C
    release: Callable[[], None]


@dataclass(eq=False)
class _Shared(Generic[C]):
    identity: Hashable
    connection: C
    holds: int = 0


@dataclass(eq=False)
class _Hold(Generic[C]):
    """A store's hold on a connection: those who use it through the store, and the timer that ends it without them."""

    holder: Hashable
    shared: _Shared[C]
    users: int = 0
    unused: asyncio.TimerHandle | None = None


class Connections(Generic[C]):
    """
    Args:
        close: closes a connection.
        unused: seconds after which a store that is not opened gives its connection up.
    """

    def __init__(self, close: Callable[[C], Awaitable[None]], unused: float) -> None:
        self._close, self._unused = close, unused
        self._shared: dict[Hashable, _Shared[C]] = {}
        self._holds: dict[Hashable, _Hold[C]] = {}
        self._closing: set[asyncio.Future[None]] = set()

    def use(self, holder: Hashable, identity: Hashable, make: Callable[[], C]) -> Use[C]:
        """Return the connection of `identity`, made if there is none.

        Args:
            holder: the store that leads to it now.
        """
        hold = self._holds.get(holder)
        if hold is not None and hold.shared.identity != identity:
            self._end(hold)
            hold = None
        if hold is None:
            shared = self._shared.get(identity)
            if shared is None:
                shared = self._shared[identity] = _Shared(identity, make())
            shared.holds += 1
            hold = self._holds[holder] = _Hold(holder, shared)
        hold.users += 1
        if hold.unused is not None:
            hold.unused.cancel()
            hold.unused = None
        return Use(hold.shared.connection, partial(self._release, hold))

    async def close(self) -> None:
        """Close all connections, used or not."""
        ending, self._shared = tuple(self._shared.values()), {}
        for hold in self._holds.values():
            if hold.unused is not None:
                hold.unused.cancel()
        self._holds = {}
        await asyncio.gather(*(self._close(shared.connection) for shared in ending), *self._closing)

    def _release(self, hold: _Hold[C]) -> None:
        hold.users -= 1
        if hold.users:
            return
        if self._holds.get(hold.holder) is hold:
            hold.unused = asyncio.get_running_loop().call_later(self._unused, self._end, hold)
        else:
            self._let_go(hold.shared)

    def _end(self, hold: _Hold[C]) -> None:
        """Let the store hold it no longer; those who use it through the store still do."""
        del self._holds[hold.holder]
        if hold.unused is not None:
            hold.unused.cancel()
        if not hold.users:
            self._let_go(hold.shared)

    def _let_go(self, shared: _Shared[C]) -> None:
        shared.holds -= 1
        if shared.holds or self._shared.get(shared.identity) is not shared:
            return
        del self._shared[shared.identity]
        closing = asyncio.ensure_future(self._close(shared.connection))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
