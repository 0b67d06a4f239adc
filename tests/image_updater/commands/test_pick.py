"""`sealoop images pick` from the outside; `--batch` is held to the recorded answers in tests/golden."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sealoop.main import main

POLICY = """\
kind: ImagePolicy
metadata: {name: app}
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: ^1}}}
---
kind: ImageRepository
spec: {}
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return str(tmp_path / "policy.yaml")


def pick(*arguments: str, given: str = "") -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["images", "pick", *arguments], input=given)
    return done.exit_code, done.stdout, done.stderr


def test_the_tag_is_printed(policy: str) -> None:
    assert pick("-f", policy, "1.0.0", "1.2.0", "2.0.0") == (0, "1.2.0\n", "")
    assert pick("-f", policy, given="1.0.0\n\n1.1.0 \n") == (0, "1.1.0\n", "")
    assert pick("-f", policy, "-o", "json", "1.0.0") == (0, '{"tag":"1.0.0"}\n', "")


def test_nothing_that_qualifies_is_exit_code_1_and_says_why(policy: str) -> None:
    cause = "unable to determine latest version from provided list"

    assert pick("-f", policy, "2.0.0") == (1, "", f"Failure: {cause}\n")
    code, out, _ = pick("-f", policy, "-o", "json", "2.0.0")
    assert (code, json.loads(out)) == (1, {"reason": "Failure", "message": cause})


def test_the_annotation_skips_what_is_no_number(tmp_path: Path) -> None:
    text = 'kind: ImagePolicy\nmetadata: {annotations: {sealoop.dev/skip-unparsable: "true"}}\n'
    text += "spec: {imageRepositoryRef: {name: app}, policy: {numerical: {}}}\n"
    (tmp_path / "p.yaml").write_text(text)

    assert pick("-f", str(tmp_path / "p.yaml"), "9", "10", "latest") == (0, "10\n", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: ConfigMap\n", "holds no ImagePolicy"),
        (POLICY + "---\n" + POLICY, "holds 2 ImagePolicy; say --name"),
        ("a: [", "is not YAML"),
        ("kind: ImagePolicy\nspec: 3\n", "Expected `object`, got `int` - at `$.spec`"),
    ],
)
def test_a_file_that_is_no_policy_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.yaml").write_text(text)

    code, out, error = pick("-f", str(tmp_path / "p.yaml"), "1.0.0")

    assert (code, out) == (1, "")
    assert message in error
    assert "Traceback" not in error


def test_wrong_usage_is_told() -> None:
    assert pick("1.0.0")[0] == 2
    assert pick("--batch", "1.0.0")[0] == 2
    assert "No such file" in pick("-f", "/nowhere.yaml", "1")[2]
