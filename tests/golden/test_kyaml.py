"""What kyaml 0.21 reads as a marker and what it quotes: tests/golden/data/kyaml-markers.jsonl and kyaml-strings.json.

Texts were generated; where we read another marker on purpose (docs/compatibility.md), the text is not among them.
"""

from __future__ import annotations

import json
from pathlib import Path

from image_updater.domain.files.readings import find_markers
from image_updater.domain.files.scalars import reads_as_text

DATA = Path(__file__).parent / "data"


def test_markers_are_read_as_kyaml_reads_them() -> None:
    for row in map(json.loads, (DATA / "kyaml-markers.jsonl").read_text().splitlines()):
        found = [[place.value, place.setter] for place in find_markers(row["text"]).places]

        assert found == row["marked"], row["text"]


def test_values_are_text_where_kyaml_says_so() -> None:
    recorded: dict[str, bool] = json.loads((DATA / "kyaml-strings.json").read_text())

    assert {value: reads_as_text(value) for value in recorded} == recorded
