from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_updater.domain.tags.checkpoint import CheckpointInvalid, decode, encode
from image_updater.domain.tags.history import SeenTag, merge

NOW = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
TIMES = st.integers(0, 10**6).map(lambda minutes: NOW - timedelta(minutes=minutes, microseconds=minutes % 7))
TAGS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12)


@st.composite
def seen_tags(draw: st.DrawFn) -> tuple[SeenTag, ...]:
    found = []
    for tag in sorted(draw(st.sets(TAGS, max_size=60)), reverse=True):
        first = draw(TIMES)
        digest = draw(st.sampled_from(["", "sha256:a"]))
        moved = draw(st.booleans()) and digest
        found.append(SeenTag(tag, first, digest, max(first, draw(TIMES)) if moved else None))
    return tuple(found)


@settings(max_examples=60, deadline=None)
@given(seen_tags())
def test_tags_that_fit_are_found_again_as_they_were(seen: tuple[SeenTag, ...]) -> None:
    found = {tag.tag: tag for tag in decode(encode(seen)).select((), NOW)}

    assert found == {tag.tag: tag for tag in seen}


@settings(max_examples=60, deadline=None)
@given(seen_tags(), st.integers(450, 1200))
def test_no_age_is_reset_however_little_room_there_is(seen: tuple[SeenTag, ...], limit: int) -> None:
    record = encode(seen, limit)

    found = {tag.tag: tag for tag in decode(record).select([tag.tag for tag in seen], NOW)}

    assert len(record) <= limit
    for tag in seen:
        again = found[tag.tag]
        assert again.first_seen <= tag.first_seen
        assert again.since <= tag.since
        assert merge(SeenTag(tag.tag, NOW), again).since <= tag.since  # the first listing after the loss


def test_a_long_list_of_hashes_fits_a_config_map() -> None:
    many = 90_000
    seen = [SeenTag(f"{n * 2654435761 % 2**64:016x}{n:024x}", NOW - timedelta(minutes=n % 50)) for n in range(many)]

    checkpoint = decode(encode(seen, 300_000))

    assert len(checkpoint.select([tag.tag for tag in seen], NOW)) >= 0.99 * many
    strangers = [f"stranger-{n}" for n in range(1000)]
    assert len(checkpoint.select(strangers, NOW)) - len(checkpoint.seen) <= 20


def test_nothing_comes_from_the_future() -> None:
    record = encode([SeenTag("later", NOW + timedelta(days=1)), SeenTag("now", NOW)])

    assert [tag.tag for tag in decode(record).select((), NOW)] == ["now"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not zlib",
        zlib.compress(b"not json"),
        zlib.compress(b"[1, [], []]")[:-3],
        zlib.compress(b"[2, [], []]"),
        zlib.compress(b'[1, [[1e300, ["tag"]]], []]'),
        zlib.compress(b'[1, [], [["unknown", "sha256:a", null]]]'),
        zlib.compress(b'[1, [], [], [0, 0, ""]]'),
        zlib.compress(b'[1, [], [], [0, 8, "%%%"]]'),
        zlib.compress(b"[" * 100_000),
        zlib.compress(b"\0" * (65 << 20), 9),
    ],
)
def test_a_record_that_was_not_written_here_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointInvalid):
        decode(data)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(msgspec.json.encode))
def test_any_bytes_are_a_record_or_are_refused(data: bytes) -> None:
    for attempt in (data, zlib.compress(data)):
        try:
            decode(attempt).select(["1.0"], NOW)
        except CheckpointInvalid:
            continue


A, B = "sha256:a", "sha256:b"


def test_two_memories_of_a_tag_are_merged() -> None:
    hour = timedelta(hours=1)
    first, later, last = (SeenTag("1", NOW + number * hour) for number in range(3))

    def of(known: SeenTag, digest: str, moved_at: datetime | None = None) -> SeenTag:
        return known._replace(digest=digest, digest_seen=moved_at)

    # nobody saw it move: the older time
    assert merge(later, first) == merge(first, later) == first
    assert merge(of(later, A), first) == of(first, A)
    # one of them saw it move to what it names: it is as old as that
    for ours, theirs in ((of(first, A), of(first, A, NOW + hour)), (of(first, A, NOW + hour), of(first, A))):
        assert merge(ours, theirs).since == NOW + hour
    # both saw the same move: the older time
    assert merge(of(first, B, NOW + 2 * hour), of(first, B, NOW + hour)).since == NOW + hour
    # they know different images: ours, unless they saw it move since
    assert merge(of(last, B), of(first, A)) == of(first, B, NOW + 2 * hour)
    assert merge(of(first, B, NOW + 2 * hour), of(first, A, NOW + hour)).digest == B
    assert merge(of(first, A), of(first, B, NOW + hour)) == of(first, B, NOW + hour)
