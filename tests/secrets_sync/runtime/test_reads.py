"""What several ask for at once is read once, and by nobody whom it does not concern."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Hashable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.errors import GitOpsError
from gitops_core.meta import Condition, Sensitive
from gitops_core.runtime.sharing.computing import IN_PLACE, TooCostly
from secrets_sync.api import DataEntry, DataFromEntry, ExternalSecretSpec, ExternalSecretStatus, Find, RemoteRef
from secrets_sync.domain.provider.finding import Listing, Named, Search
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.domain.provider.reading import Absent
from secrets_sync.domain.provider.reads import plan_reads
from secrets_sync.errors import AccessDenied, NoPlace, ProviderUnavailable
from secrets_sync.ports import Answers
from secrets_sync.reconcilers.reading import read_provider
from secrets_sync.runtime.reads import OVERHEAD, WHENEVER, Reads
from tests.simulation.loop import in_virtual_time

DB = SecretRef("db")


class Provider:
    """Implements secrets_sync.ports.SecretProvider: answers with what is stored when it is asked, once it may.

    Attributes:
        asked: what it was asked for, in order.
        may_answer: set, unless a test holds the answers back.
        fails: by key.
    """

    where = "here"
    capabilities = "ReadOnly"

    def __init__(self, identity: Hashable = "me", value: str = "v1") -> None:
        self.identity, self.value = identity, value
        self.asked: list[SecretRef] = []
        self.fails: dict[str, GitOpsError] = {}
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def validate(self) -> None:
        return None

    async def fetch(self, ref: SecretRef) -> Payload | Absent:
        self.asked.append(ref)
        value = self.value
        await self.may_answer.wait()
        if ref.key in self.fails:
            raise self.fails[ref.key]
        return Payload(Sensitive(value))

    async def aclose(self) -> None:
        return None


async def value_at(reads: Reads, provider: Provider, arrival: int = WHENEVER, ref: SecretRef = DB) -> str:
    answer = (await reads.read(provider, [ref], arrival))[ref]
    assert isinstance(answer, Payload)
    return answer.value.reveal_text()


async def begun(provider: Provider, number: int = 1) -> None:
    async with asyncio.timeout(10):
        while len(provider.asked) < number:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_value_that_two_ask_for_at_once_is_read_once() -> None:
    reads, provider = Reads(), Provider()
    arrivals = reads.arrive(), reads.arrive()

    values = await asyncio.gather(*(value_at(reads, provider, arrival) for arrival in arrivals))

    assert (list(values), provider.asked) == (["v1", "v1"], [DB])


async def test_who_came_after_a_read_began_does_not_get_its_answer() -> None:
    """An edit follows what was stored for it: the read under way may have been answered before."""
    reads, provider = Reads(), Provider()
    provider.may_answer.clear()
    first = asyncio.create_task(value_at(reads, provider, reads.arrive()))
    await begun(provider)
    provider.value = "v2"

    late, later = (asyncio.create_task(value_at(reads, provider, reads.arrive())) for _ in range(2))
    looking = asyncio.create_task(value_at(reads, provider))
    await begun(provider, 2)
    provider.may_answer.set()

    assert [await task for task in (first, late, later, looking)] == ["v1", "v2", "v2", "v2"]
    assert len(provider.asked) == 2


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (Provider("me", "mine"), Provider("you", "yours")),
        (Provider(("me", "kv1"), "mine"), Provider(("me", "secret"), "yours")),
    ],
    ids=["credentials", "mount"],
)
async def test_another_identity_never_gets_the_answer(mine: Provider, other: Provider) -> None:
    reads = Reads(life=60)

    at_once = list(await asyncio.gather(value_at(reads, mine), value_at(reads, other)))
    later = [await value_at(reads, provider) for provider in (other, mine)]

    assert (at_once, later) == (["mine", "yours"], ["yours", "mine"])


async def test_another_version_is_another_answer() -> None:
    reads, provider = Reads(life=60), Provider()
    await value_at(reads, provider)
    provider.value = "old"

    assert await value_at(reads, provider, ref=SecretRef("db", "1")) == "old"


async def test_without_a_life_nothing_is_kept() -> None:
    reads, provider = Reads(), Provider()
    answer = (await reads.read(provider, [DB], WHENEVER))[DB]
    held = weakref.ref(answer)
    await settle()

    del answer
    gc.collect()

    assert held() is None
    await value_at(reads, provider)
    assert len(provider.asked) == 2


@in_virtual_time
async def test_an_answer_serves_who_only_looks_again_for_its_life_and_is_gone_then() -> None:
    reads, provider = Reads(life=60), Provider()
    answer = (await reads.read(provider, [DB], WHENEVER))[DB]
    held = weakref.ref(answer)
    del answer
    provider.value = "v2"

    await asyncio.sleep(59)
    assert await value_at(reads, provider) == "v1"
    await asyncio.sleep(2)
    gc.collect()

    assert held() is None  # it went by itself: nobody asked again
    assert await value_at(reads, provider) == "v2"


async def test_who_was_brought_by_an_edit_gets_nothing_kept_from_before() -> None:
    reads, provider = Reads(life=60), Provider()
    await value_at(reads, provider)
    provider.value = "v2"

    assert await value_at(reads, provider, reads.arrive()) == "v2"
    assert await value_at(reads, provider) == "v2"


async def test_a_slow_read_does_not_replace_what_a_later_one_kept() -> None:
    reads, slow, quick = Reads(life=60), Provider(value="v1"), Provider(value="v2")
    slow.may_answer.clear()
    late = asyncio.create_task(value_at(reads, slow))
    await begun(slow)

    assert await value_at(reads, quick, reads.arrive()) == "v2"
    slow.may_answer.set()
    assert await late == "v1"

    assert await value_at(reads, quick) == "v2"


async def test_kept_values_weigh_no_more_than_they_may() -> None:
    reads, provider = Reads(life=60, capacity=10 * (OVERHEAD + 100)), Provider(value="x" * 100)

    for number in range(50):
        await value_at(reads, provider, ref=SecretRef(f"k{number}"))

    for number in (40, 49):
        await value_at(reads, provider, ref=SecretRef(f"k{number}"))
    assert len(provider.asked) == 50
    await value_at(reads, provider, ref=SecretRef("k39"))
    assert len(provider.asked) == 51


async def test_values_are_read_in_turn_up_to_the_first_failure_which_is_not_kept() -> None:
    reads, provider = Reads(life=60), Provider()
    refs = [SecretRef(key) for key in "abc"]
    provider.fails["b"] = AccessDenied("no")

    answers = await reads.read(provider, refs, WHENEVER)
    del provider.fails["b"]
    again = await reads.read(provider, refs, WHENEVER)

    assert (list(answers), type(answers[refs[1]])) == (refs[:2], AccessDenied)
    assert [ref.key for ref in provider.asked] == ["a", "b", "b", "c"]
    assert all(isinstance(answer, Payload) for answer in again.values())


async def test_of_one_failure_each_raises_an_error_of_its_own() -> None:
    """A reconciler attaches its object's status to it."""
    reads, provider = Reads(), Provider()
    provider.fails["db"] = ProviderUnavailable("away", retry_after=7.0)
    entry = DataEntry(secret_key="a", remote_ref=RemoteRef(key="db"))
    plan = plan_reads(ExternalSecretSpec(data=(entry,)))

    async def failure(reason: str) -> Any:
        with pytest.raises(GitOpsError) as raised:
            await read_provider(plan, provider, reads, WHENEVER, IN_PLACE)
        condition = Condition(type="Ready", status="False", reason=reason, message="")
        return raised.value.carry(ExternalSecretStatus(), condition)

    errors = await asyncio.gather(failure("A"), failure("B"))

    assert len(provider.asked) == 1
    assert errors[0] is not errors[1]
    assert [error.conditions[0].reason for error in errors] == ["A", "B"]
    assert {(str(e), e.reason, e.retry_after) for e in errors} == {
        ("error processing spec.data[0] (key: db), err: away", "ProviderUnavailable", 7.0)
    }


