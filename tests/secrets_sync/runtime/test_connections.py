"""Connections by identity: shared, counted, closed when nobody needs them."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.meta import Sensitive
from secrets_sync.runtime.connections import Connections, Digests

FOREVER = 1e6


class Line:
    """A connection; it may be closed once."""

    def __init__(self, identity: str) -> None:
        self.identity, self.closed, self.gone = identity, 0, asyncio.Event()

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed += 1
        self.gone.set()


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def opened(connections: Connections[Line], store: str, identity: str) -> Any:
    return connections.use(store, identity, lambda: Line(identity))


async def test_two_stores_of_one_identity_share_a_connection() -> None:
    connections = Connections(Line.close, FOREVER)

    uses = [opened(connections, store, "i") for store in ("a", "b", "a")]

    assert len({use.connection for use in uses}) == 1
    await connections.close()
    assert uses[0].connection.closed == 1


async def test_a_store_with_another_identity_leaves_its_connection_to_those_who_use_it() -> None:
    connections = Connections(Line.close, FOREVER)
    before = opened(connections, "a", "old")

    after = opened(connections, "a", "new")
    await settle()
    assert (before.connection.closed, after.connection.identity) == (0, "new")
    before.release()
    await settle()

    assert (before.connection.closed, after.connection.closed) == (1, 0)
    await connections.close()


async def test_a_connection_that_a_store_gives_up_stays_open_for_another() -> None:
    connections = Connections(Line.close, FOREVER)
    first, second = opened(connections, "a", "i"), opened(connections, "b", "i")
    first.release()
    second.release()

    opened(connections, "a", "other").release()
    await settle()
    assert first.connection.closed == 0
    opened(connections, "b", "other").release()
    await settle()

    assert first.connection.closed == 1
    await connections.close()


async def test_a_store_that_nobody_opens_gives_its_connection_up() -> None:
    connections = Connections(Line.close, unused=0.0)
    use = opened(connections, "a", "i")
    await asyncio.sleep(0.01)
    assert use.connection.closed == 0

    use.release()
    await asyncio.wait_for(use.connection.gone.wait(), 30)

    again = opened(connections, "a", "i")
    assert again.connection is not use.connection
    await connections.close()


async def test_a_connection_that_is_given_back_after_the_end_is_closed_once() -> None:
    connections = Connections(Line.close, unused=0.0)
    use = opened(connections, "a", "i")

    await connections.close()
    use.release()
    await settle()

    assert use.connection.closed == 1


steps = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("ij")) | st.integers(0, 5), max_size=25)


@settings(deadline=None)
@given(steps)
def test_whatever_happens_who_uses_a_connection_finds_it_open_and_an_identity_has_one(steps: list[Any]) -> None:
    async def history() -> None:
        connections = Connections(Line.close, FOREVER)
        uses: list[Any] = []
        lines: set[Line] = set()
        last: dict[str, Line] = {}
        for step in steps:
            if isinstance(step, int):
                if uses:
                    uses.pop(step % len(uses)).release()
            else:
                store, identity = step
                uses.append(opened(connections, store, identity))
                last[store] = uses[-1].connection
                lines.add(last[store])
                assert last[store].identity == identity
            await settle()
            needed = {use.connection for use in uses} | set(last.values())
            assert {line for line in lines if not line.closed} == needed
            assert len({line.identity for line in needed}) == len(needed)
        await connections.close()
        assert {line.closed for line in lines} <= {1}

    asyncio.run(history())


def test_a_digest_tells_values_apart_and_shows_neither_them_nor_itself() -> None:
    digests, secret = Digests(), Sensitive("marked-4711")

    assert digests.make(secret) == digests.make(Sensitive("marked-4711"))
    assert digests.make(secret) != digests.make(Sensitive("marked-4712"))
    assert digests.make(secret) != Digests().make(secret)
    assert "marked" not in f"{digests.make(secret).reveal()!r}"
    assert f"{digests.make(secret)!r} {digests.make(secret)}" == "Sensitive(...) ***"
