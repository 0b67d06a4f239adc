"""Reads between reconcilers and providers: a key that several ask for at once is read once.

    a ──> identity, key, version ──> fetch ──> answer
    b ──────────┘ waits ──────────────┘ the same, if it was asked for after b came; or for b, whenever it was

Who was brought here by an edit must see what was stored before it, so no answer serves whoever came after it was asked
for. Who only looks again may have any that is under way, or no older than `life`. An answer is kept no longer than
that, whether somebody wants it or not, and a failure not at all.

What a provider lists is shared among those who only look again, while it is listed; it is never kept.

What decides on an answer is part of what it is asked for by: whoever has another identity never gets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from gitops_core.errors import GitOpsError
from gitops_core.recent import Recent
from gitops_core.runtime.sharing.computing import Busy, TooCostly
from gitops_core.runtime.sharing.flights import Flights
from secrets_sync.domain.provider.finding import Listing, Search
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.domain.provider.reading import Absent
from secrets_sync.errors import NoPlace
from secrets_sync.ports import Answers, BatchReader, Finder, SecretProvider

WHENEVER = 0
"""The arrival of those who may have any answer."""
CAPACITY = 16 * 1024 * 1024
"""Bytes of answers that may be kept."""
OVERHEAD = 1024
"""Bytes that an answer takes beside its values, with what it is asked for by."""
NO_ANSWER = (TooCostly, Busy, NoPlace)
"""What befell the one who asked, and says nothing about the key."""


class _Asked(NamedTuple):
    """What an answer depends on."""

    identity: Hashable
    ref: SecretRef


@dataclass(eq=False)
class _Question:
    """A read under way. `number` tells whether it began before or after somebody came."""

    number: int
    askers: int = 0


class _Kept(NamedTuple):
    number: int
    answer: Payload | Absent


@dataclass(eq=False)
class _Batch:
    """Keys that are read in one call."""

    refs: list[SecretRef] = field(default_factory=list)


class Reads:
    """
    Args:
        life: seconds for which an answer may serve those who come later and may have any; 0 keeps none.
        capacity: bytes of answers that may be kept.
    """

    def __init__(self, life: float = 0.0, capacity: int = CAPACITY) -> None:
        self._life = life
        self._numbers = count(WHENEVER + 1)
        self._open: dict[_Asked, _Question] = {}
        self._kept: Recent[_Asked, _Kept] = Recent(capacity)
        self._flights: Flights[Payload | Absent | GitOpsError] = Flights()
        self._gathering: dict[Hashable, _Batch] = {}
        self._batches: Flights[Answers] = Flights()
        self._listings: Flights[Listing | Absent | GitOpsError] = Flights()

    def arrive(self) -> int:
        """Return what says, when it is given to `read`, that one came now: before all that is asked from now on."""
        return next(self._numbers)

    async def read(self, provider: SecretProvider, refs: Sequence[SecretRef], arrival: int) -> Answers:
        """Return the answer to each, failures among them: several may have the same one, so raise one of your own.

        A provider of batches is asked for all at once. Any other for one after the other, up to the first failure.

        Args:
            arrival: when who asks came, or WHENEVER.
        """
        if isinstance(provider, BatchReader):
            answers = await asyncio.gather(*(self._answer(provider, ref, arrival) for ref in refs))
            return dict(zip(refs, answers, strict=True))
        found: dict[SecretRef, Payload | Absent | GitOpsError] = {}
        for ref in refs:
            found[ref] = await self._answer(provider, ref, arrival)
            if isinstance(found[ref], GitOpsError):
                break
        return found

    async def list_names(self, finder: Finder, search: Search, arrival: int) -> Listing | Absent | GitOpsError:
        """Return what `finder` lists, or its failure: several may have the same one, so raise one of your own.

        Args:
            arrival: when who asks came, or WHENEVER.
        """
        has_asked = False

        async def ask() -> Listing | Absent | GitOpsError:
            nonlocal has_asked
            has_asked = True
            return await _list(finder, search)

        if arrival != WHENEVER:
            return await ask()
        answer = await self._listings.join((finder.identity, search), ask)
        return answer if has_asked or not isinstance(answer, NO_ANSWER) else await ask()

    async def _answer(self, provider: SecretProvider, ref: SecretRef, arrival: int) -> Payload | Absent | GitOpsError:
        asked = _Asked(provider.identity, ref)
        kept = self._kept.get(asked)
        if kept is not None and _serves(kept.number, arrival):  # an answer that is new enough is there
            return kept.answer
        question = self._open.get(asked)
        is_joined = question is not None and _serves(question.number, arrival)
        if question is None or not is_joined:  # nothing under way may answer this
            question = self._open[asked] = _Question(next(self._numbers))
        number = question.number
        question.askers += 1
        try:
            answer = await self._flights.join((asked, number), lambda: self._ask(provider, asked, number))
        finally:
            question.askers -= 1
            if not question.askers and self._open.get(asked) is question:  # the last asker leaves
                del self._open[asked]
        return await self._fetch(provider, ref) if is_joined and isinstance(answer, NO_ANSWER) else answer

    async def _ask(self, provider: SecretProvider, asked: _Asked, number: int) -> Payload | Absent | GitOpsError:
        answer = await self._fetch(provider, asked.ref)
        kept = self._kept.get(asked)
        is_newest = kept is None or kept.number < number  # one that began later may have ended before
        if self._life > 0 and is_newest and not isinstance(answer, GitOpsError):
            weight = answer.weight if isinstance(answer, Payload) else 0
            self._kept.put(asked, _Kept(number, answer), OVERHEAD + weight)
            asyncio.get_running_loop().call_later(self._life, self._forget, asked, number)
        return answer

    def _forget(self, asked: _Asked, number: int) -> None:
        kept = self._kept.get(asked)
        if kept is not None and kept.number == number:
            self._kept.drop(asked)

    async def _fetch(self, provider: SecretProvider, ref: SecretRef) -> Payload | Absent | GitOpsError:
        try:
            if isinstance(provider, BatchReader):
                return await self._fetch_in_batch(provider, ref)
            return await provider.fetch(ref)
        except GitOpsError as error:
            return error.with_traceback(None)  # whose frames know values

    async def _fetch_in_batch(self, provider: BatchReader, ref: SecretRef) -> Payload | Absent | GitOpsError:
        batch = self._gathering.get(provider.identity)
        if batch is None or len(batch.refs) >= provider.at_once:
            batch = self._gathering[provider.identity] = _Batch()
        batch.refs.append(ref)
        try:
            answers = await self._batches.join(batch, lambda: self._send(provider, batch))
        finally:
            self._leave(provider, batch)
        return answers[ref]

    async def _send(self, provider: BatchReader, batch: _Batch) -> Answers:
        self._leave(provider, batch)  # whoever asked in the turn of the loop before this one is in it
        return await provider.fetch_many(tuple(dict.fromkeys(batch.refs)))

    def _leave(self, provider: BatchReader, batch: _Batch) -> None:
        if self._gathering.get(provider.identity) is batch:
            del self._gathering[provider.identity]


async def _list(finder: Finder, search: Search) -> Listing | Absent | GitOpsError:
    try:
        return await finder.list_names(search)
    except GitOpsError as error:
        return error.with_traceback(None)


def _serves(number: int, arrival: int) -> bool:
    """Return whether what was asked for under `number` may answer who came at `arrival`."""
    return arrival == WHENEVER or number > arrival