@pytest.mark.parametrize("trouble", [TooCostly("one's own"), NoPlace("one's own")], ids=lambda error: error.reason)
async def test_a_failure_that_befell_only_the_one_who_asked_is_nobody_elses_answer(trouble: GitOpsError) -> None:
    reads, provider, other = Reads(), Provider(), Provider()
    provider.fails["db"] = trouble

    mine, theirs = await asyncio.gather(reads.read(provider, [DB], WHENEVER), reads.read(other, [DB], WHENEVER))

    assert mine[DB] is trouble
    assert isinstance(theirs[DB], Payload)
    assert (len(provider.asked), len(other.asked)) == (1, 1)


async def test_a_reader_that_stops_waiting_disturbs_nobody_and_the_last_one_gives_the_read_up() -> None:
    reads, provider = Reads(), Provider()
    provider.may_answer.clear()
    first, second = (asyncio.create_task(value_at(reads, provider)) for _ in range(2))
    await begun(provider)

    first.cancel()
    await settle()
    provider.may_answer.set()
    assert await second == "v1"

    provider.may_answer.clear()
    only = asyncio.create_task(value_at(reads, provider))
    await begun(provider, 2)
    only.cancel()
    await settle()
    provider.value = "v2"
    provider.may_answer.set()
    assert await value_at(reads, provider) == "v2"


