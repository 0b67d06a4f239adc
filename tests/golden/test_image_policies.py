"""Every recorded answer of the original's image policies holds here: tests/golden/data/image-policies.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gitops_core.errors import GitOpsError
from image_updater.commands.pick import pick
from image_updater.domain.tags.filters import TagFilter
from image_updater.domain.tags.policies import AlphabeticalPolicy, NumericalPolicy, Policy, SemVerPolicy, select_latest
from image_updater.errors import NoTagQualifies

ROWS = [json.loads(line) for line in (Path(__file__).parent / "data/image-policies.jsonl").read_text().splitlines()]
NUMERIC = "failed to parse invalid numeric value '"


def policy_of(spec: dict[str, Any]) -> Policy:
    if "semver" in spec:
        return SemVerPolicy(spec["semver"]["range"])
    if "alphabetical" in spec:
        return AlphabeticalPolicy(spec["alphabetical"].get("order") or "asc")
    return NumericalPolicy(spec["numerical"].get("order") or "asc")


def filter_of(row: dict[str, Any]) -> TagFilter | None:
    spec = row.get("filterTags")
    return TagFilter(spec.get("pattern", ""), spec.get("extract", "")) if spec else None


def compared(row: dict[str, Any]) -> set[str]:
    """What a numerical policy could have met: which one the original names depends on the order of a Go map."""
    tag_filter = filter_of(row)
    return set(tag_filter.apply(row["tags"])) if tag_filter else set(row["tags"])


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_a_policy_answers_as_the_original_did(number: int) -> None:
    row = ROWS[number]

    try:
        answer: dict[str, str] = {"tag": select_latest(row["tags"], policy_of(row["policy"]), filter_of(row))}
    except GitOpsError as error:
        answer = {"reason": error.reason, "message": str(error)}

    if row.get("message", "").startswith(NUMERIC):  # ours goes on: it names the tags and what would help
        said, _, advice = answer["message"].partition("; ")
        named = said.removeprefix(NUMERIC).removesuffix("'")
        assert said.startswith(NUMERIC)
        assert named in compared(row) if row.get("filterTags") else said == row["message"]
        assert repr(named[:60]) in advice
        assert answer["reason"] == NoTagQualifies.reason
    else:
        assert answer == {key: row[key] for key in ("tag", "reason", "message") if key in row}


def test_the_command_answers_each_line_with_one() -> None:
    bad = [b"", b"[]", b'{"tags": "x"}', b"\xff", b'{"tags": [], "policy": {"semver": {"range": 1}}}', b"[" * 100_000]
    lines = [*(json.dumps(row).encode() for row in ROWS), *bad]

    done = CliRunner().invoke(pick, ["--batch"], input=b"\n".join(lines) + b"\n")

    answers = [json.loads(line) for line in done.stdout_bytes.splitlines()]
    assert (done.exit_code, len(answers)) == (0, len(lines))
    assert [answer["reason"] for answer in answers[len(ROWS) :]] == ["InvalidLine"] * len(bad)
    for row, answer in zip(ROWS, answers[: len(ROWS)], strict=True):
        assert answer.keys() == row.keys() & {"tag", "reason", "message"}
        assert answer.get("tag") == row.get("tag")
        assert answer.get("reason") == row.get("reason")
        said = answer.get("message", "")
        assert said.partition("; ")[0].startswith(NUMERIC) or said == row.get("message", "")


def test_the_file_is_whole() -> None:
    assert len(ROWS) == 700
