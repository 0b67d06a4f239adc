"""What every TagCatalog port does: in a file, and in memory."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_updater.adapters.catalog import SqliteCatalog
from image_updater.adapters.catalogfile import AWAY
from image_updater.domain.tags.history import merge, record_digest
from image_updater.ports import SeenTag, TagCatalog, TagEvent

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
BEFORE = NOW - timedelta(days=30)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["file", "memory"])
async def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TagCatalog]:
    opened = SqliteCatalog.open(tmp_path / "state" / "tags.db" if request.param == "file" else None)
    yield opened
    opened.close()


async def test_a_tag_keeps_the_time_it_was_first_seen(catalog: TagCatalog) -> None:
    await catalog.store("r/app", ["1.0", "1.1", "old"], NOW)
    await catalog.store("r/app", ["1.0", "1.1", "2.0"], LATER)

    assert await catalog.list_seen("r/app") == (SeenTag("2.0", LATER), SeenTag("1.1", NOW), SeenTag("1.0", NOW))
    assert await catalog.list_tags("r/app") == ("2.0", "1.1", "1.0")


async def test_tags_come_in_descending_byte_order(catalog: TagCatalog) -> None:
    await catalog.store("r/app", ["a", "Z", "\U0001f600", "é", "\uffee", "10", "9"], NOW)

    listed = await catalog.list_tags("r/app")

    assert listed == tuple(sorted(listed or (), key=str.encode, reverse=True))
    assert [found.tag for found in await catalog.list_seen("r/app")] == list(listed)


async def test_storing_tells_whether_the_tags_changed(catalog: TagCatalog) -> None:
    assert await catalog.store("r/app", ["1.0"], NOW)
    assert not await catalog.store("r/app", ["1.0", "1.0"], LATER)
    assert await catalog.store("r/app", ["1.0", "1.1"], LATER)
    assert await catalog.store("r/app", ["1.1"], LATER)
    assert await catalog.store("r/empty", [], LATER)


async def test_an_empty_repository_is_not_an_unknown_one(catalog: TagCatalog) -> None:
    await catalog.store("r/empty", [], NOW)

    assert await catalog.list_tags("r/empty") == ()
    assert await catalog.list_tags("r/unknown") is None
    assert await catalog.list_seen("r/unknown") == ()
    assert await catalog.list_events("r/unknown") == ()


async def test_each_identity_has_the_time_of_its_own_listing(catalog: TagCatalog) -> None:
    await catalog.store("r/app", ["1.0"], NOW, "one")
    await catalog.store("r/app", ["1.0"], LATER, "another")
    await catalog.store("r/app", ["1.0"], LATER, "slow", NOW)

    assert await catalog.find_listing_begin("r/app", "one") == NOW
    assert await catalog.find_listing_begin("r/app", "another") == LATER
    assert await catalog.find_listing_begin("r/app", "slow") == NOW
    assert await catalog.find_listing_begin("r/app", "stranger") is None
    assert await catalog.find_listing_begin("r/other", "one") is None


async def test_the_newest_listing_counts_whoever_made_it(catalog: TagCatalog) -> None:
    await catalog.observe("r/app", "1.0", "", NOW)
    assert await catalog.find_newest_listing("r/app") is None

    await catalog.store("r/app", ["1.0"], NOW, "one", NOW - timedelta(seconds=9))
    assert await catalog.find_newest_listing("r/app") == NOW
    await catalog.store("r/app", ["1.0"], LATER, "another")
    assert await catalog.find_newest_listing("r/app") == LATER
    await catalog.forget("r/app")
    assert await catalog.find_newest_listing("r/app") is None


async def test_a_tag_that_a_listing_left_out_is_as_old_as_before(catalog: TagCatalog) -> None:
    await catalog.store("r/app", ["1.0", "1.1"], NOW)
    await catalog.observe("r/app", "1.1", "sha256:one", NOW)
    await catalog.store("r/app", ["1.0"], NOW + HOUR)

    await catalog.store("r/app", ["1.0", "1.1"], NOW + 2 * HOUR)

    assert (await catalog.list_seen("r/app"))[0] == SeenTag("1.1", NOW, "sha256:one")
    assert [event for event in await catalog.list_events("r/app") if event.tag == "1.1"] == [
        TagEvent(NOW, "1.1", "appeared"),
        TagEvent(NOW + HOUR, "1.1", "vanished"),
        TagEvent(NOW + 2 * HOUR, "1.1", "appeared"),
    ]


async def test_a_tag_that_was_away_for_long_is_a_new_one(catalog: TagCatalog) -> None:
    await catalog.store("r/app", ["1.0"], NOW)
    await catalog.store("r/app", [], NOW + HOUR)

    back = NOW + 2 * HOUR + AWAY
    await catalog.store("r/app", ["1.0"], back)

    assert await catalog.list_seen("r/app") == (SeenTag("1.0", back),)


async def test_a_digest_that_moves_makes_the_tag_young_again(catalog: TagCatalog) -> None:
    await catalog.store("r/app", ["latest"], NOW)

    assert await catalog.observe("r/app", "latest", "sha256:one", NOW + HOUR) == ""
    assert await catalog.observe("r/app", "latest", "sha256:one", NOW + 2 * HOUR) == ""
    (steady,) = await catalog.list_seen("r/app")
    assert await catalog.observe("r/app", "latest", "sha256:two", NOW + 3 * HOUR) == "sha256:one"
    (young,) = await catalog.list_seen("r/app")

    assert steady.since == NOW
    assert young == SeenTag("latest", NOW, "sha256:two", NOW + 3 * HOUR)
    assert young.since == NOW + 3 * HOUR
    assert (await catalog.list_events("r/app"))[-1] == TagEvent(NOW + 3 * HOUR, "latest", "moved", "sha256:two")


async def test_an_observed_tag_is_listed_at_once(catalog: TagCatalog) -> None:
    await catalog.store("r/app", ["1.0", "2.0"], NOW)

    assert await catalog.observe("r/app", "1.5", "", LATER) == ""

    assert await catalog.list_tags("r/app") == ("2.0", "1.5", "1.0")
    assert (await catalog.list_seen("r/app"))[1] == SeenTag("1.5", LATER)
    assert not await catalog.store("r/app", ["1.0", "1.5", "2.0"], LATER + HOUR)


async def test_a_tag_observed_before_the_first_listing_is_only_remembered(catalog: TagCatalog) -> None:
    await catalog.observe("r/app", "1.0", "sha256:one", NOW)

    assert await catalog.list_tags("r/app") is None
    assert await catalog.list_seen("r/app") == ()
    await catalog.store("r/app", ["1.0", "1.1"], LATER)
    assert await catalog.list_seen("r/app") == (SeenTag("1.1", LATER), SeenTag("1.0", NOW, "sha256:one"))


async def test_restored_times_are_those_of_the_first_listing_after_it(catalog: TagCatalog) -> None:
    known = (SeenTag("1.1", BEFORE), SeenTag("1.0", BEFORE, "sha256:two", NOW), SeenTag("0.9", BEFORE))
    await catalog.restore("r/app", known)

    assert await catalog.list_tags("r/app") is None
    await catalog.store("r/app", ["1.0", "1.1", "1.2"], LATER)

    assert await catalog.list_seen("r/app") == (SeenTag("1.2", LATER), *known[:2])
    assert await catalog.list_events("r/app") == (
        TagEvent(BEFORE, "1.1", "appeared"),
        TagEvent(BEFORE, "1.0", "appeared"),
        TagEvent(BEFORE, "0.9", "appeared"),
        TagEvent(LATER, "1.2", "appeared"),
        TagEvent(LATER, "0.9", "vanished"),
    )


async def test_restored_times_come_in_also_after_the_listing(catalog: TagCatalog) -> None:
    await catalog.store("r/app", ["1.0", "1.1"], LATER)
    await catalog.list_seen("r/app")

    await catalog.restore("r/app", [SeenTag("1.0", BEFORE), SeenTag("1.1", LATER + HOUR), SeenTag("0.9", BEFORE)])

    assert await catalog.list_tags("r/app") == ("1.1", "1.0")
    assert await catalog.list_seen("r/app") == (SeenTag("1.1", LATER), SeenTag("1.0", BEFORE))


async def test_forgotten_is_unknown(catalog: TagCatalog) -> None:
    await catalog.store("r/app", ["1.0"], NOW, "me")
    await catalog.store("r/other", ["1.0"], NOW)

    await catalog.forget("r/app")

    assert await catalog.list_tags("r/app") is None
    assert await catalog.list_seen("r/app") == ()
    assert await catalog.list_events("r/app") == ()
    assert await catalog.find_listing_begin("r/app", "me") is None
    assert await catalog.list_tags("r/other") == ("1.0",)


async def test_reading_again_gives_the_same_tuple(catalog: TagCatalog) -> None:
    await catalog.store("r/app", ["1.0", "1.1"], NOW)
    first, times = await catalog.list_tags("r/app"), await catalog.list_seen("r/app")
    await catalog.store("r/app", ["1.1", "1.0"], LATER)

    assert await catalog.list_tags("r/app") is first
    assert await catalog.list_seen("r/app") is times


async def test_a_write_that_nobody_waits_for_is_finished(catalog: TagCatalog) -> None:
    asking = asyncio.ensure_future(catalog.store("r/app", ["1.0"], NOW))
    await asyncio.sleep(0)
    asking.cancel()

    await catalog.store("r/app", ["1.0", "1.1"], LATER)

    assert await catalog.list_seen("r/app") == (SeenTag("1.1", LATER), SeenTag("1.0", NOW))


# what a dict and the two laws of history.py say, any catalog says

TAGS = st.sampled_from(["1.0", "1.1", "2.0", "latest", "é"])
DIGESTS = st.sampled_from(["", "sha256:a", "sha256:b"])
STEPS = st.one_of(
    st.tuples(st.just("store"), st.sets(TAGS)),
    st.tuples(st.just("observe"), TAGS, DIGESTS),
    st.tuples(st.just("restore"), st.dictionaries(TAGS, st.tuples(st.integers(-50, 20), DIGESTS), max_size=3)),
    st.tuples(st.just("reopen")),
)


class Model:
    """A catalog of one repository, in a dict: nothing is away for long here."""

    def __init__(self) -> None:
        self.listed: set[str] | None = None
        self.known: dict[str, SeenTag] = {}

    def store(self, tags: Iterable[str], now: datetime) -> bool:
        before, self.listed = self.listed, set(tags)
        for tag in self.listed:
            self.known.setdefault(tag, SeenTag(tag, now))
        return before != self.listed

    def observe(self, tag: str, digest: str, now: datetime) -> str:
        before = self.known.get(tag, SeenTag(tag, now))
        self.known[tag] = record_digest(before, digest, now)
        if self.listed is not None:
            self.listed.add(tag)
        return before.digest if digest not in ("", before.digest) else ""

    def restore(self, seen: Iterable[SeenTag]) -> None:
        for theirs in seen:
            ours = self.known.get(theirs.tag)
            self.known[theirs.tag] = theirs if ours is None else merge(ours, theirs)

    def seen(self) -> tuple[SeenTag, ...]:
        return tuple(self.known[tag] for tag in sorted(self.listed or (), reverse=True))


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=12))
async def test_any_history_is_what_a_dict_says(steps: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, model = Path(folder) / "tags.db", Model()
        catalog = SqliteCatalog.open(path)
        for number, step in enumerate(steps):
            now = NOW + number * HOUR
            match step:
                case ("store", tags):
                    assert await catalog.store("r", tags, now) == model.store(tags, now)  # type: ignore[arg-type]
                case ("observe", str(tag), str(digest)):
                    assert await catalog.observe("r", tag, digest, now) == model.observe(tag, digest, now)
                case ("restore", dict(times)):
                    seen = [SeenTag(tag, NOW + at * HOUR, digest) for tag, (at, digest) in times.items()]
                    await catalog.restore("r", seen)
                    model.restore(seen)
                case _:
                    catalog.close()
                    catalog = SqliteCatalog.open(path)
            assert await catalog.list_seen("r") == model.seen()
        with closing(catalog):
            listed = await catalog.list_tags("r")
            assert listed == (None if model.listed is None else tuple(sorted(model.listed, reverse=True)))
            assert set(_replayed(await catalog.list_events("r"))) >= (model.listed or set())


def _replayed(events: Iterable[TagEvent]) -> set[str]:
    """The tags that were ever there."""
    return {event.tag for event in events if event.what == "appeared"}


async def test_a_repository_is_named_until_it_is_forgotten(catalog: TagCatalog) -> None:
    await catalog.store("r/b", ["1.0"], NOW)
    await catalog.observe("r/a", "1.0", "", NOW)

    named = await catalog.list_repositories()
    await catalog.forget("r/b")

    assert named == ("r/a", "r/b")
    assert await catalog.list_repositories() == ("r/a",)