class Who:
    """An identity that one can wait for to be forgotten."""


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("is_batch", [False, True])
async def test_nothing_is_remembered_of_who_asked_however_it_ended(turns: int, *, is_batch: bool) -> None:
    reads = Reads()
    for is_given_up in (False, True):
        provider = Batches(Who()) if is_batch else Provider(Who())
        who = weakref.ref(provider.identity)
        asking = asyncio.create_task(reads.read(provider, [DB], WHENEVER))
        for _ in range(turns):
            await asyncio.sleep(0)
        if is_given_up:
            asking.cancel()
        await asyncio.wait({asking})
        await settle()

        del provider, asking
        gc.collect()

        assert who() is None


class Batches(Provider):
    """Implements secrets_sync.ports.BatchReader. `calls` are its calls."""

    at_once = 3

    def __init__(self, identity: Hashable = "me") -> None:
        super().__init__(identity)
        self.calls: list[tuple[SecretRef, ...]] = []

    async def fetch_many(self, refs: Sequence[SecretRef]) -> Answers:
        self.calls.append(tuple(refs))
        await self.may_answer.wait()
        if "all" in self.fails:
            raise self.fails["all"]
        return {ref: self.fails.get(ref.key) or Payload(Sensitive(f"{self.identity} {ref.key}")) for ref in refs}


async def test_keys_of_several_that_are_asked_for_at_once_are_read_in_few_calls() -> None:
    reads, provider, other = Reads(), Batches(), Batches("you")
    a, b, c, d = (SecretRef(key) for key in "abcd")

    answers = await asyncio.gather(
        reads.read(provider, [a, b], WHENEVER),
        reads.read(provider, [b, c, d], reads.arrive()),
        reads.read(other, [a], WHENEVER),
    )

    assert (provider.calls, other.calls, provider.asked) == ([(a, b, c), (d,)], [(a,)], [])
    texts = [
        {ref.key: p.value.reveal_text() for ref, p in found.items() if isinstance(p, Payload)} for found in answers
    ]
    assert texts == [{"a": "me a", "b": "me b"}, {"b": "me b", "c": "me c", "d": "me d"}, {"a": "you a"}]


