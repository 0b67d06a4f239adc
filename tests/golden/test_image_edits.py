"""What the original chose to change, we change, byte-exact elsewhere: tests/golden/data/image-edits.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from image_updater.api import ImageRef
from image_updater.domain.files.plan import plan_commit, resolve_setters

ROWS = {
    row["name"]: row
    for row in map(json.loads, (Path(__file__).parent / "data/image-edits.jsonl").read_text().splitlines())
}
MORE_THAN_THE_ORIGINAL = {"array": "d.yaml", "list": "d.yaml", "helm": "templates/d.yaml"}
"""Files that the original passes over or takes apart: docs/compatibility.md."""


def planned(row: dict[str, Any]) -> dict[str, bytes]:
    images = {}
    for policy, image in row["policies"].items():
        name, _, tag = image.rpartition(":")
        images[policy.removeprefix("default:")] = ImageRef(name=name, tag=tag)
    before = {path: text.encode() for path, text in row["before"].items()}
    return before | dict(plan_commit(before, resolve_setters("default", images)).edits)


def values(text: str) -> Any:
    """Every document's tokens that mean something: comments, spacing and styles left out."""
    try:
        found = list(yaml.parse(text.removeprefix("\ufeff"), Loader=yaml.CSafeLoader))
    except yaml.YAMLError:
        return text
    return [(type(e), getattr(e, "anchor", None), getattr(e, "value", None)) for e in found]


@pytest.mark.parametrize("name", sorted(ROWS.keys() - MORE_THAN_THE_ORIGINAL.keys()))
def test_the_same_values_change_as_with_the_original(name: str) -> None:
    row = ROWS[name]

    after = {path: content.decode() for path, content in planned(row).items()}

    expected = row["after"] or row["before"]
    if name == "kustomization":  # a value is never emptied, and a tag does not move without its digest
        expected = row["before"]
    assert {path: values(text) for path, text in after.items()} == {
        path: values(text) for path, text in expected.items()
    }


@pytest.mark.parametrize("name", sorted(ROWS))
def test_only_the_marked_values_bytes_change(name: str) -> None:
    row = ROWS[name]

    after = planned(row)

    assert after.keys() == row["before"].keys()
    for path, text in row["before"].items():
        old, new = text.encode().split(b"\n"), after[path].split(b"\n")
        assert len(old) == len(new)
        differing = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        for a, b in differing:
            assert a.partition(b"#")[2] == b.partition(b"#")[2]
            assert (
                a.replace(b"app:1.0.0", b"app:1.1.0").replace(b"web:1.0.0", b"web:1.1.0") == b
                or a.replace(b"1.0.0", b"1.1.0") == b
                or a.replace(b"100", b'"101"') == b
            )


def test_a_list_an_array_and_a_template_are_updated_in_their_place() -> None:
    for name, path in MORE_THAN_THE_ORIGINAL.items():
        row = ROWS[name]

        after = planned(row)[path].decode()

        assert after == row["before"][path].replace("apps/app:1.0.0", "apps/app:1.1.0")
        assert after != row["before"][path]


def test_the_file_is_whole() -> None:
    assert len(ROWS) == 32
