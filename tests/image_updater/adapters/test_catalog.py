"""What the catalog's file goes through; what every catalog does is in tests/contracts/test_tag_catalog.py."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from image_updater.adapters import catalog as adapter
from image_updater.adapters.catalog import SqliteCatalog, read_history
from image_updater.errors import CatalogUnavailable
from image_updater.ports import SeenTag

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


async def test_a_catalog_that_is_opened_again_has_what_was_stored(tmp_path: Path) -> None:
    with closing(SqliteCatalog.open(tmp_path / "tags.db")) as first:
        await first.store("r/app", ["1.0"], NOW, "me")
        await first.observe("r/app", "1.0", "sha256:one", NOW)

    with closing(SqliteCatalog.open(tmp_path / "tags.db")) as second:
        assert await second.list_tags("r/app") == ("1.0",)
        assert await second.list_seen("r/app") == (SeenTag("1.0", NOW, "sha256:one"),)
        assert await second.find_listing_begin("r/app", "me") is None  # who asks now is somebody else
        assert await second.find_newest_listing("r/app") == NOW


async def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "tags.db"
    path.write_bytes(b"this is not a database, it is a text file that is long enough" * 100)

    with closing(SqliteCatalog.open(path)) as catalog:
        await catalog.store("r/app", ["1.0"], NOW)

        assert await catalog.list_tags("r/app") == ("1.0",)


async def test_a_file_of_another_version_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "tags.db"
    with closing(sqlite3.connect(path)) as old:
        old.execute("CREATE TABLE listings (repository TEXT PRIMARY KEY, listed_at REAL NOT NULL) WITHOUT ROWID")
        old.execute("INSERT INTO listings VALUES ('r/app', 1)")
        old.commit()

    with closing(SqliteCatalog.open(path)) as catalog:
        assert await catalog.list_tags("r/app") is None


async def test_a_file_that_breaks_under_way_takes_no_new_times_for_old_tags(tmp_path: Path) -> None:
    path = tmp_path / "tags.db"
    with closing(SqliteCatalog.open(path)) as catalog:
        await catalog.store("r/app", [f"1.{n}" for n in range(2000)], NOW)
        await catalog.store("r/other", ["1.0"], NOW)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))

    with closing(SqliteCatalog.open(path)) as catalog:
        with pytest.raises(CatalogUnavailable, match="was damaged and has been made anew"):
            await catalog.store("r/app", ["1.0"], LATER)

        assert await catalog.list_tags("r/app") is None
        assert await catalog.store("r/app", ["1.0"], LATER)


async def test_a_catalog_that_is_locked_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tags.db"
    with closing(SqliteCatalog.open(path)) as catalog:
        await catalog.store("r/app", ["1.0"], NOW)
        with closing(sqlite3.connect(path, isolation_level=None)) as rival:
            rival.execute("BEGIN IMMEDIATE")
            with pytest.raises(CatalogUnavailable, match="cannot be used: database is locked"):
                await catalog.store("r/app", ["1.0", "1.1"], LATER)
            rival.execute("ROLLBACK")

        await catalog.store("r/app", ["1.0", "1.1"], LATER)
        assert await catalog.list_seen("r/app") == (SeenTag("1.1", LATER), SeenTag("1.0", NOW))


async def test_the_memory_is_bounded_and_the_rest_is_read(tmp_path: Path) -> None:
    many = adapter.BUDGET // 140 // 3
    tags = [f"{n}" for n in range(many)]
    with closing(SqliteCatalog.open(tmp_path / "tags.db")) as catalog:
        for name in "abcde":
            await catalog.store(name, tags, NOW)

        assert catalog.remembered <= adapter.BUDGET
        assert len(await catalog.list_tags("a") or ()) == many


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def test_a_recorded_history_is_read_without_changing_a_byte(tmp_path: Path) -> None:
    path = tmp_path / "tags.db"
    with closing(SqliteCatalog.open(path)) as catalog:
        await catalog.store("r/app", ["1.0"], NOW)
        open_one = read_history(path, "r/app")  # a service has it open
    before = contents(tmp_path)

    closed_one = read_history(path, "r/app")

    assert [(event.tag, event.at) for event in open_one] == [("1.0", NOW)]
    assert closed_one == open_one
    assert contents(tmp_path) == before


def test_a_catalog_of_another_version_is_not_read_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tags.db"
    with closing(sqlite3.connect(path)) as old:
        old.execute("CREATE TABLE listings (repository TEXT PRIMARY KEY)")
        old.commit()
    before = path.read_bytes()

    with pytest.raises(CatalogUnavailable, match="is of another version of Sealoop: left as it is"):
        read_history(path, "r/app")
    with pytest.raises(CatalogUnavailable, match="cannot be read: unable to open"):
        read_history(tmp_path / "missing" / "tags.db", "r/app")

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