async def test_of_a_batch_a_key_that_fails_fails_alone_and_a_call_that_fails_fails_all() -> None:
    reads, provider = Reads(), Batches()
    a, b = SecretRef("a"), SecretRef("b")
    provider.fails["a"] = AccessDenied("no")

    alone = await reads.read(provider, [a, b], WHENEVER)
    provider.fails["all"] = ProviderUnavailable("away")
    both = await reads.read(provider, [a, b], WHENEVER)

    assert (type(alone[a]), type(alone[b])) == (AccessDenied, Payload)
    assert [type(answer) for answer in both.values()] == [ProviderUnavailable] * 2


async def test_a_batch_that_nobody_waits_for_is_given_up_and_the_next_is_whole() -> None:
    reads, provider = Reads(), Batches()
    provider.may_answer.clear()
    gone = asyncio.create_task(reads.read(provider, [SecretRef("a")], WHENEVER))
    await settle()
    gone.cancel()
    await settle()

    provider.may_answer.set()
    answers = await reads.read(provider, [SecretRef("b")], WHENEVER)

    assert isinstance(answers[SecretRef("b")], Payload)


class FindingBatches(Batches):
    """Implements secrets_sync.ports.BatchReader and Finder: has these keys."""

    names = "abcde"

    async def list_names(self, search: Search) -> Listing:
        return Listing(tuple(Named(name, SecretRef(name)) for name in self.names), "all")


class FindingOne(Provider):
    """Implements secrets_sync.ports.Finder: has one key.

    Attributes:
        listed: what it was asked to list.
        may_list: set, unless a test holds the listings back.
        name: the key it has.
    """

    def __init__(self, identity: Hashable = "me", value: str = "v1") -> None:
        super().__init__(identity, value)
        self.listed: list[Search] = []
        self.may_list = asyncio.Event()
        self.may_list.set()
        self.name = "db"

    async def list_names(self, search: Search) -> Listing:
        self.listed.append(search)
        name = self.name
        await self.may_list.wait()
        if "list" in self.fails:
            raise self.fails["list"]
        return Listing((Named(name, SecretRef(name)),), "all")


FIND = plan_reads(ExternalSecretSpec(data_from=(DataFromEntry(find=Find()),)))


async def test_what_is_found_is_read_in_batches_where_the_provider_has_them() -> None:
    reads, provider = Reads(), FindingBatches()

    reading = await read_provider(FIND, provider, reads, WHENEVER, IN_PLACE)

    assert set(reading.values) == set("abcde")
    assert [[ref.key for ref in call] for call in provider.calls] == [["a", "b", "c"], ["d", "e"]]


async def test_what_is_found_is_read_once_for_all_who_find_or_name_it_at_once() -> None:
    reads, provider = Reads(), FindingOne()
    provider.may_answer.clear()
    finding = [asyncio.create_task(read_provider(FIND, provider, reads, WHENEVER, IN_PLACE)) for _ in range(2)]
    naming = asyncio.create_task(value_at(reads, provider))
    await begun(provider)
    await settle()
    provider.may_answer.set()

    values = [(await task).values["db"].reveal_text() for task in finding]

    assert (values, await naming, provider.asked) == (["v1", "v1"], "v1", [DB])


async def test_who_was_brought_by_an_edit_finds_nothing_kept_from_before() -> None:
    reads, provider = Reads(life=60), FindingOne()
    await value_at(reads, provider)
    provider.value = "v2"

    reading = await read_provider(FIND, provider, reads, reads.arrive(), IN_PLACE)

    assert reading.values == {"db": Sensitive("v2")}


def begin_listing(reads: Reads, finder: FindingOne, arrival: int = WHENEVER, path: str = "") -> Any:
    return asyncio.create_task(reads.list_names(finder, Search(path), arrival))


def name_in(listing: Any) -> str:
    assert isinstance(listing, Listing)
    return listing.names[0].name


