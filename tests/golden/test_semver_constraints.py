"""1,200 recorded answers of Masterminds/semver: tests/golden/data/semver-constraints.txt."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_updater.domain.tags.semver import parse_constraint, parse_version

LINES = (Path(__file__).parent / "data/semver-constraints.txt").read_text().splitlines()[1:]
VERSIONS = LINES[0].split()
ROWS = [(line[:-30].rstrip(), line[-30:]) for line in LINES[1:]]


@pytest.mark.parametrize(("constraint", "accepted"), ROWS)
def test_a_constraint_accepts_what_the_original_accepts(constraint: str, accepted: str) -> None:
    parsed = parse_constraint(constraint)

    answers = []
    for text in VERSIONS:
        version = parse_version(text)
        assert version is not None
        answers.append("1" if parsed.accepts(version) else "0")
    assert dict(zip(VERSIONS, answers, strict=True)) == dict(zip(VERSIONS, accepted, strict=True))
