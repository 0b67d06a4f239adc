from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from image_updater.adapters.catalog import SqliteCatalog
from image_updater.ports import SeenTag

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture(params=["file", "memory"])
async def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteCatalog]:
    opened = SqliteCatalog.open(tmp_path / "state" / "tags.db" if request.param == "file" else None)
    yield opened
    opened.close()


async def test_a_tag_keeps_the_time_it_was_first_seen(catalog: SqliteCatalog) -> None:
    await catalog.store("r/app", ["1.0", "1.1", "old"], NOW)
    await catalog.store("r/app", ["1.0", "1.1", "2.0"], LATER)

    assert await catalog.seen("r/app") == (SeenTag("2.0", LATER), SeenTag("1.1", NOW), SeenTag("1.0", NOW))
    assert await catalog.tags("r/app") == ("2.0", "1.1", "1.0")


async def test_an_empty_repository_is_not_an_unknown_one(catalog: SqliteCatalog) -> None:
    await catalog.store("r/empty", [], NOW)

    assert await catalog.tags("r/empty") == ()
    assert await catalog.tags("r/unknown") is None


async def test_forgotten_is_unknown(catalog: SqliteCatalog) -> None:
    await catalog.store("r/app", ["1.0"], NOW)
    await catalog.store("r/other", ["1.0"], NOW)

    await catalog.forget("r/app")

    assert await catalog.tags("r/app") is None
    assert await catalog.tags("r/other") == ("1.0",)


async def test_it_is_still_there_the_next_time(tmp_path: Path) -> None:
    first = SqliteCatalog.open(tmp_path / "tags.db")
    await first.store("r/app", ["1.0"], NOW)
    first.close()

    second = SqliteCatalog.open(tmp_path / "tags.db")

    assert await second.tags("r/app") == ("1.0",)
    second.close()


async def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "tags.db"
    path.write_bytes(b"this is not a database, it is a text file that is long enough" * 100)

    catalog = SqliteCatalog.open(path)
    await catalog.store("r/app", ["1.0"], NOW)

    assert await catalog.tags("r/app") == ("1.0",)
    catalog.close()