async def test_what_several_look_for_again_at_once_is_listed_once_for_an_identity_and_a_path() -> None:
    reads, finder, other = Reads(life=60), FindingOne(), FindingOne("you")
    other.name = "theirs"
    finder.may_list.clear()
    tasks = [begin_listing(reads, finder), begin_listing(reads, finder), begin_listing(reads, finder, path="shop")]
    tasks.append(begin_listing(reads, other))
    await settle()
    finder.name = "new"
    finder.may_list.set()

    assert [name_in(await task) for task in tasks] == ["db", "db", "db", "theirs"]
    assert (finder.listed, other.listed) == ([Search(), Search("shop")], [Search()])
    assert name_in(await begin_listing(reads, finder)) == "new"  # no listing is kept


async def test_who_was_brought_by_an_edit_has_it_listed_anew() -> None:
    reads, finder = Reads(), FindingOne()
    finder.may_list.clear()
    looking = begin_listing(reads, finder)
    await settle()
    finder.name = "new"

    edited = begin_listing(reads, finder, reads.arrive())
    await settle()
    finder.may_list.set()

    assert (name_in(await looking), name_in(await edited)) == ("db", "new")


@pytest.mark.parametrize(
    ("trouble", "times"), [(NoPlace("one's own"), 2), (TooCostly("one's own"), 2), (AccessDenied("no"), 1)], ids=repr
)
async def test_of_listings_only_a_failure_that_is_the_providers_is_shared(trouble: GitOpsError, times: int) -> None:
    reads, finder = Reads(), FindingOne()
    finder.fails["list"] = trouble

    answers = await asyncio.gather(*(begin_listing(reads, finder) for _ in range(2)))

    assert all(answer is trouble for answer in answers)
    assert len(finder.listed) == times
    assert trouble.__traceback__ is None


async def test_one_failure_among_what_is_found_is_that_of_the_find_and_ends_it() -> None:
    reads, provider = Reads(), FindingBatches()
    provider.fails["b"] = ProviderUnavailable("away", retry_after=7.0)

    with pytest.raises(GitOpsError) as failure:
        await read_provider(FIND, provider, reads, WHENEVER, IN_PLACE)

    assert str(failure.value) == "error processing spec.dataFrom[0].find, err: away"
    assert failure.value is not provider.fails["b"]
    assert provider.fails["b"].__traceback__ is None
    assert len(provider.calls) == 1


moves = st.lists(
    st.tuples(st.just("ask"), st.sampled_from(["me", "you"]), st.booleans())
    | st.tuples(st.sampled_from(["store", "answer", "turn"])),
    max_size=30,
)


@settings(deadline=None)
@given(moves, st.sampled_from([0.0, 60.0]))
def test_in_any_order_of_things_nobody_gets_what_is_older_than_its_edit_or_anothers(
    moves: list[Any], life: float
) -> None:
    async def history() -> None:
        reads, stored = Reads(life), {"me": 0, "you": 0}
        provider = {identity: Provider(identity, f"{identity} 0") for identity in stored}
        asked: list[tuple[asyncio.Task[str], str, int]] = []
        for move in moves:
            match move:
                case ("ask", identity, is_edit):
                    arrival = reads.arrive() if is_edit else WHENEVER
                    task = asyncio.create_task(value_at(reads, provider[identity], arrival))
                    asked.append((task, identity, stored[identity] if is_edit else 0))
                case ("store",):
                    for identity in stored:
                        stored[identity] += 1
                        provider[identity].value = f"{identity} {stored[identity]}"
                case ("answer",):
                    for one in provider.values():
                        one.may_answer.set()
                    await settle()
                    for one in provider.values():
                        one.may_answer.clear()
                case _:
                    await settle()
        for one in provider.values():
            one.may_answer.set()
        for task, identity, oldest in asked:
            owner, number = (await task).split()
            assert owner == identity
            assert int(number) >= oldest

    asyncio.run(history())
